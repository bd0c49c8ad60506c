//! Gossip against `wire::open`.

use protocol::codec::encode;
use protocol::crypto::signed::{Domain, Signature};
use protocol::id::{Hash, OuterStep, PeerId, RunId};
use protocol::limits::{
    ADDRESS_BYTES_MAX, ADDRESSES_MAX, GOSSIP_BYTES_MAX, NAME_BYTES_MAX, STEPS_AHEAD_MAX, TRIALS_MAX,
};
use protocol::time::UnixSeconds;
use protocol::wire::announce::{Announce, Card, Hello, Proof};
use protocol::wire::choice::Stage;
use protocol::wire::credential::Credential;
use protocol::wire::message::{Body, Message};
use protocol::wire::offence::Offence;
use protocol::wire::open::{Standing, open};
use protocol::wire::proof::convicted;
use protocol::wire::sealed::{CoSigned, Sealed};
use protocol::wire::trials::Trials;

use crate::fixture::{
    TODAY, announce, bodies, card, certificate, cosigned, hear, hello, invited, keys, message, proof, run_id,
    trials,
};

/// A body of member 4 whose bytes were changed before they were signed.
fn forged(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = encode(&message(Body::Announce(announce(Hash([6; 32])))));
    change(&mut body);
    let signature = keys(4).sign(Domain::Message, &body);
    encode(&Sealed { signer: keys(4).peer(), body, signature })
}

/// A good message of member 4 whose envelope was changed after it was signed.
fn tampered(change: impl FnOnce(&mut Sealed)) -> Vec<u8> {
    let mut sealed =
        Sealed::new(&keys(4), Domain::Message, &message(Body::Announce(announce(Hash([6; 32])))));
    change(&mut sealed);
    encode(&sealed)
}

fn says(body: Body) -> Vec<u8> {
    message(body).seal(&keys(4))
}

fn announces(change: impl FnOnce(&mut Announce)) -> Vec<u8> {
    let mut announce = announce(Hash([6; 32]));
    change(&mut announce);
    says(Body::Announce(announce))
}

fn greets(change: impl FnOnce(&mut Hello)) -> Vec<u8> {
    let mut hello = hello();
    change(&mut hello);
    says(Body::Hello(hello))
}

fn scores(change: impl FnOnce(&mut Card)) -> Vec<u8> {
    let mut card = card();
    change(&mut card);
    says(Body::Card(card))
}

fn tries(change: impl FnOnce(&mut Trials)) -> Vec<u8> {
    let mut trials = trials();
    change(&mut trials);
    says(Body::Trials(trials))
}

/// Bytes of an envelope whose body claims to be `length` bytes long (as bincode's largest form) and brings ten.
fn lying(length: u64) -> Vec<u8> {
    [&keys(4).peer().0[..], &[253], &length.to_le_bytes(), &[1; 10]].concat()
}

#[test]
fn good_messages_of_every_kind_are_heard() {
    for body in bodies() {
        assert_eq!(hear(&says(body.clone())), Ok(()), "{}", body.name());
    }
}

#[test]
fn bad_messages_are_refused_for_the_right_reason() {
    use Offence::{BadSignature, Malformed, Meaningless, NotMember, OtherRun, TooLong, UnknownVersion};
    let small_order = {
        let mut key = [0u8; 32];
        key[0] = 1;
        PeerId(key)
    };
    let twice = |sealed: &dyn Fn(u8) -> Sealed| Box::new(Proof::Announces(sealed(1), sealed(1)));
    let by = |key: u8, hash: u8| {
        Sealed::new(&keys(key), Domain::Message, &message(Body::Announce(announce(Hash([hash; 32])))))
    };
    let rows: Vec<(&str, Vec<u8>, Offence)> = vec![
        ("7 nothing", vec![], Malformed),
        ("7 an empty body", tampered(|s| s.body.clear()), Malformed),
        ("8 a length of 2^64 - 1", lying(u64::MAX), Malformed),
        ("8 a length of 2^32 - 1", lying(u32::MAX.into()), Malformed),
        ("9 a length beyond the bytes", lying(100), Malformed),
        ("10 one byte over the cap", vec![0; GOSSIP_BYTES_MAX + 1], TooLong),
        ("10 ten megabytes", vec![0; 10 << 20], TooLong),
        ("12 two messages in one", [says(Body::Farewell(OuterStep(1))), vec![0]].concat(), Malformed),
        ("14 version 0", forged(|b| b[0] = 0), UnknownVersion),
        ("14 version 2", forged(|b| b[0] = 2), UnknownVersion),
        ("15 an unknown kind", forged(|b| b[34] = 250), Malformed),
        ("15 kind 6 of 6", forged(|b| b[34] = 6), Malformed),
        ("   a body that ends early", forged(|b| b.truncate(40)), Malformed),
        ("   a byte behind the body", forged(|b| b.push(0)), Malformed),
        ("   a number in its long form", forged(|b| drop(b.splice(33..34, [251, 1, 0]))), Malformed),
        ("24 2^32 addresses in ten bytes", forged(many_addresses), Malformed),
        ("25 a name that is not UTF-8", forged(|b| *b = broken_name(b)), Malformed),
        ("25 a name over the cap", greets(|h| h.name = "x".repeat(NAME_BYTES_MAX + 1)), Meaningless),
        ("25 a name with a line feed", greets(|h| h.name = "a\nb".to_owned()), Meaningless),
        ("25 a name that turns text around", greets(|h| h.name = "a\u{202e}b".to_owned()), Meaningless),
        ("25 a name with an escape", greets(|h| h.name = "\u{1b}[2J".to_owned()), Meaningless),
        ("25 no name", greets(|h| h.name = " ".to_owned()), Meaningless),
        (
            "   too many addresses",
            greets(|h| h.addresses = vec!["/x".to_owned(); ADDRESSES_MAX + 1]),
            Meaningless,
        ),
        ("   a long address", greets(|h| h.addresses = vec!["x".repeat(ADDRESS_BYTES_MAX + 1)]), Meaningless),
        ("   too many trials", tries(|t| t.made = vec![t.made[0]; TRIALS_MAX + 1]), Meaningless),
        ("   a score that is no number", tries(|t| t.made[1].score = f32::NAN), Meaningless),
        ("   a loss without end", tries(|t| t.made[0].loss = f32::INFINITY), Meaningless),
        ("26 no signature", tampered(|s| s.signature = Signature([0; 64])), BadSignature),
        (
            "27 another member's signature",
            tampered(|s| s.signature = keys(5).sign(Domain::Message, &s.body)),
            BadSignature,
        ),
        ("27 another member's name", tampered(|s| s.signer = keys(5).peer()), BadSignature),
        ("28 a stranger", message(Body::Hello(hello())).seal(&keys(9)), NotMember),
        ("28 a founder that is no member", message(Body::Hello(hello())).seal(&keys(1)), NotMember),
        ("35 a manifest of 0 bytes", announces(|a| a.manifest_bytes = 0), Meaningless),
        ("35 a manifest of 4 GiB", announces(|a| a.manifest_bytes = u32::MAX), Meaningless),
        ("40 a step far ahead", announces(|a| a.step = OuterStep(STEPS_AHEAD_MAX + 1)), Meaningless),
        ("40 a step at the end of numbers", announces(|a| a.step = OuterStep(u32::MAX)), Meaningless),
        ("41 the step of genesis", announces(|a| a.step = OuterStep(0)), Meaningless),
        ("   an update of no stage that makes one", announces(|a| a.stage = Stage::Join), Meaningless),
        (
            "42 another run",
            Message::new(RunId(Hash([1; 32])), 1, Body::Hello(hello())).seal(&keys(4)),
            OtherRun,
        ),
        ("43 a proof of twice the same", says(Body::Proof(twice(&|_| by(5, 1)))), Meaningless),
        (
            "43 a proof against two peers",
            says(Body::Proof(Box::new(Proof::Announces(by(4, 1), by(5, 2))))),
            Meaningless,
        ),
        (
            "43 a proof with a forged half",
            says(Body::Proof(Box::new(forged_half(by(5, 1), by(5, 2))))),
            Meaningless,
        ),
        (
            "43 a proof with messages as manifests",
            says(Body::Proof(Box::new(Proof::Manifests(by(5, 1), by(5, 2))))),
            Meaningless,
        ),
        ("45 a score that is NaN", scores(|c| c.score = f32::NAN), Meaningless),
        ("46 a loss that is infinite", scores(|c| c.loss = f32::INFINITY), Meaningless),
        ("   a metric without a name", scores(|c| c.metric = String::new()), Meaningless),
        ("65 a signature of zeros", tampered(|s| s.signature.0 = [0; 64]), BadSignature),
        ("66 a key of zeros", tampered(|s| s.signer = PeerId([0; 32])), NotMember),
        ("66 a key of small order", tampered(|s| s.signer = small_order), NotMember),
        (
            "68 a signature for a manifest",
            tampered(|s| s.signature = keys(4).sign(Domain::Manifest, &s.body)),
            BadSignature,
        ),
        (
            "68 a signature for a ledger",
            tampered(|s| s.signature = keys(4).sign(Domain::Ledger, &s.body)),
            BadSignature,
        ),
        ("69 a body changed after signing", tampered(|s| s.body[33] ^= 2), BadSignature),
    ];
    for (row, bytes, expected) in rows {
        assert_eq!(hear(&bytes), Err(expected), "{row}");
    }
}

/// A hello of which the address count claims 2^32.
fn many_addresses(body: &mut Vec<u8>) {
    let mut with = body[..34].to_vec();
    with.extend([1, 1, b'x', 252]); // a hello, a name of one byte, a count in four bytes
    with.extend(u32::MAX.to_le_bytes());
    with.extend([0; 10]);
    *body = with;
}

fn broken_name(good: &[u8]) -> Vec<u8> {
    [&good[..34], &[1, 2, 0xff, 0xfe, 0, 0, 0, 0, 0]].concat()
}

fn forged_half(a: Sealed, mut b: Sealed) -> Proof {
    b.signature.0[0] ^= 1;
    Proof::Announces(a, b)
}

/// Row 70.
#[test]
fn a_flip_of_any_bit_of_a_signature_is_noticed() {
    for bit in 0..512 {
        let flipped = tampered(|s| s.signature.0[bit / 8] ^= 1 << (bit % 8));
        assert_eq!(hear(&flipped), Err(Offence::BadSignature), "bit {bit}");
    }
}

#[test]
fn a_flip_of_any_bit_of_a_message_is_noticed() {
    let bytes = says(Body::Hello(hello()));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(hear(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn a_message_cut_at_any_length_is_refused() {
    let bytes = says(Body::Proof(Box::new(proof())));
    for length in 0..bytes.len() {
        assert!(hear(&bytes[..length]).is_err(), "{length} bytes");
    }
}

/// Cheap checks come first: a refused peer costs no signature check, and what is refused for its standing is refused
/// whatever its body says.
#[test]
fn standing_is_asked_before_the_signature_is_checked() {
    for offence in [Offence::Revoked, Offence::Expired, Offence::OverQuota, Offence::Equivocated] {
        let bytes = tampered(|s| s.signature.0[3] ^= 1);
        let unpaid = |_| panic!("nobody pays for a check that is not made");
        let refused = open(&bytes, &crate::fixture::run(), TODAY, |_| Standing::Refused(offence), unpaid);
        assert_eq!(refused.map(drop), Err(offence), "29 {offence}");
    }
    let asked = std::cell::Cell::new(0);
    let count = |_: &PeerId| {
        asked.set(asked.get() + 1);
        Standing::Member
    };
    let of_other_run = Message::new(RunId(Hash([1; 32])), 1, Body::Hello(hello())).seal(&keys(4));
    assert!(open(&of_other_run, &crate::fixture::run(), TODAY, count, |_| true).is_err());
    assert_eq!(asked.get(), 0, "another run's message takes nobody's quota");
}

/// What a message costs is told before its signatures are checked, and an unpaid one is refused whatever it holds.
#[test]
fn every_signature_check_is_paid_before_it_is_made() {
    let priced = |bytes: &[u8], charter: &protocol::wire::charter::SignedCharter, standing, grants: bool| {
        let mut price = 0;
        let opened = open(
            bytes,
            charter,
            TODAY,
            |_| standing,
            |checks| {
                price = checks;
                grants
            },
        );
        (opened.map(|message| message.checks()), price)
    };
    let run = crate::fixture::run();
    let forged = tampered(|s| s.signature.0[3] ^= 1);
    assert_eq!(priced(&forged, &run, Standing::Member, true), (Err(Offence::BadSignature), 1));
    assert_eq!(priced(&forged, &run, Standing::Member, false), (Err(Offence::OverQuota), 1));
    // A proof and a list of two founders are believed after two checks more.
    for (body, checks) in bodies().into_iter().zip([1, 1, 1, 3, 3, 1, 1]) {
        assert_eq!(
            priced(&says(body.clone()), &run, Standing::Member, true),
            (Ok(checks), 1),
            "{}",
            body.name()
        );
    }
    let charter = invited();
    let hello = |count: usize| {
        let certificate = CoSigned::unsigned(&certificate(charter.run()));
        let mut certificate = cosigned(certificate, Domain::Certificate, &[1, 2, 3]);
        let bogus = (keys(1).peer(), Signature([7; 64]));
        certificate.signatures.splice(0..0, vec![bogus; count]);
        let hello = Hello { credential: Some(Credential::Certificate(certificate)), ..hello() };
        Message::new(charter.run(), 1, Body::Hello(hello)).seal(&keys(6))
    };
    assert_eq!(
        priced(&hello(0), &charter, Standing::Unknown, true),
        (Ok(4), 4),
        "a newcomer's three founders"
    );
    // However many signatures a stranger writes down, no more are checked than there are founders.
    assert_eq!(priced(&hello(3), &charter, Standing::Unknown, true), (Ok(4), 4));
    assert_eq!(priced(&hello(100), &charter, Standing::Unknown, true), (Err(Offence::NotMember), 2));
    assert_eq!(priced(&hello(100), &charter, Standing::Unknown, false), (Err(Offence::OverQuota), 2));
}

#[test]
fn a_proof_convicts_exactly_its_signer_in_its_run() {
    assert_eq!(convicted(&proof(), &run_id()), Some(keys(5).peer()));
    assert_eq!(convicted(&proof(), &RunId(Hash([1; 32]))), None);
}

#[test]
fn newcomers_are_let_in_by_a_certificate_and_nothing_else() {
    let charter = invited();
    let run = charter.run();
    let invite = |certificate: Option<CoSigned>, key: u8| {
        let hello = Hello { credential: certificate.map(Credential::Certificate), ..hello() };
        Message::new(run, 1, Body::Hello(hello)).seal(&keys(key))
    };
    let certified = |signers: &[u8], run: RunId, end: UnixSeconds| {
        let certificate = protocol::wire::certificate::Certificate { not_after: end, ..certificate(run) };
        Some(cosigned(CoSigned::unsigned(&certificate), Domain::Certificate, signers))
    };
    let later = UnixSeconds(TODAY.0 + 1_000);
    let other_use = || Some(cosigned(CoSigned::unsigned(&certificate(run)), Domain::Charter, &[1, 2]));
    let farewell = Message::new(run, 1, Body::Farewell(OuterStep(1))).seal(&keys(6));
    let rows: Vec<(&str, Vec<u8>, Result<(), Offence>)> = vec![
        ("   a good certificate", invite(certified(&[1, 2], run, later), 6), Ok(())),
        ("28 no certificate", invite(None, 6), Err(Offence::NotMember)),
        ("28 no hello", farewell, Err(Offence::NotMember)),
        ("29 ran out", invite(certified(&[1, 2], run, TODAY), 6), Err(Offence::Expired)),
        ("72 one founder of two", invite(certified(&[1], run, later), 6), Err(Offence::NotMember)),
        ("72 strangers as issuers", invite(certified(&[8, 9], run, later), 6), Err(Offence::NotMember)),
        (
            "72 a stranger beside a founder",
            invite(certified(&[1, 9], run, later), 6),
            Err(Offence::NotMember),
        ),
        ("42 of another run", invite(certified(&[1, 2], run_id(), later), 6), Err(Offence::NotMember)),
        ("68 signed for another use", invite(other_use(), 6), Err(Offence::NotMember)),
        ("76 for another key", invite(certified(&[1, 2], run, later), 9), Err(Offence::NotMember)),
    ];
    for (row, bytes, expected) in rows {
        assert_eq!(
            open(&bytes, &charter, TODAY, |_| Standing::Unknown, |_| true).map(drop),
            expected,
            "{row}"
        );
    }
    let early = open(
        &invite(certified(&[1, 2], run, later), 6),
        &charter,
        UnixSeconds(5),
        |_| Standing::Unknown,
        |_| true,
    );
    assert_eq!(early.map(drop), Err(Offence::Expired), "57 a clock in 1970");
}
