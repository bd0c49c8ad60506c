//! The network between nodes: which links are up, what passes, how long it takes.
//!
//! A message leaves when the sender's upload is free, travels for a random time, and arrives when the receiver's download
//! is free. It knows no peers' secrets and changes no bytes; whoever sends decides what a lost message means.

use std::collections::BTreeSet;

use crate::rng::Rng;
use crate::sim::scenario::NetworkTerms;
use crate::time::{Span, Time};

/// State of the network.
#[derive(Clone, Debug)]
pub(super) struct Network {
    terms: NetworkTerms,
    latency: (u64, u64),
    bytes_per_microsecond: f64,
    calm_from: Time,
    links: Vec<BTreeSet<u32>>,
    groups: Option<(Vec<Option<u32>>, bool)>,
    clogged: BTreeSet<(u32, u32)>,
    upload_free: Vec<Time>,
    download_free: Vec<Time>,
    rng: Rng,
}

/// What becomes of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives then.
    Arrives(Time),
    /// It does not.
    Lost,
}

impl Network {
    /// A network without links; loss and its kind end at `calm_from`.
    pub(super) fn new(terms: &NetworkTerms, peers: usize, calm_from: Time, rng: Rng) -> Self {
        let [low, high] = terms.latency_ms.map(|ms| u64::from(ms) * 1_000);
        Self {
            latency: (low, high),
            bytes_per_microsecond: terms.bandwidth_mbit / 8.0,
            calm_from,
            links: vec![BTreeSet::new(); peers],
            groups: None,
            clogged: BTreeSet::new(),
            upload_free: vec![Time(0); peers],
            download_free: vec![Time(0); peers],
            terms: terms.clone(),
            rng,
        }
    }

    /// Links two nodes; false when they are linked already.
    pub(super) fn link(&mut self, a: u32, b: u32) -> bool {
        self.links[a as usize].insert(b) && self.links[b as usize].insert(a)
    }

    /// Cuts a link; false when there is none.
    pub(super) fn unlink(&mut self, a: u32, b: u32) -> bool {
        self.links[a as usize].remove(&b) && self.links[b as usize].remove(&a)
    }

    /// Whether two nodes are linked.
    pub(super) fn is_linked(&self, a: u32, b: u32) -> bool {
        self.links[a as usize].contains(&b)
    }

    /// The nodes linked to one, in order.
    pub(super) fn linked(&self, to: u32) -> &BTreeSet<u32> {
        &self.links[to as usize]
    }

    /// Splits the swarm into groups, by node.
    pub(super) fn part(&mut self, groups: Vec<Option<u32>>, one_way: bool) {
        self.groups = Some((groups, one_way));
    }

    /// Ends the split.
    pub(super) fn heal(&mut self) {
        self.groups = None;
    }

    /// Clogs or frees a directed link.
    pub(super) fn clog(&mut self, from: u32, to: u32, is_clogged: bool) {
        if is_clogged {
            self.clogged.insert((from, to));
        } else {
            self.clogged.remove(&(from, to));
        }
    }

    /// Whether anything gets from one node to another.
    pub(super) fn passes(&self, from: u32, to: u32) -> bool {
        if self.clogged.contains(&(from, to)) {
            return false;
        }
        let Some((groups, one_way)) = &self.groups else { return true };
        match (groups[from as usize], groups[to as usize]) {
            (Some(a), Some(b)) if a != b => *one_way && b != 0,
            _ => true,
        }
    }

    /// Sends a message of so many bytes.
    pub(super) fn send(&mut self, from: u32, to: u32, bytes: usize, now: Time) -> Fate {
        if !self.passes(from, to) {
            return Fate::Lost;
        }
        let takes = if self.bytes_per_microsecond > 0.0 {
            Span((bytes as f64 / self.bytes_per_microsecond) as u64)
        } else {
            Span::ZERO
        };
        let upload = &mut self.upload_free[from as usize];
        *upload = now.max(*upload) + takes;
        let left = *upload;
        if self.chance(self.terms.loss, now) {
            return Fate::Lost;
        }
        let mut travels = self.latency();
        if self.chance(self.terms.reorder, now) {
            travels = Span(travels.0 + self.rng.below(self.latency.1 * 10 + 1));
        }
        let download = &mut self.download_free[to as usize];
        // Both ends are busy with the same bytes at once: only where several senders meet does one wait.
        *download = left.max(*download + takes);
        Fate::Arrives(*download + travels)
    }

    /// A random time of travel.
    pub(super) fn latency(&mut self) -> Span {
        let (low, high) = self.latency;
        Span(low + self.rng.below(high - low + 1))
    }

    /// Whether a gossip message comes twice.
    pub(super) fn doubles(&mut self, now: Time) -> bool {
        self.chance(self.terms.duplicate, now)
    }

    /// Whether an answer's bytes are changed.
    pub(super) fn corrupts(&mut self, now: Time) -> bool {
        self.chance(self.terms.corrupt, now)
    }

    /// A number below `end`, for whoever has to choose among links.
    pub(super) fn choose(&mut self, end: usize) -> usize {
        self.rng.below(end as u64) as usize
    }

    fn chance(&mut self, share: f64, now: Time) -> bool {
        share > 0.0 && now < self.calm_from && self.rng.unit_f64() < share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    fn network(terms: &NetworkTerms) -> Network {
        Network::new(terms, 4, Time(u64::MAX), Seed::from_u64(1).rng())
    }

    #[test]
    fn bytes_queue_at_the_sender_and_small_messages_do_not_wait_for_nothing() {
        let terms = NetworkTerms { latency_ms: [10, 10], bandwidth_mbit: 8.0, ..NetworkTerms::default() };
        let mut network = network(&terms);
        // 8 Mbit/s is a byte a microsecond.
        assert_eq!(network.send(0, 1, 1_000, Time(0)), Fate::Arrives(Time(11_000)));
        assert_eq!(network.send(0, 2, 1_000, Time(0)), Fate::Arrives(Time(12_000)));
        assert_eq!(network.send(3, 2, 1_000, Time(0)), Fate::Arrives(Time(13_000)));
        assert_eq!(network.send(0, 1, 10, Time(500_000)), Fate::Arrives(Time(510_010)));
    }

    #[test]
    fn a_partition_blocks_both_ways_or_one() {
        let mut network = network(&NetworkTerms::default());
        network.part(vec![Some(0), Some(1), Some(1), None], false);
        assert!(!network.passes(0, 1) && !network.passes(1, 0) && network.passes(1, 2));
        assert!(network.passes(3, 0) && network.passes(1, 3));
        network.part(vec![Some(0), Some(1), Some(1), None], true);
        assert!(network.passes(0, 1) && !network.passes(1, 0));
        network.heal();
        network.clog(1, 0, true);
        assert!(network.passes(0, 1) && !network.passes(1, 0));
    }
}
