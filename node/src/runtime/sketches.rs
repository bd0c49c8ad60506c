//! How far apart the peers' models are, from the sketches in their manifests.

use std::collections::BTreeMap;

use protocol::id::PeerId;

use crate::board::limits::PLACED_MAX;
use crate::board::line::TopologyLine;

/// Sketches of the newest update of each peer, own included.
#[derive(Debug, Default)]
pub struct Sketches {
    by_peer: BTreeMap<PeerId, Vec<f32>>,
}

impl Sketches {
    /// Takes a peer's newest sketch.
    pub fn insert(&mut self, peer: PeerId, sketch: Vec<f32>) {
        self.by_peer.insert(peer, sketch);
    }

    /// Forgets a peer that is gone.
    pub fn remove(&mut self, peer: &PeerId) {
        self.by_peer.remove(peer);
    }

    /// Root mean square distance from the mean, over the norm of the mean; `None` for fewer than two peers.
    pub fn consensus_relative(&self) -> Option<f64> {
        let n = self.by_peer.len();
        if n < 2 {
            return None;
        }
        let mean = self.mean();
        let square = |sketch: &Vec<f32>| -> f64 {
            sketch.iter().zip(&mean).map(|(x, m)| (f64::from(*x) - m).powi(2)).sum()
        };
        let spread = self.by_peer.values().map(square).sum::<f64>() / n as f64;
        let size: f64 = mean.iter().map(|m| m * m).sum();
        (size > 0.0).then(|| (spread / size).sqrt())
    }

    /// Distances of all pairs over the norm of the mean; `None` for fewer than two peers or too many to compare.
    pub fn topology(&self, t: f64, node: &str, outer: u32, linked: Vec<String>) -> Option<TopologyLine> {
        let size = self.mean().iter().map(|m| m * m).sum::<f64>().sqrt();
        if !(2..=PLACED_MAX).contains(&self.by_peer.len()) || size <= 0.0 {
            return None;
        }
        let all: Vec<&Vec<f32>> = self.by_peer.values().collect();
        let pairs = (0..all.len()).flat_map(|i| (i + 1..all.len()).map(move |j| (i, j)));
        let distance = |(i, j): (usize, usize)| {
            let square: f64 =
                all[i].iter().zip(all[j]).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
            (square.sqrt() / size) as f32
        };
        Some(TopologyLine {
            t,
            node: node.to_owned(),
            outer,
            linked,
            peers: self.by_peer.keys().map(ToString::to_string).collect(),
            distances: pairs.map(distance).collect(),
        })
    }

    fn mean(&self) -> Vec<f64> {
        let n = self.by_peer.len() as f64;
        let mut mean = vec![0.0f64; self.by_peer.values().next().map_or(0, Vec::len)];
        for sketch in self.by_peer.values() {
            mean.iter_mut().zip(sketch).for_each(|(m, x)| *m += f64::from(*x) / n);
        }
        mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consensus_distance_and_pairs_agree_with_hand_computed_values() {
        let mut sketches = Sketches::default();
        assert_eq!(sketches.consensus_relative(), None);
        sketches.insert(PeerId([1; 32]), vec![3.0, 1.0]);
        sketches.insert(PeerId([2; 32]), vec![3.0, -1.0]);
        assert!((sketches.consensus_relative().unwrap() - 1.0 / 3.0).abs() < 1e-12);
        let line = sketches.topology(0.0, "ada", 1, Vec::new()).unwrap();
        assert_eq!((line.peers.len(), line.distances.len()), (2, 1));
        assert!((line.distances[0] - 2.0 / 3.0).abs() < 1e-6);
        sketches.remove(&PeerId([2; 32]));
        assert!(sketches.topology(0.0, "ada", 1, Vec::new()).is_none());
    }
}
