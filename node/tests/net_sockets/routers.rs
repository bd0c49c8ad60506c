//! Nodes behind routers: a real kernel masquerades between network namespaces.

use std::sync::mpsc;
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use protocol::crypto::keys::Keypair;
use starling_node::net::config::NetConfig;
use starling_node::net::translate::to_libp2p;
use tokio::sync::oneshot;

use crate::lans::Lans;
use crate::support::{Node, Table, config, expected, parts, table};

const RUN: &str = "routers";
const RELAY: u8 = 1;
const PORT: u16 = 4001;

fn at(ip: &str) -> Vec<Multiaddr> {
    let ip: Protocol<'_> = Protocol::Ip4(ip.parse().expect("an address"));
    let tcp = Multiaddr::empty().with(ip.clone()).with(Protocol::Tcp(PORT));
    vec![tcp, Multiaddr::empty().with(ip).with(Protocol::Udp(PORT)).with(Protocol::QuicV1)]
}

/// A node behind a router that knows the member at the wide network.
fn hidden(number: u8) -> NetConfig {
    let relay = to_libp2p(&Keypair::from_secret([RELAY; 32]).peer()).expect("a key");
    let bootstrap = at("203.0.113.1").into_iter().take(1).map(|a| a.with(Protocol::P2p(relay))).collect();
    NetConfig { listen: at("0.0.0.0"), bootstrap, is_behind_router: true, ..config(RUN, number) }
}

fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// Two nodes behind routers of their own find each other through a third that relays, punch a hole, and what one pulls
/// from the other goes over a direct connection.
#[test]
fn two_nodes_behind_routers_link_directly_through_a_member_that_relays() {
    let lans = match Lans::new("two", 2) {
        Ok(lans) => lans,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let answer = parts(7, 4, 256 << 10);
    let (end_wide, wide_ends) = oneshot::channel::<()>();
    let (end_first, first_ends) = oneshot::channel::<()>();
    let (ready, is_ready) = mpsc::channel();
    let wide = lans.on_wide(move || async move {
        let terms = NetConfig { listen: at("203.0.113.1"), relays: true, ..config(RUN, RELAY) };
        let node = Node::with(terms, Table::new()).await;
        ready.send(()).expect("the test waits");
        drop(wide_ends.await);
        node.net.counters().wire_sent
    });
    is_ready.recv().expect("the relay listens");
    let served = table(b"update", &answer);
    let first = lans.on_private(0, move || async move {
        let mut node = Node::with(hidden(2), served).await;
        node.linked(Keypair::from_secret([3; 32]).peer()).await;
        drop(first_ends.await);
    });
    let wanted = answer.clone();
    let second = lans.on_private(1, move || async move {
        let mut node = Node::with(hidden(3), Table::new()).await;
        let peer = Keypair::from_secret([2; 32]).peer();
        node.linked(peer).await;
        // The first link goes over the relay; the direct one takes its place, and ends what it was carrying.
        let link = loop {
            let links = node.net.links().await;
            match links.into_iter().find(|link| link.peer == peer && !is_relayed(&link.address)) {
                Some(link) => break link,
                None => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        // A pull that began on the link that ends fails with it, and is tried again.
        for _ in 0..5 {
            let pulling = node.pull(peer, b"update", expected(&wanted));
            let pulled = tokio::time::timeout(Duration::from_secs(30), pulling).await;
            let pulled = pulled.expect("a pull of a megabyte ends");
            if pulled.1.is_ok() {
                return (link.address, pulled);
            }
            node.linked(peer).await;
        }
        panic!("five pulls failed");
    });
    let (address, (came, result)) = second.join().expect("the second node has its link");
    assert!(came == answer && result == Ok(4 * (256 << 10)), "{result:?}");
    let text = address.to_string();
    assert!(text.starts_with("/ip4/203.0.113.11/"), "{text}");
    drop((end_first, end_wide));
    first.join().expect("the first node has its link");
    let relayed = wide.join().expect("the relay ends");
    assert!(relayed < 512 << 10, "a megabyte did not go through the relay: {relayed}");
}
