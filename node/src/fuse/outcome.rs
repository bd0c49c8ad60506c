//! What a fusion found, as data.

use std::path::PathBuf;

use model::fuse::compare::Guard;
use model::fuse::fit::Interval;
use model::fuse::gate::Verdict;
use model::fuse::pool::Pool;
use model::fuse::quality::Quality;
use model::fuse::rule::Rule;
use protocol::id::PeerId;
use serde::Serialize;

/// Everything about one fusion.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The rule.
    pub rule: Rule,
    /// Whether the rule was named; otherwise it is the default, guarded.
    pub is_rule_named: bool,
    /// What it was fitted to be.
    pub pool: Pool,
    /// The weight of every member.
    pub weights: Vec<f64>,
    /// The members, in the order of the weights.
    pub members: Vec<MemberOutcome>,
    /// Members that did not answer and have no part in it.
    pub left_out: Vec<LeftOut>,
    /// Score of the fusion on the examples of `judged_on`.
    pub score_fused: Option<f64>,
    /// Score of equal weights there.
    pub score_uniform: Option<f64>,
    /// Score there of the member that was best on the calibration set.
    pub score_best_single: Option<f64>,
    /// Score there when members vote for whole entities with the same weights; nothing unless weights on the simplex tag
    /// words.
    pub score_spans: Option<f64>,
    /// Every rule's measures there.
    pub rules: Vec<RuleOutcome>,
    /// Measures there of one model with the mean of all members' parameters, where their shapes agree.
    pub averaged: Option<Quality>,
    /// How the default compared with equal weights and the best member out of the fit.
    pub guard: Option<Guard>,
    /// The gate's verdict.
    pub verdict: Option<Verdict>,
    /// `f1` or `accuracy`.
    pub metric: String,
    /// Which examples the scores are from.
    pub judged_on: JudgedOn,
    /// Examples fitted to.
    pub samples_calibrate: usize,
    /// Examples judged on.
    pub samples_judged: usize,
    /// The calibration data.
    pub calibrate: PathBuf,
    /// What a person should know before using the rule.
    pub warning: Option<String>,
    /// The folder of the fused model; nothing where the gate did not let it in.
    pub model: Option<PathBuf>,
    /// Seconds in all.
    pub wall_s: f64,
}

/// Which examples rules and members were judged on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum JudgedOn {
    /// Validation examples that nothing was fitted to.
    Validation,
    /// The calibration set, every example by a fit without it.
    CrossValidation,
    /// Nothing: no example had a label.
    Nothing,
}

/// One member.
#[derive(Clone, Debug, Serialize)]
pub struct MemberOutcome {
    /// Its name.
    pub name: String,
    /// Its folder; nothing for a peer.
    pub model: Option<PathBuf>,
    /// Its key; nothing for a model here.
    pub peer: Option<PeerId>,
    /// Outer step of the model that answered.
    pub step: u32,
    /// Milliseconds to the answers about the calibration set: of a peer the middle query and nineteen of twenty, of a model
    /// here all at once.
    pub latency_ms: Option<[f64; 2]>,
    /// Hash of the files its answers depend on; of a peer, of what it said of the calibration set.
    pub hash: String,
    /// Its score.
    pub score: Option<f64>,
    /// All its measures.
    pub quality: Option<Quality>,
    /// Its weight.
    pub weight: f64,
    /// The middle 95 % of its weight over examples drawn with replacement.
    pub interval: Option<Interval>,
}

/// A member that has no part in the fusion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: String,
}

/// One rule.
#[derive(Clone, Debug, Serialize)]
pub struct RuleOutcome {
    /// Its name.
    pub rule: Rule,
    /// Its measures.
    #[serde(flatten)]
    pub quality: Quality,
}
