//! Small messages: who hears them, and who decides that.

use std::sync::Arc;
use std::time::Duration;

use protocol::id::PeerId;
use protocol::limits::GOSSIP_BYTES_MAX;
use starling_node::net::command::{GossipTag, NetCommand, Verdict};
use starling_node::net::event::{NetEvent, PublishFailure};

use crate::support::{Node, PATIENCE};

fn publish(node: &Node, text: &str) {
    node.net.send(NetCommand::Publish { bytes: Arc::from(text.as_bytes()) });
}

/// The next message a node hears: who passed it on, its tag, what it says.
async fn heard(node: &mut Node) -> (PeerId, GossipTag, String) {
    let next = node.until(|event| match event {
        NetEvent::Heard { from, tag, bytes } => {
            Some((*from, *tag, String::from_utf8_lossy(bytes).into_owned()))
        }
        _ => None,
    });
    next.await
}

#[tokio::test]
async fn a_message_said_before_anybody_is_there_is_heard_by_the_first_who_comes() {
    let a = Node::start("early", 1, &[]).await;
    publish(&a, "anybody there?");
    let mut b = Node::start("early", 2, &[&a]).await;
    let (from, _, text) = heard(&mut b).await;
    assert_eq!((from, text.as_str()), (a.peer(), "anybody there?"));
}

/// a lets c not in, so that its words reach c through b alone. (c must not ban a: it would not listen to them at all.)
async fn line(run: &str) -> [Node; 3] {
    let mut b = Node::start(run, 2, &[]).await;
    let mut a = Node::start(run, 1, &[&b]).await;
    let mut c = Node::start(run, 3, &[]).await;
    a.net.send(NetCommand::Ban { peer: c.peer() });
    a.linked(b.peer()).await;
    c.net.send(NetCommand::Dial { peer: Some(b.peer()), addresses: vec![b.address.clone()] });
    c.linked(b.peer()).await;
    b.linked(a.peer()).await;
    b.linked(c.peer()).await;
    [a, b, c]
}

#[tokio::test]
async fn a_message_is_passed_on_after_it_was_accepted_and_never_when_rejected_or_ignored() {
    let [a, mut b, mut c] = line("verdicts").await;
    let (from, text) = tokio::time::timeout(PATIENCE, async {
        // A neighbour is passed messages once the mesh has taken it in, within a heartbeat or two; so say it again.
        for round in 0.. {
            for verdict in [Verdict::Reject, Verdict::Ignore, Verdict::Accept] {
                publish(&a, &format!("{verdict:?} {round}"));
                let (_, tag, text) = heard(&mut b).await;
                assert_eq!(text, format!("{verdict:?} {round}"));
                b.net.send(NetCommand::Judge { tag, verdict });
            }
            if let Ok((from, _, text)) = tokio::time::timeout(Duration::from_millis(500), heard(&mut c)).await
            {
                return (from, text);
            }
        }
        unreachable!("the rounds do not end")
    })
    .await
    .expect("an accepted message comes through");
    assert_eq!(from, b.peer());
    assert!(text.starts_with("Accept"), "{text}");
    publish(&b, "the end");
    loop {
        let (_, _, text) = heard(&mut c).await;
        if text == "the end" {
            break;
        }
        assert!(text.starts_with("Accept"), "{text}");
    }
}

#[tokio::test]
async fn a_message_without_a_verdict_goes_no_further() {
    let [a, mut b, mut c] = line("silence").await;
    publish(&a, "unjudged");
    heard(&mut b).await;
    publish(&b, "own words");
    let (_, _, text) = heard(&mut c).await;
    assert_eq!(text, "own words");
}

#[tokio::test]
async fn the_same_words_are_heard_once_whoever_says_them() {
    let mut a = Node::start("again", 1, &[]).await;
    let mut b = Node::start("again", 2, &[&a]).await;
    a.linked(b.peer()).await;
    publish(&a, "same");
    let (_, tag, _) = heard(&mut b).await;
    b.net.send(NetCommand::Judge { tag, verdict: Verdict::Accept });
    publish(&b, "same");
    publish(&a, "same");
    publish(&b, "other");
    let (_, _, at_a) = heard(&mut a).await;
    assert_eq!(at_a, "other");
}

#[tokio::test]
async fn a_message_that_is_too_large_is_handed_back_and_the_largest_passes() {
    let mut a = Node::start("large", 1, &[]).await;
    let mut b = Node::start("large", 2, &[&a]).await;
    a.linked(b.peer()).await;
    a.net.send(NetCommand::Publish { bytes: Arc::from(vec![b'x'; GOSSIP_BYTES_MAX + 1]) });
    let failed = a.until(|event| match event {
        NetEvent::PublishFailed { bytes, reason } => Some((bytes.len(), *reason)),
        _ => None,
    });
    assert_eq!(failed.await, (GOSSIP_BYTES_MAX + 1, PublishFailure::TooLarge));
    a.net.send(NetCommand::Publish { bytes: Arc::from(vec![b'y'; GOSSIP_BYTES_MAX]) });
    let (_, _, text) = heard(&mut b).await;
    assert_eq!(text.len(), GOSSIP_BYTES_MAX);
}

#[tokio::test]
async fn a_verdict_on_an_unknown_message_does_nothing() {
    let mut a = Node::start("unknown tag", 1, &[]).await;
    let mut b = Node::start("unknown tag", 2, &[&a]).await;
    for tag in [0, 1, u64::MAX] {
        a.net.send(NetCommand::Judge { tag: GossipTag(tag), verdict: Verdict::Accept });
    }
    a.linked(b.peer()).await;
    publish(&a, "still here");
    assert_eq!(heard(&mut b).await.2, "still here");
}

#[tokio::test]
async fn the_words_of_a_banned_peer_are_not_heard_through_others_either() {
    let [a, mut b, mut c] = line("shunned").await;
    c.net.send(NetCommand::Ban { peer: a.peer() });
    // The command is carried out before the answer to this question comes.
    c.net.links().await;
    for round in 0..3 {
        publish(&a, &format!("a {round}"));
        let (_, tag, _) = heard(&mut b).await;
        b.net.send(NetCommand::Judge { tag, verdict: Verdict::Accept });
        publish(&b, &format!("b {round}"));
        let (_, _, text) = heard(&mut c).await;
        assert_eq!(text, format!("b {round}"));
    }
}
