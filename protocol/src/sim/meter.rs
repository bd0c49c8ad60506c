//! What is counted while a swarm runs, and one row of measurements an outer step.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::peer::event::Event;
use crate::time::Span;
use crate::wire::offence::Offence;

/// Most nodes whose mixing weights are kept.
const WEIGHTS_KEPT_MAX: usize = 256;

/// Kinds of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Announcements, hellos, cards, proofs.
    Gossip,
    /// Questions.
    Request,
    /// Answers to newcomers.
    News,
    /// Manifests.
    Manifest,
    /// Shards: the payload.
    Shards,
}

/// One look at the swarm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Virtual seconds.
    pub at_s: f64,
    /// Honest peers that are up.
    pub up: u32,
    /// The middle of their outer steps.
    pub step_median: u32,
    /// The least.
    pub step_least: u32,
    /// Their consensus distance, relative to the norm of their mean.
    pub consensus_distance_relative: f64,
    /// Mean score of a few, where it was taken.
    pub score: Option<f64>,
    /// Bytes sent so far, by all.
    pub bytes: u64,
}

/// Counters.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    /// Honest peers of whom something is expected and who are not through.
    pub(super) unfinished: usize,
    /// Honest peers that are up.
    pub(super) honest_up: usize,
    pub(super) rows: Vec<Row>,
    pub(super) bytes: [u64; 5],
    /// Honest peers that could have heard each announcement, summed; and how many did.
    pub(super) audience: u64,
    pub(super) heard: u64,
    /// Time announcements took, in classes of 10 ms, the last open.
    pub(super) delays: Vec<u64>,
    pub(super) duplicates: u64,
    pub(super) refused: BTreeMap<Offence, u64>,
    pub(super) offences: BTreeMap<Offence, u64>,
    /// Mixes by staleness of what was mixed.
    pub(super) staleness: Vec<u64>,
    pub(super) mixes: u64,
    /// Values pulled, and those that could not be read next to the puller's own.
    pub(super) values: u64,
    pub(super) far: u64,
    pub(super) joins: u64,
    pub(super) failed: BTreeMap<&'static str, u64>,
    /// Weights of the others in the last mix of each node.
    pub(super) weights: Vec<Vec<(u32, f32)>>,
}

impl Meter {
    pub(super) fn sent(&mut self, kind: Kind, bytes: usize) {
        self.bytes[kind as usize] += bytes as u64;
    }

    pub(super) fn heard(&mut self, after: Span) {
        self.heard += 1;
        let class = (after.0 / 10_000).min(1_000) as usize;
        if self.delays.len() <= class {
            self.delays.resize(class + 1, 0);
        }
        self.delays[class] += 1;
    }

    pub(super) fn refused(&mut self, offence: Offence) {
        *self.refused.entry(offence).or_default() += 1;
    }

    /// Counts what an honest peer reports.
    pub(super) fn saw(&mut self, is_honest: bool, event: &Event) {
        if !is_honest {
            return;
        }
        match event {
            Event::Pulled { staleness, .. } => {
                let class = (*staleness).min(1_000) as usize;
                if self.staleness.len() <= class {
                    self.staleness.resize(class + 1, 0);
                }
                self.staleness[class] += 1;
            }
            Event::Mixed { .. } => self.mixes += 1,
            Event::Joined { .. } => self.joins += 1,
            Event::PullFailed { why, .. } => *self.failed.entry(why).or_default() += 1,
            Event::Offence { offence, .. } => *self.offences.entry(*offence).or_default() += 1,
            _ => {}
        }
    }

    /// Keeps the weights of a mix, where there are few enough nodes.
    pub(super) fn weighed(&mut self, i: u32, peers: usize, weights: Vec<(u32, f32)>) {
        if peers <= WEIGHTS_KEPT_MAX {
            self.weights.resize(peers, Vec::new());
            self.weights[i as usize] = weights;
        }
    }
}

/// Root mean square distance of some vectors from their mean, over the norm of the mean; 0 where that is 0.
pub(super) fn consensus_relative(vectors: &[&[f32]]) -> f64 {
    let count = vectors.len().max(1) as f64;
    let len = vectors.first().map_or(0, |v| v.len());
    let mut mean = vec![0.0f64; len];
    for vector in vectors {
        mean.iter_mut().zip(*vector).for_each(|(m, x)| *m += f64::from(*x));
    }
    mean.iter_mut().for_each(|m| *m /= count);
    let mut spread = 0.0;
    for vector in vectors {
        spread += vector.iter().zip(&mean).map(|(x, m)| (f64::from(*x) - m).powi(2)).sum::<f64>();
    }
    let size: f64 = mean.iter().map(|m| m * m).sum();
    if size == 0.0 { 0.0 } else { (spread / count / size).sqrt() }
}
