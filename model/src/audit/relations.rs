//! What a graph looks like: degrees, components, who is central, which communities there are, and whether like knows like.
//!
//! Everything here is counted or iterated in a fixed order, so equal graphs give equal reports. Written out instead of taken
//! from a graph library: it is a page, and one dependency less.

use serde::Serialize;

use crate::data::communities::communities;
use crate::data::graph::Graph;
use crate::data::labels::LabelSet;

/// Damping of PageRank (Brin and Page 1998).
const DAMPING: f64 = 0.85;
/// Rounds of PageRank at most.
const ROUNDS_MAX: usize = 100;
/// Nodes listed as central.
const CENTRAL: usize = 5;

/// A graph in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Relations {
    /// Nodes.
    pub nodes: usize,
    /// Edges.
    pub edges: usize,
    /// Edges by kind.
    pub kinds: Vec<(String, usize)>,
    /// Mean number of neighbours.
    pub degree_mean: f64,
    /// Largest number of neighbours.
    pub degree_max: usize,
    /// Nodes without any.
    pub isolated: usize,
    /// Parts that no edge joins.
    pub components: usize,
    /// Nodes of the largest part.
    pub component_largest: usize,
    /// The most central nodes by PageRank, with their rank; ranks sum to 1.
    pub central: Vec<(usize, f64)>,
    /// Communities found by moves that raise modularity.
    pub communities: usize,
    /// Modularity of these communities: 0 as by chance, toward 1 for dense groups with few edges between.
    pub modularity: f64,
    /// Share of edges between two nodes of known, equal class.
    pub homophily: f64,
    /// The same share if edges met by chance, given how many neighbours each class has.
    pub homophily_by_chance: f64,
    /// The share for each kind of edge.
    pub homophily_by_kind: Vec<(String, f64)>,
}

/// Describes a graph.
pub fn describe(graph: &Graph) -> Relations {
    let neighbours = graph.neighbours();
    let degrees: Vec<usize> = (0..graph.len() as u32).map(|node| neighbours.of(node).len()).collect();
    let components = component_sizes(graph);
    let ranks = page_rank(graph);
    let mut order: Vec<usize> = (0..graph.len()).collect();
    order.sort_by(|a, b| ranks[*b].total_cmp(&ranks[*a]).then(a.cmp(b)));
    let communities = communities(graph, &degrees);
    let mut distinct = communities.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let of_kind = |kind: usize| graph.edges.iter().filter(move |edge| edge.kind as usize == kind);
    Relations {
        nodes: graph.len(),
        edges: graph.edges.len(),
        kinds: graph.kinds.iter().enumerate().map(|(k, name)| (name.clone(), of_kind(k).count())).collect(),
        degree_mean: degrees.iter().sum::<usize>() as f64 / graph.len().max(1) as f64,
        degree_max: degrees.iter().copied().max().unwrap_or(0),
        isolated: degrees.iter().filter(|degree| **degree == 0).count(),
        components: components.len(),
        component_largest: components.iter().copied().max().unwrap_or(0),
        central: order.iter().take(CENTRAL).map(|node| (*node, ranks[*node])).collect(),
        communities: distinct.len(),
        modularity: modularity(graph, &degrees, &communities),
        homophily: homophily(graph, graph.edges.iter()),
        homophily_by_chance: by_chance(graph, &degrees),
        homophily_by_kind: graph
            .kinds
            .iter()
            .enumerate()
            .map(|(kind, name)| (name.clone(), homophily(graph, of_kind(kind))))
            .collect(),
    }
}

/// Sizes of the connected parts, by union and find.
fn component_sizes(graph: &Graph) -> Vec<usize> {
    fn root(parent: &mut [usize], mut node: usize) -> usize {
        while parent[node] != node {
            parent[node] = parent[parent[node]];
            node = parent[node];
        }
        node
    }
    let mut parent: Vec<usize> = (0..graph.len()).collect();
    for edge in &graph.edges {
        let (a, b) = (root(&mut parent, edge.from as usize), root(&mut parent, edge.to as usize));
        parent[a.max(b)] = a.min(b);
    }
    let mut sizes = vec![0; graph.len()];
    for node in 0..graph.len() {
        sizes[root(&mut parent, node)] += 1;
    }
    sizes.retain(|size| *size > 0);
    sizes
}

/// PageRank by power iteration; what isolated nodes have goes to all alike.
fn page_rank(graph: &Graph) -> Vec<f64> {
    let n = graph.len();
    let neighbours = graph.neighbours();
    let mut ranks = vec![1.0 / n.max(1) as f64; n];
    for _ in 0..ROUNDS_MAX {
        let mut next = vec![0.0; n];
        let mut loose = 0.0;
        for (node, rank) in ranks.iter().enumerate() {
            let around = neighbours.of(node as u32);
            if around.is_empty() {
                loose += rank;
            }
            for neighbour in around {
                next[*neighbour as usize] += rank / around.len() as f64;
            }
        }
        let even = (1.0 - DAMPING + DAMPING * loose) / n.max(1) as f64;
        let mut moved = 0.0;
        for (next, rank) in next.iter_mut().zip(&ranks) {
            *next = even + DAMPING * *next;
            moved += (*next - rank).abs();
        }
        ranks = next;
        if moved < 1e-10 {
            break;
        }
    }
    ranks
}

/// Share of edges inside communities minus what chance gives (Newman and Girvan 2004).
fn modularity(graph: &Graph, degrees: &[usize], community: &[u32]) -> f64 {
    let edges = graph.edges.len() as f64;
    if edges == 0.0 {
        return 0.0;
    }
    let inside =
        graph.edges.iter().filter(|e| community[e.from as usize] == community[e.to as usize]).count() as f64;
    let mut sums = vec![0.0; graph.len()];
    for (node, degree) in degrees.iter().enumerate() {
        sums[community[node] as usize] += *degree as f64;
    }
    inside / edges - sums.iter().map(|sum| (sum / (2.0 * edges)).powi(2)).sum::<f64>()
}

fn homophily<'a>(graph: &Graph, edges: impl Iterator<Item = &'a crate::data::graph::Edge>) -> f64 {
    let (mut alike, mut known) = (0_u64, 0_u64);
    for edge in edges {
        let (a, b) = (graph.labels[edge.from as usize], graph.labels[edge.to as usize]);
        if a >= 0 && b >= 0 {
            known += 1;
            alike += u64::from(a == b);
        }
    }
    if known == 0 { 0.0 } else { alike as f64 / known as f64 }
}

fn by_chance(graph: &Graph, degrees: &[usize]) -> f64 {
    let classes = graph.labels.iter().copied().max().map_or(0, |largest| largest.max(-1) + 1) as usize;
    let mut sums = vec![0.0; classes];
    for (label, degree) in graph.labels.iter().zip(degrees) {
        if let Ok(label) = usize::try_from(*label) {
            sums[label] += *degree as f64;
        }
    }
    let total: f64 = sums.iter().sum();
    if total == 0.0 { 0.0 } else { sums.iter().map(|sum| (sum / total).powi(2)).sum() }
}

impl Relations {
    /// The report as lines for a person.
    pub fn lines(&self, labels: &LabelSet) -> Vec<String> {
        let kinds: Vec<String> = self.kinds.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let central: Vec<String> =
            self.central.iter().map(|(node, rank)| format!("{node} ({:.2} %)", 100.0 * rank)).collect();
        let by_kind: Vec<String> =
            self.homophily_by_kind.iter().map(|(name, share)| format!("{name} {share:.3}")).collect();
        vec![
            format!(
                "nodes {}, classes {}, edges {} ({})",
                self.nodes,
                labels.len(),
                self.edges,
                kinds.join(", ")
            ),
            format!(
                "degree mean {:.2}, largest {}, nodes without neighbours {}",
                self.degree_mean, self.degree_max, self.isolated
            ),
            format!("components {}, the largest has {} nodes", self.components, self.component_largest),
            format!("most central by PageRank: {}", central.join(", ")),
            format!("communities {}, modularity {:.3}", self.communities, self.modularity),
            format!(
                "homophily {:.3}, by chance {:.3}; by kind: {}",
                self.homophily,
                self.homophily_by_chance,
                by_kind.join(", ")
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two triangles joined by one edge, and a node alone.
    fn triangles() -> Graph {
        let edges = [(0, 1, 0), (1, 2, 0), (0, 2, 0), (3, 4, 0), (4, 5, 0), (3, 5, 0), (2, 3, 1)];
        let kinds = vec!["inside".to_owned(), "between".to_owned()];
        Graph::new(1, &vec![vec![]; 7], vec![0, 0, 0, 1, 1, 1, -100], kinds, edges).unwrap()
    }

    #[test]
    fn two_triangles_are_two_communities_of_one_component() {
        let found = describe(&triangles());
        assert_eq!((found.components, found.component_largest, found.isolated), (2, 6, 1));
        assert_eq!((found.communities, found.degree_max), (3, 3));
        // 6 of 7 edges inside; each triangle has 7 of 14 ends.
        assert!((found.modularity - (6.0 / 7.0 - 0.5)).abs() < 1e-12);
        assert!((found.homophily - 6.0 / 7.0).abs() < 1e-12);
        assert_eq!(found.homophily_by_chance, 0.5);
        assert_eq!(found.homophily_by_kind, [("inside".to_owned(), 1.0), ("between".to_owned(), 0.0)]);
        assert_eq!(found.lines(&LabelSet::classes(["a", "b"]).unwrap()).len(), 6);
    }

    #[test]
    fn ranks_sum_to_one_and_those_between_are_central() {
        let ranks = page_rank(&triangles());
        assert!((ranks.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        let found = describe(&triangles());
        assert!(found.central[..2].iter().all(|(node, _)| [2, 3].contains(node)));
        assert!((found.central[0].1 - found.central[1].1).abs() < 1e-9, "the graph is its own mirror image");
    }
}
