//! Charters, certificates, revocations and rotations against the checks that open them.

use protocol::codec::encode;
use protocol::crypto::keys::Keypair;
use protocol::crypto::signed::{Domain, Signature};
use protocol::id::{Hash, PeerId, RunId};
use protocol::limits::{
    FOUNDERS_MAX, GOSSIP_BYTES_MAX, LABELS_MAX, NAME_BYTES_MAX, PULLS_MAX, REVOKED_MAX, ROTATIONS_MAX,
    TEXT_BYTES_MAX, VARIANTS_MAX,
};
use protocol::roster::admission::AdmissionBook;
use protocol::time::UnixSeconds;
use protocol::wire::certificate::{Binding, Certificate, CredentialError, Invitation, Revocation, Rotation};
use protocol::wire::charter::{Admission, Charter, CharterError, Member, SignedCharter};
use protocol::wire::choice::{Codec, Rule};
use protocol::wire::codistillation::{CodistillationTerms, Variant};
use protocol::wire::credential::{Admitted, Credential, Rotated};
use protocol::wire::message::{Body, Message};
use protocol::wire::sealed::{CoSigned, Sealed};

use crate::fixture::{
    certificate, charter, closed, codistilled, cosigned, keys, revocation, rotation, run, run_id, signed,
    variant,
};

fn changed(change: impl FnOnce(&mut Charter)) -> Charter {
    let mut charter = charter(closed());
    change(&mut charter);
    charter
}

/// A codistilled charter with something changed.
fn predicting(change: impl FnOnce(&mut Charter)) -> Charter {
    let mut charter = codistilled();
    change(&mut charter);
    charter
}

/// A codistilled charter with these terms changed.
fn terms(change: impl FnOnce(&mut CodistillationTerms)) -> Charter {
    predicting(|charter| change(charter.codistillation.as_mut().expect("the fixture has the terms")))
}

fn numbered_variant(i: usize) -> Variant {
    variant(&format!("variant {i}"), 100)
}

/// Opens a charter as it would arrive, signed by founders 1 and 2 whatever it says.
fn arrives(charter: &Charter) -> Result<SignedCharter, CharterError> {
    SignedCharter::open(&encode(&cosigned(CoSigned::unsigned(charter), Domain::Charter, &[1, 2])))
}

#[test]
fn charters_that_make_no_sense_are_refused_with_the_field() {
    type Row = (&'static str, Charter);
    let rows: Vec<Row> = vec![
        ("version", changed(|c| c.version = 0)),
        ("run", changed(|c| c.version = 2)),
        ("run", changed(|c| c.run = Some(run_id()))),
        ("founders", changed(|c| c.founders.clear())),
        ("founders", changed(|c| c.founders = vec![keys(1).peer(); 2])),
        ("founders", changed(|c| c.founders.push(PeerId([0; 32])))),
        ("founders", changed(|c| c.founders = many_keys(FOUNDERS_MAX + 1))),
        ("threshold", changed(|c| c.threshold = 0)),
        ("threshold", changed(|c| c.threshold = 4)),
        ("model.parameters", changed(|c| c.model.parameters = 0)),
        ("task.labels", changed(|c| c.task.labels = (0..=LABELS_MAX).map(|i| i.to_string()).collect())),
        ("task.labels", changed(|c| c.task.labels = vec!["a".to_owned(), "a".to_owned()])),
        ("train.rate", changed(|c| c.train.rate = f32::NAN)),
        ("train.rate", changed(|c| c.train.rate = f32::INFINITY)),
        ("train.rate", changed(|c| c.train.rate = 0.0)),
        ("train.batch", changed(|c| c.train.batch = 0)),
        ("train.clip", changed(|c| c.train.clip = -1.0)),
        ("train.weight_decay", changed(|c| c.train.weight_decay = f32::NAN)),
        ("train.decay_share", changed(|c| c.train.warmup_share = 0.9)),
        ("schedule.outer_steps", changed(|c| c.schedule.outer_steps = 0)),
        ("schedule.inner_steps", changed(|c| c.schedule.inner_steps = u32::MAX)),
        ("schedule.patience_ms", changed(|c| c.schedule.patience_ms = u32::MAX)),
        ("schedule.overlap", changed(|c| (c.schedule.synchronous, c.schedule.overlap) = (true, true))),
        ("schedule.overlap", changed(|c| (c.exchange.epsilon_max, c.schedule.overlap) = (Some(8.0), true))),
        ("schedule.overlap", predicting(|c| c.schedule.overlap = true)),
        ("mixing.pulls", changed(|c| c.mixing.pulls = 0)),
        ("mixing.pulls", changed(|c| c.mixing.pulls = PULLS_MAX as u32 + 1)),
        ("mixing.byzantine", changed(|c| c.mixing.byzantine = 5)),
        ("mixing.outer_momentum", changed(|c| c.mixing.outer_momentum = 1.0)),
        ("mixing.outer_momentum", changed(|c| c.mixing.outer_momentum = f32::NAN)),
        ("mixing.outer_rate", changed(|c| c.mixing.outer_rate = f32::NAN)),
        ("mixing.staleness_max", changed(|c| c.mixing.staleness_max = 0)),
        ("exchange.settle_codec", changed(|c| c.exchange.settle_codec = Codec::Int4)),
        ("mixing.rule", changed(|c| (c.exchange.codec, c.mixing.rule) = (Codec::Topk, Rule::NnmTrimmed))),
        ("mixing.rule", changed(|c| (c.exchange.codec, c.mixing.rule) = (Codec::Topk, Rule::Median))),
        ("exchange.epsilon_max", changed(|c| c.exchange.epsilon_max = Some(f32::NAN))),
        ("exchange", changed(|c| c.exchange.shards = false)),
        ("codistillation", changed(|c| c.codistillation = codistilled().codistillation)),
        ("exchange.probe", changed(|c| c.exchange.probe = Some(Hash([1; 32])))),
        ("codistillation", predicting(|c| c.codistillation = None)),
        ("exchange.probe", predicting(|c| c.exchange.probe = None)),
        ("codistillation", predicting(|c| c.exchange.shards = true)),
        ("schedule.settle_steps", predicting(|c| c.schedule.settle_steps = 1)),
        ("mixing.outer_momentum", predicting(|c| c.mixing.outer_momentum = 0.5)),
        ("mixing.outer_momentum", predicting(|c| c.mixing.outer_rate = 0.7)),
        ("task.labels", predicting(|c| c.task.labels.truncate(1))),
        ("codistillation.outputs", terms(|t| t.outputs = 0)),
        ("codistillation.outputs", terms(|t| t.outputs = u32::MAX)),
        ("codistillation.batch", terms(|t| t.batch = 0)),
        ("codistillation.alpha", terms(|t| t.alpha = f32::NAN)),
        ("codistillation.alpha", terms(|t| t.alpha = 0.0)),
        ("codistillation.temperature", terms(|t| t.temperature = f32::INFINITY)),
        ("codistillation.temperature", terms(|t| t.temperature = 0.5)),
        ("codistillation.variants", terms(|t| t.variants.reverse())),
        (
            "codistillation.variants",
            terms(|t| t.variants = (0..=VARIANTS_MAX).map(numbered_variant).collect()),
        ),
        ("codistillation.variants.name", terms(|t| t.variants[1].name = "middle".to_owned())),
        ("codistillation.variants.name", terms(|t| t.variants[1].name = "primary".to_owned())),
        ("codistillation.variants.parameters", terms(|t| t.variants[1].parameters = 0)),
        ("admission.closed", changed(|c| c.admission = Admission::Closed(vec![]))),
        ("admission.closed", changed(|c| c.admission = Admission::Closed(vec![member(4), member(4)]))),
    ];
    for (expected, charter) in rows {
        match arrives(&charter) {
            Err(CharterError::Field { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    for charter in [
        changed(|c| c.name = String::new()),
        changed(|c| c.name = "x".repeat(NAME_BYTES_MAX + 1)),
        changed(|c| c.purpose = "a\u{202e}b".to_owned()),
        changed(|c| c.model.architecture = "x".repeat(TEXT_BYTES_MAX + 1)),
        changed(|c| c.task.labels[1] = "\u{7}".to_owned()),
        terms(|t| t.variants[0].name = "a\nb".to_owned()),
        terms(|t| t.variants[0].architecture = "x".repeat(TEXT_BYTES_MAX + 1)),
    ] {
        assert!(matches!(arrives(&charter), Err(CharterError::Text(_))));
    }
}

fn member(i: u8) -> Member {
    Member { peer: keys(i).peer(), organization: "x".to_owned() }
}

fn many_keys(count: usize) -> Vec<PeerId> {
    (0..count as u64)
        .map(|i| {
            let mut secret = [0u8; 32];
            secret[..8].copy_from_slice(&(i + 1_000).to_le_bytes());
            Keypair::from_secret(secret).peer()
        })
        .collect()
}

#[test]
fn a_charter_needs_the_threshold_of_distinct_founders() {
    let opens = |sealed: CoSigned| SignedCharter::open(&encode(&sealed));
    let unsigned = || CoSigned::unsigned(&charter(closed()));
    let refused = |sealed, found| {
        assert_eq!(opens(sealed).unwrap_err(), CharterError::Signatures { expected: 2, found });
    };
    refused(unsigned(), 0);
    refused(cosigned(unsigned(), Domain::Charter, &[1]), 1);
    refused(cosigned(unsigned(), Domain::Charter, &[1, 9]), 1);
    refused(cosigned(unsigned(), Domain::Charter, &[8, 9]), 0);
    refused(cosigned(unsigned(), Domain::Certificate, &[1, 2]), 0);
    let mut doubled = cosigned(unsigned(), Domain::Charter, &[1]);
    doubled.signatures.push(doubled.signatures[0]);
    refused(doubled, 1);
    let mut flooded = cosigned(unsigned(), Domain::Charter, &[1, 2]);
    let filler = vec![flooded.signatures[0]; 1_000];
    flooded.signatures.splice(0..0, filler);
    assert!(
        opens(flooded).is_err(),
        "the second founder drowns among copies; a thousand are not all checked"
    );
    assert_eq!(opens(cosigned(unsigned(), Domain::Charter, &[2, 3])).map(|c| c.run()), Ok(run_id()));
}

/// Row 73.
#[test]
fn a_charter_is_replaced_only_by_a_newer_one_of_its_run_that_the_old_founders_signed() {
    let current = run();
    let next = |change: &dyn Fn(&mut Charter)| {
        let mut charter = charter(closed());
        charter.version = 2;
        charter.run = Some(run_id());
        change(&mut charter);
        signed(&charter)
    };
    assert_eq!(next(&|_| ()).succeeds(&current), Ok(()));
    let refused = |newer: SignedCharter, current: &SignedCharter| {
        assert!(matches!(newer.succeeds(current), Err(CharterError::NotASuccessor(_))));
    };
    refused(run(), &next(&|_| ()));
    refused(run(), &run());
    refused(next(&|c| c.run = Some(RunId(Hash([1; 32])))), &current);
    refused(next(&|c| c.model.layout = Hash([1; 32])), &current);
    let predicts = signed(&codistilled());
    let mut other = codistilled();
    (other.version, other.run) = (2, Some(predicts.run()));
    other.codistillation.as_mut().expect("the fixture has the terms").outputs = 6;
    refused(signed(&other), &predicts);
    // Founders nobody knew take over: their own signatures do not count.
    let coup = next(&|c| {
        c.founders = vec![keys(1).peer(), keys(9).peer()];
        c.threshold = 1;
    });
    assert_eq!(coup.succeeds(&current), Ok(()), "founders 1 and 2 signed it");
    let mut alone = CoSigned::unsigned(coup.charter());
    alone.sign(&keys(9), Domain::Charter);
    let alone = SignedCharter::from_sealed(alone).unwrap();
    assert_eq!(alone.succeeds(&current), Err(CharterError::Signatures { expected: 2, found: 0 }));
}

fn signed_certificate(change: impl FnOnce(&mut Certificate), signers: &[u8]) -> CoSigned {
    let mut certificate = certificate(run_id());
    change(&mut certificate);
    cosigned(CoSigned::unsigned(&certificate), Domain::Certificate, signers)
}

#[test]
fn certificates_that_do_not_hold_are_refused() {
    let charter = charter(closed());
    let opens = |sealed: &CoSigned| Certificate::open(sealed, &charter);
    assert!(opens(&signed_certificate(|_| (), &[1, 2])).is_ok());
    let refused = |sealed: &CoSigned| opens(sealed).unwrap_err();
    let signatures = |found| CredentialError::Signatures { expected: 2, found };
    assert_eq!(refused(&signed_certificate(|_| (), &[1])), signatures(1));
    assert_eq!(refused(&signed_certificate(|_| (), &[6, 9])), signatures(0));
    let other = signed_certificate(|c| c.run = RunId(Hash([1; 32])), &[1, 2]);
    assert!(matches!(refused(&other), CredentialError::OtherRun { .. }));
    let weak = signed_certificate(|c| c.peer = PeerId([0; 32]), &[1, 2]);
    assert!(matches!(refused(&weak), CredentialError::Meaningless(_)));
    let backwards = signed_certificate(|c| c.not_after = c.not_before, &[1, 2]);
    assert!(matches!(refused(&backwards), CredentialError::Meaningless(_)));
    let named = signed_certificate(|c| c.organization = "a\nb".to_owned(), &[1, 2]);
    assert!(matches!(refused(&named), CredentialError::Text(_)));
    let mut torn = signed_certificate(|_| (), &[1, 2]);
    torn.body.pop();
    assert!(matches!(refused(&torn), CredentialError::Codec(_)));
    let holds = certificate(run_id());
    assert!(!holds.holds(UnixSeconds(0)) && !holds.holds(holds.not_after) && holds.holds(holds.not_before));
}

#[test]
fn revocations_that_do_not_hold_are_refused() {
    let charter = charter(closed());
    let opens = |change: &dyn Fn(&mut Revocation), signers: &[u8]| {
        let mut list = revocation();
        change(&mut list);
        Revocation::open(&cosigned(CoSigned::unsigned(&list), Domain::Revocation, signers), &charter)
    };
    assert!(opens(&|_| (), &[1, 2]).is_ok());
    assert_eq!(opens(&|_| (), &[2]), Err(CredentialError::Signatures { expected: 2, found: 1 }));
    let meaningless: [&dyn Fn(&mut Revocation); 4] = [
        &|list| list.version = 0,
        &|list| list.revoked = vec![keys(5).peer(); 2],
        &|list| {
            list.revoked = vec![keys(4).peer(), keys(5).peer()];
            list.revoked.sort_by(|a, b| b.cmp(a));
        },
        &|list| list.revoked = (0..=REVOKED_MAX as u32).map(numbered).collect(),
    ];
    for change in meaningless {
        assert!(matches!(opens(change, &[1, 2]), Err(CredentialError::Meaningless(_))));
    }
}

fn numbered(i: u32) -> PeerId {
    let mut key = [0u8; 32];
    key[..4].copy_from_slice(&i.to_be_bytes());
    PeerId(key)
}

/// A message of the highest sequence that repeats a list, as every hello of a peer does.
fn repeated(list: &CoSigned) -> usize {
    Message::new(run_id(), u64::MAX, Body::Revocation(list.clone())).seal(&keys(4)).len()
}

#[test]
fn the_largest_revocation_list_fits_a_message() {
    let founders: Vec<Keypair> = (0..FOUNDERS_MAX as u64).map(founder).collect();
    let list = Revocation { revoked: (0..REVOKED_MAX as u32).map(numbered).collect(), ..revocation() };
    let mut sealed = CoSigned::unsigned(&list);
    founders.iter().for_each(|keys| sealed.sign(keys, Domain::Revocation));
    let charter = changed(|c| {
        c.founders = founders.iter().map(Keypair::peer).collect();
        c.threshold = FOUNDERS_MAX as u32;
        c.version = 2;
        c.run = Some(list.run);
    });
    assert_eq!(Revocation::open(&sealed, &charter).as_ref(), Ok(&list));
    assert!(repeated(&sealed) <= GOSSIP_BYTES_MAX, "{}", repeated(&sealed));
}

#[test]
fn what_a_stranger_adds_to_a_revocation_list_does_not_travel_on() {
    let list = Revocation { revoked: (0..REVOKED_MAX as u32).map(numbered).collect(), ..revocation() };
    let honest = cosigned(CoSigned::unsigned(&list), Domain::Revocation, &[1, 2]);
    let mut padded = honest.clone();
    while repeated(&padded) <= GOSSIP_BYTES_MAX {
        padded.signatures.push((PeerId([0xff; 32]), Signature([7; 64])));
    }
    let mut book = AdmissionBook::new(run());
    assert_eq!(book.take_revocation(&padded), Ok(true));
    assert_eq!(book.revocation(), Some(&honest));
}

fn founder(i: u64) -> Keypair {
    let mut secret = [9u8; 32];
    secret[..8].copy_from_slice(&i.to_le_bytes());
    Keypair::from_secret(secret)
}

/// Row 60 and its neighbours.
#[test]
fn rotations_are_spoken_by_the_old_key_for_a_new_one() {
    let charter = charter(closed());
    let opens = |change: &dyn Fn(&mut Rotation), key: u8| {
        let mut rotation = rotation();
        change(&mut rotation);
        Rotation::open(&Sealed::new(&keys(key), Domain::Rotation, &rotation), &charter)
    };
    assert!(opens(&|_| (), 4).is_ok());
    assert!(
        matches!(opens(&|_| (), 7), Err(CredentialError::Meaningless(_))),
        "the new key speaks for itself"
    );
    assert!(matches!(opens(&|_| (), 5), Err(CredentialError::Meaningless(_))), "another member");
    assert!(matches!(opens(&|r| r.new = r.old, 4), Err(CredentialError::Meaningless(_))));
    assert!(matches!(opens(&|r| r.new = PeerId([0; 32]), 4), Err(CredentialError::Meaningless(_))));
    assert!(matches!(opens(&|r| r.old_until = UnixSeconds(0), 4), Err(CredentialError::Meaningless(_))));
    assert!(matches!(
        opens(&|r| r.old_until = UnixSeconds(u64::MAX), 4),
        Err(CredentialError::Meaningless(_))
    ));
    assert!(matches!(opens(&|r| r.run = RunId(Hash([1; 32])), 4), Err(CredentialError::OtherRun { .. })));
    let mut sealed = Sealed::new(&keys(4), Domain::Rotation, &rotation());
    sealed.signature.0[0] ^= 1;
    assert!(matches!(Rotation::open(&sealed, &charter), Err(CredentialError::Signatures { .. })));
    let other_use = Sealed::new(&keys(4), Domain::Message, &rotation());
    assert!(matches!(Rotation::open(&other_use, &charter), Err(CredentialError::Signatures { .. })));
}

/// Row 71 and its neighbours: keys that follow each other, each by the word of the one before.
#[test]
fn a_chain_of_keys_is_believed_when_every_key_names_the_next_and_the_first_was_admitted() {
    let (listing, inviting) = (charter(closed()), charter(Admission::Invite));
    let change = |run: RunId, old: u8, new: u8, signer: u8| {
        let rotation = Rotation { run, old: keys(old).peer(), new: keys(new).peer(), ..rotation() };
        Sealed::new(&keys(signer), Domain::Rotation, &rotation)
    };
    let opens = |charter: &Charter, admitted: Admitted, changes: &[(u8, u8, u8)]| {
        let run = charter.run_id();
        let rotations = changes.iter().map(|&(old, new, signer)| change(run, old, new, signer)).collect();
        Credential::Rotated(Box::new(Rotated { admitted, rotations })).open(charter)
    };
    let listed = || Admitted::Listed(keys(4).peer());
    let one = opens(&listing, listed(), &[(4, 20, 4)]).unwrap();
    assert_eq!(one.peer, keys(20).peer());
    assert_eq!((one.not_before, one.not_after), (crate::fixture::TODAY, listing.expires));
    let three = opens(&listing, listed(), &[(4, 20, 4), (20, 21, 20), (21, 22, 21)]).unwrap();
    assert_eq!((three.peer, three.organization), (keys(22).peer(), one.organization));

    let certified = |charter: &Charter| {
        let sealed = CoSigned::unsigned(&certificate(charter.run_id()));
        Admitted::Certificate(cosigned(sealed, Domain::Certificate, &[1, 2]))
    };
    let invited = opens(&inviting, certified(&inviting), &[(6, 20, 6)]).unwrap();
    assert_eq!((invited.peer, invited.organization.as_str()), (keys(20).peer(), "organization 6"));
    assert_eq!(invited.not_after, certificate(inviting.run_id()).not_after, "no longer than it was admitted");

    let mut long: Vec<(u8, u8, u8)> = vec![(4, 20, 4)];
    long.extend((20..20 + ROTATIONS_MAX as u8).map(|key| (key, key + 1, key)));
    let rows: Vec<(&str, Result<Certificate, CredentialError>)> = vec![
        ("no change at all", opens(&listing, listed(), &[])),
        ("71 one change too many", opens(&listing, listed(), &long)),
        ("71 in a circle", opens(&listing, listed(), &[(4, 20, 4), (20, 4, 20)])),
        ("60 by another key", opens(&listing, listed(), &[(4, 20, 5)])),
        ("60 by the new key", opens(&listing, listed(), &[(4, 20, 20)])),
        ("a gap", opens(&listing, listed(), &[(4, 20, 4), (21, 22, 21)])),
        ("another member's change", opens(&listing, listed(), &[(5, 20, 5)])),
        (
            "a first key that is not listed",
            opens(&listing, Admitted::Listed(keys(30).peer()), &[(30, 20, 30)]),
        ),
        ("a certificate where the charter lists", opens(&listing, certified(&listing), &[(6, 20, 6)])),
        ("a listing where the charter invites", opens(&inviting, listed(), &[(4, 20, 4)])),
    ];
    for (row, result) in rows {
        assert!(result.is_err(), "{row}: {result:?}");
    }
    long.pop();
    assert!(opens(&listing, listed(), &long).is_ok(), "as many as there may be");
}

/// Row 76 and its neighbours: an invitation makes exactly the key that its issuer names a member.
#[test]
fn invitations_hold_for_the_key_their_issuer_names_and_no_other() {
    let charter = charter(Admission::Invite);
    let invitation = |change: &dyn Fn(&mut Invitation), signers: &[u8]| {
        let mut invitation = crate::fixture::invitation(charter.run_id());
        change(&mut invitation);
        cosigned(CoSigned::unsigned(&invitation), Domain::Invitation, signers)
    };
    let bound = |invitation: CoSigned, change: &dyn Fn(&mut Binding), issuer: u8, domain: Domain| {
        let mut binding = crate::fixture::binding(&invitation);
        change(&mut binding);
        Credential::Invited { invitation, binding: Sealed::new(&keys(issuer), domain, &binding) }
            .open(&charter)
    };
    let good = || invitation(&|_| (), &[1, 2]);
    let opened = bound(good(), &|_| (), 4, Domain::Binding).unwrap();
    assert_eq!((opened.peer, opened.organization.as_str()), (keys(6).peer(), "organization 6"));
    assert!(opened.holds(crate::fixture::TODAY) && !opened.holds(UnixSeconds(0)));
    let signatures = |expected, found| Err(CredentialError::Signatures { expected, found });
    let alone = invitation(&|_| (), &[1]);
    assert_eq!(bound(alone, &|_| (), 4, Domain::Binding), signatures(2, 1), "72 one founder of two");
    let strangers = invitation(&|_| (), &[8, 9]);
    assert_eq!(bound(strangers, &|_| (), 4, Domain::Binding), signatures(2, 0), "72 strangers");
    assert_eq!(bound(good(), &|_| (), 5, Domain::Binding), signatures(1, 0), "another member as issuer");
    assert_eq!(bound(good(), &|_| (), 6, Domain::Binding), signatures(1, 0), "the key itself as issuer");
    assert_eq!(bound(good(), &|_| (), 4, Domain::Message), signatures(1, 0), "68 signed for another use");
    let meaningless = |result: Result<Certificate, CredentialError>| {
        assert!(matches!(result, Err(CredentialError::Meaningless(_))), "{result:?}");
    };
    meaningless(bound(good(), &|b| b.invitation = Hash([1; 32]), 4, Domain::Binding));
    meaningless(bound(good(), &|b| b.from = UnixSeconds(u64::MAX), 4, Domain::Binding));
    meaningless(bound(good(), &|b| b.peer = PeerId([0; 32]), 4, Domain::Binding));
    meaningless(bound(invitation(&|i| i.not_after = UnixSeconds(0), &[1, 2]), &|_| (), 4, Domain::Binding));
    let other = invitation(&|i| i.run = run_id(), &[1, 2]);
    assert!(matches!(bound(other, &|_| (), 4, Domain::Binding), Err(CredentialError::OtherRun { .. })), "42");
    let named = invitation(&|i| i.organization = "a\u{202e}b".to_owned(), &[1, 2]);
    assert!(matches!(bound(named, &|_| (), 4, Domain::Binding), Err(CredentialError::Text(_))));
}
