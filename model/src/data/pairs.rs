//! Pairs of nodes with a class each: who likes what, who will know whom.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::data::graph::Graph;

/// Two nodes and what is said of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The first side, for whom others are ranked.
    pub from: u32,
    /// The second side, which is ranked.
    pub to: u32,
    /// The class.
    pub class: i32,
}

/// Some pairs of a graph, the examples, with the graph they are in.
#[derive(Debug, Clone, PartialEq)]
pub struct PairPart {
    /// The graph.
    pub graph: Arc<Graph>,
    /// The pairs.
    pub pairs: Vec<Pair>,
}

impl PairPart {
    /// Some of the pairs. Where nodes are in groups, only the groups of their first sides come along, with nodes that are
    /// in no group and so belong to everybody, and the edges among them.
    pub fn pick(&self, rows: &[usize]) -> Self {
        let pairs: Vec<Pair> = rows.iter().map(|row| self.pairs[*row]).collect();
        if self.graph.groups.is_empty() {
            return Self { graph: Arc::clone(&self.graph), pairs };
        }
        let group = |node: u32| self.graph.group[node as usize];
        let mut groups: BTreeSet<u32> =
            pairs.iter().flat_map(|pair| [group(pair.from), group(pair.to)]).collect();
        groups.extend(self.graph.groups.iter().position(String::is_empty).map(|place| place as u32));
        let (graph, kept) = self.graph.of_groups(&groups);
        let place = |node: u32| kept.binary_search(&node).expect("a picked side is in a picked group") as u32;
        let renamed = pairs.iter().map(|pair| Pair { from: place(pair.from), to: place(pair.to), ..*pair });
        Self { pairs: renamed.collect(), graph: Arc::new(graph) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picked_pairs_bring_their_circle_and_what_belongs_to_everybody() {
        let kinds = vec!["trust".to_owned()];
        let features = [vec![0], vec![1], vec![2], vec![3]];
        let graph = Graph::new(5, &features, vec![0; 4], kinds, [(0, 1, 0), (1, 2, 0)]).unwrap();
        let names = ["a", "b", "b", ""].map(str::to_owned);
        let graph =
            graph.in_groups(&names).unwrap().with_traces(vec![vec![], vec![], vec![], vec![4]]).unwrap();
        let pair = |from| Pair { from, to: 3, class: 0 };
        let part = PairPart { graph: Arc::new(graph), pairs: vec![pair(0), pair(1)] };
        let picked = part.pick(&[1]);
        assert_eq!((picked.graph.len(), picked.graph.edges.len()), (3, 1));
        assert_eq!(picked.pairs, [Pair { from: 0, to: 2, class: 0 }]);
        assert_eq!(picked.graph.traces(2), [4]);
    }
}
