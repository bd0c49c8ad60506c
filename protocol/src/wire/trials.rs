//! What a member found while members search for settings of training together.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::id::Hash;
use crate::limits::TRIALS_MAX;

/// All that one member tried in one search so far. Every telling holds the whole list, so that the last one heard is
/// enough, and one that was lost costs nothing.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trials {
    /// Hash of what is searched: two members search together when theirs agree.
    pub search: Hash,
    /// What was tried; empty when a member has just joined in.
    pub made: Vec<TrialMade>,
}

/// One trial and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialMade {
    /// Its number, which gives its settings.
    pub trial: u32,
    /// Its rung.
    pub rung: u32,
    /// The score on the member's own development data.
    pub score: f32,
    /// The loss there.
    pub loss: f32,
    /// Samples it was taken on.
    pub samples: u64,
}

impl Trials {
    /// Whether counts and numbers are within bounds.
    pub fn makes_sense(&self) -> bool {
        self.made.len() <= TRIALS_MAX && self.made.iter().all(|t| t.score.is_finite() && t.loss.is_finite())
    }
}
