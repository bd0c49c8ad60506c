//! Every place where bytes of strangers are opened, as functions that take any bytes and must not panic.
//!
//! The fuzz targets in `fuzz/` call them, and so does an ordinary test over the corpus: nobody needs a fuzzer to be
//! protected by what one found. Each also says what must hold when bytes are accepted.

use std::sync::OnceLock;

use protocol::codec::{decode_control, decode_manifest, encode};
use protocol::crypto::hash::content_hash;
use protocol::crypto::signed::Domain;
use protocol::id::OuterStep;
use protocol::ledger::chain::Head;
use protocol::peer::snapshot::Snapshot;
use protocol::rng::Seed;
use protocol::shard::cut;
use protocol::time::UnixSeconds;
use protocol::wire::certificate::{Certificate, Revocation, Rotation};
use protocol::wire::charter::SignedCharter;
use protocol::wire::choice::Codec;
use protocol::wire::manifest::{Expected, Manifest};
use protocol::wire::open::{Standing, open};
use protocol::wire::request::{News, Request};
use protocol::wire::sealed::{CoSigned, Sealed};

use crate::charters::{charter, keys, signed};

/// A target: its name and the function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("gossip", gossip),
    ("manifest", manifest),
    ("request", request),
    ("agreement", agreement),
    ("credential", credential),
    ("ledger", ledger),
    ("shard", shard),
    ("snapshot", snapshot),
];

const PARAMETERS: u64 = 2_000;
const TODAY: UnixSeconds = UnixSeconds(1_800_000_000);

fn run() -> &'static SignedCharter {
    static RUN: OnceLock<SignedCharter> = OnceLock::new();
    RUN.get_or_init(|| signed(&charter(4, PARAMETERS)))
}

/// The bytes as they are, and as the body of something a member signed.
fn both(bytes: &[u8], domain: Domain) -> [Vec<u8>; 2] {
    let keys = keys(1);
    let signature = keys.sign(domain, bytes);
    let sealed = Sealed { signer: keys.peer(), body: bytes.to_vec(), signature };
    [bytes.to_vec(), sealed.to_bytes()]
}

/// A gossip message.
pub fn gossip(bytes: &[u8]) {
    for bytes in both(bytes, Domain::Message) {
        let opened = open(
            &bytes,
            run(),
            TODAY,
            |peer| match run().listed(peer) {
                Some(_) => Standing::Member,
                None => Standing::Unknown,
            },
            |_| true,
        );
        if let Ok(message) = opened {
            assert_eq!(message.bytes().as_ref(), bytes, "what is relayed is what was heard");
            assert!(run().listed(&message.signer()).is_some(), "only members are heard");
        }
    }
    let _ = decode_control::<News>(bytes);
}

/// A manifest.
pub fn manifest(bytes: &[u8]) {
    for bytes in both(bytes, Domain::Manifest) {
        let expected = Expected {
            run: run().run(),
            peer: keys(1).peer(),
            step: OuterStep(1),
            hash: content_hash(&bytes),
            parameters: PARAMETERS,
        };
        if let Ok(found) = Manifest::open(&bytes, &expected, |codec| cut::count(PARAMETERS as usize, codec)) {
            assert_eq!(found.peer, keys(1).peer());
            assert!(found.manifest.norms.iter().all(|norm| norm.is_finite()));
        }
    }
}

/// A question of the bulk plane.
pub fn request(bytes: &[u8]) {
    if let Ok(found) = Request::open(bytes, &run().run()) {
        assert_eq!(found.to_bytes(), bytes, "one question has one form");
    }
}

/// A charter.
pub fn agreement(bytes: &[u8]) {
    if let Ok(found) = SignedCharter::open(bytes) {
        assert_eq!(found.to_bytes(), bytes, "one charter has one form");
        found.charter().check().expect("an open charter was checked");
    }
    let mut sealed = CoSigned { body: bytes.to_vec(), signatures: Vec::new() };
    sealed.sign(&keys(0), Domain::Charter);
    let _ = SignedCharter::from_sealed(sealed);
}

/// A certificate, a revocation list, a change of keys.
pub fn credential(bytes: &[u8]) {
    let terms = run().charter();
    let signed_by_founder = |domain| {
        let mut sealed = CoSigned { body: bytes.to_vec(), signatures: Vec::new() };
        sealed.sign(&keys(0), domain);
        sealed
    };
    if let Ok(found) = Certificate::open(&signed_by_founder(Domain::Certificate), terms) {
        assert_eq!(encode(&found), bytes);
    }
    if let Ok(found) = Revocation::open(&signed_by_founder(Domain::Revocation), terms) {
        assert!(found.revoked.is_sorted(), "keys are sorted");
    }
    for bytes in both(bytes, Domain::Rotation) {
        if let Ok(sealed) = decode_control::<Sealed>(&bytes) {
            let _ = Rotation::open(&sealed, terms);
        }
    }
    if let Ok(sealed) = decode_manifest::<CoSigned>(bytes) {
        let _ = Certificate::open(&sealed, terms);
        let _ = Revocation::open(&sealed, terms);
    }
}

/// An entry of a ledger.
pub fn ledger(bytes: &[u8]) {
    for bytes in both(bytes, Domain::Ledger) {
        let mut head = Head::default();
        if head.check(&bytes, &keys(1).peer()).is_ok() {
            assert_eq!((head.length, head.hash), (1, content_hash(&bytes)));
        } else {
            assert_eq!(head, Head::default(), "a refused entry moves nothing");
        }
    }
}

/// A shard; the first byte chooses the codec, the next two the number of values.
pub fn shard(bytes: &[u8]) {
    let [choice, low, high, rest @ ..] = bytes else { return };
    let codec = Codec::ALL[*choice as usize % Codec::ALL.len()];
    let count = usize::from(u16::from_le_bytes([*low, *high])) % 4_096;
    let mut values = vec![0.0; count];
    if codec.decode(rest, &mut values).is_ok() {
        assert!(values.iter().all(|value| value.is_finite() && !value.is_subnormal()));
        let mut again = Vec::new();
        codec.encode(&values, &Seed::from_u64(1), &mut again).expect("decoded values are finite");
        assert_eq!(again.len(), rest.len());
    }
    let near: Vec<f32> = (0..count).map(|i| (i % 7) as f32 - 3.0).collect();
    if let Ok(far) = codec.decode_near(rest, &near, &mut values) {
        assert!(far <= count && values.iter().all(|value| value.is_finite()));
    }
}

/// A peer's own memory, read back from a disk.
pub fn snapshot(bytes: &[u8]) {
    if let Ok(found) = Snapshot::from_bytes(bytes) {
        assert_eq!(found.to_bytes(), bytes, "one memory has one form");
    }
}
