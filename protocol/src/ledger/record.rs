//! What a ledger records.

use bincode::{Decode, Encode};
use serde::Serialize;

use crate::id::{Hash, OuterStep, PeerId};
use crate::wire::choice::Stage;
use crate::wire::offence::Offence;

/// One thing that happened on this node.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The node took this charter as its own.
    Charter {
        /// Hash of the charter's body.
        hash: Hash,
        /// Its version.
        version: u32,
    },
    /// An update was signed and announced.
    Published {
        /// Outer step.
        step: OuterStep,
        /// Hash of the sealed manifest.
        manifest: Hash,
    },
    /// Shards were pulled and mixed.
    Mixed {
        /// Outer step.
        step: OuterStep,
        /// Where they came from.
        from: Vec<Contribution>,
        /// Shards with at least one contribution.
        shards: u32,
    },
    /// Something was refused.
    Refused {
        /// Outer step.
        step: OuterStep,
        /// Whose.
        peer: PeerId,
        /// Why.
        offence: Offence,
    },
    /// The model was evaluated on local data.
    Evaluated {
        /// Outer step.
        step: OuterStep,
        /// Name of the metric.
        metric: String,
        /// The score.
        score: f32,
        /// Mean loss.
        loss: f32,
    },
    /// The node entered a stage.
    Stage {
        /// Outer step.
        step: OuterStep,
        /// The stage.
        stage: Stage,
    },
    /// A key was shut out.
    Banned {
        /// Which.
        peer: PeerId,
        /// Hash of the proof; zero for an operator's word.
        proof: Hash,
    },
    /// A gate judged a candidate for the place of the model in use: a student, a fusion.
    Judged {
        /// Hash of the candidate's card.
        candidate: Hash,
        /// Whether it was let in.
        is_adopted: bool,
        /// Name of the metric.
        metric: String,
        /// Its score.
        score_candidate: f32,
        /// The score of what was there.
        score_incumbent: f32,
        /// By how much it was allowed to lose.
        margin: f32,
        /// The models it is made of.
        members: Vec<Ingredient>,
    },
}

/// One model in a fused candidate, or the teacher of a student.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct Ingredient {
    /// Hash of the model's files.
    pub model: Hash,
    /// Its fusion weight.
    pub weight: f32,
}

/// One peer's part in a mix.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct Contribution {
    /// Whose update.
    pub peer: PeerId,
    /// Its outer step.
    pub step: OuterStep,
    /// Hash of its sealed manifest.
    pub manifest: Hash,
    /// Shards taken.
    pub shards: u32,
    /// Mean mixing weight over all shards.
    pub weight: f32,
}
