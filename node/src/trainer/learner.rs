//! What the trainer needs of a model: flat parameters in, training, flat parameters out.
//!
//! Two things implement it: a model session with its data, and the bare vector of the averaging benchmark.

use std::path::Path;

use protocol::id::OuterStep;
use thiserror::Error;

/// A learner that cannot go on; the node stops with this message.
#[derive(Debug, Error)]
#[error("{what}: {why}")]
pub struct LearnerError {
    /// What was being done.
    pub what: &'static str,
    /// Why it failed and what to do.
    pub why: String,
}

/// An error of the model crate, with what was being done.
pub(super) fn wrong(what: &'static str) -> impl FnOnce(model::error::Error) -> LearnerError {
    move |e| LearnerError { what, why: e.to_string() }
}

/// What one call of [`Learner::train`] has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// Inner steps.
    pub steps: u32,
    /// Inner steps of the run before this lesson.
    pub start: u64,
    /// Inner steps of the whole run, for the learning-rate schedule.
    pub total: u64,
    /// Longest training in seconds; 0 for no limit.
    pub seconds_max: u32,
}

/// What a lesson did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Learned {
    /// Inner steps done.
    pub steps: u32,
    /// Steps dropped because loss or gradient was not finite.
    pub dropped: u32,
    /// Samples seen.
    pub samples: u64,
    /// Mean loss.
    pub loss: f64,
}

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Name of the metric.
    pub metric: String,
    /// The score, a fraction.
    pub score: f64,
    /// Mean loss.
    pub loss: f64,
    /// Samples.
    pub samples: u64,
}

/// A model with its data, as the trainer sees it.
pub trait Learner: Send {
    /// Number of parameters.
    fn parameters(&self) -> usize;
    /// Copies the parameters out; `out` has [`Learner::parameters`] values.
    fn read(&self, out: &mut [f32]);
    /// Parameters of the model that answers queries; nothing where there is no model.
    fn model(&self) -> Option<Vec<f32>>;
    /// Takes these parameters.
    fn write(&mut self, flat: &[f32]) -> Result<(), LearnerError>;
    /// Trains; `is_stopped` is asked between inner steps.
    fn train(&mut self, lesson: Lesson, is_stopped: &dyn Fn() -> bool) -> Result<Learned, LearnerError>;
    /// Whether training may go on while a mix is made, to be added to it. What was read must then be what was trained.
    fn trains_ahead(&self) -> bool {
        true
    }
    /// Whether [`Learner::glance`] has a loss to show at all.
    fn can_glance(&self) -> bool {
        false
    }
    /// The loss of these parameters on at most so many local validation rows, always the same ones; `None` where there is
    /// none. The learner may hold these parameters afterwards.
    fn glance(&mut self, flat: &[f32], rows_max: usize) -> Result<Option<f64>, LearnerError> {
        let _ = (flat, rows_max);
        Ok(None)
    }
    /// Scores the present parameters on local data.
    fn evaluate(&mut self) -> Result<Judged, LearnerError>;
    /// Writes the present parameters as a model that can be used on its own.
    fn export(&self, dir: &Path, step: OuterStep) -> Result<(), LearnerError>;
    /// Inner optimizer and data position, for a checkpoint.
    fn state(&self) -> Vec<(String, Vec<u8>)>;
    /// Takes back what [`Learner::state`] gave.
    fn restore(&mut self, state: &[(String, Vec<u8>)]) -> Result<(), LearnerError>;
}
