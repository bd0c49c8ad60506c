//! The root of a list of hashes: a binary tree with tagged leaves and nodes.
//!
//! Left subtrees take the largest power of two; the length is hashed into the root, so lists of different length
//! never share one.

use crate::crypto::hash::blake3_of;
use crate::id::Hash;

/// The root of these leaves, in order.
pub fn root(leaves: &[Hash]) -> Hash {
    let tree = if leaves.is_empty() { Hash::default() } else { subtree(leaves) };
    blake3_of("starling/merkle/root/1", &[&(leaves.len() as u64).to_le_bytes(), &tree.0])
}

/// Depth is the logarithm of the length, which `limits::SHARDS_MAX` bounds.
fn subtree(leaves: &[Hash]) -> Hash {
    if let [leaf] = leaves {
        return blake3_of("starling/merkle/leaf/1", &[&leaf.0]);
    }
    let left = leaves.len().next_power_of_two() / 2;
    let (a, b) = leaves.split_at(left);
    blake3_of("starling/merkle/node/1", &[&subtree(a).0, &subtree(b).0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_and_its_place_count() {
        let leaves: Vec<Hash> = (0..11).map(|i| Hash([i; 32])).collect();
        let whole = root(&leaves);
        for i in 0..leaves.len() {
            let mut changed = leaves.clone();
            changed[i].0[31] ^= 1;
            assert_ne!(root(&changed), whole);
            let mut swapped = leaves.clone();
            swapped.swap(i, (i + 1) % 11);
            assert_ne!(root(&swapped), whole);
            assert_ne!(root(&leaves[..i]), whole);
        }
    }
}
