//! What the network tells the driver.

use std::sync::Arc;

use libp2p::Multiaddr;
use protocol::id::{AskId, PeerId};

use crate::net::command::{GossipTag, InboundTag};

/// Refusal codes from here up come from the network room of the other end, not from its driver.
pub const REFUSED_BY_NET: u16 = 0xff00;
/// The frame has a version that the other end does not speak.
pub const REFUSED_VERSION: u16 = 0xff01;
/// The frame is empty or its fields do not add up.
pub const REFUSED_MALFORMED: u16 = 0xff02;
/// The frame has a tag that the other end does not know.
pub const REFUSED_TAG: u16 = 0xff03;
/// More was asked for, or would have been answered, than may be.
pub const REFUSED_SIZE: u16 = 0xff04;

/// Something that happened on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetEvent {
    /// We can be reached here.
    Listening {
        /// One address; several events come for several interfaces.
        address: Multiaddr,
    },
    /// We can no longer be reached here.
    Unreachable {
        /// One address that was told of before.
        address: Multiaddr,
    },
    /// A peer of our run is linked; its key is proven.
    LinkUp {
        /// Who.
        peer: PeerId,
        /// Its end of the link.
        address: Multiaddr,
        /// Whether it dialled us.
        is_inbound: bool,
    },
    /// The last link to a peer is down.
    LinkDown {
        /// Who.
        peer: PeerId,
        /// Why.
        reason: DownReason,
    },
    /// A gossip message came; it is passed on only after a verdict.
    Heard {
        /// Who passed it to us.
        from: PeerId,
        /// To name it in the verdict.
        tag: GossipTag,
        /// What was said.
        bytes: Arc<[u8]>,
    },
    /// A peer asks for something.
    Asked {
        /// To name it in the answer.
        inbound: InboundTag,
        /// Who asks; the link has proven its key.
        from: PeerId,
        /// What, opaque here.
        request: Vec<u8>,
    },
    /// A part of an answer came; its size and hash are as asked for.
    Part {
        /// Which question.
        ask: AskId,
        /// Position in the list of parts asked for.
        index: u32,
        /// The part.
        bytes: Arc<[u8]>,
    },
    /// All parts of an answer came.
    Done {
        /// Which question.
        ask: AskId,
        /// Bytes of all parts.
        bytes: u64,
    },
    /// A question failed; parts already told of are good and need not be asked for again.
    Failed {
        /// Which question.
        ask: AskId,
        /// How.
        reason: FailReason,
        /// Bytes that had come.
        received: u64,
    },
    /// A peer broke the rules of the wire.
    Offended {
        /// Who.
        peer: PeerId,
        /// How.
        kind: OffenceKind,
    },
    /// A message was not published.
    PublishFailed {
        /// The message.
        bytes: Arc<[u8]>,
        /// Why.
        reason: PublishFailure,
    },
}

/// Why the last link to a peer is down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DownReason {
    /// The other end closed it.
    Closed,
    /// Nothing was going on for an hour.
    Idle,
    /// It broke.
    Broken(String),
    /// Pings were not answered.
    Silent,
    /// We hung up: by command, because of too many links, or after an offence.
    Hangup,
    /// The peer is banned.
    Banned,
}

/// How a question failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailReason {
    /// No answer began in time.
    Timeout,
    /// The answer began, then no byte came for too long, or too few.
    Stalled,
    /// Ask again after so long.
    Busy {
        /// Milliseconds.
        retry_ms: u32,
    },
    /// The peer does not have it.
    NotFound,
    /// The peer refuses; see the `REFUSED_` codes.
    Refused(u16),
    /// A part has other bytes than its hash says, or the answer has other parts than were asked for.
    Corrupt {
        /// Position of the part.
        index: u32,
    },
    /// The link went down.
    Disconnected,
    /// A part is larger than may be, or the question itself breaks a cap.
    TooLarge,
    /// There is no link, and none could be made.
    Unreachable,
}

/// How a peer broke the rules of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffenceKind {
    /// A part with other bytes than its hash says, or of a size not asked for.
    Corrupt,
    /// A frame that does not add up.
    Malformed,
    /// A frame that says it is longer than any may be.
    TooLong,
    /// More streams or requests than one peer may have.
    Flood,
}

/// Why a message was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishFailure {
    /// Nobody to publish to for half a minute, or the queues to all peers stayed full.
    NobodyListens,
    /// Larger than a message may be.
    TooLarge,
    /// Too many messages already wait for somebody to publish to.
    QueueFull,
    /// It could not be signed.
    Unsigned,
}
