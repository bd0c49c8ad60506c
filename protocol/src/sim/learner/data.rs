//! Generated classes, and how they fall to the peers.

use std::sync::Arc;

use crate::rng::{Rng, Seed};
use crate::sim::learner::number::{dirichlet, normal};

/// Values of an input.
pub const INPUTS: usize = 32;
/// Classes.
pub const CLASSES: usize = 10;
/// Clusters of a class; more than one, so that no plane separates classes.
const CLUSTERS: usize = 4;
/// Standard deviation of the inputs around the centre of their cluster, where centres have 1.
const NOISE: f64 = 1.0;
/// Labels that are wrong, so that no model is perfect.
const WRONG: f64 = 0.05;

/// Labelled inputs.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// (sample, input)
    pub inputs: Vec<f32>,
    /// By sample.
    pub labels: Vec<u8>,
}

/// Where the clusters of each class lie.
#[derive(Clone, Debug)]
pub struct Classes {
    /// (class, cluster, input)
    centres: Vec<f64>,
}

impl Samples {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// One input and its label.
    pub fn at(&self, place: usize) -> (&[f32], u8) {
        (&self.inputs[place * INPUTS..(place + 1) * INPUTS], self.labels[place])
    }

    /// Appends others.
    pub fn extend(&mut self, others: &Self) {
        self.inputs.extend_from_slice(&others.inputs);
        self.labels.extend_from_slice(&others.labels);
    }
}

impl Classes {
    /// Draws the clusters.
    pub fn draw(seed: &Seed) -> Self {
        let mut rng = seed.rng();
        Self { centres: (0..CLASSES * CLUSTERS * INPUTS).map(|_| normal(&mut rng)).collect() }
    }

    /// Draws samples with these shares of the classes.
    pub fn samples(&self, shares: &[f64], count: usize, rng: &mut Rng) -> Samples {
        let mut samples = Samples::default();
        for _ in 0..count {
            let class = one_of(shares, rng);
            let cluster = rng.below(CLUSTERS as u64) as usize;
            let at = (class * CLUSTERS + cluster) * INPUTS;
            let centre = &self.centres[at..at + INPUTS];
            samples.inputs.extend(centre.iter().map(|c| (c + NOISE * normal(rng)) as f32));
            let label = if rng.unit_f64() < WRONG { rng.below(CLASSES as u64) as usize } else { class };
            samples.labels.push(label as u8);
        }
        samples
    }

    /// The samples of every peer: shares of the classes from a Dirichlet distribution each.
    pub fn split(&self, alpha: f64, peers: usize, count: usize, seed: &Seed) -> Vec<Arc<Samples>> {
        (0..peers)
            .map(|peer| {
                let mut rng = seed.fork_index(peer as u64).rng();
                let shares = dirichlet(alpha, CLASSES, &mut rng);
                Arc::new(self.samples(&shares, count, &mut rng))
            })
            .collect()
    }
}

fn one_of(shares: &[f64], rng: &mut Rng) -> usize {
    let mut left = rng.unit_f64();
    for (place, share) in shares.iter().enumerate() {
        left -= share;
        if left < 0.0 {
            return place;
        }
    }
    // Shares sum to one up to rounding.
    shares.iter().rposition(|share| *share > 0.0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_alpha_gives_peers_few_classes_each() {
        let classes = Classes::draw(&Seed::from_u64(1));
        let largest = |alpha: f64| {
            let split = classes.split(alpha, 30, 100, &Seed::from_u64(2));
            let of_peer = |samples: &Arc<Samples>| {
                let mut counts = [0usize; CLASSES];
                samples.labels.iter().for_each(|label| counts[usize::from(*label)] += 1);
                counts.into_iter().max().unwrap()
            };
            split.iter().map(of_peer).sum::<usize>() as f64 / 30.0
        };
        assert!(largest(0.1) > 60.0 && largest(100.0) < 25.0, "{} {}", largest(0.1), largest(100.0));
    }
}
