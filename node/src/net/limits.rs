//! Every cap of the network room, with one line of reasoning each.
//!
//! Caps that bound messages between peers are the protocol's; these bound what one node spends on its links.

use std::time::Duration;

use protocol::limits::{GOSSIP_BYTES_MAX, REQUEST_BYTES_MAX, SHARD_BYTES_MAX, SHARDS_PER_REQUEST_MAX};

/// Bytes of a gossip message with its envelope: key, signature, sequence number and topic take under 512.
pub const GOSSIP_TRANSMIT_BYTES_MAX: usize = GOSSIP_BYTES_MAX + 512;
/// Messages that wait for the driver's verdict: two seconds of the busiest swarm measured.
pub const VERDICTS_WAITING_MAX: usize = 4_096;
/// Messages that wait for somebody to publish to: a node says little before it has a link.
pub const PUBLISH_WAITING_MAX: usize = 64;
/// How long a message waits for somebody to publish to: a hello comes every 15 s anyway.
pub const PUBLISH_PATIENCE: Duration = Duration::from_secs(30);
/// Messages gossip may queue for one slow peer: 4 MiB at the largest size.
pub const GOSSIP_QUEUE_MAX: usize = 256;

/// Events in the channel to the driver: few, because an event can carry a whole part.
pub const EVENTS_MAX: usize = 32;
/// Events of the swarm task that wait for room in the channel; above this it stops reading from the swarm.
pub const OUTBOX_MAX: usize = 1_024;
/// Gossip waiting in the outbox above which newly heard messages are dropped: they come again, links do not.
pub const OUTBOX_GOSSIP_MAX: usize = 256;

/// Time for the handshake of a connection: three round trips on a bad satellite link.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time for a linked peer to say what it speaks before it is hung up on.
pub const IDENTIFY_WITHIN: Duration = Duration::from_secs(15);
/// Idle links live long: too many links are trimmed by count, dead ones fall to unanswered pings.
pub const LINK_IDLE: Duration = Duration::from_secs(3_600);
/// Time between two pings of one link.
pub const PING_EVERY: Duration = Duration::from_secs(5);
/// Time for a ping to be answered: a busy machine, a full satellite link.
pub const PING_WITHIN: Duration = Duration::from_secs(5);
/// Failed pings told of after which a link counts as dead. The ping crate keeps the first failure in a row to itself, so
/// this is the second: half a minute of silence at most. A link cut by mistake is dialled again at once.
pub const PINGS_MISSED_MAX: u32 = 1;
/// Time to close a connection politely; a dead one with bytes in its buffers would never end.
pub const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// Connections in handshake, in or out: a burst of newcomers, not a flood.
pub const PENDING_MAX: u32 = 64;
/// Connections to one peer: two may cross while both dial, and one may run through a relay or try whether the other end
/// can be dialled.
pub const CONNECTIONS_PER_PEER_MAX: u32 = 3;
/// Time both of two connections to one peer are kept: what one of them was made for is said by then.
pub const DOUBLE_FOR: Duration = Duration::from_secs(3);
/// Links above `links_max` that newcomers may hold until they have found others: without them a network of full
/// nodes cannot be joined.
pub const LINKS_SPARE: u32 = 32;
/// Age before a surplus link may be trimmed: time to be identified and to walk the table of peers once.
pub const TRIM_AGE: Duration = Duration::from_secs(20);
/// Streams of all protocols on one connection: four bulk streams and a few per control protocol are normal.
pub const STREAMS_PER_CONNECTION_MAX: usize = 256;
/// Streams of the other end that wait to be taken in: as many as it may have open.
pub const STREAMS_WAITING_MAX: usize = STREAMS_PER_CONNECTION_MAX;
/// Bytes of a frame of the multiplexer: a quarter of a stream's first window, so that four are under way.
pub const STREAM_FRAME_BYTES: usize = 64 << 10;

/// Peers in the address book: an order above the links a node holds.
pub const BOOK_PEERS_MAX: usize = 1_024;
/// Addresses kept of one peer: a few interfaces times two transports.
pub const BOOK_ADDRESSES_MAX: usize = 8;
/// Public peers of one /16 network in a book that is half full: one operator must not fill it.
pub const BOOK_GROUP_MAX: usize = BOOK_PEERS_MAX / 4;
/// First pause after a failed dial, doubled after each further one.
pub const DIAL_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause between two dials of one peer.
pub const DIAL_PAUSE_MAX: Duration = Duration::from_secs(120);
/// Longest pause between two dials of a peer that was linked before, for its first [`REDIALS`] failures: a network that
/// was cut in two for some minutes is soon one again.
pub const REDIAL_PAUSE_MAX: Duration = Duration::from_secs(10);
/// Failures of a peer that was linked before until it is dialled as seldom as any other.
pub const REDIALS: u32 = 24;
/// Longest pause between two dials of a bootstrap address while there is no link at all.
pub const BOOTSTRAP_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Pause after a hang-up of ours: long enough for the other to find different peers.
pub const HANGUP_PAUSE: Duration = Duration::from_secs(60);
/// Dials begun in one tick: a full table must not become a storm.
pub const DIALS_PER_TICK: usize = 4;
/// Dials of one public host at once and in a minute: rumours must not turn nodes on a victim.
pub const DIALS_PER_HOST: u64 = 30;
/// Hosts whose dials are counted: the newest ones.
pub const DIAL_HOSTS_MAX: usize = 1_024;
/// Time between two looks at links, dials and waiting messages.
pub const TICK: Duration = Duration::from_millis(500);
/// Time between two walks of the table of peers.
pub const WALK_EVERY: Duration = Duration::from_secs(90);

/// Questions that wait for a link to be dialled.
pub const PARKED_MAX: usize = 256;
/// How long a question waits for a link.
pub const PARKED_WITHIN: Duration = Duration::from_secs(10);

/// Bytes of a request frame after its length: a request and the fixed fields before it.
pub const REQUEST_FRAME_BYTES_MAX: usize = REQUEST_BYTES_MAX + 12;
/// Parts of one answer: as many shards as one request may name, and room for a longer one.
pub const PARTS_MAX: usize = 4 * SHARDS_PER_REQUEST_MAX;
/// Bytes of an answer frame after its length: the fixed fields and one size for each part.
pub const ANSWER_FRAME_BYTES_MAX: usize = 4 + 4 * PARTS_MAX;
/// Bytes of one part: the largest shard or manifest.
pub const PART_BYTES_MAX: u32 = SHARD_BYTES_MAX as u32;
/// Time to open a stream on a live link; a request to open can be lost inside the stream crate.
pub const OPEN_WITHIN: Duration = Duration::from_secs(5);
/// Time for the rest of a frame once its first byte came.
pub const FRAME_WITHIN: Duration = Duration::from_secs(10);
/// Times a question is sent anew when its stream turns out dead before the first byte of an answer.
pub const ATTEMPTS_MAX: u32 = 3;
/// A stream that served nothing for so long is closed by the server ...
pub const STREAM_IDLE_SERVER: Duration = Duration::from_secs(120);
/// ... and no longer used by the client a little earlier.
pub const STREAM_IDLE_CLIENT: Duration = Duration::from_secs(90);
/// Time for the driver to say what to answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Time without a byte taken after which an upload is given up: the reader may wait for memory, so it is patient.
pub const UPLOAD_STALL: Duration = Duration::from_secs(60);
/// Time a request waits for an upload slot before it is told to come again.
pub const UPLOAD_QUEUE: Duration = Duration::from_secs(1);
/// Bytes read or written at once: the multiplexer cuts to 16 KiB anyway, larger pieces save wake-ups.
pub const PIECE_BYTES: usize = 256 << 10;
/// Streams one peer may have refused before its link is cut: bursts happen, thousands do not.
pub const STREAMS_REFUSED_MAX: u32 = 256;

/// What the bulk plane may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkLimits {
    /// Questions under way, all peers together; bounds streams and wake-ups.
    pub downloads_max: usize,
    /// Bytes of parts being read, all questions together; bounds memory.
    pub in_flight_bytes_max: usize,
    /// Questions under way with one peer, a stream each: hides a round trip without sharing windows thinly.
    pub downloads_per_peer: usize,
    /// Answers being sent to one peer.
    pub uploads_per_peer: usize,
    /// Answers being sent, all peers together.
    pub uploads_max: usize,
    /// Streams one peer may hold open to us: more than it can use at once.
    pub streams_per_peer: usize,
    /// Streams all peers may hold open to us.
    pub streams_max: usize,
    /// Time without a request after which a stream is closed.
    pub stream_idle: Duration,
    /// Time without a byte after which a download is given up.
    pub stall: Duration,
    /// Least bytes per second of a download, averaged over `rate_window` of reading.
    pub rate_min: u64,
    /// Reading time over which `rate_min` is judged.
    pub rate_window: Duration,
    /// Bytes one peer may ask for in a second. Twice what the protocol serves: it has its own, finer quota.
    pub asked_bytes_per_second: u64,
    /// Bytes one peer may ask for at once.
    pub asked_bytes_burst: u64,
    /// Requests one peer may send in a second.
    pub requests_per_second: u64,
    /// Requests one peer may send at once.
    pub requests_burst: u64,
}

impl Default for BulkLimits {
    fn default() -> Self {
        Self {
            downloads_max: 8,
            in_flight_bytes_max: 64 << 20,
            downloads_per_peer: 3,
            uploads_per_peer: 4,
            uploads_max: 16,
            streams_per_peer: 8,
            streams_max: 512,
            stream_idle: STREAM_IDLE_SERVER,
            stall: Duration::from_secs(15),
            rate_min: 50_000,
            rate_window: Duration::from_secs(30),
            asked_bytes_per_second: 2 * protocol::limits::SERVE_BYTES_PER_SECOND,
            asked_bytes_burst: 2 * protocol::limits::SERVE_BYTES_BURST,
            requests_per_second: 64,
            requests_burst: 256,
        }
    }
}

const _: () = assert!(OUTBOX_GOSSIP_MAX < OUTBOX_MAX, "links are told of even while gossip is dropped");
const _: () = assert!(PARTS_MAX <= u16::MAX as usize, "the count of parts fits its field");
const _: () =
    assert!(protocol::codec::MANIFEST_BYTES_MAX <= PART_BYTES_MAX as usize, "a manifest fits one part");
