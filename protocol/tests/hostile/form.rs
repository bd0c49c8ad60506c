//! The form of all wire types: one value, one encoding; arbitrary bytes never panic.

use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use protocol::codec::{Decode, Encode, decode_control, decode_manifest, encode};
use protocol::crypto::signed::Signature;
use protocol::id::{Hash, OuterStep, PeerId};
use protocol::wire::announce::{Announce, Card, Hello};
use protocol::wire::certificate::{Binding, Certificate, Invitation, Revocation, Rotation};
use protocol::wire::charter::{Charter, SignedCharter};
use protocol::wire::choice::Stage;
use protocol::wire::credential::Credential;
use protocol::wire::manifest::Manifest;
use protocol::wire::message::{Body, Message};
use protocol::wire::request::{News, Request, Want};
use protocol::wire::sealed::{CoSigned, Sealed};
use protocol::wire::trials::{TrialMade, Trials};

use crate::fixture::{charter, closed, fetched, hear, keys, manifest, run_id};

/// Decoding what was encoded gives the value; decoding anything else gives that very encoding or nothing.
fn one_form<T: Encode + Decode<()> + PartialEq + Debug>(value: &T) -> Result<(), TestCaseError> {
    let bytes = encode(value);
    let again: T = decode_manifest(&bytes).map_err(|e| TestCaseError::fail(e.to_string()))?;
    prop_assert_eq!(&again, value);
    Ok(())
}

fn any_form<T: Encode + Decode<()>>(bytes: &[u8]) {
    if let Ok(value) = decode_control::<T>(bytes) {
        assert_eq!(encode(&value), bytes, "a second form of one value was accepted");
    }
}

fn all_forms(bytes: &[u8]) {
    any_form::<Sealed>(bytes);
    any_form::<CoSigned>(bytes);
    any_form::<Message>(bytes);
    any_form::<Manifest>(bytes);
    any_form::<Charter>(bytes);
    any_form::<Certificate>(bytes);
    any_form::<Invitation>(bytes);
    any_form::<Binding>(bytes);
    any_form::<Credential>(bytes);
    any_form::<Revocation>(bytes);
    any_form::<Rotation>(bytes);
    any_form::<Request>(bytes);
    any_form::<News>(bytes);
    let _ = hear(bytes);
    let _ = fetched(bytes);
    let _ = SignedCharter::open(bytes);
    let _ = Request::open(bytes, &run_id());
}

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

fn stage() -> impl Strategy<Value = Stage> {
    prop::sample::select(Stage::ALL)
}

fn step() -> impl Strategy<Value = OuterStep> {
    any::<u32>().prop_map(OuterStep)
}

fn cosigned() -> impl Strategy<Value = CoSigned> {
    let signature = (any::<[u8; 32]>(), any::<[u8; 32]>());
    let signatures = prop::collection::vec(signature, 0..4);
    (prop::collection::vec(any::<u8>(), 0..80), signatures).prop_map(|(body, signatures)| CoSigned {
        body,
        signatures: signatures
            .into_iter()
            .map(|(peer, half)| (PeerId(peer), Signature(std::array::from_fn(|i| half[i % 32]))))
            .collect(),
    })
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        (step(), hash(), any::<u32>(), stage()).prop_map(|(step, manifest, manifest_bytes, stage)| {
            Body::Announce(Announce { step, manifest, manifest_bytes, stage })
        }),
        (
            any::<String>(),
            prop::collection::vec(any::<String>(), 0..4),
            prop::option::of(cosigned()),
            any::<u32>(),
            step(),
            stage()
        )
            .prop_map(|(name, addresses, certificate, revocation, step, stage)| {
                let credential = certificate.map(Credential::Certificate);
                Body::Hello(Hello { name, addresses, credential, revocation, step, stage })
            }),
        (step(), any::<String>(), any::<f32>(), any::<f32>(), any::<u64>()).prop_map(
            |(step, metric, score, loss, samples)| Body::Card(Card { step, metric, score, loss, samples })
        ),
        cosigned().prop_map(Body::Revocation),
        step().prop_map(Body::Farewell),
        (hash(), prop::collection::vec((any::<u32>(), any::<u32>(), any::<f32>(), any::<u64>()), 0..4))
            .prop_map(|(search, made)| {
                let made = made
                    .into_iter()
                    .map(|(trial, rung, score, samples)| TrialMade { trial, rung, score, loss: 1.0, samples })
                    .collect();
                Body::Trials(Trials { search, made })
            }),
    ]
}

fn want() -> impl Strategy<Value = Want> {
    prop_oneof![
        Just(Want::News),
        Just(Want::Charter),
        hash().prop_map(Want::Manifest),
        (hash(), prop::collection::vec(any::<u32>(), 0..80))
            .prop_map(|(manifest, indices)| Want::Shards { manifest, indices }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, rng_seed: RngSeed::Fixed(2), ..ProptestConfig::default() })]

    #[test]
    fn messages_and_requests_have_one_form(sequence: u64, body in body(), want in want()) {
        one_form(&Message::new(run_id(), sequence, body))?;
        one_form(&Request::new(run_id(), want))?;
    }

    #[test]
    fn manifests_have_one_form(
        shards in prop::collection::vec(hash(), 0..40),
        norms in prop::collection::vec(any::<f32>(), 0..40),
        samples: u64,
        inner_steps: u32,
        step in step(),
    ) {
        one_form(&Manifest { shards, norms, samples, inner_steps, step, ..manifest() })?;
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        all_forms(&bytes);
    }

    /// Nearly good bytes reach deeper than arbitrary ones: good values with a few bytes replaced, removed or doubled.
    #[test]
    fn nearly_good_bytes_are_refused_without_harm(
        which in 0usize..5,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..6),
    ) {
        let mut bytes = match which {
            0 => Message::new(run_id(), 1, Body::Hello(crate::fixture::hello())).seal(&keys(4)),
            1 => manifest().seal(&keys(4)).to_bytes(),
            2 => encode(&charter(closed())),
            3 => crate::fixture::run().to_bytes(),
            _ => Request::new(run_id(), Want::Shards { manifest: Hash([1; 32]), indices: vec![1, 5] }).to_bytes(),
        };
        for (place, value, edit) in edits {
            let place = place.index(bytes.len());
            match edit {
                0 => bytes[place] = value,
                1 if bytes.len() > 1 => drop(bytes.remove(place)),
                _ => bytes.insert(place, value),
            }
        }
        all_forms(&bytes);
    }
}
