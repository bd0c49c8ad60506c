//! What one peer asks another on the bulk plane.
//!
//! The link has authenticated both ends, so a request carries no signature; what comes back is checked by hash.

use bincode::{Decode, Encode};

use crate::codec::{decode_control, encode};
use crate::id::{Hash, RunId};
use crate::limits::{REQUEST_BYTES_MAX, SHARDS_PER_REQUEST_MAX};
use crate::wire::manifest::VERSION;
use crate::wire::offence::Offence;
use crate::wire::prediction::Query;
use crate::wire::sealed::CoSigned;

/// A request. `version` and `run` stand first and have fixed width.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Request {
    /// Version of the protocol.
    pub version: u8,
    /// The run.
    pub run: RunId,
    /// What is wanted.
    pub want: Want,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Want {
    /// The last hello and announcement of every peer the other knows.
    News,
    /// A sealed manifest.
    Manifest(Hash),
    /// Some shards of an update; indices rise.
    Shards {
        /// Hash of the sealed manifest.
        manifest: Hash,
        /// Which shards.
        indices: Vec<u32>,
    },
    /// The signed charter in force.
    Charter,
    /// What the peer's model says of these texts.
    Predict(Query),
    /// Membership for the key that asks, by an invitation of which the asked node is the issuer. Answered with the
    /// sealed [`Binding`](crate::wire::certificate::Binding).
    Redeem {
        /// The invitation.
        invitation: CoSigned,
        /// The secret that came with it.
        secret: [u8; 32],
    },
    /// A piece of a file that the charter names by hash: `FILE_PIECE_BYTES` of it from `piece` times that on.
    File {
        /// Hash of the file.
        hash: Hash,
        /// Which piece, from 0.
        piece: u32,
    },
}

/// Answer to [`Want::News`]: sealed messages, each to be opened by the gate.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Default)]
pub struct News {
    /// Sealed messages as they were heard.
    pub messages: Vec<Vec<u8>>,
}

impl Request {
    /// A request of this version.
    pub fn new(run: RunId, want: Want) -> Self {
        Self { version: VERSION, run, want }
    }

    /// The bytes that travel.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Checks the bytes of a request.
    pub fn open(bytes: &[u8], run: &RunId) -> Result<Self, Offence> {
        if bytes.len() > REQUEST_BYTES_MAX {
            return Err(Offence::TooLong);
        }
        if bytes.first() != Some(&VERSION) {
            return Err(Offence::UnknownVersion);
        }
        if bytes.get(1..33) != Some(&run.0.0[..]) {
            return Err(Offence::OtherRun);
        }
        let request: Self = decode_control(bytes).map_err(|_| Offence::Malformed)?;
        if let Want::Shards { indices, .. } = &request.want {
            let sensible = (1..=SHARDS_PER_REQUEST_MAX).contains(&indices.len());
            if !sensible || !indices.is_sorted_by(|a, b| a < b) {
                return Err(Offence::Meaningless);
            }
        }
        Ok(request)
    }
}
