//! A graph of nodes with features, classes and relations.
//!
//! Features are the numbers of what a node has (words of a paper, games of a player), so they are kept as lists. An edge
//! has no direction and stands once; its kind says what the relation is. Nodes may be in groups (regions, departments):
//! a group is what one organization can hold.

use std::collections::BTreeSet;

use crate::data::batch::IGNORE;
use crate::error::{Error, Result};

/// Most nodes, features and edges.
pub const SIZE_MAX: usize = 50_000_000;

/// An edge between two different nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The smaller node.
    pub from: u32,
    /// The larger node.
    pub to: u32,
    /// What the relation is, a number of [`Graph::kinds`].
    pub kind: u16,
}

/// Nodes and edges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// Features there are.
    pub width: usize,
    /// Names of the edge kinds, sorted.
    pub kinds: Vec<String>,
    /// Names of the groups, sorted; empty when nodes are in none.
    pub groups: Vec<String>,
    /// The group of each node; empty when nodes are in none.
    pub group: Vec<u32>,
    /// The class of each node, [`IGNORE`] where it is not known.
    pub labels: Vec<i32>,
    /// Edges, sorted, each once.
    pub edges: Vec<Edge>,
    starts: Vec<usize>,
    features: Vec<u32>,
    traces: Vec<Vec<u32>>,
}

impl Graph {
    /// Puts a graph together from the features of each node and the edges; edges from a node to itself are left out,
    /// doubles of one kind become one.
    ///
    /// # Errors
    /// A feature or node number is out of range, or the lists are not equally long.
    pub fn new(
        width: usize,
        features: &[Vec<u32>],
        labels: Vec<i32>,
        kinds: Vec<String>,
        edges: impl IntoIterator<Item = (u32, u32, u16)>,
    ) -> Result<Self> {
        let nodes = features.len();
        if labels.len() != nodes {
            return Err(Error::shape("labels of a graph", nodes, labels.len()));
        }
        if nodes > SIZE_MAX || width > SIZE_MAX {
            return Err(Error::shape("nodes and features", format!("at most {SIZE_MAX}"), nodes.max(width)));
        }
        let (mut starts, mut all) = (vec![0], Vec::new());
        for list in features {
            if let Some(wrong) = list.iter().find(|feature| **feature as usize >= width) {
                return Err(Error::shape("feature of a node", format!("below {width}"), wrong));
            }
            all.extend_from_slice(list);
            starts.push(all.len());
        }
        let mut sorted = BTreeSet::new();
        for (a, b, kind) in edges {
            if a as usize >= nodes || b as usize >= nodes {
                return Err(Error::shape("node of an edge", format!("below {nodes}"), a.max(b)));
            }
            if kind as usize >= kinds.len() {
                return Err(Error::shape("kind of an edge", format!("below {}", kinds.len()), kind));
            }
            if a != b {
                sorted.insert(Edge { from: a.min(b), to: a.max(b), kind });
            }
        }
        let edges = sorted.into_iter().collect();
        let (groups, group, traces) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { width, kinds, groups, group, labels, edges, starts, features: all, traces })
    }

    /// The same graph, told by which features of others a node shows: who chose a film has the film's trace. An answer
    /// about a pair must not be read off the trace that the pair itself left.
    ///
    /// # Errors
    /// There is not one list per node, or a feature is out of range.
    pub fn with_traces(mut self, traces: Vec<Vec<u32>>) -> Result<Self> {
        if traces.len() != self.len() {
            return Err(Error::shape("traces of a graph", self.len(), traces.len()));
        }
        if let Some(wrong) = traces.iter().flatten().find(|feature| **feature as usize >= self.width) {
            return Err(Error::shape("trace of a node", format!("below {}", self.width), wrong));
        }
        self.traces = traces;
        Ok(self)
    }

    /// The features by which a node shows in others.
    pub fn traces(&self, node: usize) -> &[u32] {
        self.traces.get(node).map_or(&[], Vec::as_slice)
    }

    /// The same graph with its nodes in groups.
    ///
    /// # Errors
    /// There is not one group per node.
    pub fn in_groups(mut self, names: &[String]) -> Result<Self> {
        if names.len() != self.len() {
            return Err(Error::shape("groups of a graph", self.len(), names.len()));
        }
        let distinct: BTreeSet<&String> = names.iter().collect();
        self.groups = distinct.into_iter().cloned().collect();
        let number = |name| self.groups.binary_search(name).unwrap_or_default() as u32;
        self.group = names.iter().map(number).collect();
        Ok(self)
    }

    /// Nodes.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The features of a node.
    pub fn features(&self, node: usize) -> &[u32] {
        &self.features[self.starts[node]..self.starts[node + 1]]
    }

    /// The nodes of some groups with the edges among them, and for each kept node its old number.
    pub fn of_groups(&self, wanted: &BTreeSet<u32>) -> (Self, Vec<u32>) {
        let kept: Vec<u32> =
            (0..self.len() as u32).filter(|node| wanted.contains(&self.group[*node as usize])).collect();
        let place = |node: u32| kept.binary_search(&node).ok().map(|place| place as u32);
        let features: Vec<Vec<u32>> =
            kept.iter().map(|node| self.features(*node as usize).to_vec()).collect();
        let labels = kept.iter().map(|node| self.labels[*node as usize]).collect();
        let edges = self.edges.iter().filter_map(|e| Some((place(e.from)?, place(e.to)?, e.kind)));
        let names: Vec<String> =
            kept.iter().map(|node| self.groups[self.group[*node as usize] as usize].clone()).collect();
        let traces = kept.iter().map(|node| self.traces(*node as usize).to_vec()).collect();
        let part = Self::new(self.width, &features, labels, self.kinds.clone(), edges)
            .and_then(|part| part.in_groups(&names))
            .and_then(|part| if self.traces.is_empty() { Ok(part) } else { part.with_traces(traces) })
            .expect("a part of a graph is a graph");
        (part, kept)
    }

    /// The same nodes with other edges.
    pub fn with_edges(&self, edges: Vec<Edge>) -> Self {
        let mut edges = edges;
        edges.sort_unstable();
        edges.dedup();
        Self { edges, ..self.clone() }
    }

    /// A copy in which only these nodes' classes are known.
    pub fn known_only(&self, nodes: &[u32]) -> Self {
        let mut labels = vec![IGNORE; self.len()];
        for node in nodes {
            labels[*node as usize] = self.labels[*node as usize];
        }
        Self { labels, ..self.clone() }
    }

    /// The neighbours of every node, whatever the kind of the edge.
    pub fn neighbours(&self) -> Neighbours {
        let mut degree = vec![0_usize; self.len()];
        for edge in &self.edges {
            degree[edge.from as usize] += 1;
            degree[edge.to as usize] += 1;
        }
        let mut starts = Vec::with_capacity(self.len() + 1);
        starts.push(0);
        for degree in &degree {
            starts.push(starts.last().copied().unwrap_or(0) + degree);
        }
        let mut next = starts.clone();
        let mut list = vec![0; starts.last().copied().unwrap_or(0)];
        for edge in &self.edges {
            for (of, is) in [(edge.from, edge.to), (edge.to, edge.from)] {
                list[next[of as usize]] = is;
                next[of as usize] += 1;
            }
        }
        Neighbours { starts, list }
    }
}

/// Neighbours of every node, one list behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbours {
    starts: Vec<usize>,
    list: Vec<u32>,
}

impl Neighbours {
    /// The neighbours of a node, in the order of the edges.
    pub fn of(&self, node: u32) -> &[u32] {
        &self.list[self.starts[node as usize]..self.starts[node as usize + 1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square() -> Graph {
        let features = [vec![0], vec![0, 1], vec![], vec![2]];
        let kinds = vec!["friend".to_owned(), "work".to_owned()];
        let edges = [(1, 0, 0), (0, 1, 0), (1, 2, 1), (2, 3, 0), (3, 3, 0)];
        Graph::new(3, &features, vec![0, 1, 0, 1], kinds, edges).unwrap()
    }

    #[test]
    fn edges_stand_once_and_neighbours_know_one_another() {
        let graph = square();
        assert_eq!(graph.edges.len(), 3);
        let neighbours = graph.neighbours();
        assert_eq!((neighbours.of(1), neighbours.of(3)), (&[0, 2][..], &[2][..]));
    }

    #[test]
    fn a_group_is_taken_with_the_edges_inside_it() {
        let names = ["a", "b", "b", "a"].map(str::to_owned);
        let graph = square().in_groups(&names).unwrap();
        let (part, kept) = graph.of_groups(&BTreeSet::from([1]));
        assert_eq!((part.len(), part.edges.len(), &kept[..]), (2, 1, &[1, 2][..]));
        assert_eq!((part.features(0), &part.labels[..]), (&[0, 1][..], &[1, 0][..]));
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let kinds = || vec!["edge".to_owned()];
        assert!(Graph::new(1, &[vec![1]], vec![0], kinds(), []).is_err());
        assert!(Graph::new(1, &[vec![0]], vec![0], kinds(), [(0, 1, 0)]).is_err());
        assert!(Graph::new(1, &[vec![0], vec![]], vec![0, 0], kinds(), [(0, 1, 1)]).is_err());
        assert!(Graph::new(1, &[vec![0]], vec![], kinds(), []).is_err());
    }

    #[test]
    fn labels_of_others_are_hidden() {
        assert_eq!(square().known_only(&[2]).labels, [IGNORE, IGNORE, 0, IGNORE]);
    }
}
