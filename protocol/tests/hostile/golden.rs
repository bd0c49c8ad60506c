//! Golden bytes: the wire format cannot change unnoticed.
//!
//! `tests/golden/NAME.hex` holds one value of every type that travels or is signed, 32 bytes a line. After a deliberate
//! change of format (and of `VERSION`), write them anew: `STARLING_GOLDEN=write cargo test -p starling-protocol golden`.

use std::fmt::Write as _;
use std::path::PathBuf;

use protocol::codec::{Decode, Encode, decode_manifest, encode};
use protocol::crypto::signed::Domain;
use protocol::id::{Hash, OuterStep};
use protocol::ledger::chain::Head;
use protocol::ledger::record::{Ingredient, Record};
use protocol::wire::charter::Charter;
use protocol::wire::credential::Credential;
use protocol::wire::manifest::Manifest;
use protocol::wire::message::Message;
use protocol::wire::prediction::Prediction;
use protocol::wire::request::{News, Request, Want};
use protocol::wire::sealed::{CoSigned, Sealed};

use crate::fixture::{
    binding, bodies, certificate, charter, closed, codistilled, cosigned, fetched, hear, invitation, keys,
    manifest, message, prediction, query, revocation, rotation, run, run_id, wanted,
};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden"))
}

fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        for byte in line {
            write!(text, "{byte:02x}").expect("a string takes what is written");
        }
        text.push('\n');
    }
    text
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Compares with the golden bytes and answers them.
fn golden(name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = folder().join(format!("{name}.hex"));
    if std::env::var("STARLING_GOLDEN").is_ok_and(|word| word == "write") {
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::write(&path, to_hex(bytes)).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(
        kept,
        to_hex(bytes),
        "{name} is encoded differently than before: old nodes would not understand it"
    );
    from_hex(&kept)
}

fn reads_back<T: Encode + Decode<()> + PartialEq + std::fmt::Debug>(name: &str, value: &T) {
    assert_eq!(decode_manifest::<T>(&golden(name, &encode(value))).as_ref(), Ok(value), "{name}");
}

#[test]
fn every_wire_type_has_its_golden_bytes() {
    for body in bodies() {
        let bytes = golden(&format!("message_{}", body.name()), &message(body.clone()).seal(&keys(4)));
        assert_eq!(hear(&bytes), Ok(()), "{}", body.name());
        let sealed: Sealed = decode_manifest(&bytes).unwrap();
        assert_eq!(decode_manifest::<Message>(&sealed.body), Ok(message(body)));
    }
    let bytes = golden("manifest", &manifest().seal(&keys(4)).to_bytes());
    assert_eq!(fetched(&bytes), Ok(()));
    let sealed: Sealed = decode_manifest(&bytes).unwrap();
    assert_eq!(decode_manifest::<Manifest>(&sealed.body), Ok(manifest()));
    golden("charter_signed", &run().to_bytes());
    reads_back::<Charter>("charter", &charter(closed()));
    reads_back::<Charter>("charter_codistilled", &codistilled());
    let mut overlapped = charter(closed());
    overlapped.schedule.overlap = true;
    reads_back::<Charter>("charter_overlapped", &overlapped);
    let bytes = golden("prediction", &prediction().seal(&keys(4)));
    assert_eq!(Prediction::open(&bytes, &wanted()), Ok(prediction()));
    reads_back(
        "certificate",
        &cosigned(CoSigned::unsigned(&certificate(run_id())), Domain::Certificate, &[1, 2]),
    );
    reads_back("revocation", &cosigned(CoSigned::unsigned(&revocation()), Domain::Revocation, &[1, 2]));
    reads_back("rotation", &Sealed::new(&keys(4), Domain::Rotation, &rotation()));
    let invitation = cosigned(CoSigned::unsigned(&invitation(run_id())), Domain::Invitation, &[1, 2]);
    let binding = Sealed::new(&keys(4), Domain::Binding, &binding(&invitation));
    reads_back("credential", &Credential::Invited { invitation: invitation.clone(), binding });
    let wants = [
        ("redeem", Want::Redeem { invitation, secret: [7; 32] }),
        ("file", Want::File { hash: Hash([1; 32]), piece: 300 }),
        ("news", Want::News),
        ("manifest", Want::Manifest(Hash([1; 32]))),
        ("shards", Want::Shards { manifest: Hash([1; 32]), indices: vec![0, 7, 300, 70_000] }),
        ("charter", Want::Charter),
        ("predict", Want::Predict(query())),
    ];
    for (name, want) in wants {
        reads_back(&format!("request_{name}"), &Request::new(run_id(), want));
    }
    reads_back("news", &News { messages: vec![vec![1, 2, 3], vec![]] });
    let records =
        [("entry", Record::Published { step: OuterStep(3), manifest: Hash([4; 32]) }), ("judged", judged())];
    for (name, record) in records {
        let entry = golden(&format!("ledger_{name}"), &Head::default().append(record.clone(), &keys(4)));
        assert_eq!(Head::default().check(&entry, &keys(4).peer()), Ok(record));
    }
}

/// A fusion of two models that was let in.
fn judged() -> Record {
    let member = |number: u8, weight| Ingredient { model: Hash([number; 32]), weight };
    Record::Judged {
        candidate: Hash([5; 32]),
        is_adopted: true,
        metric: "f1".to_owned(),
        score_candidate: 0.875,
        score_incumbent: 0.75,
        margin: 0.125,
        members: vec![member(6, 0.25), member(7, 0.75)],
    }
}
