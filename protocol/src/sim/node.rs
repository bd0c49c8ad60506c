//! A simulated node: the peer, its parameters, its disk and clock, and what the world remembers of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::id::{AskId, Hash, InboundId};
use crate::mixing::outer::Outer;
use crate::mixing::plausible::Gate;
use crate::peer::machine::Peer;
use crate::peer::memory::ShardMemory;
use crate::peer::output::Question;
use crate::sim::ahead::Ahead;
use crate::sim::attack::AdversaryTerms;
use crate::sim::clock::Clock;
use crate::sim::disk::Disk;
use crate::time::Time;

/// Gossip numbers remembered to drop copies.
const SEEN_MAX: usize = 2_048;

/// A question under way.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    /// Whom.
    pub(super) to: u32,
    /// What.
    pub(super) question: Question,
    /// When the driver gives up without progress, in time of the world.
    pub(super) gives_up: Time,
}

/// One node.
pub(super) struct Node {
    /// The protocol machine.
    pub(super) peer: Peer,
    /// Agreed parameters.
    pub(super) agreed: Vec<f32>,
    /// Parameters after training, before mixing.
    pub(super) working: Vec<f32>,
    /// Training of the next outer step while updates of this one travel.
    pub(super) ahead: Ahead,
    /// The outer optimizer.
    pub(super) outer: Outer,
    /// What it remembers of every shard.
    pub(super) memories: Vec<ShardMemory>,
    /// Own shards to serve.
    pub(super) blocks: BTreeMap<Hash, Arc<[u8]>>,
    /// Shards that came for the pull under way.
    pub(super) received: BTreeMap<Hash, Arc<[u8]>>,
    /// Questions under way.
    pub(super) asking: BTreeMap<AskId, Asking>,
    /// Questions of others not yet answered.
    pub(super) asked: BTreeMap<InboundId, (u32, AskId)>,
    /// What survives a crash.
    pub(super) disk: Disk,
    /// Its time.
    pub(super) clock: Clock,
    /// Drift of its clock, parts per million.
    pub(super) drift_ppm: i32,
    /// Error of its date, seconds.
    pub(super) date_error: i64,
    /// How many times slower it trains than the fastest.
    pub(super) slowness: f64,
    /// Whether it was counted among those who are up, and among those who are not through.
    pub(super) counted: (bool, bool),
    /// Counts starts and ends; what was planned for an earlier life does not happen.
    pub(super) life: u32,
    /// Whether the process runs.
    pub(super) is_up: bool,
    /// Whether it left or was revoked: nobody expects anything of it.
    pub(super) is_gone: bool,
    /// Whether it finished all outer steps in this life.
    pub(super) is_finished: bool,
    /// It stands still until then.
    pub(super) frozen_until: Time,
    /// The timer that is planned.
    pub(super) wake_at: Option<Time>,
    /// Numbers of gossip heard.
    pub(super) seen: BTreeSet<u64>,
    /// Keys it refuses links with.
    pub(super) refuses: BTreeSet<u32>,
    /// How it lies, if it does.
    pub(super) lies: Option<AdversaryTerms>,
    /// What a liar keeps.
    pub(super) mischief: Mischief,
}

/// What a liar keeps to lie with.
#[derive(Debug, Default)]
pub(super) struct Mischief {
    /// Second manifests and their shards, by hash.
    pub(super) alternates: BTreeMap<Hash, Alternate>,
    /// Parameters it says again.
    pub(super) kept: Option<Vec<f32>>,
    /// A message of somebody else, to say again.
    pub(super) overheard: Option<Arc<[u8]>>,
    /// Sequence of the messages it says beside its peer.
    pub(super) sequence: u32,
    /// Parameters of the second update of this step.
    pub(super) second: Option<Vec<f32>>,
}

/// A second update for one step.
#[derive(Clone, Debug)]
pub(super) struct Alternate {
    /// The sealed manifest.
    pub(super) manifest: Arc<[u8]>,
    /// Its shards, in order.
    pub(super) shards: Vec<Arc<[u8]>>,
}

impl Node {
    /// Whether it does as the protocol says.
    pub(super) fn is_honest(&self) -> bool {
        self.lies.is_none()
    }

    /// Whether it is there and something is expected of it.
    pub(super) fn counts(&self) -> bool {
        self.is_honest() && self.is_up && !self.is_gone
    }

    /// Its own time now.
    pub(super) fn time(&self, world: Time) -> Time {
        self.clock.shows(world)
    }

    /// Notes a gossip message; false when it was heard before.
    pub(super) fn hears(&mut self, number: u64) -> bool {
        if self.seen.len() >= SEEN_MAX {
            self.seen.pop_first();
        }
        self.seen.insert(number)
    }

    /// Forgets what only a process remembers.
    pub(super) fn forget(&mut self) {
        self.blocks.clear();
        self.received.clear();
        self.asking.clear();
        self.asked.clear();
        self.seen.clear();
        self.wake_at = None;
        self.ahead = Ahead::default();
        self.is_finished = false;
        self.memories.iter_mut().for_each(|memory| memory.gate = Gate::new());
    }
}
