//! What this peer serves and to whom: its last few updates, by quota.
//!
//! It holds hashes and counts; the bytes of shards stay with the driver.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::codec::Encode;
use crate::id::{Hash, PeerId};
use crate::limits::{
    QUERY_OUTPUTS_BURST, QUERY_OUTPUTS_PER_SECOND, ROSTER_MAX, SERVE_BYTES_BURST, SERVE_BYTES_PER_SECOND,
    VERSIONS_SERVED,
};
use crate::quota::Bucket;
use crate::time::{Span, Time};
use crate::wire::request::Want;

/// One of our updates that others may pull.
#[derive(Clone, Debug)]
pub struct Served {
    /// Hash of the sealed manifest.
    pub manifest: Hash,
    /// The sealed manifest.
    pub bytes: Arc<[u8]>,
    /// Hash and size of each shard.
    pub shards: Vec<(Hash, u32)>,
}

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
pub enum Reply {
    /// These bytes, in one part.
    Bytes(Arc<[u8]>),
    /// These shards, one part each, from the driver's block store.
    Blocks(Vec<Hash>),
    /// Ask again after so long.
    Busy(Span),
    /// Not served here (any more).
    NotFound,
    /// Not to be answered: the peer is no member, or breaks the protocol.
    Refused,
}

/// Served updates and what each peer has taken lately.
#[derive(Clone, Debug, Default)]
pub struct Serve {
    versions: Vec<Served>,
    buckets: BTreeMap<PeerId, Bucket>,
    /// Outputs of our model that each peer may still ask for.
    queries: BTreeMap<PeerId, Bucket>,
}

impl Serve {
    /// Adds our newest update; answers the shards that are served no more.
    pub fn add(&mut self, served: Served) -> Vec<Hash> {
        self.versions.push(served);
        if self.versions.len() <= VERSIONS_SERVED {
            return Vec::new();
        }
        let old = self.versions.remove(0);
        let is_kept = |hash: &Hash| self.versions.iter().any(|v| v.shards.iter().any(|(h, _)| h == hash));
        old.shards.into_iter().map(|(hash, _)| hash).filter(|hash| !is_kept(hash)).collect()
    }

    /// Answers a request for a manifest or shards; everything else is not found here.
    pub fn reply(&mut self, from: PeerId, want: &Want, now: Time) -> Reply {
        match want {
            Want::Manifest(hash) => match self.versions.iter().find(|v| v.manifest == *hash) {
                Some(version) => {
                    let bytes = version.bytes.clone();
                    self.charge(from, bytes.len() as u64, now).unwrap_or(Reply::Bytes(bytes))
                }
                None => Reply::NotFound,
            },
            Want::Shards { manifest, indices } => {
                let Some(version) = self.versions.iter().find(|v| v.manifest == *manifest) else {
                    return Reply::NotFound;
                };
                let wanted: Option<Vec<(Hash, u32)>> =
                    indices.iter().map(|&i| version.shards.get(i as usize).copied()).collect();
                let Some(wanted) = wanted else { return Reply::NotFound };
                let bytes = wanted.iter().map(|(_, size)| u64::from(*size)).sum();
                let hashes = wanted.into_iter().map(|(hash, _)| hash).collect();
                self.charge(from, bytes, now).unwrap_or(Reply::Blocks(hashes))
            }
            Want::News | Want::Charter | Want::Predict(_) | Want::Redeem { .. } | Want::File { .. } => {
                Reply::NotFound
            }
        }
    }

    /// Takes the outputs of a query, and the bytes of its answer, from the peer's quotas before any work is done; `Some`
    /// says it must wait.
    pub fn charge_query(&mut self, from: PeerId, outputs: usize, labels: usize, now: Time) -> Option<Reply> {
        let outputs = outputs as u64;
        let bucket = bucket_of(&mut self.queries, from, QUERY_OUTPUTS_BURST, QUERY_OUTPUTS_PER_SECOND, now);
        if !bucket.take(outputs, now) {
            return Some(Reply::Busy(bucket.wait_for(outputs)));
        }
        self.charge(from, 4 * outputs * labels as u64, now)
    }

    /// Takes the bytes from the peer's quota before any work is done; `Some` says it must wait.
    pub fn charge(&mut self, from: PeerId, bytes: u64, now: Time) -> Option<Reply> {
        let bucket = bucket_of(&mut self.buckets, from, SERVE_BYTES_BURST, SERVE_BYTES_PER_SECOND, now);
        if bucket.take(bytes, now) { None } else { Some(Reply::Busy(bucket.wait_for(bytes))) }
    }
}

/// The bucket of a peer, made full when there is none; as many are kept as the roster has peers.
fn bucket_of(
    buckets: &mut BTreeMap<PeerId, Bucket>,
    from: PeerId,
    burst: u64,
    per_second: u64,
    now: Time,
) -> &mut Bucket {
    if buckets.len() >= ROSTER_MAX && !buckets.contains_key(&from) {
        buckets.pop_first();
    }
    buckets.entry(from).or_insert_with(|| Bucket::new(burst, per_second, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(n: u8, size: u32) -> Served {
        let shards = (0..3).map(|i| (Hash([n * 10 + i; 32]), size)).collect();
        Served { manifest: Hash([n; 32]), bytes: vec![n; 100].into(), shards }
    }

    #[test]
    fn the_last_versions_are_served_and_older_ones_are_forgotten() {
        let mut serve = Serve::default();
        let peer = PeerId([1; 32]);
        for n in 1..=3 {
            assert!(serve.add(served(n, 10)).is_empty());
        }
        assert_eq!(serve.add(served(4, 10)), vec![Hash([10; 32]), Hash([11; 32]), Hash([12; 32])]);
        assert_eq!(serve.reply(peer, &Want::Manifest(Hash([1; 32])), Time(0)), Reply::NotFound);
        let want = |indices: Vec<u32>| Want::Shards { manifest: Hash([2; 32]), indices };
        assert_eq!(
            serve.reply(peer, &want(vec![0, 2]), Time(0)),
            Reply::Blocks(vec![Hash([20; 32]), Hash([22; 32])])
        );
        assert_eq!(serve.reply(peer, &want(vec![3]), Time(0)), Reply::NotFound);
    }

    #[test]
    fn a_peer_that_takes_too_much_is_told_to_wait_and_others_are_not() {
        let mut serve = Serve::default();
        serve.add(served(1, 100_000_000));
        let want = Want::Shards { manifest: Hash([1; 32]), indices: vec![0, 1, 2] };
        assert!(matches!(serve.reply(PeerId([1; 32]), &want, Time(0)), Reply::Blocks(_)));
        assert!(matches!(serve.reply(PeerId([1; 32]), &want, Time(0)), Reply::Busy(_)));
        assert!(matches!(serve.reply(PeerId([2; 32]), &want, Time(0)), Reply::Blocks(_)));
    }
    #[test]
    fn a_peer_that_asks_our_model_too_much_is_told_to_wait_and_others_are_not() {
        let mut serve = Serve::default();
        let (greedy, other) = (PeerId([1; 32]), PeerId([2; 32]));
        let most = QUERY_OUTPUTS_BURST as usize;
        assert_eq!(serve.charge_query(greedy, most, 9, Time(0)), None);
        let wait = Span(1_000_000 / QUERY_OUTPUTS_PER_SECOND);
        assert_eq!(serve.charge_query(greedy, 1, 9, Time(0)), Some(Reply::Busy(wait)));
        assert_eq!(serve.charge_query(other, 1, 9, Time(0)), None);
        assert_eq!(serve.charge_query(greedy, 1_000, 9, Time(1_000_000)), None);
        // The bytes of answers come from the quota that shards come from, too.
        assert!(matches!(serve.charge_query(PeerId([3; 32]), 1_000, 100_000, Time(0)), Some(Reply::Busy(_))));
    }
}
