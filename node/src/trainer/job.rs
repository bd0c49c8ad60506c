//! Orders to the trainer thread and its reports.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use protocol::id::{Hash, OuterStep, PeerId, ShardIndex};
use protocol::peer::input::{Evaluated, Mixed, Trained};
use protocol::peer::output::{MixOrder, TrainOrder};

/// Bytes of encoded shards, by place and hash.
pub type ShardBytes = BTreeMap<(ShardIndex, Hash), Arc<[u8]>>;

/// An order.
#[derive(Debug)]
pub enum Job {
    /// Train and encode.
    Train(TrainOrder),
    /// Mix these shards while others are under way; the bytes of every source are with it.
    MixAhead(MixOrder, ShardBytes),
    /// Mix what was not mixed ahead, and go on from the result; the bytes of every source are with it.
    Mix(MixOrder, ShardBytes),
    /// Evaluate.
    Evaluate(OuterStep),
    /// Copy everything a restart needs.
    Checkpoint,
    /// Write the agreed parameters as a model that can be used on its own.
    Export(OuterStep),
}

/// A report.
#[derive(Debug)]
pub enum Report {
    /// Trained, with the encoded shards to serve.
    Trained(Trained, Vec<(Hash, Arc<[u8]>)>),
    /// Mixed.
    Mixed(Mixed),
    /// By how much the local loss falls with the update of each peer alone.
    Affinity(OuterStep, Vec<(PeerId, f64)>),
    /// Evaluated.
    Evaluated(Evaluated),
    /// The copies for a checkpoint.
    Checkpoint(Checkpoint),
    /// The model is written to this folder.
    Exported(PathBuf),
    /// The trainer cannot go on.
    Broken(String),
}

/// What a restart needs besides the peer's snapshot.
#[derive(Debug)]
pub struct Checkpoint {
    /// Agreed parameters.
    pub agreed: Vec<f32>,
    /// Momentum of the outer optimizer; empty where there is none.
    pub momentum: Vec<f32>,
    /// What the node's updates have told of its parameters; empty where each of them tells all.
    pub said: Vec<f32>,
    /// The learner's own state.
    pub learner: Vec<(String, Vec<u8>)>,
}
