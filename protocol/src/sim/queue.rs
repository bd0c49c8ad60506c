//! The queue of what will happen, by virtual time; of one moment, in the order it was planned.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::exchange::serve::Reply;
use crate::id::{AskId, OuterStep};
use crate::peer::input::{Failure, Input};
use crate::peer::output::{MixOrder, TrainOrder};
use crate::time::Time;

/// The node of happenings that belong to none.
pub(super) const NOBODY: u32 = u32::MAX;

/// A gossip message on its way.
#[derive(Debug)]
pub(super) struct Gossip {
    /// The sealed bytes.
    pub(super) bytes: Arc<[u8]>,
    /// Number of the message in this world; equal bytes said anew have another.
    pub(super) number: u64,
    /// Whether it is passed on even where little is: proofs and revocations.
    pub(super) is_urgent: bool,
    /// Whether it announces an update.
    pub(super) is_announcement: bool,
    /// When it was said.
    pub(super) said: Time,
}

/// What comes back for a question.
#[derive(Debug)]
pub(super) enum Answered {
    /// Parts, as asked for.
    Parts(Vec<Arc<[u8]>>),
    /// None, and why.
    Failed(Failure),
}

/// What can happen.
#[derive(Debug)]
pub(super) enum Happening {
    /// The process is there.
    Begin,
    /// A timer of the peer.
    Wake,
    /// An input that is ready as it is.
    Input(Box<Input>),
    /// A gossip message arrives.
    Gossip { from: u32, message: Arc<Gossip>, is_copy: bool },
    /// A question arrives.
    Request { from: u32, ask: AskId, bytes: Box<[u8]> },
    /// The answer to a question leaves after a delay of the peer's own.
    Serve { to: u32, ask: AskId, reply: Box<Reply> },
    /// An answer arrives.
    Answer { ask: AskId, from: u32, answer: Box<Answered> },
    /// Training is through.
    Trained(Box<TrainOrder>),
    /// Mixing is through.
    Mixed(Box<MixOrder>),
    /// Evaluation is through.
    Evaluated(OuterStep),
    /// The disk took a reservation, or the driver tries again.
    Reserve(OuterStep),
    /// The disk took a checkpoint.
    Committed,
    /// A liar's own timer.
    Mischief,
    /// A node starts.
    Start(u32),
    /// A blow of the timetable.
    Blow(u32),
    /// All faults are over: where everybody is is remembered.
    Mark,
    /// By now everybody has to be further.
    Demand,
    /// By now everybody has to have shut out an equivocator.
    Convict(u32),
    /// Two nodes try to link, after `Network::detect` or a dial.
    Link(u32, u32),
    /// A link that carries nothing is found dead.
    Dead(u32, u32),
    /// The recorder looks at the swarm.
    Measure,
}

/// Something planned.
#[derive(Debug)]
pub(super) struct Planned {
    /// When.
    pub(super) at: Time,
    order: u64,
    /// To whom.
    pub(super) node: u32,
    /// In which life of the process.
    pub(super) life: u32,
    /// What.
    pub(super) what: Happening,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Planned {}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Planned {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// All that is planned.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<Planned>>,
    order: u64,
}

impl Queue {
    /// Plans something.
    pub(super) fn push(&mut self, at: Time, node: u32, life: u32, what: Happening) {
        self.order += 1;
        self.heap.push(Reverse(Planned { at, order: self.order, node, life, what }));
    }

    /// Takes what happens next.
    pub(super) fn pop(&mut self) -> Option<Planned> {
        self.heap.pop().map(|Reverse(planned)| planned)
    }

    /// When the next thing happens.
    pub(super) fn next_at(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse(planned)| planned.at)
    }
}

impl Happening {
    /// A number for the kind, for the hash of all events.
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Begin => 0,
            Self::Wake => 1,
            Self::Input(_) => 2,
            Self::Gossip { .. } => 3,
            Self::Request { .. } => 4,
            Self::Serve { .. } => 5,
            Self::Answer { .. } => 6,
            Self::Trained(_) => 7,
            Self::Mixed(_) => 8,
            Self::Evaluated(_) => 9,
            Self::Reserve(_) => 10,
            Self::Committed => 11,
            Self::Mischief => 12,
            Self::Blow(_) => 13,
            Self::Link(..) => 14,
            Self::Dead(..) => 15,
            Self::Measure => 16,
            Self::Start(_) => 17,
            Self::Mark => 18,
            Self::Demand => 19,
            Self::Convict(_) => 20,
        }
    }
}
