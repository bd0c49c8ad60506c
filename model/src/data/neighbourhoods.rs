//! Cutting out of a graph what a batch of nodes depends on.
//!
//! With a seed each node gets at most `fan_out` of its neighbours, drawn anew for every batch (Hamilton, Ying and Leskovec
//! 2017): a step costs the same in a village and in a city. Without a seed all neighbours are there, as for an evaluation.

use std::collections::HashMap;

use crate::data::batch::NodeBatch;
use crate::data::graph::{Graph, Neighbours};
use crate::seed::{Seed, index};

/// A graph, ready to be cut.
#[derive(Debug, Clone, PartialEq)]
pub struct Surroundings {
    graph: Graph,
    neighbours: Neighbours,
    layers: usize,
    fan_out: usize,
}

impl Surroundings {
    /// A graph for a model with so many layers that draws so many neighbours.
    pub fn new(graph: Graph, layers: usize, fan_out: usize) -> Self {
        Self { neighbours: graph.neighbours(), graph, layers, fan_out }
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The same model on the same nodes with another graph.
    pub fn with_graph(&self, graph: Graph) -> Self {
        Self::new(graph, self.layers, self.fan_out)
    }

    /// The chosen nodes, which may repeat, with what lies around them.
    pub fn of(&self, chosen: &[u32], seed: Option<&Seed>) -> NodeBatch {
        self.cut(chosen, seed, 0)
    }

    /// Both sides of pairs, the first sides first, with what lies around them. A side does not show the trace of the
    /// other: an answer must not be read off the features.
    pub fn of_pairs(&self, pairs: &[[u32; 2]], seed: Option<&Seed>) -> NodeBatch {
        let side = |side: usize| pairs.iter().map(move |pair| pair[side]);
        self.cut(&side(0).chain(side(1)).collect::<Vec<u32>>(), seed, pairs.len())
    }

    fn cut(&self, chosen: &[u32], seed: Option<&Seed>, pairs: usize) -> NodeBatch {
        let mut batch =
            NodeBatch { neighbour_starts: vec![0], feature_starts: vec![0], ..NodeBatch::default() };
        // Only looked up, never walked through: the order of a hash map must not reach the result.
        let mut places: HashMap<u32, u32> = HashMap::new();
        let mut nodes = chosen.to_vec();
        for (place, node) in chosen.iter().enumerate() {
            places.entry(*node).or_insert(place as u32);
        }
        batch.hops.push(nodes.len() as u32);
        let mut rng = seed.map(Seed::rng);
        let mut drawn = Vec::new();
        for _ in 0..self.layers {
            for place in batch.neighbour_starts.len() - 1..nodes.len() {
                drawn.clear();
                drawn.extend_from_slice(self.neighbours.of(nodes[place]));
                if let Some(rng) = &mut rng
                    && drawn.len() > self.fan_out
                {
                    // The first `fan_out` steps of a shuffle.
                    for k in 0..self.fan_out {
                        let other = k + index(rng, drawn.len() - k);
                        drawn.swap(k, other);
                    }
                    drawn.truncate(self.fan_out);
                }
                for neighbour in &drawn {
                    let next = nodes.len() as u32;
                    let place = *places.entry(*neighbour).or_insert(next);
                    if place == next {
                        nodes.push(*neighbour);
                    }
                    batch.neighbours.push(place);
                }
                batch.neighbour_starts.push(batch.neighbours.len() as u32);
            }
            batch.hops.push(nodes.len() as u32);
        }
        for (place, node) in nodes.iter().enumerate() {
            let features = self.graph.features(*node as usize);
            if place < 2 * pairs {
                let other = nodes[(place + pairs) % (2 * pairs)];
                let traces = self.graph.traces(other as usize);
                batch.features.extend(features.iter().filter(|feature| !traces.contains(feature)));
            } else {
                batch.features.extend_from_slice(features);
            }
            batch.feature_starts.push(batch.features.len() as u32);
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path 0 - 1 - 2 - ... and a hub joined to all.
    fn surroundings(fan_out: usize) -> Surroundings {
        let nodes = 30_u32;
        let features: Vec<Vec<u32>> = (0..nodes).map(|node| vec![node]).collect();
        let path = (1..nodes - 1).map(|node| (node - 1, node, 0));
        let hub = (0..nodes - 1).map(|node| (node, nodes - 1, 0));
        let kinds = vec!["edge".to_owned()];
        let graph =
            Graph::new(30, &features, vec![0; 30], kinds, path.chain(hub).collect::<Vec<_>>()).unwrap();
        Surroundings::new(graph, 2, fan_out)
    }

    #[test]
    fn without_a_seed_all_neighbours_come_hop_by_hop() {
        let batch = surroundings(3).of(&[5, 6], None);
        // 5 and 6 know 4, 7 and the hub; the hub knows everybody.
        assert_eq!(batch.hops, [2, 5, 30]);
        assert_eq!(batch.neighbour_starts.len(), 6);
        assert_eq!(batch.feature_starts.len(), 31);
        let first: Vec<u32> =
            batch.neighbours[..3].iter().map(|place| batch.features[*place as usize]).collect();
        assert_eq!(first, [4, 6, 29]);
    }

    #[test]
    fn a_side_of_a_pair_does_not_show_the_trace_of_the_other() {
        // 0 and 1 chose the films 2 and 3, which leave the traces 4 and 5.
        let features = [vec![0, 4, 5], vec![1, 4], vec![2], vec![3]];
        let kinds = vec!["trust".to_owned()];
        let graph = Graph::new(6, &features, vec![0; 4], kinds, [(0, 1, 0)]).unwrap();
        let graph = graph.with_traces(vec![vec![], vec![], vec![4], vec![5]]).unwrap();
        let batch = Surroundings::new(graph, 1, 5).of_pairs(&[[0, 2], [0, 3], [1, 3]], None);
        let of = |node: usize| {
            &batch.features[batch.feature_starts[node] as usize..batch.feature_starts[node + 1] as usize]
        };
        assert_eq!(batch.hops[0], 6);
        assert_eq!([of(0), of(1), of(2)], [&[0, 5][..], &[0, 4][..], &[1, 4][..]]);
        assert_eq!([of(3), of(4), of(5)], [&[2][..], &[3][..], &[3][..]]);
        assert_eq!(batch.neighbours[..2], [2, 2], "who is trusted is seen whole");
    }

    #[test]
    fn a_seed_draws_at_most_the_fan_out_and_the_same_each_time() {
        let surroundings = surroundings(2);
        let seed = Seed::from_u64(4);
        let batch = surroundings.of(&[29, 3, 3], Some(&seed));
        assert_eq!(batch, surroundings.of(&[29, 3, 3], Some(&seed)));
        assert_ne!(batch, surroundings.of(&[29, 3, 3], Some(&Seed::from_u64(5))));
        assert!(batch.neighbour_starts.windows(2).all(|pair| pair[1] - pair[0] <= 2));
        assert_eq!(batch.hops[0], 3, "a node asked for twice is answered twice");
    }
}
