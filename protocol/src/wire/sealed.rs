//! Signed bytes: a body exactly as its signer wrote it, with one signature or several.
//!
//! The body stays bytes until the signature is checked; what is relayed is what was signed.

use std::collections::BTreeSet;

use bincode::{Decode, Encode};

use crate::codec::encode;
use crate::crypto::hash::content_hash;
use crate::crypto::keys::Keypair;
use crate::crypto::signed::{BadSignature, Domain, Signature, verify};
use crate::id::{Hash, PeerId};

/// A body with its author's signature.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Sealed {
    /// Who signed.
    pub signer: PeerId,
    /// The signed bytes.
    pub body: Vec<u8>,
    /// Over the body, under the domain of its kind.
    pub signature: Signature,
}

/// A body with the signatures of several founders.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CoSigned {
    /// The signed bytes.
    pub body: Vec<u8>,
    /// At most one per signer, sorted by signer.
    pub signatures: Vec<(PeerId, Signature)>,
}

impl Sealed {
    /// Encodes and signs a value.
    pub fn new<T: Encode>(keys: &Keypair, domain: Domain, value: &T) -> Self {
        let body = encode(value);
        let signature = keys.sign(domain, &body);
        Self { signer: keys.peer(), body, signature }
    }

    /// Checks the signature.
    pub fn verify(&self, domain: Domain) -> Result<(), BadSignature> {
        verify(domain, &self.signer, &self.body, &self.signature)
    }

    /// The bytes that travel.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// The address of the bytes that travel.
    pub fn hash(&self) -> Hash {
        content_hash(&self.to_bytes())
    }
}

impl CoSigned {
    /// A body nobody has signed yet.
    pub fn unsigned<T: Encode>(value: &T) -> Self {
        Self { body: encode(value), signatures: Vec::new() }
    }

    /// Adds a signature; replaces an earlier one of the same key.
    pub fn sign(&mut self, keys: &Keypair, domain: Domain) {
        let signature = keys.sign(domain, &self.body);
        self.signatures.retain(|(peer, _)| *peer != keys.peer());
        self.signatures.push((keys.peer(), signature));
        self.signatures.sort_by_key(|(peer, _)| *peer);
    }

    /// The distinct `allowed` keys whose signature holds. Checks one signature of each at most, good or bad.
    pub fn valid_signers(&self, domain: Domain, allowed: &[PeerId]) -> BTreeSet<PeerId> {
        let holds =
            |(peer, signature): &&(PeerId, Signature)| verify(domain, peer, &self.body, signature).is_ok();
        self.worth_checking(allowed).filter(holds).map(|(peer, _)| *peer).collect()
    }

    /// Signatures that [`CoSigned::valid_signers`] checks.
    pub fn checks(&self, allowed: &[PeerId]) -> u32 {
        self.worth_checking(allowed).count() as u32
    }

    /// The same without signatures that nobody checks: what a stranger added to it does not travel on.
    pub fn with_signatures_of(&self, allowed: &[PeerId]) -> Self {
        Self { body: self.body.clone(), signatures: self.worth_checking(allowed).copied().collect() }
    }

    /// The first signature of each allowed key, among twice as many as there are allowed keys.
    fn worth_checking<'a>(&'a self, allowed: &'a [PeerId]) -> impl Iterator<Item = &'a (PeerId, Signature)> {
        let mut tried = BTreeSet::new();
        let considered = self.signatures.iter().take(allowed.len().saturating_mul(2));
        considered.filter(move |(peer, _)| allowed.contains(peer) && tried.insert(*peer))
    }
}
