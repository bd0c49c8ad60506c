//! Answers to queries against `Prediction::open`, queries against `Query::outputs`, and the bytes of a codistilled charter.

use protocol::codec::{CodecError, decode_manifest, encode};
use protocol::crypto::signed::Domain;
use protocol::id::{Hash, RunId};
use protocol::limits::{ANSWER_ELEMENTS_MAX, PREDICTION_BYTES_MAX, QUERY_ROWS_MAX, QUERY_WORDS_MAX};
use protocol::wire::charter::Charter;
use protocol::wire::offence::Offence;
use protocol::wire::prediction::{Prediction, Query, Wanted};
use protocol::wire::sealed::Sealed;

use crate::fixture::{charter, closed, codistilled, keys, prediction, query, wanted};

fn says(change: impl FnOnce(&mut Prediction)) -> Vec<u8> {
    let mut answer = prediction();
    change(&mut answer);
    answer.seal(&keys(4))
}

fn torn(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = prediction().seal(&keys(4));
    change(&mut bytes);
    bytes
}

#[test]
fn answers_that_do_not_hold_are_refused_for_the_right_reason() {
    use Offence::{
        BadSignature, Malformed, Meaningless, NotTheAuthor, OtherRun, TooLong, UnknownVersion, WrongContent,
    };
    let under_another_tag = Sealed::new(&keys(4), Domain::Message, &prediction()).to_bytes();
    let rows: Vec<(&str, Vec<u8>, Offence)> = vec![
        ("over the cap", vec![1; PREDICTION_BYTES_MAX + 1], TooLong),
        ("nothing", vec![], Malformed),
        ("cut short", torn(|b| b.truncate(b.len() - 1)), Malformed),
        ("a byte behind", torn(|b| b.push(0)), Malformed),
        ("another version", says(|p| p.version = 2), UnknownVersion),
        ("another run", says(|p| p.run = RunId(Hash([1; 32]))), OtherRun),
        ("signed by another member", prediction().seal(&keys(5)), NotTheAuthor),
        ("signed by a stranger", prediction().seal(&keys(9)), NotTheAuthor),
        ("a flipped bit of the signature", torn(|b| *b.last_mut().unwrap() ^= 1), BadSignature),
        ("signed as another kind of thing", under_another_tag, BadSignature),
        ("a changed probability under the old signature", torn(|b| b[33 + 70] ^= 1), BadSignature),
        ("the answer to another query", says(|p| p.query = Hash([1; 32])), WrongContent),
        ("too few outputs", says(|p| p.probabilities.truncate(4)), Meaningless),
        ("too many outputs", says(|p| p.probabilities.extend([0.5, 0.5])), Meaningless),
        ("half an output", says(|p| p.probabilities.truncate(5)), Meaningless),
        ("no outputs", says(|p| p.probabilities.clear()), Meaningless),
        ("no number", says(|p| p.probabilities[2] = f32::NAN), Meaningless),
        ("infinite", says(|p| p.probabilities[2] = f32::INFINITY), Meaningless),
        ("below 0", says(|p| (p.probabilities[0], p.probabilities[1]) = (-0.25, 1.25)), Meaningless),
        ("a sum above 1", says(|p| p.probabilities[0] = 0.5), Meaningless),
        ("a sum of 0", says(|p| p.probabilities[2] = 0.0), Meaningless),
    ];
    for (row, bytes, expected) in rows {
        assert_eq!(Prediction::open(&bytes, &wanted()), Err(expected), "{row}");
    }
    assert_eq!(Prediction::open(&torn(|_| ()), &wanted()), Ok(prediction()));
    let beyond = Wanted { outputs: ANSWER_ELEMENTS_MAX, ..wanted() };
    assert_eq!(Prediction::open(&torn(|_| ()), &beyond), Err(Meaningless));
    let overflows = Wanted { outputs: usize::MAX, ..wanted() };
    assert_eq!(Prediction::open(&torn(|_| ()), &overflows), Err(Meaningless));
}

#[test]
fn queries_that_ask_for_nothing_or_too_much_are_refused() {
    let rows = |rows: Vec<Vec<String>>| Query { rows, ..query() };
    let word = |text: &str| text.to_owned();
    assert_eq!(query().outputs(true), Ok(3));
    assert_eq!(query().outputs(false), Err(Offence::Meaningless), "two words where a text is a row");
    assert_eq!(rows(vec![vec![word("one text")], vec![word("another")]]).outputs(false), Ok(2));
    let refused = [
        rows(vec![]),
        rows(vec![vec![]]),
        rows(vec![vec![word("a")], vec![]]),
        rows(vec![vec![word("")]]),
        rows(vec![vec![word(" \t")]]),
        rows(vec![vec![word("a")]; QUERY_ROWS_MAX + 1]),
        rows(vec![vec![word("a"); QUERY_WORDS_MAX + 1]]),
    ];
    for query in refused {
        assert_eq!(query.outputs(true), Err(Offence::Meaningless), "{query:?}");
    }
    assert_eq!(rows(vec![vec![word("a"); QUERY_WORDS_MAX]; 4]).outputs(true), Ok(4 * QUERY_WORDS_MAX));
}

#[test]
fn a_query_with_another_nonce_has_another_name() {
    assert_ne!(Query { nonce: [8; 16], ..query() }.hash(), query().hash());
}

#[test]
fn terms_of_codistillation_stand_behind_the_bytes_a_charter_had_without_them() {
    let mut without = codistilled();
    without.codistillation = None;
    let (short, long) = (encode(&without), encode(&codistilled()));
    assert!(long.starts_with(&short) && long.len() > short.len());
    assert_eq!(decode_manifest::<Charter>(&short), Ok(without));
    assert_eq!(decode_manifest::<Charter>(&long), Ok(codistilled()));
    for cut in short.len() + 1..long.len() {
        assert!(matches!(decode_manifest::<Charter>(&long[..cut]), Err(CodecError::Malformed(_))), "{cut}");
    }
    let behind = [encode(&charter(closed())), vec![0]].concat();
    assert!(decode_manifest::<Charter>(&behind).is_err(), "a byte behind a charter without these terms");
}
