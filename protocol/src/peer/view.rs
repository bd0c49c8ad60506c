//! Quick looks into a peer, for drivers that ask after every input.

use crate::id::{OuterStep, PeerId};
use crate::peer::machine::{Peer, Phase};
use crate::time::Time;
use crate::wire::choice::Stage;

/// How far a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Last complete outer step.
    pub step: OuterStep,
    /// What it is doing.
    pub stage: Stage,
    /// Whether all outer steps are through.
    pub is_finished: bool,
}

/// Sizes of what others can make a peer keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Peers in the table.
    pub known: usize,
    /// Questions under way.
    pub asks: usize,
    /// Keys shut out.
    pub banned: usize,
}

impl Peer {
    /// How far it is.
    pub fn progress(&self) -> Progress {
        Progress { step: self.step, stage: self.stage, is_finished: matches!(self.phase, Phase::Through) }
    }

    /// Sizes of what others can make it keep.
    pub fn load(&self) -> Load {
        Load { known: self.table.len(), asks: self.asks.len(), banned: self.book.banned().count() }
    }

    /// Whether a key is shut out here.
    pub fn has_banned(&self, peer: &PeerId) -> bool {
        self.book.has_banned(peer)
    }

    /// Whether behaviour keeps a known peer from being drawn.
    pub fn shuns(&self, peer: &PeerId, now: Time) -> bool {
        self.table.known(peer).is_some_and(|entry| !entry.score.is_eligible(now))
    }
}
