//! Strangers that misuse the table of peers and what peers say of themselves: rows 97 to 101, 105 and 106 of the
//! catalogue of bad input.

use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::{Multiaddr, Stream, StreamProtocol};
use starling_node::net::translate::{from_libp2p, to_libp2p};

use crate::control::{field, framed, is_heard, number};
use crate::hostile::Stranger;
use crate::support::{Node, PATIENCE, expected, parts, run_id};

/// Keys put by one stranger: many times what a table that stored anything would hold.
const KEYS: u32 = 1_000;

fn kad(run: &str) -> StreamProtocol {
    StreamProtocol::try_from_owned(format!("/starling/{}/kad/1", run_id(run))).expect("a slash first")
}

fn put(key: &[u8], value: &[u8]) -> Vec<u8> {
    framed(&[number(1, 0), field(2, key), field(3, &[field(1, key), field(2, value)].concat())].concat())
}

fn get(key: &[u8]) -> Vec<u8> {
    framed(&[number(1, 1), field(2, key)].concat())
}

fn provide(key: &[u8], peer: &[u8]) -> Vec<u8> {
    let address: Multiaddr = "/ip4/192.0.2.1/tcp/7171".parse().expect("an address");
    let provider = field(9, &[field(1, peer), field(2, &address.to_vec())].concat());
    framed(&[number(1, 2), field(2, key), provider].concat())
}

fn providers(key: &[u8]) -> Vec<u8> {
    framed(&[number(1, 3), field(2, key)].concat())
}

async fn say(stream: &mut Stream, bytes: &[u8]) {
    stream.write_all(bytes).await.expect("the stream is open");
    stream.flush().await.expect("the stream is open");
}

/// The numbers of the fields in the next message of a stream.
async fn answer(stream: &mut Stream) -> Vec<u64> {
    let read = async {
        let mut length = [0; 10];
        let mut at = 0;
        loop {
            stream.read_exact(&mut length[at..=at]).await.expect("an answer comes");
            if length[at] < 0x80 {
                break;
            }
            at += 1;
        }
        let (length, _) = varint(&length);
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body).await.expect("all of it");
        body
    };
    let body = tokio::time::timeout(PATIENCE, read).await.expect("in time");
    let mut rest = &body[..];
    let mut numbers = Vec::new();
    while !rest.is_empty() {
        let (tag, used) = varint(rest);
        rest = &rest[used..];
        let (value, used) = varint(rest);
        // A field is a number or bytes with their length before them; kad has no others.
        rest = &rest[used + if tag & 7 == 2 { value as usize } else { 0 }..];
        numbers.push(tag >> 3);
    }
    numbers
}

/// A number and how many bytes it takes.
fn varint(bytes: &[u8]) -> (u64, usize) {
    let end = bytes.iter().position(|byte| *byte < 0x80).expect("a number ends");
    let value = bytes[..=end].iter().rev().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f));
    (value, end + 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_of_peers_stores_nothing_for_anybody() {
    const RUN: &str = "table";
    let mut a = Node::start(RUN, 1, &[]).await;
    let mut b = Node::start(RUN, 2, &[&a]).await;
    a.linked(b.peer()).await;
    let honest = to_libp2p(&b.peer()).expect("a peer").to_bytes();
    let mut stranger = Stranger::at(&a).await;

    // Rows 97 and 98: what nobody signed, under a key of one's own and under another's name.
    let mut stream = stranger.open_for(kad(RUN)).await;
    for key in [b"a model".to_vec(), [b"/pk/", &honest[..]].concat()] {
        say(&mut stream, &put(&key, b"a value")).await;
        assert!(answer(&mut stream).await.contains(&3), "kad says a value back whether it keeps it or not");
        say(&mut stream, &get(&key)).await;
        assert!(!answer(&mut stream).await.contains(&3), "it was not kept");
    }

    // Row 99: more than a message may hold.
    let mut large = stranger.open_for(kad(RUN)).await;
    let _ = large.write_all(&put(b"large", &vec![7; 80 << 10])).await;
    let _ = large.flush().await;
    let read = tokio::time::timeout(PATIENCE, large.read(&mut [0])).await.expect("in time");
    assert!(matches!(read, Ok(0) | Err(_)), "the stream ends without an answer");

    // Rows 100 and 101: keys and holders without end.
    let key = |i: u32| format!("key {i}").into_bytes();
    for i in 0..KEYS {
        say(&mut stream, &put(&key(i), b"a value")).await;
        answer(&mut stream).await;
        // Nothing is said to this.
        say(&mut stream, &provide(&key(i), &stranger.peer.to_bytes())).await;
    }
    for i in (0..KEYS).step_by(100) {
        say(&mut stream, &get(&key(i))).await;
        assert!(!answer(&mut stream).await.contains(&3), "key {i} was not kept");
        say(&mut stream, &providers(&key(i))).await;
        assert!(!answer(&mut stream).await.contains(&9), "nor who holds it");
    }
    is_heard(&b, &mut a, "after a flood of the table").await;
    is_heard(&a, &mut b, "after a flood of the table").await;
}

/// What a peer says of itself, in 4 KiB at most: a key, addresses where nobody is, and that it speaks everything.
fn boast(run: &str, key: &[u8]) -> Vec<u8> {
    let mut said = field(1, key);
    let spoken =
        ["/starling/bulk/1", "/meshsub/1.1.0", "/libp2p/circuit/relay/0.2.0/hop", "/ipfs/ping/1.0.0"];
    said.extend(field(3, kad(run).as_ref().as_bytes()));
    said.extend(spoken.iter().flat_map(|name| field(3, name.as_bytes())));
    for i in 0..100 {
        said.extend(field(3, format!("/made/up/{i}").as_bytes()));
    }
    for address in ["/ip4/169.254.169.254/tcp/80", "/ip4/0.0.0.0/tcp/1", "/dnsaddr/example.org", "/memory/1"]
    {
        said.extend(field(2, &address.parse::<Multiaddr>().expect("an address").to_vec()));
    }
    said.extend(field(2, &[0xff; 40]));
    said.extend(field(5, b"/starling/1\x1b[2J\n"));
    said.extend(field(6, "\u{202e}agent\u{1b}[31m".as_bytes()));
    framed(&said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_boasts_gets_a_link_under_its_own_key_or_none_and_nothing_comes_of_it() {
    const RUN: &str = "boast";
    const IDENTIFY: StreamProtocol = StreamProtocol::new("/ipfs/id/1.0.0");
    let mut a = Node::start(RUN, 1, &[]).await;
    let mut b = Node::start(RUN, 2, &[&a]).await;
    a.linked(b.peer()).await;
    b.linked(a.peer()).await;
    // The name of an ed25519 key is the key behind two bytes of a hash that hashes nothing.
    let key = |name: &libp2p::PeerId| name.to_bytes()[2..].to_vec();
    let stranger = Stranger::that_tells(&a, IDENTIFY, |own| boast(RUN, &key(own))).await;
    let own = from_libp2p(&stranger.peer).expect("an ed25519 peer");
    a.linked(own).await;
    let links = a.net.links().await;
    assert_eq!(links.len(), 2, "the stranger is nobody but itself: {links:?}");
    // It speaks nothing of what it said.
    let (came, result) = a.pull(own, b"it", expected(&parts(1, 1, 8))).await;
    assert!(came.is_empty() && result.is_err(), "{result:?}");
    is_heard(&b, &mut a, "after a boast").await;
    is_heard(&a, &mut b, "after a boast").await;
    // Who says it has another's key is taken for neither, and hung up on.
    let stolen = to_libp2p(&b.peer()).expect("a peer");
    let mut thief = Stranger::that_tells(&a, IDENTIFY, |_| boast(RUN, &key(&stolen))).await;
    thief.is_cut().await;
    let links = a.net.links().await;
    assert!(links.iter().any(|link| link.peer == b.peer()), "the honest link stands: {links:?}");
    assert!(links.iter().all(|link| link.peer != from_libp2p(&thief.peer).expect("an ed25519 peer")));
}
