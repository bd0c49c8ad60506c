//! A node's disk: the reservation, checkpoints, the ledger; what survives a crash.
//!
//! It behaves as the store of a node does, whose own fault tests are in `node::store`: a checkpoint is there whole or not
//! at all, the reservation is durable before it is acknowledged, the ledger is synced with each checkpoint. Entries of the
//! ledger are checked when they are synced or found, and then only the end of the chain is kept.

use std::sync::Arc;

use crate::id::PeerId;
use crate::ledger::chain::{Head, LedgerError};
use crate::ledger::record::Record;
use crate::peer::snapshot::Snapshot;
use crate::rng::Rng;

/// What a restart finds besides ledger and reservation.
#[derive(Clone, Debug, Default)]
pub(super) struct Generation {
    /// The peer's memory.
    pub(super) snapshot: Snapshot,
    /// Agreed parameters.
    pub(super) agreed: Arc<[f32]>,
    /// Momentum of the outer optimizer.
    pub(super) velocity: Arc<[f32]>,
    /// What its updates have told, where it remembers that.
    pub(super) said: Arc<[f32]>,
}

/// The disk of one node.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    /// Whether it takes nothing.
    pub(super) is_full: bool,
    /// Whether a crash may take what was acknowledged.
    is_lossy: bool,
    /// Outer step up to which updates may have been signed.
    pub(super) reserved: u32,
    /// Starts of the node.
    pub(super) starts: u32,
    kept: Vec<Generation>,
    writing: Option<Generation>,
    ledger: Head,
    unsynced: Vec<Vec<u8>>,
}

/// Checkpoints kept.
const GENERATIONS: usize = 2;

impl Disk {
    /// An empty disk with the genesis parameters as what a first start finds.
    pub(super) fn new(genesis: Generation, is_lossy: bool) -> Self {
        Self {
            is_full: false,
            is_lossy,
            reserved: 0,
            starts: 0,
            kept: vec![genesis],
            writing: None,
            ledger: Head::default(),
            unsynced: Vec::new(),
        }
    }

    /// Whether a checkpoint is under way.
    pub(super) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Begins to write a checkpoint.
    pub(super) fn begin(&mut self, generation: Generation) {
        self.writing = Some(generation);
    }

    /// The checkpoint under way is durable; nothing of it is there when the disk is full.
    pub(super) fn finish(&mut self) {
        let Some(written) = self.writing.take() else { return };
        if self.is_full {
            return;
        }
        self.kept.push(written);
        if self.kept.len() > GENERATIONS {
            self.kept.remove(0);
        }
    }

    /// Adds an entry to the ledger.
    pub(super) fn append(&mut self, entry: Vec<u8>) {
        self.unsynced.push(entry);
    }

    /// Checks what was appended since the last check and counts it as synced; answers records and the new end.
    pub(super) fn sync_ledger(&mut self, owner: &PeerId) -> Result<(Vec<Record>, Head), LedgerError> {
        let records = self
            .unsynced
            .drain(..)
            .map(|entry| self.ledger.check(&entry, owner))
            .collect::<Result<_, _>>()?;
        Ok((records, self.ledger))
    }

    /// The process died; with `is_machine` the machine did, and what was not synced may be gone.
    pub(super) fn crash(&mut self, is_machine: bool, rng: &mut Rng) {
        self.writing = None;
        if !is_machine {
            return;
        }
        let kept = rng.below(self.unsynced.len() as u64 + 1) as usize;
        self.unsynced.truncate(kept);
        if self.is_lossy && self.kept.len() > 1 {
            self.kept.pop();
        }
    }

    /// What a start finds.
    pub(super) fn newest(&self) -> &Generation {
        self.kept.last().expect("genesis or a checkpoint is always there")
    }
}
