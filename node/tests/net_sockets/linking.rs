//! Finding one another, losing one another, and being kept out.

use libp2p::multiaddr::Protocol;
use protocol::id::PeerId;
use starling_node::net::command::NetCommand;
use starling_node::net::event::{DownReason, FailReason, NetEvent};

use crate::support::{Node, Table, config, expected, parts, table};

#[tokio::test]
async fn two_nodes_link_when_one_knows_the_other() {
    let mut a = Node::start("two", 1, &[]).await;
    let mut b = Node::start("two", 2, &[&a]).await;
    a.linked(b.peer()).await;
    b.linked(a.peer()).await;
    let (at_a, at_b) = (a.net.links().await, b.net.links().await);
    assert!(at_a[0].is_inbound && !at_b[0].is_inbound);
    assert_eq!(a.net.counters().links, 1);
    assert!(a.net.counters().wire_sent > 0 && a.net.counters().wire_received > 0);
}

#[tokio::test]
async fn a_bootstrap_address_needs_no_peer_name() {
    let a = Node::start("nameless", 1, &[]).await;
    let mut address = a.address.clone();
    assert!(matches!(address.pop(), Some(Protocol::P2p(_))));
    let mut config = config("nameless", 2);
    config.bootstrap = vec![address];
    let mut b = Node::with(config, Table::new()).await;
    b.linked(a.peer()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_nodes_that_know_one_all_link_with_all() {
    let first = Node::start("five", 1, &[]).await;
    let mut nodes = Vec::new();
    for number in 2..=5 {
        nodes.push(Node::start("five", number, &[&first]).await);
    }
    nodes.push(first);
    let peers: Vec<PeerId> = nodes.iter().map(Node::peer).collect();
    for node in &mut nodes {
        node.linked_with(&peers).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_others_stay_linked_without_the_first_and_a_newcomer_joins_through_any() {
    let first = Node::start("without", 1, &[]).await;
    let mut nodes = Vec::new();
    for number in 2..=4 {
        nodes.push(Node::start("without", number, &[&first]).await);
    }
    let peers: Vec<PeerId> = nodes.iter().map(Node::peer).collect();
    for node in &mut nodes {
        node.linked_with(&peers).await;
        node.linked(first.peer()).await;
    }
    let gone = first.peer();
    first.net.shutdown().await;
    for node in &mut nodes {
        node.until(|e| matches!(e, NetEvent::LinkDown { peer, .. } if *peer == gone).then_some(())).await;
        assert_eq!(node.net.links().await.len(), 2, "the others are still linked");
    }
    let mut newcomer = Node::start("without", 5, &[&nodes[2]]).await;
    newcomer.linked_with(&peers).await;
}

#[tokio::test]
async fn a_lost_bootstrap_is_dialled_again_when_it_is_back() {
    let first = Node::start("back", 1, &[]).await;
    let mut other = Node::start("back", 2, &[&first]).await;
    other.linked(first.peer()).await;
    let mut again = config("back", 1);
    let mut address = first.address.clone();
    address.pop();
    again.listen = vec![address];
    let peer = first.peer();
    first.net.shutdown().await;
    other.until(|e| matches!(e, NetEvent::LinkDown { .. }).then_some(())).await;
    let first = Node::with(again, Table::new()).await;
    assert_eq!(first.peer(), peer);
    other.linked(peer).await;
}

#[tokio::test]
async fn a_banned_peer_is_cut_and_refused_until_it_is_let_in_again() {
    let mut a = Node::start("ban", 1, &[]).await;
    let mut b = Node::start("ban", 2, &[&a]).await;
    let (at_a, at_b) = (a.peer(), b.peer());
    a.linked(at_b).await;
    b.linked(at_a).await;
    a.net.send(NetCommand::Ban { peer: at_b });
    let reason = a.until(|e| match e {
        NetEvent::LinkDown { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(reason.await, DownReason::Banned);
    b.until(|e| matches!(e, NetEvent::LinkDown { .. }).then_some(())).await;
    // A pull makes b dial at once; it is refused.
    let (_, refused) = b.pull(at_a, b"anything", expected(&parts(1, 1, 8))).await;
    assert!(matches!(refused, Err(FailReason::Unreachable)), "{refused:?}");
    assert!(a.net.links().await.is_empty());
    assert!(a.net.counters().inbound_failed > 0, "the refusal was counted");
    a.net.send(NetCommand::Unban { peer: at_b });
    b.linked(at_a).await;
    a.linked(at_b).await;
}

#[tokio::test]
async fn nodes_of_different_runs_do_not_link() {
    let mut a = Node::start("one run", 1, &[]).await;
    let mut other = config("another run", 2);
    other.bootstrap = vec![a.address.clone()];
    let mut stranger = Node::with(other, Table::new()).await;
    // The stranger's question waits for a link that does not come.
    let (_, result) = stranger.pull(a.peer(), b"anything", expected(&parts(1, 1, 8))).await;
    assert_eq!(result, Err(FailReason::Unreachable));
    assert!(a.net.links().await.is_empty() && stranger.net.links().await.is_empty());
    // And a goes on with its own kind.
    let friend = Node::start("one run", 3, &[&a]).await;
    a.linked(friend.peer()).await;
}

#[tokio::test]
async fn another_peer_at_the_dialled_address_is_not_taken_for_the_one_meant() {
    let a = Node::start("wrong", 1, &[]).await;
    let mut b = Node::start("wrong", 2, &[]).await;
    let meant = Node::start("wrong", 3, &[]).await.peer();
    let mut address = a.address.clone();
    address.pop();
    b.net.send(NetCommand::Dial { peer: Some(meant), addresses: vec![address] });
    let (_, result) = b.pull(meant, b"anything", expected(&parts(1, 1, 8))).await;
    assert_eq!(result, Err(FailReason::Unreachable));
    assert!(b.net.links().await.is_empty());
}

#[tokio::test]
async fn a_peer_that_is_not_linked_is_dialled_for_a_question() {
    let answer = parts(3, 1, 1_000);
    let a = Node::with(config("dial", 1), table(b"it", &answer)).await;
    let mut b = Node::start("dial", 2, &[]).await;
    b.net.send(NetCommand::Dial { peer: Some(a.peer()), addresses: vec![a.address.clone()] });
    let (came, result) = b.pull(a.peer(), b"it", expected(&answer)).await;
    assert_eq!((came, result), (answer, Ok(1_000)));
}

#[tokio::test]
async fn a_hung_up_peer_is_told_of_and_left_alone() {
    let mut a = Node::start("hangup", 1, &[]).await;
    let mut b = Node::start("hangup", 2, &[&a]).await;
    a.linked(b.peer()).await;
    b.linked(a.peer()).await;
    let peer = a.peer();
    b.net.send(NetCommand::Hangup { peer });
    let reason = b.until(|e| match e {
        NetEvent::LinkDown { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(reason.await, DownReason::Hangup);
    let reason = a.until(|e| match e {
        NetEvent::LinkDown { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(reason.await, DownReason::Closed);
}

#[tokio::test]
async fn a_full_node_lets_newcomers_in_and_later_gives_up_its_oldest_guest() {
    let mut full = config("full", 1);
    full.links_max = 1;
    let mut full = Node::with(full, Table::new()).await;
    let mut first = Node::start("full", 2, &[&full]).await;
    first.linked(full.peer()).await;
    let mut second = Node::start("full", 3, &[&full]).await;
    second.linked(full.peer()).await;
    full.linked(second.peer()).await;
    let down = full.until(|event| match event {
        NetEvent::LinkDown { peer, reason } => Some((*peer, reason.clone())),
        _ => None,
    });
    assert_eq!(down.await, (first.peer(), DownReason::Hangup));
    // Whom it gave up has meanwhile found the other newcomer through it.
    first.linked(second.peer()).await;
}
