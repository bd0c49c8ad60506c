//! The small things that travel by gossip: announcements, hellos, cards, farewells, proofs.

use bincode::{Decode, Encode};

use crate::codec::decode_control;
use crate::crypto::signed::Domain;
use crate::id::{Hash, OuterStep, PeerId, RunId};
use crate::limits::{ADDRESS_BYTES_MAX, ADDRESSES_MAX};
use crate::wire::choice::Stage;
use crate::wire::manifest::Manifest;
use crate::wire::message::{Body, Message};
use crate::wire::sealed::{CoSigned, Sealed};
use crate::wire::text::{check_name, check_text};

/// "I made an update": where its manifest is to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Announce {
    /// The outer step the update closes.
    pub step: OuterStep,
    /// Hash of the sealed manifest.
    pub manifest: Hash,
    /// Bytes of the sealed manifest.
    pub manifest_bytes: u32,
    /// What the peer did in the step.
    pub stage: Stage,
}

/// "I am here": sent on arrival and now and then.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// Name for people.
    pub name: String,
    /// Where it can be reached, as multiaddresses.
    pub addresses: Vec<String>,
    /// Its certificate, in invited runs.
    pub certificate: Option<CoSigned>,
    /// Version of the revocation list it holds; 0 for none.
    pub revocation: u32,
    /// Its last complete outer step.
    pub step: OuterStep,
    /// What it is doing.
    pub stage: Stage,
}

/// What a model scored on a node's own validation data.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Card {
    /// The outer step after which it was taken.
    pub step: OuterStep,
    /// Name of the metric.
    pub metric: String,
    /// The score, a fraction.
    pub score: f32,
    /// Mean loss.
    pub loss: f32,
    /// Samples it was taken on.
    pub samples: u64,
}

/// Two different things one peer signed for one outer step: proof of malice that anybody can check.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Proof {
    /// Two announcements.
    Announces(Sealed, Sealed),
    /// Two manifests.
    Manifests(Sealed, Sealed),
}

impl Hello {
    /// Whether texts and counts are within bounds.
    pub fn makes_sense(&self) -> bool {
        check_name("name", &self.name).is_ok()
            && self.addresses.len() <= ADDRESSES_MAX
            && self.addresses.iter().all(|a| check_text("address", a, ADDRESS_BYTES_MAX).is_ok())
    }
}

impl Card {
    /// Whether texts and numbers are within bounds.
    pub fn makes_sense(&self) -> bool {
        check_name("metric", &self.metric).is_ok() && self.score.is_finite() && self.loss.is_finite()
    }
}

impl Proof {
    /// The peer it convicts, when it holds for this run.
    pub fn convicts(&self, run: &RunId) -> Option<PeerId> {
        let (a, b, domain) = match self {
            Self::Announces(a, b) => (a, b, Domain::Message),
            Self::Manifests(a, b) => (a, b, Domain::Manifest),
        };
        let claims = [Self::claim(a, domain, run)?, Self::claim(b, domain, run)?];
        let differ = claims[0].0 == claims[1].0 && claims[0].1 != claims[1].1;
        let hold = a.signer == b.signer && differ && a.verify(domain).is_ok() && b.verify(domain).is_ok();
        hold.then_some(a.signer)
    }

    /// The step a sealed thing speaks of, and the hash of what it says.
    fn claim(sealed: &Sealed, domain: Domain, run: &RunId) -> Option<(OuterStep, Hash)> {
        if domain == Domain::Manifest {
            let manifest: Manifest =
                decode_control(&sealed.body).or_else(|_| crate::codec::decode_manifest(&sealed.body)).ok()?;
            return (manifest.run == *run)
                .then(|| (manifest.step, crate::crypto::hash::content_hash(&sealed.body)));
        }
        let message: Message = decode_control(&sealed.body).ok()?;
        match message.body {
            Body::Announce(announce) if message.run == *run => Some((announce.step, announce.manifest)),
            _ => None,
        }
    }
}
