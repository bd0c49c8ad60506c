//! What a peer must remember over a restart; parameters are the driver's.

use bincode::{Decode, Encode};

use crate::codec::{CodecError, decode_manifest, encode};
use crate::id::{Hash, OuterStep, PeerId};
use crate::ledger::chain::Head;
use crate::wire::sealed::CoSigned;

/// A peer's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Snapshot {
    /// Last complete outer step: the one the stored parameters belong to.
    pub step: OuterStep,
    /// Hash of the last sealed manifest; zero for none.
    pub parent: Hash,
    /// End of the ledger.
    pub ledger: Head,
    /// Keys shut out.
    pub banned: Vec<PeerId>,
    /// Revocation list in force.
    pub revocation: Option<CoSigned>,
    /// Peers that were linked, with addresses, to dial after a restart.
    pub neighbours: Vec<(PeerId, Vec<String>)>,
    /// Whether the final evaluation is through.
    pub is_finished: bool,
}

impl Snapshot {
    /// The bytes that are stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads stored bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        decode_manifest(bytes)
    }
}
