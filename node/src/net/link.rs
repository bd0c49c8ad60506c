//! A link as the driver sees it.

use std::time::Duration;

use libp2p::Multiaddr;
use protocol::id::PeerId;

/// A link that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Who.
    pub peer: PeerId,
    /// Its end of the oldest connection.
    pub address: Multiaddr,
    /// Whether it dialled us.
    pub is_inbound: bool,
    /// Round trip of the last ping.
    pub rtt: Option<Duration>,
    /// How long the link is up.
    pub age: Duration,
}
