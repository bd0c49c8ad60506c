//! Parts: pulled, checked, refused, and pulled again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::id::AskId;
use starling_node::net::command::{AnswerBody, NetCommand, PartSpec};
use starling_node::net::config::NetConfig;
use starling_node::net::event::{FailReason, NetEvent, OffenceKind, REFUSED_SIZE};
use starling_node::net::start::start;

use crate::support::{Node, PATIENCE, config, expected, parts, quic, table, wrong_hash};

const MIB: usize = 1 << 20;

/// A node that answers from a table, and one that knows it and is linked.
async fn pair(run: &str, table: crate::support::Table) -> (Node, Node) {
    let mut holder = Node::with(config(run, 1), table).await;
    let mut asker = Node::start(run, 2, &[&holder]).await;
    asker.linked(holder.peer()).await;
    holder.linked(asker.peer()).await;
    (holder, asker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_mebibytes_come_whole_and_checked() {
    let held = parts(1, 32, MIB);
    let (holder, mut asker) = pair("whole", table(b"all", &held)).await;
    let (came, result) = asker.pull(holder.peer(), b"all", expected(&held)).await;
    assert_eq!(result, Ok(32 << 20));
    assert!(came == held, "every byte is as held");
    assert_eq!(asker.net.counters().bulk_received, 32 << 20);
    let wire = asker.net.counters().wire_received;
    assert!(wire > 32 << 20 && wire < 33 << 20, "the way adds little: {wire}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_pull_from_each_other_at_once_over_several_streams() {
    let (at_a, at_b) = (parts(2, 8, MIB), parts(3, 8, MIB));
    let mut a = Node::with(config("duplex", 1), table(b"a", &at_a)).await;
    let mut config = config("duplex", 2);
    config.bootstrap = vec![a.address.clone()];
    let mut b = Node::with(config, table(b"b", &at_b)).await;
    a.linked(b.peer()).await;
    b.linked(a.peer()).await;
    let from_b: Vec<AskId> = (0..4).map(|_| a.ask(b.peer(), b"b", expected(&at_b))).collect();
    let from_a: Vec<AskId> = (0..4).map(|_| b.ask(a.peer(), b"a", expected(&at_a))).collect();
    let (mut done_a, mut done_b) = (0, 0);
    let count = |asks: Vec<AskId>, done: &mut i32, event: &NetEvent| match event {
        NetEvent::Done { ask, bytes } if asks.contains(ask) => {
            assert_eq!(*bytes, 8 << 20);
            *done += 1;
            (*done == 4).then_some(())
        }
        NetEvent::Failed { reason, .. } => panic!("{reason:?}"),
        _ => None,
    };
    let wait_a = a.until(|event| count(from_b.clone(), &mut done_a, event));
    let wait_b = b.until(|event| count(from_a.clone(), &mut done_b, event));
    tokio::join!(wait_a, wait_b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_pulls_from_four_at_once() {
    let mut holders = Vec::new();
    let mut shares = Vec::new();
    for number in 1..=4 {
        let share = parts(10 + u64::from(number), 4, MIB);
        holders.push(Node::with(config("four", number), table(b"share", &share)).await);
        shares.push(share);
    }
    let mut asker = Node::start("four", 9, &holders.iter().collect::<Vec<_>>()).await;
    for holder in &holders {
        asker.linked(holder.peer()).await;
    }
    let asks: Vec<AskId> =
        holders.iter().zip(&shares).map(|(h, s)| asker.ask(h.peer(), b"share", expected(s))).collect();
    let mut came: HashMap<AskId, Vec<Arc<[u8]>>> = HashMap::new();
    let mut done = 0;
    asker
        .until(|event| match event {
            NetEvent::Part { ask, bytes, .. } => {
                came.entry(*ask).or_default().push(Arc::clone(bytes));
                None
            }
            NetEvent::Done { .. } => {
                done += 1;
                (done == 4).then_some(())
            }
            NetEvent::Failed { reason, .. } => panic!("{reason:?}"),
            _ => None,
        })
        .await;
    for (ask, share) in asks.iter().zip(&shares) {
        assert!(came[ask] == *share);
    }
}

#[tokio::test]
async fn a_part_with_other_bytes_is_refused_and_the_good_ones_before_it_are_kept() {
    let held = parts(4, 3, 100_000);
    let (holder, mut asker) = pair("corrupt", table(b"all", &held)).await;
    let mut specs = expected(&held);
    specs[1].hash = Some(wrong_hash());
    let (came, result) = asker.pull(holder.peer(), b"all", specs).await;
    assert_eq!(result, Err(FailReason::Corrupt { index: 1 }));
    assert!(came[..] == held[..1]);
    let peer = holder.peer();
    let offence = asker.until(|event| match event {
        NetEvent::Offended { peer: p, kind } if *p == peer => Some(*kind),
        _ => None,
    });
    assert_eq!(offence.await, OffenceKind::Corrupt);
    // The link is still good for the next question.
    let (came, _) = asker.pull(peer, b"all", expected(&held)).await;
    assert!(came == held);
}

#[tokio::test]
async fn parts_of_other_sizes_or_number_are_refused_before_their_bytes_come() {
    let held = parts(5, 2, 1_000);
    let (holder, mut asker) = pair("sizes", table(b"all", &held)).await;
    let good = expected(&held);
    let with_size = |bytes| PartSpec { bytes_max: 2_000, bytes_exact: Some(bytes), hash: None };
    for (specs, reason) in [
        // The holder itself does not send more than was asked for.
        (vec![good[0]], FailReason::Refused(REFUSED_SIZE)),
        (vec![PartSpec::at_most(999), good[1]], FailReason::Refused(REFUSED_SIZE)),
        (vec![PartSpec::at_most(999), PartSpec::at_most(2_000)], FailReason::TooLarge),
        (vec![with_size(1_500), good[1]], FailReason::Corrupt { index: 0 }),
        (vec![good[0], good[1], good[1]], FailReason::Corrupt { index: 2 }),
    ] {
        let (came, result) = asker.pull(holder.peer(), b"all", specs.clone()).await;
        assert_eq!(result, Err(reason), "{specs:?}");
        assert!(came.is_empty());
    }
    let (came, result) = asker.pull(holder.peer(), b"all", good).await;
    assert_eq!((came, result), (held, Ok(2_000)));
}

#[tokio::test]
async fn empty_answers_and_empty_parts_are_answers_too() {
    let nothing: Vec<Arc<[u8]>> = vec![Arc::from([])];
    let (holder, mut asker) = pair("empty", table(b"nothing", &nothing)).await;
    let (came, result) = asker.pull(holder.peer(), b"nothing", vec![PartSpec::at_most(10)]).await;
    assert_eq!((came, result), (nothing.clone(), Ok(0)));
    let (came, result) = asker.pull(holder.peer(), b"nothing", expected(&nothing)).await;
    assert_eq!((came, result), (nothing, Ok(0)));
}

#[tokio::test]
async fn what_the_holder_answers_instead_of_parts_arrives_as_it_was_said() {
    let held = parts(6, 1, 10);
    let mut answers = table(b"here", &held);
    answers.insert(b"busy".to_vec(), AnswerBody::Busy { retry_ms: 1_234 });
    answers.insert(b"no".to_vec(), AnswerBody::Refused(7));
    let (holder, mut asker) = pair("words", answers).await;
    for (request, reason) in [
        (&b"busy"[..], FailReason::Busy { retry_ms: 1_234 }),
        (b"no", FailReason::Refused(7)),
        (b"unknown", FailReason::NotFound),
    ] {
        let (_, result) = asker.pull(holder.peer(), request, expected(&held)).await;
        assert_eq!(result, Err(reason));
    }
    let (came, _) = asker.pull(holder.peer(), b"here", expected(&held)).await;
    assert!(came == held);
}

#[tokio::test]
async fn questions_that_break_a_cap_fail_here_and_are_not_sent() {
    let (holder, mut asker) = pair("caps", HashMap::new()).await;
    let part = PartSpec::at_most(10);
    for (request, specs) in [
        (vec![], vec![part]),
        (vec![1; 4_097], vec![part]),
        (vec![1], vec![]),
        (vec![1], vec![part; 257]),
        (vec![1], vec![PartSpec::at_most(u32::MAX)]),
    ] {
        let (_, result) = asker.pull(holder.peer(), &request, specs).await;
        assert_eq!(result, Err(FailReason::TooLarge));
    }
    assert_eq!(holder.net.counters().requests, 0);
    let (_, result) = asker.pull(holder.peer(), &[1; 4_096], vec![part; 256]).await;
    assert_eq!(result, Err(FailReason::NotFound), "the largest question is sent");
}

#[tokio::test]
async fn who_asks_for_more_than_its_share_is_told_when_to_come_again() {
    let held = parts(7, 1, 60_000);
    let mut config = config("share", 1);
    config.limits.asked_bytes_burst = 100_000;
    config.limits.asked_bytes_per_second = 1;
    let holder = Node::with(config, table(b"it", &held)).await;
    let mut asker = Node::start("share", 2, &[&holder]).await;
    asker.linked(holder.peer()).await;
    let (_, first) = asker.pull(holder.peer(), b"it", expected(&held)).await;
    assert_eq!(first, Ok(60_000));
    let (_, second) = asker.pull(holder.peer(), b"it", expected(&held)).await;
    assert!(matches!(second, Err(FailReason::Busy { retry_ms }) if retry_ms > 10_000_000), "{second:?}");
    let (_, never) = asker.pull(holder.peer(), b"it", vec![PartSpec::at_most(100_001)]).await;
    assert_eq!(never, Err(FailReason::Refused(REFUSED_SIZE)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_cut_off_in_the_middle_goes_on_at_another_holder_with_what_is_missing() {
    let held = parts(8, 64, MIB);
    let first = Node::with(config("resume", 1), table(b"all", &held)).await;
    let mut rest = HashMap::new();
    for from in 0..64u8 {
        rest.insert(vec![from], AnswerBody::Parts(held[usize::from(from)..].to_vec()));
    }
    let second = Node::with(config("resume", 2), rest).await;
    // Nobody takes these events but this test: parts that are not taken hold the sender back.
    let bootstrap = vec![first.address.clone(), second.address.clone()];
    let (net, mut events) = start(NetConfig { bootstrap, ..config("resume", 3) }).expect("it starts");
    let ask = |number: u64, peer, request: Vec<u8>, parts| {
        let first_byte_timeout = Duration::from_secs(20);
        net.send(NetCommand::Ask { ask: AskId(number), peer, request, parts, first_byte_timeout });
    };
    let mut came: Vec<Arc<[u8]>> = Vec::new();
    let mut asked = 0;
    let (mut up, mut is_done) = (0, false);
    while !is_done {
        let event = tokio::time::timeout(PATIENCE, events.recv()).await.expect("in time").expect("it runs");
        match event {
            NetEvent::LinkUp { .. } => {
                up += 1;
                if up == 2 {
                    ask(1, first.peer(), b"all".to_vec(), expected(&held));
                    asked = 1;
                }
            }
            NetEvent::Part { bytes, .. } => {
                came.push(bytes);
                if came.len() == 3 && asked == 1 {
                    first.net.shutdown().await;
                }
            }
            NetEvent::Failed { reason, received, .. } => {
                assert_eq!((asked, reason), (1, FailReason::Disconnected));
                assert_eq!(received, (came.len() * MIB) as u64);
                assert!(came.len() < 64, "it was cut off in the middle");
                ask(2, second.peer(), vec![came.len() as u8], expected(&held[came.len()..]));
                asked = 2;
            }
            NetEvent::Done { .. } => is_done = true,
            _ => {}
        }
    }
    assert_eq!(asked, 2);
    assert!(came == held);
}

#[tokio::test]
async fn a_cancelled_question_is_never_answered() {
    let held = parts(9, 1, 10);
    let (holder, mut asker) = pair("cancel", table(b"it", &held)).await;
    // Cancelled in the same breath, before its task can run.
    let cancelled = asker.ask(holder.peer(), b"it", expected(&held));
    asker.net.send(NetCommand::Cancel { ask: cancelled });
    let next = asker.ask(holder.peer(), b"it", expected(&held));
    let done = asker.until(|event| match event {
        NetEvent::Done { ask, .. } | NetEvent::Failed { ask, .. } => Some(*ask),
        _ => None,
    });
    assert_eq!(done.await, next);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quic_carries_parts_as_well() {
    let held = parts(11, 8, MIB);
    let with_quic = |number| NetConfig { listen: vec![quic()], ..config("quic", number) };
    let holder = Node::with(with_quic(1), table(b"all", &held)).await;
    let bootstrap = vec![holder.address.clone()];
    let mut asker = Node::with(NetConfig { bootstrap, ..with_quic(2) }, HashMap::new()).await;
    asker.linked(holder.peer()).await;
    assert!(asker.net.links().await[0].address.to_string().contains("/quic-v1"));
    let (came, result) = asker.pull(holder.peer(), b"all", expected(&held)).await;
    assert_eq!(result, Ok(8 << 20));
    assert!(came == held);
    assert!(asker.net.counters().wire_received >= 8 << 20);
}

#[tokio::test]
async fn tcp_is_preferred_where_a_peer_offers_both() {
    let both = |number| {
        let mut config = config("both", number);
        config.listen.insert(0, quic());
        config
    };
    let mut holder = Node::with(both(1), HashMap::new()).await;
    let mut addresses = vec![holder.address.clone()];
    addresses.push(
        holder
            .until(|event| match event {
                NetEvent::Listening { address } => Some(address.clone()),
                _ => None,
            })
            .await,
    );
    let mut asker = Node::with(both(2), HashMap::new()).await;
    asker.net.send(NetCommand::Dial { peer: Some(holder.peer()), addresses });
    asker.linked(holder.peer()).await;
    let address = asker.net.links().await[0].address.to_string();
    assert!(address.contains("/tcp/"), "{address}");
}

#[tokio::test]
async fn a_holder_that_says_nothing_is_given_up_after_the_time_the_asker_set() {
    // Its driver never answers.
    let (silent, mut events) = start(config("silent", 1)).expect("it starts");
    let address = match events.recv().await.expect("it runs") {
        NetEvent::Listening { address } => address,
        other => panic!("{other:?}"),
    };
    let mut asker = Node::start("silent", 2, &[]).await;
    let peer = silent.peer();
    asker.net.send(NetCommand::Dial { peer: Some(peer), addresses: vec![address] });
    asker.linked(peer).await;
    asker.net.send(NetCommand::Ask {
        ask: AskId(77),
        peer,
        request: b"it".to_vec(),
        parts: vec![PartSpec::at_most(1)],
        first_byte_timeout: Duration::from_millis(300),
    });
    assert_eq!(asker.answer(AskId(77)).await.1, Err(FailReason::Timeout));
}
