//! A scenario: everything that decides how a simulated swarm fares, as plain data.
//!
//! It exists so that scenarios are files people read, change and share. Whoever reads a file brings the parser; here are
//! the fields, their defaults and the relations between them. Shares are fractions of the peers, moments are fractions of
//! the planned run, so one scenario fits every size.

use serde::{Deserialize, Serialize};

use crate::limits::{MEMBERS_MAX, PULLS_MAX};
use crate::rng::Seed;
use crate::sim::attack::AdversaryTerms;
use crate::sim::bounds::{ScenarioError, need, share};
use crate::sim::fault::Fault;
use crate::wire::choice::{Codec, Rule};

/// One scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Its name, also that of its file.
    pub name: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// Peers, adversaries included.
    pub peers: u32,
    /// How signatures are treated.
    pub signatures: Signatures,
    /// What the charter says.
    pub run: RunTerms,
    /// What is learned.
    pub learner: LearnerTerms,
    /// How messages travel.
    pub network: NetworkTerms,
    /// How fast peers work.
    pub compute: ComputeTerms,
    /// What goes wrong.
    #[serde(rename = "fault")]
    pub faults: Vec<Fault>,
    /// Who lies.
    #[serde(rename = "adversary")]
    pub adversaries: Vec<AdversaryTerms>,
    /// What must hold besides the invariants.
    pub check: CheckTerms,
    /// The size that fits a test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub small: Option<Small>,
}

/// How signatures are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signatures {
    /// Made and checked, as between real nodes.
    #[default]
    Verified,
    /// Replaced by keyed hashes, see `crypto::assumed`.
    Assumed,
}

/// Who talks to whom, and what is combined with what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// The protocol: every shard pulled from peers drawn for it.
    #[default]
    Pull,
    /// One reciprocal partner a step, with momentum on difference and step alike (NoLoCo).
    Pair,
    /// The whole update sent to peers drawn for it; what came is averaged (epidemic learning).
    Push,
    /// Two fixed neighbours on a ring.
    Ring,
    /// Fixed neighbours on a random regular graph (D-PSGD).
    Regular,
    /// Pairwise averaging with a random neighbour whenever a step is done (AD-PSGD).
    Async,
    /// One peer a step, at distance 1, 2, 4, ... (one-peer exponential graph).
    Exponential,
    /// The exact average of all after a barrier (DiLoCo); no network gives it, it is the reference.
    AllReduce,
    /// Everybody for itself.
    Alone,
}

/// The terms of the charter that a scenario sets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunTerms {
    /// Who talks to whom.
    pub algorithm: Algorithm,
    /// Outer steps with training.
    pub outer_steps: u32,
    /// Outer steps that only mix.
    pub settle_steps: u32,
    /// Inner steps in an outer step.
    pub inner_steps: u32,
    /// Codec while training.
    pub codec: Codec,
    /// Codec while settling.
    pub settle_codec: Codec,
    /// Peers pulled for each shard; neighbours of the baselines that have a choice.
    pub pulls: u32,
    /// Byzantine peers planned for in one pull.
    pub byzantine: u32,
    /// The mixing rule.
    pub rule: Rule,
    /// Outer momentum.
    pub outer_momentum: f32,
    /// Outer rate.
    pub outer_rate: f32,
    /// Oldest update that is mixed.
    pub staleness_max: u32,
    /// Longest wait for peers at an earlier step.
    pub patience_ms: u32,
    /// Whether exactly the same step of every linked member is mixed.
    pub synchronous: bool,
    /// Whether the next outer step is trained while the updates of this one travel.
    pub overlap: bool,
}

/// What is learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearnerTerms {
    /// The problem.
    pub kind: LearnerKind,
    /// How alike the peers' data are: the concentration of the Dirichlet split; small is unlike.
    pub alpha: f64,
    /// Training samples of a peer.
    pub samples: u32,
    /// Parameters of the quadratic problem.
    pub parameters: u32,
    /// Units of the hidden layer of the perceptron.
    pub hidden: u32,
    /// Peak learning rate.
    pub rate: f32,
    /// Samples in a batch.
    pub batch: u32,
    /// Share of all inner steps, the last, in which the rate falls to 0.
    pub decay_share: f32,
}

/// A problem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LearnerKind {
    /// Every peer pulls towards a point of its own; the optimum is their mean.
    Quadratic,
    /// Softmax regression on generated classes; the optimum is found by descent on all data.
    Softmax,
    /// A perceptron with one hidden layer on generated classes that no plane separates.
    #[default]
    Mlp,
}

/// How messages travel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkTerms {
    /// Links a peer has at most; fewer peers than that are all linked.
    pub links: u32,
    /// Shortest and longest time of a message in milliseconds.
    pub latency_ms: [u32; 2],
    /// Upload and download of a peer, megabits a second; 0 for no limit.
    pub bandwidth_mbit: f64,
    /// Share of messages and answers lost.
    pub loss: f64,
    /// Share of gossip that comes twice.
    pub duplicate: f64,
    /// Share of messages held back for up to ten times the longest latency.
    pub reorder: f64,
    /// Share of bulk answers with a flipped bit.
    pub corrupt: f64,
    /// Peers a heard message is passed on to; 0 passes on proofs and revocations only.
    pub fanout: u32,
    /// Moment from which loss, duplication, reordering and corruption end.
    pub until: f64,
}

/// How fast peers work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ComputeTerms {
    /// Time of an inner step on the fastest peer.
    pub inner_step_ms: f64,
    /// How many times slower the slowest is; the others lie evenly between.
    pub spread: f64,
    /// Share of peers that are slower still ...
    pub slow_share: f64,
    /// ... by this factor.
    pub slow_factor: f64,
}

/// What must hold besides the invariants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckTerms {
    /// Largest relative consensus distance of the honest peers at the end.
    pub consensus_max: f64,
    /// Least mean score of the honest peers at the end.
    pub score_min: f64,
    /// Virtual seconds within which every honest peer advances once faults are over.
    pub liveness_s: f64,
}

/// The size at which a scenario runs among ordinary tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Small {
    /// Peers.
    pub peers: u32,
    /// Outer steps.
    pub outer_steps: u32,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: "unnamed".to_owned(),
            about: String::new(),
            peers: 16,
            signatures: Signatures::default(),
            run: RunTerms::default(),
            learner: LearnerTerms::default(),
            network: NetworkTerms::default(),
            compute: ComputeTerms::default(),
            faults: Vec::new(),
            adversaries: Vec::new(),
            check: CheckTerms::default(),
            small: None,
        }
    }
}

impl Default for RunTerms {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::Pull,
            outer_steps: 40,
            settle_steps: 7,
            inner_steps: 8,
            codec: Codec::Int8,
            settle_codec: Codec::F16,
            pulls: 4,
            byzantine: 0,
            rule: Rule::Mean,
            outer_momentum: 0.5,
            outer_rate: 0.7,
            staleness_max: 8,
            patience_ms: 2_000,
            synchronous: false,
            overlap: false,
        }
    }
}

impl Default for LearnerTerms {
    fn default() -> Self {
        Self {
            kind: LearnerKind::Mlp,
            alpha: 0.3,
            samples: 200,
            parameters: 2_048,
            hidden: 48,
            rate: 0.1,
            batch: 16,
            decay_share: 0.3,
        }
    }
}

impl Default for NetworkTerms {
    fn default() -> Self {
        Self {
            links: 40,
            latency_ms: [5, 60],
            bandwidth_mbit: 50.0,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            corrupt: 0.0,
            fanout: 4,
            until: 1.0,
        }
    }
}

impl Default for ComputeTerms {
    fn default() -> Self {
        Self { inner_step_ms: 100.0, spread: 1.2, slow_share: 0.0, slow_factor: 10.0 }
    }
}

impl Default for CheckTerms {
    fn default() -> Self {
        Self { consensus_max: 0.05, score_min: 0.0, liveness_s: 120.0 }
    }
}

impl Scenario {
    /// The same at the size that fits a test.
    pub fn at_small_size(mut self) -> Self {
        if let Some(small) = self.small.take() {
            self.peers = small.peers;
            self.run.outer_steps = small.outer_steps;
        }
        self
    }

    /// Planned length of one outer step in virtual seconds: training on a middling peer, then the exchange.
    pub fn step_seconds(&self) -> f64 {
        let middling = f64::midpoint(1.0, self.compute.spread);
        let exchange = f64::from(self.network.latency_ms[1]) * 6.0 / 1e3;
        f64::from(self.run.inner_steps) * self.compute.inner_step_ms / 1e3 * middling + exchange
    }

    /// Planned length of the training steps in virtual seconds; moments of faults are fractions of it.
    pub fn planned_seconds(&self) -> f64 {
        f64::from(self.run.outer_steps) * self.step_seconds()
    }

    /// Who lies how: honest peers first, then each kind of liar in the order of the scenario.
    pub(super) fn liars(&self) -> Vec<Option<AdversaryTerms>> {
        let peers = self.peers as usize;
        let mut lies: Vec<Option<AdversaryTerms>> = Vec::with_capacity(peers);
        for terms in &self.adversaries {
            let count = (terms.share * peers as f64).round() as usize;
            lies.extend(std::iter::repeat_n(Some(terms.clone()), count));
        }
        lies.truncate(peers - 1);
        let mut all = vec![None; peers - lies.len()];
        all.append(&mut lies);
        all
    }

    /// How many times slower a peer trains than the fastest: evenly between it and the slowest, some slower still.
    pub(super) fn slowness(&self, i: usize, seed: &Seed) -> f64 {
        let terms = &self.compute;
        let mut rng = seed.fork("speed").fork_index(i as u64).rng();
        let spread = 1.0 + rng.unit_f64() * (terms.spread - 1.0);
        if rng.unit_f64() < terms.slow_share { spread * terms.slow_factor } else { spread }
    }

    /// Checks every field and the relations between them.
    pub fn check(&self) -> Result<(), ScenarioError> {
        need((2..=MEMBERS_MAX as u32).contains(&self.peers), "peers", "2 to 10240", self.peers)?;
        let run = &self.run;
        need((1..=100_000).contains(&run.outer_steps), "run.outer_steps", "1 to 100000", run.outer_steps)?;
        need(run.settle_steps <= 1_000, "run.settle_steps", "at most 1000", run.settle_steps)?;
        need((1..=10_000).contains(&run.inner_steps), "run.inner_steps", "1 to 10000", run.inner_steps)?;
        need((1..=PULLS_MAX as u32).contains(&run.pulls), "run.pulls", "1 to 64", run.pulls)?;
        need(2 * run.byzantine < run.pulls + 1, "run.byzantine", "2b < s + 1", run.byzantine)?;
        need(
            run.algorithm == Algorithm::Pull || !run.codec.is_relative(),
            "run.codec",
            "one that is read without values near those that were encoded: only pull knows them",
            run.codec,
        )?;
        need(
            !run.codec.is_sparse() || run.rule == Rule::Mean,
            "run.rule",
            "mean: other rules would take what topk leaves unsaid for the author's word",
            run.rule,
        )?;
        need(run.settle_codec.is_fine(), "run.settle_codec", "f32, f16 or bf16", run.settle_codec)?;
        need(
            (0.0..1.0).contains(&run.outer_momentum),
            "run.outer_momentum",
            "0 to below 1",
            run.outer_momentum,
        )?;
        need(
            run.outer_rate > 0.0 && run.outer_rate <= 2.0,
            "run.outer_rate",
            "above 0, at most 2",
            run.outer_rate,
        )?;
        need((1..=1_000).contains(&run.staleness_max), "run.staleness_max", "1 to 1000", run.staleness_max)?;
        need(
            !run.overlap || (run.algorithm == Algorithm::Pull && !run.synchronous),
            "run.overlap",
            "false for baselines and synchronous runs",
            run.overlap,
        )?;
        self.check_learner()?;
        self.check_world()?;
        self.faults.iter().try_for_each(Fault::check)?;
        self.adversaries.iter().try_for_each(AdversaryTerms::check)?;
        let liars: f64 = self.adversaries.iter().map(|a| a.share).sum();
        need(liars < 1.0, "adversary.share", "less than 1 together: somebody has to be honest", liars)
    }

    fn check_learner(&self) -> Result<(), ScenarioError> {
        let l = &self.learner;
        need(l.alpha > 0.0 && l.alpha <= 1e6, "learner.alpha", "above 0, at most 1000000", l.alpha)?;
        need((1..=100_000).contains(&l.samples), "learner.samples", "1 to 100000", l.samples)?;
        need((64..=1 << 24).contains(&l.parameters), "learner.parameters", "64 to 16777216", l.parameters)?;
        need((1..=4_096).contains(&l.hidden), "learner.hidden", "1 to 4096", l.hidden)?;
        need(l.rate > 0.0 && l.rate <= 10.0, "learner.rate", "above 0, at most 10", l.rate)?;
        need((1..=4_096).contains(&l.batch), "learner.batch", "1 to 4096", l.batch)?;
        share("learner.decay_share", l.decay_share.into())
    }

    fn check_world(&self) -> Result<(), ScenarioError> {
        let n = &self.network;
        need((1..=512).contains(&n.links), "network.links", "1 to 512", n.links)?;
        let [low, high] = n.latency_ms;
        need(
            low <= high && high <= 60_000,
            "network.latency_ms",
            "two rising numbers, at most 60000",
            format!("{low}, {high}"),
        )?;
        need(
            n.bandwidth_mbit >= 0.0 && n.bandwidth_mbit.is_finite(),
            "network.bandwidth_mbit",
            "0 or more",
            n.bandwidth_mbit,
        )?;
        need(n.fanout <= 64, "network.fanout", "at most 64", n.fanout)?;
        share("network.loss", n.loss)?;
        share("network.duplicate", n.duplicate)?;
        share("network.reorder", n.reorder)?;
        share("network.corrupt", n.corrupt)?;
        share("network.until", n.until)?;
        let c = &self.compute;
        need(
            c.inner_step_ms > 0.0 && c.inner_step_ms <= 1e6,
            "compute.inner_step_ms",
            "above 0, at most 1000000",
            c.inner_step_ms,
        )?;
        need((1.0..=1e4).contains(&c.spread), "compute.spread", "1 to 10000", c.spread)?;
        need((1.0..=1e4).contains(&c.slow_factor), "compute.slow_factor", "1 to 10000", c.slow_factor)?;
        share("compute.slow_share", c.slow_share)?;
        need(self.check.consensus_max > 0.0, "check.consensus_max", "above 0", self.check.consensus_max)?;
        need(self.check.liveness_s > 0.0, "check.liveness_s", "above 0", self.check.liveness_s)
    }
}
