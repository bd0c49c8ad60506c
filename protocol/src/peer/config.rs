//! What a peer is told once, at its start.

use crate::time::{Span, Time, UnixSeconds};
use crate::wire::charter::SignedCharter;
use crate::wire::credential::Credential;

/// Configuration of a peer.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// The charter it works under.
    pub charter: SignedCharter,
    /// Its name for people.
    pub name: String,
    /// What makes it a member, in invited runs.
    pub credential: Option<Credential>,
    /// Whether its owner lets its model answer queries; the charter must allow predictions, too.
    pub answers_queries: bool,
    /// Starts of this node so far, counted durably; keeps message sequences rising over restarts.
    pub incarnation: u32,
    /// Highest outer step this key may already have signed an update for.
    pub reserved: u32,
    /// The date at a moment of the driver's time scale; expiry is judged from it.
    pub date: (Time, UnixSeconds),
    /// Links it keeps at most.
    pub links_max: u32,
    /// Links it waits for before its first outer step ...
    pub start_links: u32,
    /// ... but not longer than this.
    pub start_patience: Span,
}
