//! What the network needs to know before it starts.

use libp2p::Multiaddr;
use protocol::id::RunId;
use zeroize::Zeroizing;

use crate::net::limits::BulkLimits;

/// Configuration of the network of one node.
#[derive(Clone)]
pub struct NetConfig {
    /// Secret half of the node's ed25519 key.
    pub secret: Zeroizing<[u8; 32]>,
    /// Where to listen: `/ip4/../tcp/..` and `/ip4/../udp/../quic-v1`; port 0 takes a free one.
    pub listen: Vec<Multiaddr>,
    /// Peers to begin with, with or without `/p2p/..` at the end.
    pub bootstrap: Vec<Multiaddr>,
    /// The run: names topic and table of peers, so that runs do not mix.
    pub run: RunId,
    /// Whether to find peers on the local network by multicast.
    pub mdns: bool,
    /// Links to hold; newcomers may exceed it for a while.
    pub links_max: u32,
    /// What the bulk plane may use.
    pub limits: BulkLimits,
    /// Most bytes a second in each direction, all connections together; `None` for no bound.
    pub bytes_per_second: Option<u64>,
    /// Addresses at which others reach this node, when it cannot see them itself.
    pub external: Vec<Multiaddr>,
    /// Whether a router keeps others from dialling this node: it then asks the router for a port, others whether they
    /// can dial it, and relays for a place.
    pub is_behind_router: bool,
    /// Whether to serve nodes behind routers: tell them whether they can be dialled, and carry their first words.
    pub relays: bool,
}

impl NetConfig {
    /// Links a node holds unless told otherwise: enough that random neighbours are usually linked already.
    pub const LINKS_MAX: u32 = 32;

    /// A node of a run that listens on nothing yet and knows nobody.
    pub fn new(secret: [u8; 32], run: RunId) -> Self {
        Self {
            secret: Zeroizing::new(secret),
            listen: Vec::new(),
            bootstrap: Vec::new(),
            run,
            mdns: false,
            links_max: Self::LINKS_MAX,
            limits: BulkLimits::default(),
            bytes_per_second: None,
            external: Vec::new(),
            is_behind_router: false,
            relays: false,
        }
    }
}

impl std::fmt::Debug for NetConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetConfig")
            .field("secret", &"hidden")
            .field("listen", &self.listen)
            .field("bootstrap", &self.bootstrap)
            .field("run", &self.run)
            .field("mdns", &self.mdns)
            .field("links_max", &self.links_max)
            .field("limits", &self.limits)
            .field("bytes_per_second", &self.bytes_per_second)
            .field("external", &self.external)
            .field("is_behind_router", &self.is_behind_router)
            .field("relays", &self.relays)
            .finish()
    }
}
