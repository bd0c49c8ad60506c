//! The gossip message: a header, then one of a few bodies.

use bincode::{Decode, Encode};

use crate::codec::encode;
use crate::crypto::keys::Keypair;
use crate::crypto::signed::Domain;
use crate::id::{OuterStep, PeerId, RunId};
use crate::wire::announce::{Announce, Card, Hello, Proof};
use crate::wire::manifest::VERSION;
use crate::wire::sealed::{CoSigned, Sealed};
use crate::wire::trials::Trials;

/// One gossip message. `version` and `run` stand first and have fixed width, so that they can be read before the
/// signature is checked.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Message {
    /// Version of the protocol.
    pub version: u8,
    /// The run.
    pub run: RunId,
    /// Counts up per sender, over restarts too: starts so far in the upper 32 bits.
    pub sequence: u64,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Body {
    /// A new update.
    Announce(Announce),
    /// A sign of life.
    Hello(Hello),
    /// A score.
    Card(Card),
    /// A revocation list.
    Revocation(CoSigned),
    /// A proof of equivocation.
    Proof(Box<Proof>),
    /// The sender leaves after this step.
    Farewell(OuterStep),
    /// What was tried in a search for settings.
    Trials(Trials),
}

impl Message {
    /// A message of this version.
    pub fn new(run: RunId, sequence: u64, body: Body) -> Self {
        Self { version: VERSION, run, sequence, body }
    }

    /// Signs it and encodes what travels.
    pub fn seal(&self, keys: &Keypair) -> Vec<u8> {
        encode(&Sealed::new(keys, Domain::Message, self))
    }
}

impl Body {
    /// Signatures inside it that have to be checked before it is believed.
    pub fn checks(&self, founders: &[PeerId]) -> u32 {
        match self {
            Self::Revocation(list) => list.checks(founders),
            Self::Proof(_) => 2,
            // A hello's credential is checked once, when its bearer is new.
            Self::Announce(_) | Self::Hello(_) | Self::Card(_) | Self::Farewell(_) | Self::Trials(_) => 0,
        }
    }

    /// The kind's name in events and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Announce(_) => "announce",
            Self::Hello(_) => "hello",
            Self::Card(_) => "card",
            Self::Revocation(_) => "revocation",
            Self::Proof(_) => "proof",
            Self::Farewell(_) => "farewell",
            Self::Trials(_) => "trials",
        }
    }
}
