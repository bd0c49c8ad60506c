//! Signatures over exact bytes under a domain tag.
//!
//! A signature made for one kind of thing is worthless for another. Nothing is ever re-encoded to be verified.

use bincode::{Decode, Encode};
use ed25519_dalek::VerifyingKey;
use thiserror::Error;

use crate::id::PeerId;

/// What a signature is for; the tag is part of the signed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// A charter, by its founders.
    Charter,
    /// A member certificate, by founders.
    Certificate,
    /// An invitation, by founders.
    Invitation,
    /// The use of an invitation by a key, by the invitation's issuer.
    Binding,
    /// A revocation list, by founders.
    Revocation,
    /// A manifest, by the peer that made the update.
    Manifest,
    /// A gossip message, by its sender.
    Message,
    /// A change of key, by the old key.
    Rotation,
    /// A ledger record, by the node that keeps it.
    Ledger,
    /// An answer to a query, by the peer whose model answered.
    Prediction,
}

impl Domain {
    /// The tag: protocol, kind, version.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Charter => "starling/charter/1",
            Self::Certificate => "starling/certificate/1",
            Self::Invitation => "starling/invitation/1",
            Self::Binding => "starling/binding/1",
            Self::Revocation => "starling/revocation/1",
            Self::Manifest => "starling/manifest/1",
            Self::Message => "starling/message/1",
            Self::Rotation => "starling/rotation/1",
            Self::Ledger => "starling/ledger/1",
            Self::Prediction => "starling/prediction/1",
        }
    }

    pub(crate) fn tagged(self, bytes: &[u8]) -> Vec<u8> {
        let tag = self.tag().as_bytes();
        let mut all = Vec::with_capacity(tag.len() + 1 + bytes.len());
        all.extend_from_slice(tag);
        all.push(0); // no tag is a prefix of another tag with bytes behind it
        all.extend_from_slice(bytes);
        all
    }
}

/// An ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Signature(pub [u8; 64]);

/// The signature is not this signer's over these bytes for this use.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("the signature is not {0}'s over these bytes for this use")]
pub struct BadSignature(pub PeerId);

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signature({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// Checks a signature strictly: small-order keys and second forms of a signature are refused.
pub fn verify(
    domain: Domain,
    signer: &PeerId,
    bytes: &[u8],
    signature: &Signature,
) -> Result<(), BadSignature> {
    let bad = BadSignature(*signer);
    #[cfg(feature = "sim")]
    if crate::crypto::assumed::is_on() {
        let is_right = signature.0 == crate::crypto::assumed::mark(domain.tag(), signer, bytes);
        return if is_right { Ok(()) } else { Err(bad) };
    }
    let key = VerifyingKey::from_bytes(&signer.0).map_err(|_| bad)?;
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    key.verify_strict(&domain.tagged(bytes), &signature).map_err(|_| bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::keys::{Keypair, is_usable};

    #[test]
    fn a_signature_holds_for_its_bytes_its_key_and_its_use_only() {
        let keys = Keypair::from_secret([7; 32]);
        let other = Keypair::from_secret([8; 32]);
        let signature = keys.sign(Domain::Manifest, b"bytes");
        assert_eq!(verify(Domain::Manifest, &keys.peer(), b"bytes", &signature), Ok(()));
        assert!(verify(Domain::Message, &keys.peer(), b"bytes", &signature).is_err());
        assert!(verify(Domain::Manifest, &other.peer(), b"bytes", &signature).is_err());
        assert!(verify(Domain::Manifest, &keys.peer(), b"Bytes", &signature).is_err());
        for bit in 0..512 {
            let mut flipped = signature;
            flipped.0[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(Domain::Manifest, &keys.peer(), b"bytes", &flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn keys_of_small_order_are_not_usable() {
        let mut one = [0u8; 32];
        one[0] = 1;
        assert!(!is_usable(&PeerId([0; 32])));
        assert!(!is_usable(&PeerId(one)));
        assert!(is_usable(&Keypair::from_secret([1; 32]).peer()));
        assert!(verify(Domain::Message, &PeerId([0; 32]), b"", &Signature([0; 64])).is_err());
    }
}
