//! Manifests against `Manifest::open`.

use protocol::codec::{MANIFEST_BYTES_MAX, encode};
use protocol::crypto::hash::content_hash;
use protocol::crypto::merkle;
use protocol::crypto::signed::Domain;
use protocol::id::{Hash, OuterStep, RunId};
use protocol::wire::announce::Proof;
use protocol::wire::choice::Codec;
use protocol::wire::manifest::{Manifest, Privacy};
use protocol::wire::offence::Offence;
use protocol::wire::sealed::Sealed;

use crate::fixture::{SHARDS, expected, fetched, keys, manifest, run_id};

/// A manifest that was changed before it was signed; the announced hash is that of its bytes.
fn claims(change: impl FnOnce(&mut Manifest)) -> Vec<u8> {
    let mut manifest = manifest();
    change(&mut manifest);
    manifest.seal(&keys(4)).to_bytes()
}

fn with_shards(count: usize) -> Vec<u8> {
    claims(|m| {
        m.shards = vec![Hash([1; 32]); count];
        m.norms = vec![1.0; count];
        m.root = merkle::root(&m.shards);
    })
}

fn forged(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = encode(&manifest());
    change(&mut body);
    let signature = keys(4).sign(Domain::Manifest, &body);
    Sealed { signer: keys(4).peer(), body, signature }.to_bytes()
}

fn tampered(change: impl FnOnce(&mut Sealed)) -> Vec<u8> {
    let mut sealed = manifest().seal(&keys(4));
    change(&mut sealed);
    sealed.to_bytes()
}

#[test]
fn a_good_manifest_opens() {
    assert_eq!(fetched(&claims(|_| ())), Ok(()));
    assert_eq!(fetched(&claims(|m| m.privacy = None)), Ok(()));
}

#[test]
fn bad_manifests_are_refused_for_the_right_reason() {
    use Offence::{BadSignature, Malformed, Meaningless, NotTheAuthor, OtherRun, TooLong, UnknownVersion};
    // Where the codec's number stands: version, run, step in one byte, parent, stage.
    let codec_at = 1 + 32 + 1 + 32 + 1;
    let privacy = |epsilon, delta| claims(move |m| m.privacy = Some(Privacy { epsilon, delta }));
    let rows: Vec<(&str, Vec<u8>, Offence)> = vec![
        ("   nothing", vec![], Malformed),
        ("62 over the cap", vec![0; MANIFEST_BYTES_MAX + 1], TooLong),
        ("14 another version", forged(|b| b[0] = 9), UnknownVersion),
        ("26 no signature", tampered(|s| s.signature.0 = [0; 64]), BadSignature),
        (
            "27 another member's signature",
            tampered(|s| s.signature = keys(5).sign(Domain::Manifest, &s.body)),
            BadSignature,
        ),
        ("30 another signer than announced", manifest().seal(&keys(5)).to_bytes(), NotTheAuthor),
        ("34 no shards", with_shards(0), Meaningless),
        (
            "34 2^32 shards in a few bytes",
            forged(|b| drop(b.splice(codec_at + 3.., [252, 255, 255, 255, 255, 0]))),
            Malformed,
        ),
        ("36 an unknown codec", forged(|b| b[codec_at] = Codec::ALL.len() as u8), Malformed),
        ("38 a shard less than the model has", with_shards(SHARDS - 1), Meaningless),
        ("38 a shard more", with_shards(SHARDS + 1), Meaningless),
        ("   a norm less", claims(|m| m.norms.truncate(SHARDS - 1)), Meaningless),
        ("   a root of other shards", claims(|m| m.shards[3] = Hash([99; 32])), Meaningless),
        ("40 another step than announced", claims(|m| m.step = OuterStep(4)), Meaningless),
        ("42 another run", claims(|m| m.run = RunId(Hash([1; 32]))), OtherRun),
        ("45 a norm that is NaN", claims(|m| m.norms[0] = f32::NAN), Meaningless),
        ("46 a norm that is infinite", claims(|m| m.norms[7] = f32::INFINITY), Meaningless),
        ("   a norm below 0", claims(|m| m.norms[1] = -1.0), Meaningless),
        ("45 a sketch with NaN", claims(|m| m.sketch[255] = f32::NAN), Meaningless),
        ("   a short sketch", claims(|m| m.sketch.truncate(255)), Meaningless),
        ("   a long sketch", claims(|m| m.sketch.push(0.0)), Meaningless),
        ("   privacy below 0", privacy(-1.0, 1e-5), Meaningless),
        ("   privacy without end", privacy(f32::INFINITY, 1e-5), Meaningless),
        ("   a delta of 1", privacy(1.0, 1.0), Meaningless),
        ("   a delta that is NaN", privacy(1.0, f32::NAN), Meaningless),
        (
            "68 signed as a message",
            tampered(|s| s.signature = keys(4).sign(Domain::Message, &s.body)),
            BadSignature,
        ),
    ];
    for (row, bytes, expected) in rows {
        assert_eq!(fetched(&bytes), Err(expected), "{row}");
    }
}

#[test]
fn bytes_other_than_announced_are_refused_before_they_are_read() {
    let bytes = claims(|_| ());
    let mut other = expected(&bytes);
    other.hash = content_hash(b"something else");
    assert_eq!(Manifest::open(&bytes, &other, |_| SHARDS).map(drop), Err(Offence::WrongContent));
    let cut = Manifest::open(&bytes[..bytes.len() - 1], &expected(&bytes), |_| SHARDS);
    assert_eq!(cut.map(drop), Err(Offence::WrongContent));
}

/// Row 70, and every other bit: the announced hash is that of the flipped bytes, so only the signature can tell.
#[test]
fn a_flip_of_any_bit_is_noticed_even_when_it_was_announced() {
    let bytes = claims(|_| ());
    let signature_from = bytes.len() - 64;
    // Every bit of the signature, and one bit of every byte before it.
    let bits = (0..signature_from).map(|byte| byte * 8 + byte % 8).chain(signature_from * 8..bytes.len() * 8);
    for bit in bits {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let refused = fetched(&flipped);
        assert!(refused.is_err(), "bit {bit}");
        assert!(bit < signature_from * 8 || refused == Err(Offence::BadSignature), "bit {bit}");
    }
}

/// Row 43.
#[test]
fn two_manifests_for_one_step_convict_and_nothing_less_does() {
    let sealed = |samples: u64, step: u32, key: u8| {
        Manifest { samples, step: OuterStep(step), ..manifest() }.seal(&keys(key))
    };
    let convicted =
        |a: Sealed, b: Sealed| protocol::wire::proof::convicted(&Proof::Manifests(a, b), &run_id());
    assert_eq!(convicted(sealed(1, 3, 4), sealed(2, 3, 4)), Some(keys(4).peer()));
    assert_eq!(convicted(sealed(1, 3, 4), sealed(1, 3, 4)), None, "the same twice");
    assert_eq!(convicted(sealed(1, 3, 4), sealed(2, 4, 4)), None, "two steps");
    assert_eq!(convicted(sealed(1, 3, 4), sealed(2, 3, 5)), None, "two peers");
    let mut forged = sealed(2, 3, 4);
    forged.body[200] ^= 1;
    assert_eq!(convicted(sealed(1, 3, 4), forged), None, "one of them forged");
}
