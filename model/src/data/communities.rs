//! Communities of a graph: groups of nodes with many edges inside and few between.

use crate::data::graph::Graph;

/// Rounds of moves at most.
const ROUNDS_MAX: usize = 100;

/// Communities by the local moves of Louvain's method (Blondel and others 2008): each node goes to the community around it
/// that raises modularity most, the smallest of equals, until nothing moves.
pub fn communities(graph: &Graph, degrees: &[usize]) -> Vec<u32> {
    let neighbours = graph.neighbours();
    let ends = 2.0 * graph.edges.len().max(1) as f64;
    let mut community: Vec<u32> = (0..graph.len() as u32).collect();
    let mut sums: Vec<f64> = degrees.iter().map(|degree| *degree as f64).collect();
    let mut around = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let mut is_changed = false;
        for node in 0..graph.len() {
            let own = community[node];
            let degree = degrees[node] as f64;
            sums[own as usize] -= degree;
            around.clear();
            around.extend(neighbours.of(node as u32).iter().map(|neighbour| community[*neighbour as usize]));
            around.sort_unstable();
            let gain = |links: usize, to: u32| links as f64 - degree * sums[to as usize] / ends;
            let stays = around.iter().filter(|community| **community == own).count();
            let mut best = (gain(stays, own), own);
            for run in around.chunk_by(|a, b| a == b) {
                let gain = gain(run.len(), run[0]);
                // A node stays among equals, else two of them exchange places for ever.
                if gain > best.0 + 1e-12 {
                    best = (gain, run[0]);
                }
            }
            sums[best.1 as usize] += degree;
            is_changed |= best.1 != own;
            community[node] = best.1;
        }
        if !is_changed {
            break;
        }
    }
    community
}
