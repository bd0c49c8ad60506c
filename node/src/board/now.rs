//! A node at this moment, as pages and metrics show it.

use std::time::Instant;

use crate::net::counters::Counts;
use crate::store::status::{NodeStatus, PeerStatus};

/// What the driver tells about once a second.
#[derive(Clone, Debug)]
pub struct Now {
    /// The node.
    pub status: NodeStatus,
    /// The peers it knows.
    pub peers: Vec<PeerStatus>,
    /// What its network counted.
    pub traffic: Counts,
    /// When it was told.
    pub at: Instant,
}

impl Now {
    /// Whether the node trains; an observer does not, and has no place in the swarm's picture.
    pub fn takes_part(&self) -> bool {
        self.status.stage != "observe"
    }
}
