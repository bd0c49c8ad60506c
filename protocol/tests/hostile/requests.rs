//! Requests against `Request::open`.

use protocol::id::{Hash, RunId};
use protocol::limits::{REQUEST_BYTES_MAX, SHARDS_PER_REQUEST_MAX};
use protocol::wire::offence::Offence;
use protocol::wire::prediction::Query;
use protocol::wire::request::{Request, Want};

use crate::fixture::{query, run_id};

fn asks(want: Want) -> Vec<u8> {
    Request::new(run_id(), want).to_bytes()
}

fn shards(indices: Vec<u32>) -> Vec<u8> {
    asks(Want::Shards { manifest: Hash([1; 32]), indices })
}

fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = shards(vec![1, 2]);
    change(&mut bytes);
    bytes
}

/// A query whose rows are counted as 2^32 in ten bytes.
fn claims_rows() -> Vec<u8> {
    let mut bytes = asks(Want::Predict(query()));
    drop(bytes.splice(50.., [252, 255, 255, 255, 255, 1, 1, 97]));
    bytes
}

fn no_text() -> Vec<u8> {
    let mut bytes = asks(Want::Predict(query()));
    *bytes.last_mut().unwrap() = 0xff;
    bytes
}

fn long_query() -> Query {
    Query { rows: vec![vec!["x".repeat(REQUEST_BYTES_MAX)]], ..query() }
}

#[test]
fn good_requests_open() {
    let most = (0..SHARDS_PER_REQUEST_MAX as u32).map(|i| u32::MAX - 1_000 + i).collect();
    assert!(Request::open(&asks(Want::Predict(query())), &run_id()).is_ok());
    for bytes in [asks(Want::News), asks(Want::Charter), asks(Want::Manifest(Hash([2; 32]))), shards(most)] {
        assert!(Request::open(&bytes, &run_id()).is_ok());
    }
}

#[test]
fn bad_requests_are_refused_for_the_right_reason() {
    use Offence::{Malformed, Meaningless, OtherRun, TooLong, UnknownVersion};
    let other_run = Request::new(RunId(Hash([1; 32])), Want::News).to_bytes();
    let rows: Vec<(&str, Vec<u8>, Offence)> = vec![
        ("7 nothing", vec![], UnknownVersion),
        ("10 over the cap", vec![1; REQUEST_BYTES_MAX + 1], TooLong),
        ("14 another version", changed(|b| b[0] = 2), UnknownVersion),
        ("15 an unknown wish", changed(|b| b[33] = 250), Malformed),
        (
            "24 2^32 indices in ten bytes",
            changed(|b| drop(b.splice(66.., [252, 255, 255, 255, 255, 1, 2]))),
            Malformed,
        ),
        ("   cut short", changed(|b| b.truncate(b.len() - 1)), Malformed),
        ("   a byte behind", changed(|b| b.push(0)), Malformed),
        ("   an index in its long form", changed(|b| drop(b.splice(67..68, [251, 1, 0]))), Malformed),
        ("34 no shards", shards(vec![]), Meaningless),
        ("34 too many shards", shards((0..=SHARDS_PER_REQUEST_MAX as u32).collect()), Meaningless),
        ("   a shard twice", shards(vec![3, 3]), Meaningless),
        ("   shards that fall", shards(vec![4, 3]), Meaningless),
        ("42 another run", other_run, OtherRun),
        ("   a query that claims 2^32 rows", claims_rows(), Malformed),
        ("   a query of bytes that are no text", no_text(), Malformed),
        ("   a query over the cap", asks(Want::Predict(long_query())), TooLong),
    ];
    for (row, bytes, expected) in rows {
        assert_eq!(Request::open(&bytes, &run_id()), Err(expected), "{row}");
    }
}
