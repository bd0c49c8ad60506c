//! blake3 in two uses: the address of some bytes, and the hash of a tuple under a domain tag.

use crate::id::Hash;

/// The address of these bytes: plain blake3, so that any tool can recompute it.
pub fn content_hash(bytes: &[u8]) -> Hash {
    Hash(*blake3::hash(bytes).as_bytes())
}

/// The hash of a tuple of byte strings under a domain tag; lengths are hashed too, so no two tuples collide.
pub fn blake3_of(domain: &str, parts: &[&[u8]]) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key(domain);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    Hash(*hasher.finalize().as_bytes())
}
