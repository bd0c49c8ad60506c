//! One line of the record files, as a page reads it.
//!
//! The writers are `runtime` (events, metrics, topology); the field names are their contract. Fields a kind of line does
//! not have are empty, unknown ones are passed over: a page shows what it understands.

use serde::Deserialize;

/// A line of `events.jsonl`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct EventLine {
    /// Seconds since 1970.
    pub t: f64,
    /// Name of the node that wrote it.
    pub node: String,
    /// What happened, as `mixed`.
    pub event: String,
    /// Outer step.
    pub step: Option<u32>,
    /// Another peer, hexadecimal.
    pub peer: Option<String>,
    /// Outer step of the pulled update.
    pub their_step: Option<u32>,
    /// Its age in outer steps.
    pub staleness: Option<u32>,
    /// Shards taken.
    pub shards: Option<u32>,
    /// Peers that had a part.
    pub peers: Option<u32>,
    /// Inner steps.
    pub inner_steps: Option<u32>,
    /// Inner steps dropped as not finite.
    pub dropped: Option<u32>,
    /// Samples.
    pub samples: Option<u64>,
    /// Mean loss.
    pub loss: Option<f64>,
    /// Seconds of training.
    pub seconds: Option<f64>,
    /// Seconds of pulling.
    pub pull_seconds: Option<f64>,
    /// Seconds of mixing.
    pub mix_seconds: Option<f64>,
    /// Seconds waited for peers.
    pub waited_seconds: Option<f64>,
    /// Bytes of an update.
    pub bytes: Option<u64>,
    /// Metric of an evaluation.
    pub metric: Option<String>,
    /// Score of an evaluation.
    pub score: Option<f64>,
    /// Stage entered.
    pub stage: Option<String>,
    /// Kind of an offence.
    pub offence: Option<String>,
    /// Why a question failed.
    pub why: Option<String>,
}

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct MetricLine {
    /// Name of the node that wrote it.
    pub node: String,
    /// Outer step.
    pub outer: u32,
    /// What was measured.
    pub name: String,
    /// The value; `None` where it was not finite.
    pub value: Option<f64>,
    /// Labels.
    pub tags: std::collections::BTreeMap<String, String>,
}

/// A line of `topology.jsonl`: how far apart the newest updates of the peers are, seen from one node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, serde::Serialize)]
#[serde(default)]
pub struct TopologyLine {
    /// Seconds since 1970.
    pub t: f64,
    /// Name of the node that wrote it.
    pub node: String,
    /// Outer step.
    pub outer: u32,
    /// Peers linked to that node, hexadecimal.
    pub linked: Vec<String>,
    /// Peers whose sketches are compared, hexadecimal.
    pub peers: Vec<String>,
    /// Distance of each pair over the norm of their mean, rows of the upper triangle: 0-1, 0-2, ..., 1-2, ...
    pub distances: Vec<f32>,
}

/// One record of the ledger, in words.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, serde::Serialize)]
#[serde(default)]
pub struct LedgerLine {
    /// Place in the chain.
    pub index: u64,
    /// Hash of the sealed entry, hexadecimal.
    pub hash: String,
    /// What happened.
    pub record: serde_json::Value,
}
