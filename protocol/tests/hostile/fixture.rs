//! A small run with known keys: founders, members, a charter, and one good value of every wire type.
//!
//! Everything is derived from fixed numbers, so the bytes are the same on every machine and can be kept as golden.

use protocol::crypto::keys::Keypair;
use protocol::crypto::merkle;
use protocol::crypto::signed::Domain;
use protocol::id::{Hash, OuterStep, RunId};
use protocol::limits::SKETCH_LEN;
use protocol::time::UnixSeconds;
use protocol::wire::announce::{Announce, Card, Hello, Proof};
use protocol::wire::certificate::{Binding, Certificate, Invitation, Revocation, Rotation};
use protocol::wire::charter::{
    Admission, AuditTerms, Charter, ExchangeTerms, Genesis, Member, MixingTerms, ModelTerms, ScheduleTerms,
    SignedCharter, TaskTerms, TrainTerms,
};
use protocol::wire::choice::{Codec, Rule, Stage};
use protocol::wire::codistillation::{CodistillationTerms, Variant};
use protocol::wire::manifest::{Expected, Manifest, Privacy, VERSION};
use protocol::wire::message::{Body, Message};
use protocol::wire::offence::Offence;
use protocol::wire::open::{Standing, open};
use protocol::wire::prediction::{Prediction, Query, Wanted};
use protocol::wire::sealed::{CoSigned, Sealed};
use protocol::wire::trials::{TrialMade, Trials};

/// The day of all tests.
pub(crate) const TODAY: UnixSeconds = UnixSeconds(1_800_000_000);
/// Parameters of the run's model.
pub(crate) const PARAMETERS: u64 = 1_000;
/// Shards of its updates.
pub(crate) const SHARDS: usize = 8;

/// Key `i`: 1 to 3 found the run, 4 and 5 are members, higher ones are strangers.
pub(crate) fn keys(i: u8) -> Keypair {
    Keypair::from_secret([i; 32])
}

/// The charter, two of three founders signing.
pub(crate) fn charter(admission: Admission) -> Charter {
    Charter {
        name: "fixture".to_owned(),
        purpose: "to be read by tests".to_owned(),
        version: 1,
        run: None,
        expires: UnixSeconds(4_000_000_000),
        founders: (1..=3).map(|i| keys(i).peer()).collect(),
        threshold: 2,
        model: ModelTerms {
            architecture: "{}".to_owned(),
            tokenizer: Some(Hash([9; 32])),
            genesis: Genesis::Checkpoint { hash: Hash([8; 32]), seed: 3 },
            layout: Hash([7; 32]),
            parameters: PARAMETERS,
        },
        task: TaskTerms {
            kind: "tagging".to_owned(),
            labels: vec!["O".to_owned(), "B-PER".to_owned()],
            metric: "f1".to_owned(),
            tokens_max: 128,
        },
        train: TrainTerms {
            optimizer: "adamw".to_owned(),
            rate: 0.001,
            batch: 16,
            weight_decay: 0.01,
            clip: 1.0,
            warmup_share: 0.1,
            decay_share: 0.25,
            in_order: false,
        },
        exchange: ExchangeTerms {
            shards: true,
            predictions: false,
            codec: Codec::Int8,
            settle_codec: Codec::F16,
            inner_steps_min: 1,
            epsilon_max: Some(8.0),
            probe: None,
        },
        mixing: MixingTerms {
            pulls: 8,
            byzantine: 3,
            rule: Rule::NnmTrimmed,
            outer_momentum: 0.0,
            outer_rate: 1.0,
            staleness_max: 4,
        },
        schedule: ScheduleTerms {
            outer_steps: 12,
            settle_steps: 6,
            inner_steps: 10,
            outer_seconds_max: 0,
            patience_ms: 2_000,
            synchronous: false,
            overlap: false,
            evaluate_every: 4,
        },
        admission,
        audit: AuditTerms { cards: true, ledger_head: true },
        codistillation: None,
    }
}

/// A charter under which predictions travel in place of parameters: 5 words of the probe set, 2 labels.
pub(crate) fn codistilled() -> Charter {
    let mut charter = charter(closed());
    (charter.exchange.shards, charter.exchange.predictions) = (false, true);
    charter.exchange.probe = Some(Hash([6; 32]));
    charter.schedule.settle_steps = 0;
    charter.codistillation = Some(CodistillationTerms {
        outputs: 5,
        batch: 8,
        alpha: 1.0,
        temperature: 2.0,
        variants: vec![variant("middle", 500), variant("small", 200)],
    });
    charter
}

/// A variant of the model.
pub(crate) fn variant(name: &str, parameters: u64) -> Variant {
    Variant { name: name.to_owned(), architecture: "{}".to_owned(), layout: Hash([5; 32]), parameters }
}

/// Two sentences of three words together.
pub(crate) fn query() -> Query {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    Query { nonce: [9; 16], rows: vec![words("Ada spoke"), words("yes")] }
}

/// Member 4's answer to it, for the two labels of the fixture.
pub(crate) fn prediction() -> Prediction {
    Prediction {
        version: VERSION,
        run: run_id(),
        query: query().hash(),
        step: OuterStep(3),
        probabilities: vec![0.25, 0.75, 1.0, 0.0, 0.5, 0.5],
    }
}

/// What its bytes must agree with.
pub(crate) fn wanted() -> Wanted {
    Wanted { run: run_id(), peer: keys(4).peer(), query: query().hash(), outputs: 3, labels: 2 }
}

/// Members 4 and 5, listed.
pub(crate) fn closed() -> Admission {
    let member = |i: u8| Member { peer: keys(i).peer(), organization: format!("organization {i}") };
    Admission::Closed(vec![member(4), member(5)])
}

/// Signs a body with some founders.
pub(crate) fn cosigned(mut sealed: CoSigned, domain: Domain, signers: &[u8]) -> CoSigned {
    for &i in signers {
        sealed.sign(&keys(i), domain);
    }
    sealed
}

/// A charter signed by founders 1 and 2.
pub(crate) fn signed(charter: &Charter) -> SignedCharter {
    let draft = SignedCharter::draft(charter).expect("the fixture's charter holds");
    SignedCharter::from_sealed(cosigned(draft, Domain::Charter, &[1, 2])).expect("two founders signed")
}

/// The closed run.
pub(crate) fn run() -> SignedCharter {
    signed(&charter(closed()))
}

/// Its name.
pub(crate) fn run_id() -> RunId {
    run().run()
}

/// The same run with invitations instead of a list.
pub(crate) fn invited() -> SignedCharter {
    signed(&charter(Admission::Invite))
}

/// Opens gossip in the closed run; members by the charter's list, everybody else unknown.
pub(crate) fn hear(bytes: &[u8]) -> Result<(), Offence> {
    let run = run();
    let listed = |peer: &_| match run.listed(peer) {
        Some(_) => Standing::Member,
        None => Standing::Unknown,
    };
    open(bytes, &run, TODAY, listed, |_| true).map(drop)
}

/// Member 4's announcement of a manifest.
pub(crate) fn announce(manifest: Hash) -> Announce {
    Announce { step: OuterStep(3), manifest, manifest_bytes: 2_000, stage: Stage::Train }
}

/// A hello without a certificate.
pub(crate) fn hello() -> Hello {
    Hello {
        name: "four".to_owned(),
        addresses: vec!["/ip4/192.0.2.1/tcp/4001".to_owned()],
        credential: None,
        revocation: 0,
        step: OuterStep(3),
        stage: Stage::Train,
    }
}

/// A score.
pub(crate) fn card() -> Card {
    Card { step: OuterStep(3), metric: "f1".to_owned(), score: 0.5, loss: 1.25, samples: 200 }
}

/// What a member tried.
pub(crate) fn trials() -> Trials {
    let made = |trial| TrialMade { trial, rung: 1, score: 0.5, loss: 1.25, samples: 200 };
    Trials { search: Hash([9; 32]), made: vec![made(0), made(3)] }
}

/// A message of this run.
pub(crate) fn message(body: Body) -> Message {
    Message::new(run_id(), 1, body)
}

/// One good body of every kind.
pub(crate) fn bodies() -> Vec<Body> {
    vec![
        Body::Announce(announce(Hash([6; 32]))),
        Body::Hello(hello()),
        Body::Card(card()),
        Body::Revocation(cosigned(CoSigned::unsigned(&revocation()), Domain::Revocation, &[1, 2])),
        Body::Proof(Box::new(proof())),
        Body::Farewell(OuterStep(4)),
        Body::Trials(trials()),
    ]
}

/// Member 5 announced two manifests for one step.
pub(crate) fn proof() -> Proof {
    let sealed = |i: u8| {
        let message = message(Body::Announce(announce(Hash([i; 32]))));
        Sealed::new(&keys(5), Domain::Message, &message)
    };
    Proof::Announces(sealed(1), sealed(2))
}

/// Key 6 is a member of the invited run.
pub(crate) fn certificate(run: RunId) -> Certificate {
    Certificate {
        run,
        peer: keys(6).peer(),
        organization: "organization 6".to_owned(),
        not_before: UnixSeconds(TODAY.0 - 1_000),
        not_after: UnixSeconds(TODAY.0 + 1_000),
    }
}

/// Organization 6 may bind a key at member 4, with the secret of all sevens.
pub(crate) fn invitation(run: RunId) -> Invitation {
    Invitation {
        run,
        issuer: keys(4).peer(),
        token: Invitation::token_of(&[7; 32]),
        organization: "organization 6".to_owned(),
        redeem_until: UnixSeconds(TODAY.0 + 100),
        not_after: UnixSeconds(TODAY.0 + 1_000),
    }
}

/// Key 6 used an invitation.
pub(crate) fn binding(invitation: &CoSigned) -> Binding {
    let invitation = protocol::crypto::hash::content_hash(&invitation.body);
    Binding { invitation, peer: keys(6).peer(), from: TODAY }
}

/// Key 5 is a member no more.
pub(crate) fn revocation() -> Revocation {
    Revocation { run: run_id(), version: 1, revoked: vec![keys(5).peer()] }
}

/// Key 4 becomes key 7.
pub(crate) fn rotation() -> Rotation {
    Rotation {
        run: run_id(),
        old: keys(4).peer(),
        new: keys(7).peer(),
        from: TODAY,
        old_until: UnixSeconds(TODAY.0 + 3_600),
    }
}

/// Member 4's manifest for step 3.
pub(crate) fn manifest() -> Manifest {
    let shards: Vec<Hash> = (0..SHARDS as u8).map(|i| Hash([i; 32])).collect();
    Manifest {
        version: VERSION,
        run: run_id(),
        step: OuterStep(3),
        parent: Hash([2; 32]),
        stage: Stage::Train,
        codec: Codec::Int8,
        inner_steps: 10,
        samples: 160,
        root: merkle::root(&shards),
        shards,
        norms: vec![0.5; SHARDS],
        sketch: (0..SKETCH_LEN).map(|i| i as f32 / 8.0).collect(),
        ledger: Hash([3; 32]),
        privacy: Some(Privacy { epsilon: 2.0, delta: 1e-5 }),
    }
}

/// What the bytes of a manifest of member 4 must agree with.
pub(crate) fn expected(bytes: &[u8]) -> Expected {
    Expected {
        run: run_id(),
        peer: keys(4).peer(),
        step: OuterStep(3),
        hash: protocol::crypto::hash::content_hash(bytes),
        parameters: PARAMETERS,
    }
}

/// Opens a manifest fetched from member 4.
pub(crate) fn fetched(bytes: &[u8]) -> Result<(), Offence> {
    Manifest::open(bytes, &expected(bytes), |_| SHARDS).map(drop)
}
