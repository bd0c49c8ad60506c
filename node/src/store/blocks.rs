//! The encoded shards this node serves, by hash, for its last few versions.
//!
//! It exists so that a question for a shard is answered from memory. It deliberately keeps nothing on disk: after a
//! restart a node publishes a new version instead of serving an old one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use thiserror::Error;

use protocol::id::{Hash, OuterStep};

/// Versions of an update kept to be served.
pub const VERSIONS_KEPT: usize = 3;

/// A bounded map from the hash of a shard to its bytes.
pub struct Blocks {
    versions_max: usize,
    bytes_max: u64,
    bytes: u64,
    versions: BTreeMap<OuterStep, Vec<Hash>>,
    held: HashMap<Hash, Block>,
}

struct Block {
    bytes: Arc<[u8]>,
    /// Versions that list this shard; two versions may share one.
    listed: u32,
}

/// The shards would take more memory than allowed; nothing was kept of them.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "expected at most {bytes_max} bytes of served shards, found {bytes} more on top of {held}; serve fewer versions or use a smaller codec"
)]
pub struct Full {
    /// The cap, bytes.
    pub bytes_max: u64,
    /// Held before, bytes.
    pub held: u64,
    /// New shards, bytes.
    pub bytes: u64,
}

impl Default for Blocks {
    fn default() -> Self {
        Self::new(VERSIONS_KEPT, u64::MAX)
    }
}

impl Blocks {
    /// An empty map for so many versions (at least one) and bytes.
    pub fn new(versions_max: usize, bytes_max: u64) -> Self {
        let (versions, held) = (BTreeMap::new(), HashMap::new());
        Self { versions_max: versions_max.max(1), bytes_max, bytes: 0, versions, held }
    }

    /// Keeps the shards of a version, and lets the oldest versions go beyond the cap. A version put a second time
    /// replaces its first list. A version older than all kept ones of a full map is not kept.
    pub fn put(
        &mut self,
        version: OuterStep,
        shards: impl IntoIterator<Item = (Hash, Arc<[u8]>)>,
    ) -> Result<(), Full> {
        let shards: BTreeMap<Hash, Arc<[u8]>> = shards.into_iter().collect();
        self.drop_version(version);
        while self.versions.len() >= self.versions_max {
            let (&oldest, _) = self.versions.first_key_value().expect("the map holds at least one version");
            if oldest > version {
                return Ok(());
            }
            self.drop_version(oldest);
        }
        let fresh = shards.iter().filter(|(hash, _)| !self.held.contains_key(hash));
        let bytes: u64 = fresh.map(|(_, bytes)| bytes.len() as u64).sum();
        if self.bytes.saturating_add(bytes) > self.bytes_max {
            return Err(Full { bytes_max: self.bytes_max, held: self.bytes, bytes });
        }
        self.bytes += bytes;
        self.versions.insert(version, shards.keys().copied().collect());
        for (hash, bytes) in shards {
            self.held.entry(hash).or_insert(Block { bytes, listed: 0 }).listed += 1;
        }
        Ok(())
    }

    /// The bytes of a shard; a pointer is copied, not the bytes.
    pub fn find(&self, hash: &Hash) -> Option<Arc<[u8]>> {
        self.held.get(hash).map(|block| block.bytes.clone())
    }

    /// Versions kept, ascending.
    pub fn versions(&self) -> impl Iterator<Item = OuterStep> {
        self.versions.keys().copied()
    }

    /// Memory held by shards, bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn drop_version(&mut self, version: OuterStep) {
        for hash in self.versions.remove(&version).unwrap_or_default() {
            let block = self.held.get_mut(&hash).expect("a listed shard is held");
            block.listed -= 1;
            if block.listed == 0 {
                self.bytes -= block.bytes.len() as u64;
                self.held.remove(&hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(n: u8, bytes: usize) -> (Hash, Arc<[u8]>) {
        let bytes: Arc<[u8]> = vec![n; bytes].into();
        (Hash(*blake3::hash(&bytes).as_bytes()), bytes)
    }

    #[test]
    fn the_last_three_versions_are_served_and_older_ones_are_gone() {
        let mut blocks = Blocks::new(3, 10_000);
        for step in 1..=9u8 {
            blocks.put(OuterStep(step.into()), [shard(step, 100), shard(step + 100, 50)]).unwrap();
        }
        assert_eq!(blocks.versions().collect::<Vec<_>>(), [OuterStep(7), OuterStep(8), OuterStep(9)]);
        assert_eq!(blocks.bytes(), 450);
        assert!(blocks.find(&shard(6, 100).0).is_none());
        assert_eq!(blocks.find(&shard(7, 100).0).unwrap().len(), 100);
        blocks.put(OuterStep(2), [shard(2, 100)]).unwrap();
        assert!(blocks.find(&shard(2, 100).0).is_none());
    }

    #[test]
    fn a_shard_shared_by_two_versions_stays_until_both_are_gone() {
        let mut blocks = Blocks::new(2, 10_000);
        let same = shard(1, 100);
        blocks.put(OuterStep(1), [same.clone(), same.clone()]).unwrap();
        blocks.put(OuterStep(2), [same.clone()]).unwrap();
        blocks.put(OuterStep(3), [shard(3, 10)]).unwrap();
        assert!(blocks.find(&same.0).is_some());
        blocks.put(OuterStep(4), [shard(4, 10)]).unwrap();
        assert!(blocks.find(&same.0).is_none());
        assert_eq!(blocks.bytes(), 20);
        blocks.put(OuterStep(4), [shard(5, 7)]).unwrap();
        assert_eq!(blocks.bytes(), 17);
    }

    #[test]
    fn more_bytes_than_allowed_are_refused_and_the_rest_is_served_on() {
        let mut blocks = Blocks::new(3, 200);
        blocks.put(OuterStep(1), [shard(1, 150)]).unwrap();
        let error = blocks.put(OuterStep(2), [shard(2, 60)]).unwrap_err();
        assert_eq!(error, Full { bytes_max: 200, held: 150, bytes: 60 });
        assert!(blocks.find(&shard(1, 150).0).is_some());
        assert!(blocks.find(&shard(2, 60).0).is_none());
    }
}
