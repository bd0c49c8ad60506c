//! What a swarm needs of whatever learns in it: where everybody starts, a lesson, a score.
//!
//! The small problems of this folder are one such thing; models with their data, which this crate knows nothing of, are
//! another. A learner serves all peers: parameters come and go with each call.

use std::sync::Arc;

use thiserror::Error;

/// The training of one outer step of one peer.
#[derive(Clone, Copy, Debug)]
pub struct Lesson {
    /// Whose data.
    pub peer: u32,
    /// The outer step.
    pub step: u32,
    /// Inner steps.
    pub inner_steps: u32,
    /// Inner steps of this outer step that were taken in a lesson before this one.
    pub taken: u32,
    /// Inner steps of the whole run before this lesson.
    pub inner_start: u64,
    /// Inner steps of the whole run.
    pub inner_total: u64,
    /// Whether labels are counted backwards.
    pub flips_labels: bool,
}

/// A learner that cannot go on; the run ends with these words.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct CannotLearn(pub String);

/// What all peers of a swarm learn.
pub trait Learner {
    /// The parameters every peer starts from.
    fn genesis(&self) -> &Arc<[f32]>;

    /// Trains the parameters of a peer in place; returns the mean loss over the inner steps.
    fn train(&mut self, lesson: Lesson, parameters: &mut [f32]) -> Result<f64, CannotLearn>;

    /// How good parameters are, a fraction, and their loss.
    fn score(&mut self, parameters: &[f32]) -> Result<(f64, f64), CannotLearn>;
}
