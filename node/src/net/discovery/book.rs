//! The address book: a bounded table of peers, where they may be, and when to try them again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use protocol::id::PeerId;
use protocol::rng::Rng;

use crate::net::limits::{
    BOOK_ADDRESSES_MAX, BOOK_GROUP_MAX, BOOK_PEERS_MAX, BOOTSTRAP_PAUSE_MAX, DIAL_PAUSE, DIAL_PAUSE_MAX,
    REDIAL_PAUSE_MAX, REDIALS,
};
use crate::net::screen::{Reach, ip_of, is_quic, is_relayed, is_sensible, reach_of};

/// Failed dials after which a peer that nobody configured is forgotten: about ten minutes of trying.
const FAILURES_MAX: u32 = 12;
/// The same for a peer that was linked before: about an hour.
const FAILURES_PROVEN_MAX: u32 = REDIALS + 24;

/// What is known of one peer.
#[derive(Debug)]
struct Entry {
    /// Newest first.
    tcp: Vec<Multiaddr>,
    quic: Vec<Multiaddr>,
    /// Through a relay.
    relayed: Vec<Multiaddr>,
    /// Configured by the operator: never evicted.
    is_pinned: bool,
    /// Was linked before.
    is_proven: bool,
    failures: u32,
    /// TCP failed: the next dial tries QUIC.
    tries_quic: bool,
    next: Instant,
    learnt: Instant,
}

/// Peers and their addresses.
#[derive(Debug)]
pub(in crate::net) struct Book {
    peers: BTreeMap<PeerId, Entry>,
    rng: Rng,
}

impl Book {
    pub(in crate::net) fn new(rng: Rng) -> Self {
        Self { peers: BTreeMap::new(), rng }
    }

    /// Adds addresses of a peer; those where nobody can be are dropped.
    pub(in crate::net) fn learn(
        &mut self,
        peer: PeerId,
        addresses: impl IntoIterator<Item = Multiaddr>,
        now: Instant,
    ) {
        let addresses: Vec<_> =
            addresses.into_iter().filter(is_sensible).take(2 * BOOK_ADDRESSES_MAX).collect();
        if addresses.is_empty() || !self.has_room_for(&peer, &addresses[0]) {
            return;
        }
        let entry = self.peers.entry(peer).or_insert_with(|| Entry {
            tcp: Vec::new(),
            quic: Vec::new(),
            relayed: Vec::new(),
            is_pinned: false,
            is_proven: false,
            failures: 0,
            tries_quic: false,
            next: now,
            learnt: now,
        });
        entry.learnt = now;
        // The list is in the peer's order; insert backwards so that its first stays first.
        for address in addresses.into_iter().rev() {
            let list = match &address {
                address if is_relayed(address) => &mut entry.relayed,
                address if is_quic(address) => &mut entry.quic,
                _ => &mut entry.tcp,
            };
            list.retain(|known| *known != address);
            list.insert(0, address);
            list.truncate(BOOK_ADDRESSES_MAX);
        }
    }

    /// Adds a peer that the operator named.
    pub(in crate::net) fn pin(&mut self, peer: PeerId, address: Multiaddr, now: Instant) {
        self.learn(peer, [address], now);
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.is_pinned = true;
        }
    }

    /// Whether the peer is known or may be added, evicting the least promising other peer if need be.
    fn has_room_for(&mut self, peer: &PeerId, address: &Multiaddr) -> bool {
        if self.peers.contains_key(peer) {
            return true;
        }
        if self.peers.len() >= BOOK_PEERS_MAX / 2
            && let Some(group) = group_of(address)
            && self.peers.values().filter(|e| e.group() == Some(group)).count() >= BOOK_GROUP_MAX
        {
            return false;
        }
        if self.peers.len() < BOOK_PEERS_MAX {
            return true;
        }
        let worst = self
            .peers
            .iter()
            .filter(|(_, e)| !e.is_pinned && e.failures > 0)
            .max_by_key(|(_, e)| (e.failures, std::cmp::Reverse(e.learnt)))
            .map(|(peer, _)| *peer);
        // A full book without a single failure keeps what it has: rumours do not displace peers that may be good.
        worst.is_some_and(|worst| self.peers.remove(&worst).is_some())
    }

    /// Known addresses of a peer for its next dial: TCP before QUIC, and in any case those through relays, for who has
    /// such can often be dialled in no other way, and a direct connection is made from there.
    pub(in crate::net) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        let Some(entry) = self.peers.get(peer) else { return Vec::new() };
        let is_quic_turn = entry.tcp.is_empty() || (entry.tries_quic && !entry.quic.is_empty());
        let direct = if is_quic_turn { &entry.quic } else { &entry.tcp };
        direct.iter().chain(&entry.relayed).cloned().collect()
    }

    /// Peers whose time has come, in random order, the operator's first.
    pub(in crate::net) fn due(&mut self, now: Instant, is_skipped: impl Fn(&PeerId) -> bool) -> Vec<PeerId> {
        let mut due: Vec<(bool, PeerId)> = self
            .peers
            .iter()
            .filter(|(peer, entry)| entry.next <= now && !is_skipped(peer))
            .map(|(peer, entry)| (!entry.is_pinned, *peer))
            .collect();
        self.rng.shuffle(&mut due);
        due.sort_by_key(|(is_rumour, _)| *is_rumour);
        due.into_iter().map(|(_, peer)| peer).collect()
    }

    /// The peers in the book.
    pub(in crate::net) fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.peers.keys().copied()
    }

    /// Whether the peer's time has come.
    pub(in crate::net) fn is_due(&self, peer: &PeerId, now: Instant) -> bool {
        self.peers.get(peer).is_some_and(|entry| entry.next <= now)
    }

    /// A dial of the peer failed.
    pub(in crate::net) fn failed(&mut self, peer: &PeerId, now: Instant) {
        let Some(entry) = self.peers.get_mut(peer) else { return };
        if !entry.tries_quic && !entry.tcp.is_empty() && !entry.quic.is_empty() {
            entry.tries_quic = true;
            entry.next = now;
            return;
        }
        entry.tries_quic = false;
        entry.failures += 1;
        let failures_max = if entry.is_proven { FAILURES_PROVEN_MAX } else { FAILURES_MAX };
        if entry.failures >= failures_max && !entry.is_pinned {
            self.peers.remove(peer);
            return;
        }
        let longest = match entry {
            Entry { is_proven: true, failures: ..=REDIALS, .. } => REDIAL_PAUSE_MAX,
            Entry { is_pinned: true, .. } => BOOTSTRAP_PAUSE_MAX,
            _ => DIAL_PAUSE_MAX,
        };
        entry.next = now + pause(entry.failures, longest, &mut self.rng);
    }

    /// The peer is linked.
    pub(in crate::net) fn linked(&mut self, peer: &PeerId) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.failures = 0;
            entry.tries_quic = false;
            entry.is_proven = true;
        }
    }

    /// Our own place in the network changed: what failed before says nothing any more.
    pub(in crate::net) fn begin_anew(&mut self, now: Instant) {
        for entry in self.peers.values_mut().filter(|entry| entry.failures > 0) {
            entry.failures = 1;
            entry.next = entry.next.min(now);
        }
    }

    /// The peer is to be left alone for a while.
    pub(in crate::net) fn rest(&mut self, peer: &PeerId, now: Instant, least: Duration) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.next = now + least + least.mul_f64(self.rng.unit_f64());
        }
    }

    /// Somebody else lives at this address.
    pub(in crate::net) fn forget_address(&mut self, peer: &PeerId, address: &Multiaddr) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.tcp.retain(|known| known != address);
            entry.quic.retain(|known| known != address);
            entry.relayed.retain(|known| known != address);
            if entry.tcp.is_empty() && entry.quic.is_empty() && entry.relayed.is_empty() {
                self.peers.remove(peer);
            }
        }
    }

    /// Drops a peer, whoever named it.
    pub(in crate::net) fn forget(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
    }
}

impl Entry {
    fn group(&self) -> Option<[u8; 4]> {
        self.tcp.first().or(self.quic.first()).and_then(group_of)
    }
}

/// The network a public address belongs to: /16 of IPv4, /32 of IPv6. Machines of one private network are neighbours.
fn group_of(address: &Multiaddr) -> Option<[u8; 4]> {
    if reach_of(address) != Reach::Public {
        return None;
    }
    Some(match ip_of(address)? {
        IpAddr::V4(ip) => [ip.octets()[0], ip.octets()[1], 0, 0],
        IpAddr::V6(ip) => [ip.octets()[0], ip.octets()[1], ip.octets()[2], ip.octets()[3]],
    })
}

/// A pause that doubles with each failure, between half and all of it by chance, so that peers do not dial in step.
pub(in crate::net) fn pause(failures: u32, longest: Duration, rng: &mut Rng) -> Duration {
    let full = DIAL_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest);
    full.mul_f64(0.5 + 0.5 * rng.unit_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::rng::Seed;

    fn book() -> Book {
        Book::new(Seed::from_u64(1).rng())
    }

    fn peer(number: u32) -> PeerId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        PeerId(bytes)
    }

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("a test writes valid addresses")
    }

    #[test]
    fn tcp_is_tried_before_quic_and_quic_right_after_it() {
        let (mut book, now) = (book(), Instant::now());
        let (tcp, quic) = (address("/ip4/10.0.0.1/tcp/4001"), address("/ip4/10.0.0.1/udp/4001/quic-v1"));
        book.learn(peer(1), [quic.clone(), tcp.clone()], now);
        assert_eq!(book.addresses(&peer(1)), std::slice::from_ref(&tcp));
        book.failed(&peer(1), now);
        assert_eq!(book.addresses(&peer(1)), [quic]);
        assert_eq!(book.due(now, |_| false), [peer(1)]);
        book.failed(&peer(1), now);
        assert_eq!(book.addresses(&peer(1)), [tcp]);
        assert!(book.due(now, |_| false).is_empty());
    }

    #[test]
    fn a_peer_that_never_answers_is_forgotten_unless_the_operator_named_it() {
        let (mut book, now) = (book(), Instant::now());
        book.learn(peer(1), [address("/ip4/10.0.0.1/tcp/1")], now);
        book.pin(peer(2), address("/ip4/10.0.0.2/tcp/1"), now);
        for _ in 0..100 {
            book.failed(&peer(1), now);
            book.failed(&peer(2), now);
        }
        assert!(book.addresses(&peer(1)).is_empty());
        assert!(!book.addresses(&peer(2)).is_empty());
        assert_eq!(book.due(now + BOOTSTRAP_PAUSE_MAX, |_| false), [peer(2)]);
    }

    #[test]
    fn a_peer_that_was_linked_is_dialled_often_and_all_are_when_our_own_place_changed() {
        let (mut book, now) = (book(), Instant::now());
        book.learn(peer(1), [address("/ip4/10.0.0.1/tcp/1")], now);
        book.learn(peer(2), [address("/ip4/10.0.0.2/tcp/1")], now);
        book.linked(&peer(1));
        for _ in 0..FAILURES_MAX - 1 {
            book.failed(&peer(1), now);
            book.failed(&peer(2), now);
        }
        assert_eq!(book.due(now + REDIAL_PAUSE_MAX, |_| false), [peer(1)]);
        assert!(book.due(now, |_| false).is_empty());
        book.begin_anew(now);
        assert_eq!(book.due(now, |_| false).len(), 2);
        for _ in 0..FAILURES_PROVEN_MAX {
            book.failed(&peer(1), now);
        }
        assert!(book.addresses(&peer(1)).is_empty(), "it is forgotten in the end");
    }

    #[test]
    fn neither_a_flood_of_peers_nor_of_addresses_grows_the_book() {
        let (mut book, now) = (book(), Instant::now());
        for i in 0..3 * BOOK_PEERS_MAX as u32 {
            let [a, b, ..] = i.to_le_bytes();
            book.learn(peer(i), [address(&format!("/ip4/10.0.{a}.{b}/tcp/1"))], now);
        }
        assert_eq!(book.peers.len(), BOOK_PEERS_MAX);
        for port in 1..1_000 {
            book.learn(peer(0), [address(&format!("/ip4/10.0.0.1/tcp/{port}"))], now);
        }
        assert_eq!(book.addresses(&peer(0)).len(), BOOK_ADDRESSES_MAX);
        book.failed(&peer(5), now);
        book.learn(peer(9_999), [address("/ip4/10.9.9.9/tcp/1")], now);
        assert!(!book.addresses(&peer(9_999)).is_empty(), "a failed peer makes room");
        assert!(book.addresses(&peer(5)).is_empty());
    }

    #[test]
    fn one_network_cannot_fill_the_book() {
        let (mut book, now) = (book(), Instant::now());
        for i in 0..BOOK_PEERS_MAX as u32 {
            let [a, b, ..] = i.to_le_bytes();
            book.learn(peer(i), [address(&format!("/ip4/9.9.{a}.{b}/tcp/1"))], now);
        }
        assert!(book.peers.len() <= BOOK_PEERS_MAX / 2);
        book.learn(peer(9_999), [address("/ip4/8.8.8.8/tcp/1")], now);
        assert!(!book.addresses(&peer(9_999)).is_empty());
    }

    #[test]
    fn pauses_grow_and_end_at_the_longest() {
        let mut rng = Seed::from_u64(2).rng();
        for failures in 1..40 {
            let pause = pause(failures, DIAL_PAUSE_MAX, &mut rng);
            let full = DIAL_PAUSE.saturating_mul(1 << (failures - 1).min(16)).min(DIAL_PAUSE_MAX);
            assert!(pause >= full / 2 && pause <= full, "{failures}: {pause:?}");
        }
    }
}
