//! What came of a run: the figures of a report, and whether everything held.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::id::Hash;
use crate::sim::findings::Violation;
use crate::sim::meter::Row;
use crate::sim::scenario::Scenario;

/// The outcome of one run. Scores are fractions, sizes bytes, times seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// Name of the scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Peers, liars included.
    pub peers: u32,
    /// Honest peers.
    pub honest: u32,
    /// Outer steps with training.
    pub outer_steps: u32,
    /// Parameters of the model.
    pub parameters: u64,
    /// Mean score of the honest peers that are up.
    pub score_mean: f64,
    /// The worst of them.
    pub score_worst: f64,
    /// Standard deviation of their scores.
    pub score_deviation: f64,
    /// Mean loss.
    pub loss_mean: f64,
    /// Consensus distance over the norm of the mean.
    pub consensus_distance_relative: f64,
    /// Consensus distance after one settle step over that before it, geometric mean; absent without settle steps.
    pub contraction: Option<f64>,
    /// One minus the second singular value of the last mixing matrix; absent in large swarms.
    pub spectral_gap: Option<f64>,
    /// Bytes sent, for each peer.
    pub bytes_per_peer: f64,
    /// Bytes sent by all, by kind.
    pub bytes_by_kind: BTreeMap<&'static str, u64>,
    /// Bytes the same pulls would have taken as 32-bit numbers, for each peer.
    pub bytes_dense_per_peer: f64,
    /// Mean staleness of what was mixed, in outer steps.
    pub staleness_mean: f64,
    /// Staleness that one in twenty exceeds.
    pub staleness_p95: u32,
    /// Share of announcements that reached the honest peers that were up.
    pub coverage: f64,
    /// Time one in twenty announcements exceeds.
    pub gossip_p95_s: f64,
    /// Copies of gossip that arrived, for each first one.
    pub gossip_duplicates: f64,
    /// Messages refused at the gate, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Offences honest peers counted, by kind.
    pub offences: BTreeMap<String, u64>,
    /// Questions that failed, by reason.
    pub failed: BTreeMap<&'static str, u64>,
    /// Times a peer took over the others' state.
    pub joins: u64,
    /// Share of the values pulled that could not be read next to the puller's own, under a relative codec.
    pub unreadable: f64,
    /// Events.
    pub events: u64,
    /// Virtual time.
    pub virtual_s: f64,
    /// What must not have happened.
    pub violations: Vec<Violation>,
    /// Honest peers shut out by honest peers.
    pub bans_of_honest_peers: u32,
    /// Peers that told two stories, and those of them that were proven to.
    pub equivocations: Equivocations,
    /// Hash of all events and parameters: equal for equal scenario, seed and commit.
    pub trace: Hash,
    /// Measurements over time.
    #[serde(skip)]
    pub rows: Vec<Row>,
}

/// Peers that told two stories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Equivocations {
    /// Whose both stories were heard by honest peers.
    pub made: usize,
    /// Of them, shut out with proof.
    pub proven: usize,
}

impl Outcome {
    /// An outcome of which only the scores are known; `scores` holds score and loss of the honest peers that are up.
    pub(super) fn blank(scenario: &Scenario, seed: u64, honest: u32, scores: &[(f64, f64)]) -> Self {
        let score_mean = mean(scores.iter().map(|s| s.0));
        Self {
            scenario: scenario.name.clone(),
            seed,
            peers: scenario.peers,
            honest,
            outer_steps: scenario.run.outer_steps,
            parameters: 0,
            score_mean,
            score_worst: scores.iter().map(|s| s.0).fold(f64::INFINITY, f64::min).min(1.0),
            score_deviation: mean(scores.iter().map(|s| (s.0 - score_mean).powi(2))).sqrt(),
            loss_mean: mean(scores.iter().map(|s| s.1)),
            consensus_distance_relative: 0.0,
            contraction: None,
            spectral_gap: None,
            bytes_per_peer: 0.0,
            bytes_by_kind: BTreeMap::new(),
            bytes_dense_per_peer: 0.0,
            staleness_mean: 0.0,
            staleness_p95: 0,
            coverage: 0.0,
            gossip_p95_s: 0.0,
            gossip_duplicates: 0.0,
            refused: BTreeMap::new(),
            offences: BTreeMap::new(),
            failed: BTreeMap::new(),
            joins: 0,
            unreadable: 0.0,
            events: 0,
            virtual_s: 0.0,
            violations: Vec::new(),
            bans_of_honest_peers: 0,
            equivocations: Equivocations::default(),
            trace: Hash::default(),
            rows: Vec::new(),
        }
    }
}

/// The mean of some values; 0 of none.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}
