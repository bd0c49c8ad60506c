//! Every cap on what a stranger can make this peer keep or do, in one place.
//!
//! One line of reasoning each; relations between caps are asserted at compile time. The caps are part of the
//! protocol: peers of one run must agree on those that bound messages.

use crate::time::Span;

/// Founders of one charter: enough for a consortium, few enough to read.
pub const FOUNDERS_MAX: usize = 64;
/// Members listed in a closed charter: ten thousand, and as many bytes as a charter may have; larger circles use
/// invitations.
pub const MEMBERS_MAX: usize = 10_240;
/// Labels of a task: CLINC150 has 151, Banking77 77; fits every task in sight.
pub const LABELS_MAX: usize = 4_096;
/// Bytes of any name (run, organization, label, metric): one line of text.
pub const NAME_BYTES_MAX: usize = 128;
/// Bytes of a purpose or an architecture text: a page.
pub const TEXT_BYTES_MAX: usize = 16 << 10;
/// Addresses a peer may tell of itself: a few interfaces times a few transports.
pub const ADDRESSES_MAX: usize = 16;
/// Bytes of one address: the longest sensible multiaddress is far below.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Keys in a revocation list: it travels by gossip, signed by up to all founders.
pub const REVOKED_MAX: usize = 256;
/// Keys a member may have had before its present one: a change a year outlives any run.
pub const ROTATIONS_MAX: usize = 8;
/// Seconds an old key may still be heard after a change: a month, for members that are away.
pub const ROTATION_GRACE_MAX: u64 = 30 * 86_400;
/// Bytes of a gossip message: announcements are a few hundred; proofs carry two of them.
pub const GOSSIP_BYTES_MAX: usize = 16 << 10;
/// Trials in one telling of a search: a search of a hundred draws, halved, has fewer than twice as many.
pub const TRIALS_MAX: usize = 256;
/// Members whose trials are kept: more than search together, and each keeps a few kilobytes.
pub const SEARCHERS_MAX: usize = 256;
/// Bytes of a request on the bulk plane: a hash and a list of shard indices.
pub const REQUEST_BYTES_MAX: usize = 4 << 10;
/// Bytes of a piece of a file beside the charter: a tokenizer takes one or a few.
pub const FILE_PIECE_BYTES: usize = 1 << 20;
/// Invitations being redeemed at a time: each waits for one write to the disk.
pub const REDEEMING_MAX: usize = 64;
/// Shards of one update: 64 GiB of parameters at 1 MiB a shard would still fit the manifest cap.
pub const SHARDS_MAX: usize = 65_536;
/// Least shards of an update: small models too are drawn shard by shard.
pub const SHARDS_MIN: usize = 8;
/// Shards in one request: keeps a request under its byte cap and one answer under 64 MiB.
pub const SHARDS_PER_REQUEST_MAX: usize = 64;
/// Bytes of one encoded shard: a shard of 1 MiB at 4.5 bits a parameter, sent as f32 in a settle step.
pub const SHARD_BYTES_MAX: usize = 8 << 20;
/// Values of a sketch.
pub const SKETCH_LEN: usize = 256;
/// Peers the roster keeps: an order above the swarms in sight.
pub const ROSTER_MAX: usize = 20_000;
/// Announcements remembered per peer: as many versions as are served, and one to compare.
pub const ANNOUNCED_PER_PEER_MAX: usize = 4;
/// Own versions kept to serve: a puller may be two steps late.
pub const VERSIONS_SERVED: usize = 3;
/// Manifests of others kept verified: one per peer that can be drawn in a step, twice.
pub const MANIFESTS_KEPT_MAX: usize = 512;
/// Proofs of equivocation kept to tell newcomers; two announcements and their envelope take less than 1 KiB, so all of
/// them leave half of an answer to other news.
pub const PROOFS_KEPT_MAX: usize = 32;
/// Others whose words an answer to a newcomer carries. It asks every link, so sixteen from each lead everywhere in a few
/// steps, and what a peer knows does not grow with the swarm.
pub const NEWS_PEERS_MAX: usize = 16;
/// Peers drawn for one shard.
pub const PULLS_MAX: usize = 64;
/// An outer step so far ahead of ours that only a broken or lying peer can be there.
pub const STEPS_AHEAD_MAX: u32 = 1_000_000;
/// Signature checks one signer may cause in a second, averaged over [`GOSSIP_BURST`]: an outer step of the smallest
/// models takes 30 ms, and a check far below one. Only messages whose signature held count, so nobody spends another's.
pub const GOSSIP_PER_SECOND: u32 = 32;
/// Signature checks one signer may cause at once.
pub const GOSSIP_BURST: u32 = 256;
/// Signature checks in a second that may fail on one link: an honest peer passes on only what it has checked itself.
pub const FORGED_PER_SECOND: u32 = 4;
/// Signature checks at once that may fail on one link, besides those of one certificate; a fresh key pays for them with
/// a handshake that costs both ends about as much.
pub const FORGED_BURST: u32 = 32;
/// Links whose failed checks are remembered after they are gone: far above the links one node can hold at a time.
pub const LINKS_REMEMBERED_MAX: usize = 2_048;
/// Bulk bytes one peer may ask of us in a second: eight 100 Mbit/s links' worth.
pub const SERVE_BYTES_PER_SECOND: u64 = 100_000_000;
/// Bulk bytes one peer may ask of us at once: three whole updates of 100 M parameters at int8.
pub const SERVE_BYTES_BURST: u64 = 320_000_000;
/// Architectures of a charter besides the primary one: from a phone to a server, and a few between.
pub const VARIANTS_MAX: usize = 16;
/// Elements of a matrix of predictions that travels in place of parameters: 256 MB as f32, far above any probe set of use.
pub const PREDICTION_ELEMENTS_MAX: u64 = 64 << 20;
/// Rows of one query: a screen of sentences; more are asked in several queries.
pub const QUERY_ROWS_MAX: usize = 64;
/// Words of a row: a long sentence several times over.
pub const QUERY_WORDS_MAX: usize = 512;
/// Probabilities of one answer: the words of the largest query for 40 labels, or its rows for 1,000.
pub const ANSWER_ELEMENTS_MAX: usize = 64 << 10;
/// Bytes of a signed answer to a query.
pub const PREDICTION_BYTES_MAX: usize = 4 * ANSWER_ELEMENTS_MAX + 1024;
/// Outputs one peer may ask our model for in a second: a small model makes thousands on one core, so that one peer
/// takes a part of it and not all.
pub const QUERY_OUTPUTS_PER_SECOND: u64 = 1_024;
/// Outputs one peer may ask our model for at once: four of the largest queries.
pub const QUERY_OUTPUTS_BURST: u64 = 8_192;
/// Requests one peer may have open with us.
pub const SERVE_OPEN_MAX: u32 = 16;
/// Time between two hellos of a peer that has nothing new to say.
pub const HELLO_EVERY: Span = Span::seconds(15);
/// While waiting for a peer at an earlier step, it is asked for news this often: gossip may have lost its word.
pub const NEWS_EVERY: Span = Span::seconds(2);
/// Least time between two dials of one peer, doubled after each failure.
pub const DIAL_EVERY: Span = Span::seconds(2);
/// Most time between two dials of one peer.
pub const DIAL_EVERY_MAX: Span = Span::seconds(120);
/// First deadline of a question, before any answer was timed.
pub const ASK_DEADLINE_FIRST: Span = Span::seconds(20);
/// Least deadline of a question.
pub const ASK_DEADLINE_MIN: Span = Span::seconds(5);
/// Shortest wait, while settling, for a linked peer that shows no progress.
pub const SETTLE_PATIENCE_MIN: Span = Span::seconds(20);
/// How long a peer that is through waits for the others before it calls the run drained.
pub const LINGER_MAX: Span = Span::seconds(600);
/// Most deadline of a question.
pub const ASK_DEADLINE_MAX: Span = Span::seconds(300);
/// Bytes of one ledger record: a mix names the peers of one step.
pub const LEDGER_RECORD_BYTES_MAX: usize = 64 << 10;

const _: () =
    assert!(SHARDS_PER_REQUEST_MAX * 5 + 64 <= REQUEST_BYTES_MAX, "the largest request fits its cap");
const _: () = assert!(
    SHARDS_MAX * 36 + SKETCH_LEN * 4 + 4096 <= crate::codec::MANIFEST_BYTES_MAX,
    "the largest manifest fits its cap"
);
const _: () =
    assert!(PREDICTION_BYTES_MAX <= SHARD_BYTES_MAX, "an answer to a query fits one part of the bulk plane");
const _: () = assert!(
    REQUEST_BYTES_MAX / 2 <= QUERY_OUTPUTS_BURST as usize,
    "the words of any query that fits a request, a byte and a length each, fit a full quota"
);
const _: () = assert!(
    MEMBERS_MAX * (32 + NAME_BYTES_MAX + 2) + 2 * TEXT_BYTES_MAX + LABELS_MAX * NAME_BYTES_MAX
        <= crate::codec::MANIFEST_BYTES_MAX,
    "the largest closed charter fits its cap"
);
const _: () = assert!(MEMBERS_MAX <= ROSTER_MAX, "every member of a closed charter can be known");
const _: () = assert!(GOSSIP_BYTES_MAX <= crate::codec::CONTROL_BYTES_MAX, "gossip is control");
const _: () = assert!(TRIALS_MAX * 32 + 1_024 <= GOSSIP_BYTES_MAX, "the longest list of trials fits");
const _: () = assert!(
    REVOKED_MAX * 32 + FOUNDERS_MAX * 96 + 1_024 <= GOSSIP_BYTES_MAX,
    "the largest revocation list fits a gossip message"
);
const _: () =
    assert!(ADDRESSES_MAX * (ADDRESS_BYTES_MAX + 4) + 4096 <= GOSSIP_BYTES_MAX, "the largest hello fits");
const _: () =
    assert!(SHARDS_MIN <= SHARDS_MAX && PULLS_MAX >= 19, "a late joiner draws 2b+3 peers with b up to 8");
