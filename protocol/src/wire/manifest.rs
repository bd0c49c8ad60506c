//! The manifest: the signed list of an update's shards, with the claims made about them.

use bincode::{Decode, Encode};

use crate::codec::decode_manifest;
use crate::crypto::hash::content_hash;
use crate::crypto::keys::Keypair;
use crate::crypto::merkle;
use crate::crypto::signed::Domain;
use crate::id::{Hash, OuterStep, PeerId, RunId};
use crate::limits::{SHARDS_MAX, SKETCH_LEN};
use crate::wire::choice::{Codec, Stage};
use crate::wire::offence::Offence;
use crate::wire::sealed::Sealed;

/// The version of the protocol these types belong to; first byte of every signed body.
pub const VERSION: u8 = 1;

/// What a peer says of one update.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Manifest {
    /// Version of the protocol.
    pub version: u8,
    /// The run.
    pub run: RunId,
    /// The outer step the update closes.
    pub step: OuterStep,
    /// Hash of this peer's manifest before; zero for its first.
    pub parent: Hash,
    /// What the peer did in the step.
    pub stage: Stage,
    /// How the shards are encoded.
    pub codec: Codec,
    /// Inner steps behind the update since the last one.
    pub inner_steps: u32,
    /// Samples behind the update since the last one.
    pub samples: u64,
    /// Hashes of the encoded shards, in order.
    pub shards: Vec<Hash>,
    /// Merkle root of `shards`.
    pub root: Hash,
    /// Euclidean norm of each shard's delta.
    pub norms: Vec<f32>,
    /// Random projection of the delta, `SKETCH_LEN` values.
    pub sketch: Vec<f32>,
    /// Head of the peer's ledger; zero where the charter does not ask for it.
    pub ledger: Hash,
    /// Differential privacy spent so far, where there is any.
    pub privacy: Option<Privacy>,
}

/// A statement of differential privacy.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
pub struct Privacy {
    /// ε spent.
    pub epsilon: f32,
    /// At this δ.
    pub delta: f32,
}

/// A manifest whose signature and fields were checked.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct VerifiedManifest {
    /// The peer that signed it.
    pub peer: PeerId,
    /// The claims.
    pub manifest: Manifest,
    /// Address of the bytes.
    pub hash: Hash,
}

/// What a manifest must agree with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
pub struct Expected {
    /// The run.
    pub run: RunId,
    /// The peer that announced it.
    pub peer: PeerId,
    /// The step it was announced for.
    pub step: OuterStep,
    /// The announced hash.
    pub hash: Hash,
    /// Number of parameters of the run.
    pub parameters: u64,
}

impl Manifest {
    /// Signs the manifest.
    pub fn seal(&self, keys: &Keypair) -> Sealed {
        Sealed::new(keys, Domain::Manifest, self)
    }

    /// Checks bytes fetched for an announced manifest.
    ///
    /// `shards_of` gives the number of shards an update of the run has under a codec.
    pub fn open(
        bytes: &[u8],
        expected: &Expected,
        shards_of: impl Fn(Codec) -> usize,
    ) -> Result<VerifiedManifest, Offence> {
        if bytes.len() > crate::codec::MANIFEST_BYTES_MAX {
            return Err(Offence::TooLong);
        }
        if content_hash(bytes) != expected.hash {
            return Err(Offence::WrongContent);
        }
        let sealed: Sealed = decode_manifest(bytes).map_err(|_| Offence::Malformed)?;
        if sealed.body.first() != Some(&VERSION) {
            return Err(Offence::UnknownVersion);
        }
        if sealed.body.get(1..33) != Some(&expected.run.0.0[..]) {
            return Err(Offence::OtherRun);
        }
        if sealed.signer != expected.peer {
            return Err(Offence::NotTheAuthor);
        }
        sealed.verify(Domain::Manifest).map_err(|_| Offence::BadSignature)?;
        let manifest: Manifest = decode_manifest(&sealed.body).map_err(|_| Offence::Malformed)?;
        if manifest.step != expected.step || !manifest.makes_sense(expected.parameters, shards_of) {
            return Err(Offence::Meaningless);
        }
        Ok(VerifiedManifest { peer: sealed.signer, manifest, hash: expected.hash })
    }

    fn makes_sense(&self, parameters: u64, shards_of: impl Fn(Codec) -> usize) -> bool {
        let count = self.shards.len();
        (1..=SHARDS_MAX).contains(&count)
            && count == shards_of(self.codec)
            && count as u64 <= parameters
            && self.norms.len() == count
            && self.norms.iter().all(|n| n.is_finite() && *n >= 0.0)
            && self.sketch.len() == SKETCH_LEN
            && self.sketch.iter().all(|x| x.is_finite())
            && self.root == merkle::root(&self.shards)
            && self
                .privacy
                .is_none_or(|p| p.epsilon.is_finite() && p.epsilon >= 0.0 && (0.0..1.0).contains(&p.delta))
    }
}
