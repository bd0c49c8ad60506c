//! Training of the next outer step while updates of this one travel, as a node's trainer thread does it.
//!
//! Virtual time decides how far it comes: as many inner steps as fit between the update and the mix.

use crate::id::OuterStep;
use crate::stage::plan::Plan;
use crate::time::Time;

/// What is trained ahead.
#[derive(Debug, Default)]
pub(super) enum Ahead {
    /// Nothing.
    #[default]
    Idle,
    /// Training towards this plan began then, at the parameters that were published.
    Training(Plan, Time),
    /// So many inner steps of an outer step are taken; they moved the parameters so far.
    Taken(OuterStep, u32, Vec<f32>),
}

impl Ahead {
    /// An update was encoded; `next` is what may be trained from here on.
    pub(super) fn begin(&mut self, next: Option<Plan>, now: Time) {
        *self = next.map_or(Self::Idle, |plan| Self::Training(plan, now));
    }

    /// Inner steps that were trained ahead for this step.
    pub(super) fn taken(&self, step: OuterStep) -> u32 {
        match self {
            Self::Taken(of, taken, _) if *of == step => *taken,
            _ => 0,
        }
    }

    /// Adds to the parameters what was trained ahead for this step; answers how many inner steps that were.
    pub(super) fn resume(&mut self, step: OuterStep, parameters: &mut [f32]) -> u32 {
        match std::mem::take(self) {
            Self::Taken(of, taken, moved) if of == step => {
                parameters.iter_mut().zip(&moved).for_each(|(x, moved)| *x += moved);
                taken
            }
            _ => 0,
        }
    }
}
