//! What each peer may make us check. Signatures are the dear part of hearing, so every check has somebody who pays.
//!
//! A link pays in advance for what it brings, and gets it back when the signature held: honest peers pass on only what
//! they checked themselves, however much that is. A signer pays for what held; nobody else can spend its share.

use std::collections::BTreeMap;

use crate::id::PeerId;
use crate::limits::{
    FORGED_BURST, FORGED_PER_SECOND, GOSSIP_BURST, GOSSIP_PER_SECOND, LINKS_REMEMBERED_MAX, ROSTER_MAX,
};
use crate::quota::Bucket;
use crate::time::Time;

/// Shares of links and signers.
#[derive(Clone, Debug)]
pub struct Allowances {
    links: BTreeMap<PeerId, Bucket>,
    signers: BTreeMap<PeerId, Bucket>,
    link_burst: u64,
}

impl Allowances {
    /// Full shares for everybody; a newcomer's certificate takes up to `founders` checks at once.
    pub fn new(founders: usize) -> Self {
        let link_burst = u64::from(FORGED_BURST) + founders as u64;
        Self { links: BTreeMap::new(), signers: BTreeMap::new(), link_burst }
    }

    /// Takes `checks` from the share of the link that brought the bytes; false when it brought too much that failed.
    pub fn take(&mut self, link: PeerId, checks: u32, now: Time) -> bool {
        let bucket = of(&mut self.links, link, LINKS_REMEMBERED_MAX, now, || {
            Bucket::new(self.link_burst, FORGED_PER_SECOND.into(), now)
        });
        bucket.take(checks.into(), now)
    }

    /// The message held: the link gets its checks back, the signer pays what the message took.
    pub fn settle(&mut self, link: &PeerId, taken: u32, signer: PeerId, checks: u32, now: Time) {
        if let Some(bucket) = self.links.get_mut(link) {
            bucket.give_back(taken.into());
        }
        let bucket = of(&mut self.signers, signer, ROSTER_MAX, now, || {
            Bucket::new(GOSSIP_BURST.into(), GOSSIP_PER_SECOND.into(), now)
        });
        bucket.drain(checks.into(), now);
    }

    /// Whether the signer has used up its share: nothing in its name needs to be checked.
    pub fn is_spent(&mut self, signer: &PeerId, now: Time) -> bool {
        self.signers.get_mut(signer).is_some_and(|bucket| bucket.is_empty(now))
    }

    /// Peers remembered: links and signers.
    pub fn remembered(&self) -> (usize, usize) {
        (self.links.len(), self.signers.len())
    }
}

/// The peer's bucket; when the table is full, full buckets go first: a new one would be the same.
fn of(
    buckets: &mut BTreeMap<PeerId, Bucket>,
    peer: PeerId,
    max: usize,
    now: Time,
    new: impl FnOnce() -> Bucket,
) -> &mut Bucket {
    if buckets.len() >= max && !buckets.contains_key(&peer) {
        buckets.retain(|_, bucket| !bucket.is_full(now));
        if buckets.len() >= max {
            buckets.pop_first();
        }
    }
    buckets.entry(peer).or_insert_with(new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    fn peer(i: u32) -> PeerId {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&i.to_le_bytes());
        PeerId(key)
    }

    #[test]
    fn forged_messages_spend_the_share_of_the_link_that_brings_them_and_nobody_elses() {
        let mut allowances = Allowances::new(3);
        let (forger, honest, named) = (peer(1), peer(2), peer(3));
        let checked = (0..100_000).filter(|_| allowances.take(forger, 1, Time(0))).count() as u32;
        assert_eq!(checked, FORGED_BURST + 3, "of a hundred thousand");
        assert!(!allowances.is_spent(&named, Time(0)), "the name they bore pays nothing");
        let later = Time(0) + Span::seconds(5);
        assert_eq!(
            (0..100_000).filter(|_| allowances.take(forger, 1, later)).count() as u32,
            5 * FORGED_PER_SECOND
        );
        for i in 0..100_000 {
            assert!(allowances.take(honest, 1, Time(0)), "message {i} of an honest link");
            allowances.settle(&honest, 1, peer(10 + i % 5_000), 1, Time(0));
        }
    }

    #[test]
    fn a_signer_spends_its_share_over_any_links() {
        let mut allowances = Allowances::new(1);
        let signer = peer(9);
        let heard = (0..10_000u32).take_while(|i| {
            let is_heard = !allowances.is_spent(&signer, Time(0));
            if is_heard {
                assert!(allowances.take(peer(100 + i % 7), 1, Time(0)));
                allowances.settle(&peer(100 + i % 7), 1, signer, 1, Time(0));
            }
            is_heard
        });
        assert_eq!(heard.count() as u32, GOSSIP_BURST);
        assert!(!allowances.is_spent(&signer, Time(0) + Span::seconds(1)));
    }

    #[test]
    fn a_million_links_are_not_all_remembered_and_a_spent_one_is() {
        let mut allowances = Allowances::new(1);
        let spent = PeerId([0xff; 32]);
        while allowances.take(spent, 1, Time(0)) {}
        for i in 0..1_000_000 {
            allowances.take(peer(i), 0, Time(0));
        }
        assert!(allowances.remembered().0 <= LINKS_REMEMBERED_MAX);
        assert!(!allowances.take(spent, 1, Time(0)));
    }
}
