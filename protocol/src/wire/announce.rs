//! The small things that travel by gossip: announcements, hellos, cards, farewells, proofs.

use bincode::{Decode, Encode};

use crate::id::{Hash, OuterStep};
use crate::limits::{ADDRESS_BYTES_MAX, ADDRESSES_MAX};
use crate::wire::choice::Stage;
use crate::wire::credential::Credential;
use crate::wire::sealed::Sealed;
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
    /// What makes it a member, in invited runs.
    pub credential: Option<Credential>,
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

/// Two different things one peer signed for one outer step: proof of malice that anybody can check, see
/// [`convicted`](crate::wire::proof::convicted).
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
