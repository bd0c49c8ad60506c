//! The ed25519 key of a peer: one key for links and signatures.
//!
//! The public half always comes from the secret half, so nobody can make it sign under another's name.

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

use crate::crypto::signed::{Domain, Signature};
use crate::id::PeerId;

/// A secret key and the peer it belongs to.
#[derive(Clone)]
pub struct Keypair {
    key: SigningKey,
    peer: PeerId,
}

impl Keypair {
    /// The pair whose secret half is these 32 bytes.
    pub fn from_secret(secret: [u8; 32]) -> Self {
        let key = SigningKey::from_bytes(&secret);
        let peer = PeerId(key.verifying_key().to_bytes());
        Self { key, peer }
    }

    /// The peer this key names.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Signs exactly these bytes under a domain tag.
    pub fn sign(&self, domain: Domain, bytes: &[u8]) -> Signature {
        #[cfg(feature = "sim")]
        if crate::crypto::assumed::is_on() {
            return Signature(crate::crypto::assumed::mark(domain.tag(), &self.peer, bytes));
        }
        Signature(self.key.sign(&domain.tagged(bytes)).to_bytes())
    }
}

impl std::fmt::Debug for Keypair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keypair({})", self.peer.short())
    }
}

/// Whether these bytes are a public key somebody can hold the secret of: on the curve and not of small order.
pub fn is_usable(peer: &PeerId) -> bool {
    VerifyingKey::from_bytes(&peer.0).is_ok_and(|key| !key.is_weak())
}
