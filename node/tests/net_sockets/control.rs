//! Strangers that break the rules of gossip's control messages: rows 79 to 96 of the catalogue of bad input. The node
//! hears nothing of it and goes on talking with the others.

use std::sync::Arc;

use futures::io::AsyncWriteExt as _;
use libp2p::StreamProtocol;
use protocol::crypto::hash::blake3_of;
use protocol::limits::GOSSIP_BYTES_MAX;
use starling_node::net::command::{NetCommand, Verdict};
use starling_node::net::event::NetEvent;

use crate::hostile::Stranger;
use crate::support::{Node, run_id};

const GOSSIP: StreamProtocol = StreamProtocol::new("/meshsub/1.1.0");

/// A field of a protocol buffer that holds bytes.
pub(crate) fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2][..], &varint(bytes.len() as u64), bytes].concat()
}

/// A field that holds a number.
pub(crate) fn number(field: u8, value: u64) -> Vec<u8> {
    [&[field << 3][..], &varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    [&varint(message.len() as u64), message].concat()
}

fn topic(run: &str) -> Vec<u8> {
    format!("/starling/{}/gossip/1", run_id(run)).into_bytes()
}

/// A topic that nobody takes part in.
fn other(i: u32) -> Vec<u8> {
    format!("/some/other/topic/{i}").into_bytes()
}

fn control(parts: &[u8]) -> Vec<u8> {
    framed(&field(3, parts))
}

fn graft(topic: &[u8]) -> Vec<u8> {
    field(3, &field(1, topic))
}

fn prune(topic: &[u8], backoff: u64) -> Vec<u8> {
    field(4, &[field(1, topic), number(3, backoff)].concat())
}

fn ids(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(|i| blake3_of("starling test id", &[&i.to_le_bytes()]).0.to_vec()).collect()
}

/// A message as gossip wraps it; `None` leaves a field away.
fn wrapped(
    run: &str,
    from: Option<&[u8]>,
    sequence: Option<u64>,
    data: &[u8],
    signature: Option<&[u8]>,
) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(from.map(|from| field(1, from)).unwrap_or_default());
    message.extend(field(2, data));
    message.extend(sequence.map(|s| field(3, &s.to_be_bytes())).unwrap_or_default());
    message.extend(field(4, &topic(run)));
    message.extend(signature.map(|s| field(5, s)).unwrap_or_default());
    framed(&field(2, &message))
}

/// What a row sends, as often as it says.
type Row = (&'static str, usize, Vec<u8>);

fn rows(run: &str, stranger: &[u8], honest: &[u8]) -> Vec<Row> {
    let ours = topic(run);
    let many = |make: &dyn Fn(u32) -> Vec<u8>, count: u32| (0..count).flat_map(make).collect::<Vec<u8>>();
    let uptime = 100_000_000_000;
    vec![
        ("79 a back-off without end", 1, control(&prune(&ours, u64::MAX))),
        ("80 a back-off that ends beyond time", 1, control(&prune(&ours, i64::MAX as u64 - uptime))),
        ("81 grafts into many topics", 300, control(&many(&|i| graft(&other(i)), 300))),
        ("82 prunes of topics not joined", 300, control(&many(&|i| prune(&other(i), 3_600), 300))),
        ("83 many subscriptions at once", 20, {
            framed(&many(&|i| field(1, &[number(1, 1), field(2, &other(i))].concat()), 400))
        }),
        ("84 many messages offered", 200, {
            let offered: Vec<u8> = ids(400).iter().flat_map(|id| field(2, id)).collect();
            control(&field(1, &[field(1, &ours), offered].concat()))
        }),
        ("85 one message wanted again and again", 500, control(&field(2, &field(1, &ids(1)[0])))),
        ("86 many messages not wanted", 200, {
            control(&field(5, &ids(400).iter().flat_map(|id| field(1, id)).collect::<Vec<u8>>()))
        }),
        ("87 grafts without a pause", 500, control(&graft(&ours))),
        ("88 more than a message may hold", 1, {
            wrapped(run, Some(stranger), Some(1), &vec![7; 2 * GOSSIP_BYTES_MAX], Some(&[1; 64]))
        }),
        ("90 nobody signed", 5, wrapped(run, Some(stranger), Some(2), b"unsigned", None)),
        ("90 nobody said it", 5, wrapped(run, None, None, b"anonymous", None)),
        ("91 another signed", 5, wrapped(run, Some(honest), Some(3), b"forged", Some(&[1; 64]))),
        ("92 without a number", 5, wrapped(run, Some(stranger), None, b"no number", Some(&[1; 64]))),
        ("93 a thousand made-up peers", 50, {
            let peer = field(2, &[field(1, stranger), field(2, b"made up")].concat());
            control(&field(4, &[field(1, &ours), peer.repeat(150), number(3, 60)].concat()))
        }),
        ("94 a topic of control characters", 5, control(&graft(b"\x00\x1b[2J\n"))),
        (
            "96 an extension nobody knows",
            5,
            framed(&[field(10, &[0xff; 512]), field(15, b"garbage")].concat()),
        ),
        ("   bytes that are no message", 1, framed(&[0xff; 300])),
    ]
}

/// What the honest say begins with this; nothing else may be heard.
const HONEST: &str = "honest:";

/// Says something and waits until the other end heard it; again after a while, for gossip may lose a word. What is heard
/// meanwhile is what the honest said before.
pub(crate) async fn is_heard(from: &Node, to: &mut Node, words: &str) {
    let words = format!("{HONEST} {words}");
    for round in 0..12 {
        from.net.send(NetCommand::Publish { bytes: Arc::from(format!("{words} {round}").into_bytes()) });
        let listening = async {
            loop {
                let heard = to.until(|event| match event {
                    NetEvent::Heard { tag, bytes, .. } => Some((*tag, bytes.clone())),
                    _ => None,
                });
                let (tag, bytes) = heard.await;
                to.net.send(NetCommand::Judge { tag, verdict: Verdict::Accept });
                assert!(bytes.starts_with(HONEST.as_bytes()), "only honest words get through: {bytes:?}");
                if bytes.starts_with(words.as_bytes()) {
                    return;
                }
            }
        };
        if tokio::time::timeout(std::time::Duration::from_secs(3), listening).await.is_ok() {
            return;
        }
    }
    panic!("{words}: nothing was heard");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_messages_that_break_the_rules_change_nothing_between_the_honest() {
    const RUN: &str = "control";
    let mut a = Node::start(RUN, 1, &[]).await;
    let mut b = Node::start(RUN, 2, &[&a]).await;
    a.linked(b.peer()).await;
    b.linked(a.peer()).await;
    let honest = starling_node::net::translate::to_libp2p(&b.peer()).expect("a peer").to_bytes();
    let names: Vec<Row> = rows(RUN, &[], &honest);
    let mut last = None;
    for place in 0..names.len() {
        // A peer that takes no gossip is heard by none.
        let mut stranger = Stranger::that_takes(&a, Some(GOSSIP)).await;
        let mut stream = stranger.open_for(GOSSIP).await;
        let (name, times, bytes) = rows(RUN, &stranger.peer.to_bytes(), &honest).swap_remove(place);
        for _ in 0..times {
            // The node may reset the stream, which is its good right.
            if stream.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = stream.flush().await;
        // Words take a heartbeat or two: not after each row.
        if place % 6 == 5 || place + 1 == names.len() {
            is_heard(&b, &mut a, name).await;
            is_heard(&a, &mut b, name).await;
        }
        if place == 0 {
            last = Some((stranger, stream));
        }
    }
    // The first stranger says nothing of a run, so its link is cut after a while; gossip's heart has beaten long since.
    let (mut stranger, _stream) = last.expect("there are rows");
    stranger.is_cut().await;
    is_heard(&b, &mut a, "after some heartbeats").await;
    assert_eq!((a.net.links().await.len(), b.net.links().await.len()), (1, 1));
}
