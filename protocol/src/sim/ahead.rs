//! Training of the next outer step while updates of this one travel, as a node's trainer thread does it.
//!
//! Virtual time decides how far it comes: as many inner steps as fit between the update and the mix.

use crate::id::OuterStep;
use crate::peer::output::{MixHow, MixOrder};
use crate::sim::world::World;
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

impl World {
    /// Inner steps that were trained ahead for an outer step.
    pub(super) fn taken(&self, i: u32, step: OuterStep) -> u32 {
        match &self.nodes[i as usize].ahead {
            Ahead::Taken(of, taken, _) if *of == step => *taken,
            _ => 0,
        }
    }

    /// Trains what fitted in until this mix, from the parameters that were published and are still the working ones.
    pub(super) fn train_ahead(&mut self, i: u32, order: &MixOrder) {
        let Ahead::Training(plan, since) = std::mem::take(&mut self.nodes[i as usize].ahead) else { return };
        // A joiner takes over the others' parameters; its own training is not carried over to them.
        if matches!(order.how, MixHow::Join) {
            return;
        }
        let whole = self.training_time(i, plan.inner_steps);
        let share = self.now.since(since).as_seconds() / whole.as_seconds().max(1e-9);
        let taken = (share.min(1.0) * f64::from(plan.inner_steps)) as u32;
        if taken == 0 {
            return;
        }
        let mut moved = self.nodes[i as usize].working.clone();
        if self.lesson(i, order.step.next(), plan, 0, taken, &mut moved).is_none() {
            return;
        }
        let node = &mut self.nodes[i as usize];
        moved.iter_mut().zip(&node.working).for_each(|(x, published)| *x -= published);
        node.ahead = Ahead::Taken(order.step.next(), taken, moved);
    }
}
