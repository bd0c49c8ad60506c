//! Signatures that are assumed instead of made: keyed hashes in their place, inside the simulator only.
//!
//! It exists because ten thousand simulated peers would spend most of their time on curve arithmetic that has tests of
//! its own. An assumed signature still names its signer, its use and its bytes, so bytes changed on the way are refused
//! as ever; only somebody who wants to forge could. The guard covers one thread from its making to its end, and
//! nothing outside the feature `sim` can make one.

use std::cell::Cell;

use crate::id::PeerId;

thread_local! {
    static GUARDS: Cell<u32> = const { Cell::new(0) };
}

/// While it lives, this thread makes and accepts assumed signatures and no others.
#[derive(Debug)]
pub struct AssumedSignatures(());

impl AssumedSignatures {
    /// Begins to assume.
    pub fn begin() -> Self {
        GUARDS.set(GUARDS.get() + 1);
        Self(())
    }
}

impl Drop for AssumedSignatures {
    fn drop(&mut self) {
        GUARDS.set(GUARDS.get() - 1);
    }
}

/// Whether a guard lives on this thread.
pub(crate) fn is_on() -> bool {
    GUARDS.get() > 0
}

/// What stands in a signature's place; `tag` names its use.
pub(crate) fn mark(tag: &str, signer: &PeerId, bytes: &[u8]) -> [u8; 64] {
    // The signer has fixed length, so no two tuples share bytes.
    let mut hasher = blake3::Hasher::new();
    hasher.update(&signer.0).update(bytes).update(tag.as_bytes());
    let mut mark = [0; 64];
    mark[..32].copy_from_slice(hasher.finalize().as_bytes());
    mark
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::keys::Keypair;
    use crate::crypto::signed::{Domain, verify};

    #[test]
    fn an_assumed_signature_binds_signer_use_and_bytes_and_ends_with_its_guard() {
        let keys = Keypair::from_secret([5; 32]);
        let real = keys.sign(Domain::Message, b"words");
        let guard = AssumedSignatures::begin();
        let assumed = keys.sign(Domain::Message, b"words");
        assert_eq!(verify(Domain::Message, &keys.peer(), b"words", &assumed), Ok(()));
        assert!(verify(Domain::Message, &keys.peer(), b"wordz", &assumed).is_err());
        assert!(verify(Domain::Manifest, &keys.peer(), b"words", &assumed).is_err());
        assert!(verify(Domain::Message, &PeerId([9; 32]), b"words", &assumed).is_err());
        assert!(verify(Domain::Message, &keys.peer(), b"words", &real).is_err());
        drop(guard);
        assert!(verify(Domain::Message, &keys.peer(), b"words", &assumed).is_err());
        assert_eq!(verify(Domain::Message, &keys.peer(), b"words", &real), Ok(()));
    }
}
