//! What the driver can ask of the network.

use std::sync::Arc;
use std::time::Duration;

use libp2p::Multiaddr;
use protocol::id::{AskId, Hash, PeerId};
use tokio::sync::oneshot;

use crate::net::link::Link;

/// A local number of a gossip message that waits for a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GossipTag(pub u64);

/// A local number of a request that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundTag(pub u64);

/// What becomes of a heard message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it on.
    Accept,
    /// Drop it; whoever passed it on did wrong.
    Reject,
    /// Drop it; nobody did wrong.
    Ignore,
}

/// What one part of an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartSpec {
    /// Most bytes it may have.
    pub bytes_max: u32,
    /// The bytes it must have, where that is known.
    pub bytes_exact: Option<u32>,
    /// The blake3 hash it must have, where that is known.
    pub hash: Option<Hash>,
}

impl PartSpec {
    /// A part of unknown content with at most so many bytes.
    pub fn at_most(bytes_max: u32) -> Self {
        Self { bytes_max, bytes_exact: None, hash: None }
    }

    /// A part of known size and content.
    pub fn exactly(bytes: u32, hash: Hash) -> Self {
        Self { bytes_max: bytes, bytes_exact: Some(bytes), hash: Some(hash) }
    }

    /// Whether a part of this size may come.
    pub fn allows(&self, bytes: u32) -> bool {
        bytes <= self.bytes_max && self.bytes_exact.is_none_or(|exact| exact == bytes)
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerBody {
    /// These parts, in this order.
    Parts(Vec<Arc<[u8]>>),
    /// Ask again after so long.
    Busy {
        /// Milliseconds.
        retry_ms: u32,
    },
    /// Not here.
    NotFound,
    /// Refused, and why; codes from [`crate::net::event::REFUSED_BY_NET`] up are the network's own.
    Refused(u16),
}

/// Something for the network to do. Nothing here fails at once: what comes of it is an event.
#[derive(Debug)]
pub enum NetCommand {
    /// Gossip these bytes.
    Publish {
        /// At most [`protocol::limits::GOSSIP_BYTES_MAX`].
        bytes: Arc<[u8]>,
    },
    /// Say what becomes of a heard message, within a few seconds.
    Judge {
        /// Which message.
        tag: GossipTag,
        /// What to do with it.
        verdict: Verdict,
    },
    /// Pull parts from a peer.
    Ask {
        /// Name of the question in the events to come.
        ask: AskId,
        /// Whom; a peer without a link is dialled first when an address is known.
        peer: PeerId,
        /// Opaque here; at most [`protocol::limits::REQUEST_BYTES_MAX`] bytes, not empty.
        request: Vec<u8>,
        /// What may come back, part by part.
        parts: Vec<PartSpec>,
        /// Longest wait for the head of the answer, counted from when the request was sent.
        first_byte_timeout: Duration,
    },
    /// Forget a question. Events already on their way may still arrive.
    Cancel {
        /// Which question.
        ask: AskId,
    },
    /// Answer a request.
    Answer {
        /// Which request.
        inbound: InboundTag,
        /// With what.
        answer: AnswerBody,
    },
    /// Dial these addresses.
    Dial {
        /// Who should be there, if known.
        peer: Option<PeerId>,
        /// Where.
        addresses: Vec<Multiaddr>,
    },
    /// Close the links to a peer, and leave it alone for a while.
    Hangup {
        /// Whom.
        peer: PeerId,
    },
    /// Close and refuse all links to a peer.
    Ban {
        /// Whom.
        peer: PeerId,
    },
    /// Allow links to a peer again.
    Unban {
        /// Whom.
        peer: PeerId,
    },
    /// Tell which links are up.
    Links {
        /// Where to tell it.
        reply: oneshot::Sender<Vec<Link>>,
    },
    /// Close everything and end the task; the event channel closes after it.
    Shutdown,
}
