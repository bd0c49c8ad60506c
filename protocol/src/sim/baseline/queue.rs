//! What will happen in a baseline swarm, by virtual time; of one moment, in the order it was planned.

use std::cmp::Reverse;

use crate::sim::baseline::combine::Said;
use crate::time::Time;

/// What can happen.
#[derive(Clone)]
pub(super) enum Happening {
    /// A process is there.
    Start,
    /// Training is through.
    Trained,
    /// What another says it has.
    Word { from: u32, step: u32, said: Said, wants_reply: bool },
    /// Nobody is waited for any longer in this step.
    Patience(u32),
    /// A blow of the timetable.
    Blow(usize),
    /// The barrier's exchange of this step is through.
    Together(u32),
}

/// Something planned: when and in which order, for whom, in which life, what.
pub(super) struct Planned(
    pub(super) Reverse<(Time, u64)>,
    pub(super) u32,
    pub(super) u32,
    pub(super) Happening,
);

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Planned {}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
