//! Queries against a whole peer: who is answered, who is not, and that quotas are charged before the model works.

use protocol::exchange::serve::Reply;
use protocol::id::{InboundId, OuterStep, PeerId};
use protocol::limits::{ANSWER_ELEMENTS_MAX, QUERY_OUTPUTS_BURST, QUERY_ROWS_MAX};
use protocol::peer::config::PeerConfig;
use protocol::peer::event::Event;
use protocol::peer::input::{Input, Predicted};
use protocol::peer::machine::Peer;
use protocol::peer::output::{Outbox, Output};
use protocol::peer::snapshot::Snapshot;
use protocol::rng::Seed;
use protocol::time::{Span, Time};
use protocol::wire::charter::Charter;
use protocol::wire::offence::Offence;
use protocol::wire::prediction::{Prediction, Query, Wanted};
use protocol::wire::request::{Request, Want};

use crate::fixture::{TODAY, charter, closed, codistilled, keys, query, signed};

/// Member 4 under a charter.
fn member(charter: &Charter, answers_queries: bool) -> Peer {
    let config = PeerConfig {
        charter: signed(charter),
        name: "four".to_owned(),
        credential: None,
        answers_queries,
        incarnation: 1,
        reserved: 0,
        date: (Time(0), TODAY),
        links_max: 8,
        start_links: 1,
        start_patience: Span::seconds(3_600),
    };
    Peer::new(config, keys(4), &Seed::from_bytes([1; 32]), Snapshot::default())
}

/// What a peer wants done about a query.
#[derive(Debug, PartialEq)]
enum Met {
    Predicts(Query),
    Replies(Reply),
}

/// Asks; answers what becomes of it, and the offences counted.
fn ask(peer: &mut Peer, charter: &Charter, from: PeerId, query: Query, now: Time) -> (Met, Vec<Offence>) {
    let request = Request::new(signed(charter).run(), Want::Predict(query));
    let mut out = Outbox::default();
    peer.handle(now, Input::Asked { inbound: InboundId(7), from, request }, &mut out);
    let (mut met, mut offences) = (None, Vec::new());
    while let Some(output) = out.pop() {
        match output {
            Output::Predict { query, .. } => met = Some(Met::Predicts(query)),
            Output::Answer { reply, .. } => met = Some(Met::Replies(reply)),
            Output::Emit(Event::Offence { offence, .. }) => offences.push(offence),
            _ => {}
        }
    }
    (met.expect("every question is answered or handed on"), offences)
}

fn words(count: usize) -> Query {
    Query { rows: vec![vec!["a".to_owned(); count]], ..query() }
}

#[test]
fn a_query_is_answered_only_to_members_where_charter_and_owner_allow_it() {
    let both = codistilled();
    let mut shards_too = charter(closed());
    shards_too.exchange.predictions = true;
    let never = charter(closed());
    let (friend, stranger) = (keys(5).peer(), keys(9).peer());
    let refused = || Met::Replies(Reply::Refused);
    type Row<'a> = (&'a str, &'a Charter, bool, PeerId, Met, &'a [Offence]);
    let rows: [Row<'_>; 5] = [
        ("a member", &both, true, friend, Met::Predicts(query()), &[]),
        ("a member where shards travel, too", &shards_too, true, friend, Met::Predicts(query()), &[]),
        ("an owner who does not want to", &both, false, friend, refused(), &[]),
        ("a charter that does not allow it", &never, true, friend, refused(), &[]),
        ("a stranger", &both, true, stranger, refused(), &[Offence::NotMember]),
    ];
    for (row, charter, answers, from, expected, offences) in rows {
        let mut peer = member(charter, answers);
        assert_eq!(ask(&mut peer, charter, from, query(), Time(0)), (expected, offences.to_vec()), "{row}");
    }
}

#[test]
fn a_query_beyond_the_caps_is_an_offence_and_one_beyond_the_quota_must_wait() {
    let charter = codistilled();
    let mut peer = member(&charter, true);
    let from = keys(5).peer();
    let beyond = [
        Query { rows: vec![], ..query() },
        Query { rows: vec![vec!["a".to_owned()]; QUERY_ROWS_MAX + 1], ..query() },
        Query { rows: vec![vec!["  ".to_owned()]], ..query() },
    ];
    for query in beyond {
        let met = ask(&mut peer, &charter, from, query, Time(0));
        assert_eq!(met, (Met::Replies(Reply::Refused), vec![Offence::Meaningless]));
    }
    let mut many_labels = codistilled();
    many_labels.task.labels = (0..2_000).map(|i| format!("label {i}")).collect();
    let too_many = words(ANSWER_ELEMENTS_MAX / 2_000 + 1);
    let mut other = member(&many_labels, true);
    let met = ask(&mut other, &many_labels, from, too_many, Time(0));
    assert_eq!(met, (Met::Replies(Reply::Refused), vec![Offence::Meaningless]));
    // The quota of one peer is used up; the model is not troubled again until it has refilled.
    for _ in 0..QUERY_OUTPUTS_BURST / 512 {
        assert!(matches!(ask(&mut peer, &charter, from, words(512), Time(0)).0, Met::Predicts(_)));
    }
    assert!(matches!(ask(&mut peer, &charter, from, words(512), Time(0)).0, Met::Replies(Reply::Busy(_))));
    assert!(matches!(ask(&mut peer, &charter, from, words(512), Time(500_000)).0, Met::Predicts(_)));
}

#[test]
fn what_the_model_says_goes_out_signed_for_that_query() {
    let charter = codistilled();
    let mut peer = member(&charter, true);
    let mut out = Outbox::default();
    let predicted = Predicted {
        inbound: InboundId(7),
        query: query().hash(),
        step: OuterStep(3),
        probabilities: vec![0.25, 0.75, 1.0, 0.0, 0.5, 0.5],
    };
    peer.handle(Time(0), Input::Predicted(predicted.clone()), &mut out);
    let bytes = std::iter::from_fn(|| out.pop()).find_map(|output| match output {
        Output::Answer { inbound: InboundId(7), reply: Reply::Bytes(bytes) } => Some(bytes),
        _ => None,
    });
    let wanted = Wanted {
        run: signed(&charter).run(),
        peer: keys(4).peer(),
        query: query().hash(),
        outputs: 3,
        labels: 2,
    };
    let opened = Prediction::open(&bytes.expect("an answer"), &wanted).unwrap();
    assert_eq!((opened.step, opened.probabilities), (OuterStep(3), predicted.probabilities));
}
