//! What needs the memory of a peer to be judged: quotas, the roster, an exchange under way, a second copy of itself.

use protocol::codec::encode;
use protocol::crypto::signed::Domain;
use protocol::exchange::serve::Reply;
use protocol::id::{GossipId, Hash, InboundId, OuterStep, PeerId};
use protocol::limits::{ANNOUNCED_PER_PEER_MAX, FORGED_BURST, FORGED_PER_SECOND, GOSSIP_BURST, ROSTER_MAX};
use protocol::peer::event::Event;
use protocol::peer::input::{Command, Failure, Input};
use protocol::peer::output::Output;
use protocol::roster::table::Table;
use protocol::time::{Span, Time, UnixSeconds};
use protocol::wire::announce::Announce;
use protocol::wire::certificate::{Certificate, Revocation, Rotation};
use protocol::wire::charter::{Admission, Charter};
use protocol::wire::choice::{Codec, Stage};
use protocol::wire::credential::{Credential, Rotated};
use protocol::wire::message::{Body, Message};
use protocol::wire::offence::Offence;
use protocol::wire::request::{Request, Want};
use protocol::wire::sealed::{CoSigned, Sealed};

use crate::bench::{Bench, INCARNATION, OTHERS};
use crate::fixture::{SHARDS, TODAY, certificate, charter, cosigned, hello, invitation, keys};

#[test]
fn rows_31_and_32_who_sends_other_bytes_than_it_signed_is_counted_and_the_others_shards_are_mixed() {
    let mut bench = Bench::pulling();
    bench.gives_manifest(5);
    // The driver compares bytes with the hash of the manifest; cut, longer and changed bytes look the same to it.
    bench.feed(Input::Offended { peer: keys(5).peer(), offence: Offence::WrongContent });
    bench.fails(5, Failure::Wrong);
    [6, 7, 8].iter().for_each(|&i| bench.gives_all(i));
    assert_eq!((bench.mixed_from(5), bench.mixed_from(6)), (0, SHARDS));
    let row = bench.row(5);
    assert_eq!((row.score, row.offences.get("wrong_content")), (90.0, Some(&1)));
    assert!(!bench.hung_up(5), "the link stays");
}

#[test]
fn an_update_in_a_codec_read_next_to_ones_own_is_pulled_only_where_the_charter_gives_it() {
    let mut bench = Bench::pulling();
    for (key, codec) in [(5, Codec::Topk), (6, Codec::Lattice4)] {
        let bytes = bench.manifest_in(key, 1, codec);
        bench.gives_manifest_of(key, &bytes);
        assert!(!bench.asks.contains_key(&keys(key).peer()), "nothing more is asked of it");
        assert_eq!(bench.row(key).offences.get("meaningless"), Some(&1), "{codec}");
    }
    // A codec that says what it says to everybody alike does no harm.
    let bytes = bench.manifest_in(7, 1, Codec::Bf16);
    bench.gives_manifest_of(7, &bytes);
    bench.gives(7, (0..SHARDS as u32).collect());
    bench.gives_all(8);
    assert_eq!([5, 6, 7, 8].map(|i| bench.mixed_from(i)), [0, 0, SHARDS, SHARDS]);
}

#[test]
fn row_33_shards_that_do_not_exist_are_neither_taken_nor_served() {
    let mut bench = Bench::pulling();
    bench.gives_manifest(5);
    bench.gives(5, (0..SHARDS as u32).chain([SHARDS as u32, u32::MAX]).collect());
    [6, 7, 8].iter().for_each(|&i| bench.gives_all(i));
    assert_eq!(bench.mix().expect("the pull is over").sources.len(), SHARDS);
    let own = bench.events().find_map(|e| match e {
        Event::Published { manifest, .. } => Some(*manifest),
        _ => None,
    });
    let manifest = own.expect("it published");
    let replies = |bench: &mut Bench, indices: Vec<u32>| {
        let request = Request::new(bench.charter.run(), Want::Shards { manifest, indices });
        bench.feed(Input::Asked { inbound: InboundId(1), from: keys(6).peer(), request });
        match bench.outputs.last() {
            Some(Output::Answer { reply, .. }) => reply.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(replies(&mut bench, vec![0, SHARDS as u32]), Reply::NotFound);
    assert_eq!(replies(&mut bench, vec![u32::MAX]), Reply::NotFound);
    assert!(
        matches!(replies(&mut bench, vec![0, SHARDS as u32 - 1]), Reply::Blocks(blocks) if blocks.len() == 2)
    );
}

#[test]
fn row_41_an_update_older_than_the_charter_allows_is_not_pulled_and_nobody_is_blamed() {
    let mut bench = Bench::at(10);
    // Step 11 mixes updates of steps 7 and later.
    for (key, step) in [(5, 6), (6, 7), (7, 10), (8, 11)] {
        bench.announces(key, step);
    }
    bench.trains(11);
    bench.now = bench.now + Span::seconds(3);
    bench.feed(Input::Wake);
    let asked: Vec<PeerId> = bench.asks.keys().copied().collect();
    let mut expected: Vec<PeerId> = [6, 7, 8].map(|i| keys(i).peer()).to_vec();
    expected.sort_unstable();
    assert_eq!(asked, expected);
    assert_eq!(bench.row(5).score, 100.0, "being late is no offence");
}

#[test]
fn rows_58_and_59_a_gap_or_a_circle_in_the_chain_of_manifests_starts_the_count_anew_and_holds_nothing() {
    let mut table = Table::default();
    let entry = table.entry(keys(5).peer(), Time(0));
    let hash = |i: u8| Hash([i; 32]);
    let mut linked = |step: u32, own: u8, parent: u8| {
        entry.note_manifest(OuterStep(step), hash(own), hash(parent));
        (entry.linked_manifests, entry.last_manifest.map(|(step, _)| step.0))
    };
    assert_eq!(linked(1, 1, 0), (1, Some(1)));
    assert_eq!(linked(2, 2, 1), (2, Some(2)));
    assert_eq!(linked(3, 3, 2), (3, Some(3)));
    assert_eq!(linked(5, 5, 99), (1, Some(5)), "a parent nobody has seen");
    assert_eq!(linked(5, 6, 5), (1, Some(5)), "a second one for the step");
    assert_eq!(linked(3, 3, 5), (1, Some(5)), "a circle back to an older one");
    assert_eq!(linked(6, 7, 7), (1, Some(6)), "its own parent");
    assert_eq!(linked(7, 8, 7), (2, Some(7)));
}

#[test]
fn row_61_a_shard_is_known_by_its_content_whoever_brings_it() {
    let mut bench = Bench::pulling();
    OTHERS.iter().for_each(|&i| bench.gives_manifest(i));
    OTHERS.iter().for_each(|&i| bench.gives(i, (0..SHARDS as u32).collect()));
    let order = bench.mix().expect("the pull is over");
    // The order names bytes by hash alone: which link they came over makes no difference to the mix.
    for (index, sources) in &order.sources {
        let hashes: Vec<Hash> = sources.iter().map(|s| s.hash).collect();
        let expected: Vec<Hash> = sources
            .iter()
            .map(|s| {
                let key = OTHERS.into_iter().find(|&i| keys(i).peer() == s.peer).expect("one of the others");
                Hash([16 * key + index.0 as u8; 32])
            })
            .collect();
        assert_eq!((hashes.len(), hashes), (OTHERS.len(), expected));
    }
}

#[test]
fn row_64_what_a_withholding_peer_sent_is_used_the_rest_is_given_up_and_counted() {
    let mut bench = Bench::pulling();
    [6, 7, 8].iter().for_each(|&i| bench.gives_all(i));
    bench.gives_manifest(5);
    let ask = bench.asks[&keys(5).peer()].0;
    [0, 3, 4].into_iter().for_each(|shard| bench.feed(Input::Arrived { ask, shard }));
    assert!(bench.mix().is_none());
    bench.fails(5, Failure::Timeout);
    assert_eq!((bench.mixed_from(5), bench.mixed_from(6)), (3, SHARDS));
    let row = bench.row(5);
    assert_eq!((row.score, row.offences.get("withheld")), (98.0, Some(&1)));
    assert!(!bench.hung_up(5));
}

#[test]
fn row_64_answers_that_bring_nothing_end_the_pull_from_that_peer() {
    let mut bench = Bench::pulling();
    [6, 7, 8].iter().for_each(|&i| bench.gives_all(i));
    bench.gives_manifest(5);
    bench.gives(5, vec![]);
    assert!(bench.asks.is_empty(), "it is not asked without end");
    assert_eq!((bench.mixed_from(5), bench.mixed_from(8)), (0, SHARDS));
}

#[test]
fn row_75_the_older_of_two_copies_of_a_node_pauses_and_echoes_alarm_nobody() {
    let own = |incarnation: u32, count: u32, name: &str| {
        let run = Bench::at(0).charter.run();
        let sequence = u64::from(incarnation) << 32 | u64::from(count);
        let hello = protocol::wire::announce::Hello { name: name.to_owned(), ..hello() };
        Message::new(run, sequence, Body::Hello(hello)).seal(&keys(4))
    };
    let alarms = |bytes: &[u8]| {
        let mut bench = Bench::at(0);
        bench.hears(bytes, 5);
        let is_alarm = bench.events().any(|e| matches!(e, Event::KeyInUseElsewhere { .. }));
        assert_eq!(bench.peer.status().state == "paused", is_alarm);
        is_alarm
    };
    assert!(alarms(&own(INCARNATION + 1, 1, "newer")));
    assert!(!alarms(&own(INCARNATION - 1, 7, "what it said before its restart")));
    assert!(alarms(&own(INCARNATION, 1, "a copy of the same age, other words")));
    assert!(alarms(&own(INCARNATION, 1_000, "a copy of the same age, further on")));
    let mut bench = Bench::at(0);
    let said =
        bench.outputs.iter().find_map(|o| if let Output::Publish(b) = o { Some(b.clone()) } else { None });
    let said = said.expect("it greets");
    bench.hears(&said, 5);
    assert!(bench.events().all(|e| !matches!(e, Event::KeyInUseElsewhere { .. })), "an echo");
}

#[test]
fn a_charter_that_runs_out_ends_training_at_once_and_nothing_is_signed_after_it() {
    let mut bench = Bench::under(0, |c| c.expires = UnixSeconds(TODAY.0 + 10));
    OTHERS.iter().for_each(|&i| bench.announces(i, 1));
    bench.now = Time(0) + Span::seconds(9);
    bench.feed(Input::Wake);
    assert!(!bench.peer.is_expired());
    assert!(
        bench.peer.next_wake().is_some_and(|wake| wake <= Time(0) + Span::seconds(10)),
        "it wakes for it"
    );
    bench.now = Time(0) + Span::seconds(10);
    bench.trains(1);
    assert!(bench.peer.is_expired(), "what was trained too late is not signed");
    assert!(bench.events().all(|e| !matches!(e, Event::Published { .. })));
    assert!(bench.peer.status().state.starts_with("expired"));
    assert!(bench.events().any(|e| matches!(e, Event::Expired { step: OuterStep(0) })));
    assert!(bench.outputs.iter().any(|o| matches!(o, Output::Commit(OuterStep(0)))), "the state is saved");
    bench.outputs.clear();
    bench.trains(1);
    assert!(bench.events().all(|e| !matches!(e, Event::Published { .. })));
    assert!(bench.asks.is_empty() && bench.mix().is_none());
    bench.outputs.clear();
    bench.feed(Input::Wake);
    assert!(bench.events().next().is_none(), "it is told once");
}

/// An invited run in which member 4 issues: its credential comes from the founders.
fn issuer() -> (Bench, CoSigned) {
    let run = charter(Admission::Invite).run_id();
    let own = Certificate { peer: keys(4).peer(), ..certificate(run) };
    let own = cosigned(CoSigned::unsigned(&own), Domain::Certificate, &[1, 2]);
    let change = |c: &mut Charter| c.admission = Admission::Invite;
    let mut bench = Bench::with(0, change, Some(Credential::Certificate(own)));
    assert_eq!(bench.charter.run(), run);
    bench.outputs.clear();
    (bench, cosigned(CoSigned::unsigned(&invitation(run)), Domain::Invitation, &[1, 2]))
}

/// What key `key` is answered when it redeems; `is_free` is what the disk says, if it is asked.
fn redeems(bench: &mut Bench, key: u8, invitation: &CoSigned, secret: [u8; 32], is_free: bool) -> Reply {
    let inbound = InboundId(u64::from(key));
    let request = Request::new(bench.charter.run(), Want::Redeem { invitation: invitation.clone(), secret });
    bench.outputs.clear();
    bench.feed(Input::Asked { inbound, from: keys(key).peer(), request });
    if bench.outputs.iter().any(|o| matches!(o, Output::Redeem { .. })) {
        bench.feed(Input::Redeemed { inbound, is_free });
    }
    let reply = |o: &Output| if let Output::Answer { reply, .. } = o { Some(reply.clone()) } else { None };
    bench.outputs.iter().find_map(reply).expect("every question is answered")
}

#[test]
fn row_76_an_invitation_admits_one_key_and_what_is_no_invitation_admits_nobody() {
    let (mut bench, invitation) = issuer();
    let news = Request::new(bench.charter.run(), Want::News);
    bench.feed(Input::Asked { inbound: InboundId(1), from: keys(6).peer(), request: news });
    assert!(!bench.hung_up(6), "a newcomer may ask too early");
    let mut bad = invitation.clone();
    bad.signatures.truncate(1);
    assert_eq!(redeems(&mut bench, 6, &bad, [7; 32], true), Reply::Refused);
    assert_eq!(redeems(&mut bench, 6, &invitation, [8; 32], true), Reply::Refused, "another secret");
    assert_eq!(redeems(&mut bench, 9, &invitation, [7; 32], false), Reply::NotFound, "another key was first");
    let Reply::Bytes(bytes) = redeems(&mut bench, 6, &invitation, [7; 32], true) else {
        panic!("it is good")
    };
    let binding = protocol::codec::decode_control(&bytes).expect("a sealed binding");
    let credential = Credential::Invited { invitation: invitation.clone(), binding };
    assert_eq!(credential.open(bench.charter.charter()).map(|c| c.peer), Ok(keys(6).peer()));
    // Another member that never heard of it believes the credential, for this key alone.
    let (mut other, _) = issuer();
    let greeting = |key: u8| {
        let hello = protocol::wire::announce::Hello { credential: Some(credential.clone()), ..hello() };
        Message::new(bench.charter.run(), 1, Body::Hello(hello)).seal(&keys(key))
    };
    other.hears(&greeting(6), 6);
    let refusal = other.peer.open(&greeting(9), keys(9).peer(), other.now).expect_err("a stolen credential");
    assert_eq!(refusal.offence, Offence::NotMember);
    bench.now = bench.now + Span::seconds(100);
    assert_eq!(redeems(&mut bench, 6, &invitation, [7; 32], true), Reply::Refused, "too late");
}

#[test]
fn strangers_cannot_have_invitations_checked_without_end() {
    let (mut bench, mut invitation) = issuer();
    invitation.signatures[0].1.0[5] ^= 1;
    let busy =
        (0..200).filter(|_| matches!(redeems(&mut bench, 9, &invitation, [7; 32], true), Reply::Busy(_)));
    assert!(busy.count() > 150, "most are refused before any signature is checked");
    assert!(
        matches!(redeems(&mut bench, 8, &invitation, [7; 32], true), Reply::Refused),
        "others are looked at"
    );
}

#[test]
fn a_revoked_member_is_hung_up_on_and_what_it_sent_is_not_mixed() {
    let mut bench = Bench::pulling();
    bench.gives_all(5);
    bench.gives_all(6);
    let list = Revocation { run: bench.charter.run(), version: 1, revoked: vec![keys(5).peer()] };
    let list = cosigned(CoSigned::unsigned(&list), Domain::Revocation, &[1, 2]);
    bench.feed(Input::Revoked(Box::new(list)));
    assert!(bench.hung_up(5) && !bench.hung_up(6));
    assert!(bench.events().any(|e| matches!(e, Event::Revocation { version: 1 })));
    [7, 8].iter().for_each(|&i| bench.gives_all(i));
    assert_eq!((bench.mixed_from(5), bench.mixed_from(6)), (0, SHARDS));
    let request = Request::new(bench.charter.run(), Want::News);
    bench.feed(Input::Asked { inbound: InboundId(1), from: keys(5).peer(), request });
    assert!(matches!(
        bench.outputs.iter().rev().find_map(|o| match o {
            Output::Answer { reply, .. } => Some(reply.clone()),
            _ => None,
        }),
        Some(Reply::Refused)
    ));
    let bytes = bench.says(5, Body::Farewell(OuterStep(1)));
    let refusal = bench.peer.open(&bytes, keys(6).peer(), bench.now).expect_err("29 revoked");
    assert_eq!((refusal.offence, refusal.culprit), (Offence::Revoked, None));
}

/// Member 5 says hello under another key, for which its own speaks.
fn rotated(bench: &mut Bench, new: u8, grace: u64) -> Vec<u8> {
    let rotation = Rotation {
        run: bench.charter.run(),
        old: keys(5).peer(),
        new: keys(new).peer(),
        from: TODAY,
        old_until: UnixSeconds(TODAY.0 + grace),
    };
    let sealed = Sealed::new(&keys(5), Domain::Rotation, &rotation);
    let credential = Some(Credential::Rotated(Box::new(Rotated::next(None, keys(5).peer(), sealed))));
    bench.says(new, Body::Hello(protocol::wire::announce::Hello { credential, ..hello() }))
}

#[test]
fn a_member_goes_on_under_a_new_key_and_the_old_one_is_heard_until_its_grace_ends() {
    let mut bench = Bench::at(0);
    let early = bench.says(9, Body::Farewell(OuterStep(1)));
    let refusal = bench.peer.open(&early, keys(6).peer(), bench.now).expect_err("nobody knows this key");
    assert_eq!(refusal.offence, Offence::NotMember);
    let greeting = rotated(&mut bench, 9, 100);
    bench.hears(&greeting, 6);
    bench.feed(Input::LinkUp(keys(9).peer()));
    assert!(!bench.hung_up(9));
    bench.announces(9, 4);
    let row = bench.peer.peers(bench.now).into_iter().find(|p| p.peer_id == keys(9).peer());
    assert_eq!(
        row.map(|p| (p.organization, p.outer_step)),
        Some(("organization 5".to_owned(), OuterStep(4)))
    );
    // Somebody who has the old key as well comes too late with a third.
    let second = rotated(&mut bench, 10, 100);
    let message = bench.peer.open(&second, keys(6).peer(), bench.now).expect("it is signed well");
    bench.feed(Input::Heard { gossip: GossipId(0), message });
    let third = bench.says(10, Body::Farewell(OuterStep(1)));
    assert!(bench.peer.open(&third, keys(6).peer(), bench.now).is_err(), "the first word holds");
    // Both are heard for the time of grace, then the new one alone.
    bench.announces(5, 1);
    bench.now = bench.now + Span::seconds(100);
    let old = bench.says(5, Body::Farewell(OuterStep(1)));
    let refusal = bench.peer.open(&old, keys(6).peer(), bench.now).expect_err("60 its time is over");
    assert_eq!(refusal.offence, Offence::Expired);
    bench.announces(9, 5);
}

#[test]
fn who_is_revoked_or_banned_does_not_come_back_under_a_new_key() {
    for is_revoked in [true, false] {
        for rotates_first in [true, false] {
            let mut bench = Bench::at(0);
            let greeting = rotated(&mut bench, 9, 1_000);
            if rotates_first {
                bench.hears(&greeting, 6);
                bench.feed(Input::LinkUp(keys(9).peer()));
            }
            if is_revoked {
                let list = Revocation { run: bench.charter.run(), version: 1, revoked: vec![keys(5).peer()] };
                let list = cosigned(CoSigned::unsigned(&list), Domain::Revocation, &[1, 2]);
                bench.feed(Input::Revoked(Box::new(list)));
                assert_eq!(bench.hung_up(9), rotates_first);
            } else {
                bench.feed(Input::Command(Command::Ban(keys(5).peer())));
            }
            if !rotates_first && let Ok(message) = bench.peer.open(&greeting, keys(6).peer(), bench.now) {
                bench.feed(Input::Heard { gossip: GossipId(0), message });
            }
            let word = bench.says(9, Body::Farewell(OuterStep(1)));
            let heard = bench.peer.open(&word, keys(6).peer(), bench.now);
            assert!(heard.is_err(), "revoked: {is_revoked}, rotated first: {rotates_first}");
        }
    }
}

/// A message in member 6's name that 6 did not sign.
fn forged(bench: &mut Bench) -> Vec<u8> {
    let good = bench.says(5, Body::Farewell(OuterStep(1)));
    let mut sealed: protocol::wire::sealed::Sealed =
        protocol::codec::decode_control(&good).expect("it was just made");
    sealed.signer = keys(6).peer();
    encode(&sealed)
}

#[test]
fn forged_messages_cost_the_link_that_brings_them_and_not_the_member_they_name() {
    let mut bench = Bench::at(0);
    let mut checked = 0;
    for _ in 0..2_000 {
        let bytes = forged(&mut bench);
        let refusal = bench.peer.open(&bytes, keys(5).peer(), bench.now).expect_err("nobody signed it");
        assert_eq!(refusal.culprit, Some(keys(5).peer()), "the link is to blame");
        match refusal.offence {
            Offence::BadSignature => checked += 1,
            offence => assert_eq!(offence, Offence::OverQuota),
        }
    }
    assert_eq!(checked, FORGED_BURST + 3, "the rest cost no signature check");
    let later = bench.now + Span::seconds(1);
    let again = (0..100).filter(|_| {
        let bytes = forged(&mut bench);
        bench.peer.open(&bytes, keys(5).peer(), later).expect_err("forged").offence == Offence::BadSignature
    });
    assert_eq!(again.count() as u32, FORGED_PER_SECOND);
    // Member 6 is heard as ever, over whatever honest link.
    for i in 0..GOSSIP_BURST {
        let bytes = bench.says(6, Body::Farewell(OuterStep(i)));
        bench.hears(&bytes, if i % 2 == 0 { 7 } else { 6 });
    }
    assert_eq!(bench.row(6).score, 100.0);
    // It has its share like everybody, and nobody else is blamed when it says too much.
    let bytes = bench.says(6, Body::Farewell(OuterStep(1)));
    let refusal = bench.peer.open(&bytes, keys(7).peer(), bench.now).expect_err("its share is used up");
    assert_eq!((refusal.offence, refusal.culprit), (Offence::OverQuota, None));
}

#[test]
fn an_honest_link_may_relay_more_than_any_one_signer_may_say() {
    let mut bench = Bench::at(0);
    for i in 0..3 * GOSSIP_BURST {
        let key = [5, 6, 7][i as usize % 3];
        let bytes = bench.says(key, Body::Farewell(OuterStep(i)));
        bench.hears(&bytes, 8);
    }
}

#[test]
fn a_message_that_is_kept_is_not_checked_again() {
    let mut bench = Bench::at(0);
    let bytes = bench.says(6, Body::Hello(hello()));
    bench.hears(&bytes, 6);
    for _ in 0..1_000 {
        let refusal = bench.peer.open(&bytes, keys(7).peer(), bench.now).expect_err("it is known");
        assert_eq!((refusal.offence, refusal.culprit), (Offence::Replayed, None));
    }
    let other = bench.says(6, Body::Hello(hello()));
    bench.hears(&other, 7);
}

#[test]
fn announcements_and_peers_without_end_are_not_all_kept() {
    let mut table = Table::default();
    let bytes: std::sync::Arc<[u8]> = vec![0; 10].into();
    let entry = table.entry(keys(5).peer(), Time(0));
    for step in (1..5_000).chain((1..5_000).rev()) {
        let announce = Announce {
            step: OuterStep(step),
            manifest: Hash::default(),
            manifest_bytes: 1,
            stage: Stage::Train,
        };
        entry.hear(announce, &bytes);
        assert!(entry.announced.len() <= ANNOUNCED_PER_PEER_MAX);
    }
    assert_eq!(entry.newest().map(|a| a.announce.step), Some(OuterStep(4_999)));
    table.set_linked(keys(5).peer(), true, Time(0));
    for i in 0..ROSTER_MAX as u32 + 200 {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&i.to_be_bytes());
        table.entry(PeerId(key), Time(u64::from(i)));
    }
    assert!(table.iter().count() <= ROSTER_MAX);
    assert!(table.known(&keys(5).peer()).is_some(), "a linked peer is not forgotten for strangers");
}
