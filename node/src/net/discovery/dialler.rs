//! Whom to dial next: the operator's peers while alone, then those that the book knows, up to a number of links.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, Swarm};
use protocol::id::PeerId;
use protocol::rng::{Rng, Seed};

use crate::net::behaviour::Behaviour;
use crate::net::discovery::book::{Book, pause};
use crate::net::limits::{BOOTSTRAP_PAUSE_MAX, DIALS_PER_TICK, WALK_EVERY};
use crate::net::links::Links;
use crate::net::translate::{from_libp2p, split_peer, to_libp2p};

/// Time after a link is lost before it is dialled again: the other end may do so first.
const RELINK_PAUSE: Duration = Duration::from_millis(500);
/// Time from the first link to the first own walk of the table of peers.
const FIRST_WALK: Duration = Duration::from_secs(3);

/// A configured address whose peer is not known yet.
struct SeedAddress {
    address: Multiaddr,
    /// Who answered there.
    peer: Option<PeerId>,
    failures: u32,
    next: Instant,
    is_dialing: bool,
}

/// A dial of ours under way.
#[derive(Clone, Copy)]
enum Dial {
    Peer(PeerId),
    Seed(usize),
}

/// Finds and dials peers.
pub(in crate::net) struct Dialler {
    pub(in crate::net) book: Book,
    seeds: Vec<SeedAddress>,
    dials: BTreeMap<ConnectionId, Dial>,
    /// Links below which peers are dialled: a quarter is left to those that dial us.
    links_wanted: usize,
    walk: Instant,
    rng: Rng,
}

impl Dialler {
    pub(in crate::net) fn new(bootstrap: &[Multiaddr], links_max: u32, seed: &Seed, now: Instant) -> Self {
        let mut book = Book::new(seed.fork("book").rng());
        let mut seeds = Vec::new();
        for address in bootstrap {
            let (peer, address) = split_peer(address.clone());
            match peer.map(|peer| from_libp2p(&peer)) {
                Some(Ok(peer)) => book.pin(peer, address, now),
                Some(Err(error)) => {
                    tracing::warn!(%address, %error, "a bootstrap address names no peer of ours");
                }
                None => {
                    seeds.push(SeedAddress {
                        address,
                        peer: None,
                        failures: 0,
                        next: now,
                        is_dialing: false,
                    });
                }
            }
        }
        Self {
            book,
            seeds,
            dials: BTreeMap::new(),
            links_wanted: (links_max - links_max / 4) as usize,
            walk: now + FIRST_WALK,
            rng: seed.fork("dialler").rng(),
        }
    }

    /// Dials whom it is time to dial.
    pub(in crate::net) fn tick(&mut self, swarm: &mut Swarm<Behaviour>, links: &Links, now: Instant) {
        self.dial_seeds(swarm, links, now);
        if links.count() < self.links_wanted {
            let me = *swarm.local_peer_id();
            let is_busy = |peer: &PeerId| {
                links.is_connected(peer) || to_libp2p(peer).is_ok_and(|p| p == me) || self.is_dialing(peer)
            };
            // `due` needs the book alone while `is_busy` reads the dials: take the list of busy peers first.
            let busy: std::collections::BTreeSet<PeerId> = self.book.peers().filter(|p| is_busy(p)).collect();
            let room = (self.links_wanted - links.count()).min(DIALS_PER_TICK);
            for peer in self.book.due(now, |peer| busy.contains(peer)).into_iter().take(room) {
                self.dial(swarm, peer, now);
            }
        }
        if now >= self.walk && links.count() > 0 {
            self.walk = now + WALK_EVERY.mul_f64(0.75 + 0.5 * self.rng.unit_f64());
            swarm.behaviour_mut().kad.get_closest_peers(libp2p::PeerId::random());
        }
    }

    fn is_dialing(&self, peer: &PeerId) -> bool {
        self.dials.values().any(|dial| matches!(dial, Dial::Peer(p) if p == peer))
    }

    /// Seeds whose peer is unknown are dialled at any time, the others only while there is no link at all.
    fn dial_seeds(&mut self, swarm: &mut Swarm<Behaviour>, links: &Links, now: Instant) {
        for (index, seed) in self.seeds.iter_mut().enumerate() {
            if seed.is_dialing || seed.next > now || (seed.peer.is_some() && links.count() > 0) {
                continue;
            }
            let options = DialOpts::unknown_peer_id().address(seed.address.clone()).build();
            let id = options.connection_id();
            seed.next = now + pause(seed.failures.max(1), BOOTSTRAP_PAUSE_MAX, &mut self.rng);
            match swarm.dial(options) {
                Ok(()) => {
                    seed.is_dialing = true;
                    self.dials.insert(id, Dial::Seed(index));
                }
                Err(error) => {
                    seed.failures += 1;
                    tracing::debug!(address = %seed.address, %error, "not dialled");
                }
            }
        }
    }

    /// Dials a peer at the addresses in the book; answers whether a dial is under way.
    pub(in crate::net) fn dial(&mut self, swarm: &mut Swarm<Behaviour>, peer: PeerId, now: Instant) -> bool {
        if self.is_dialing(&peer) {
            return true;
        }
        let addresses = self.book.addresses(&peer);
        let Ok(name) = to_libp2p(&peer) else { return false };
        if addresses.is_empty() {
            return false;
        }
        let options = DialOpts::peer_id(name)
            .addresses(addresses)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .build();
        let id = options.connection_id();
        match swarm.dial(options) {
            Ok(()) => {
                self.dials.insert(id, Dial::Peer(peer));
                true
            }
            // Another part of libp2p dials it already, or it is linked.
            Err(DialError::DialPeerConditionFalse(_)) => {
                self.book.rest(&peer, now, RELINK_PAUSE);
                true
            }
            Err(error) => {
                tracing::debug!(peer = %peer.short(), %error, "not dialled");
                self.book.failed(&peer, now);
                false
            }
        }
    }

    /// A connection was made; whether it becomes a link is still open.
    pub(in crate::net) fn connected(&mut self, id: ConnectionId, peer: PeerId, now: Instant) {
        if let Some(Dial::Seed(index)) = self.dials.remove(&id) {
            let seed = &mut self.seeds[index];
            seed.is_dialing = false;
            seed.failures += 1;
            seed.peer = Some(peer);
            let address = seed.address.clone();
            self.book.pin(peer, address, now);
        }
    }

    /// A peer is linked.
    pub(in crate::net) fn linked(&mut self, peer: &PeerId) {
        self.book.linked(peer);
        self.seeds.iter_mut().filter(|seed| seed.peer == Some(*peer)).for_each(|seed| seed.failures = 0);
    }

    /// A dial failed. Answers the peer if it was a dial of ours to a peer that has no other try left now.
    pub(in crate::net) fn failed(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        id: ConnectionId,
        error: &DialError,
        now: Instant,
    ) -> Option<PeerId> {
        match self.dials.remove(&id)? {
            Dial::Seed(index) => {
                let seed = &mut self.seeds[index];
                seed.is_dialing = false;
                seed.failures += 1;
                seed.next = now + pause(seed.failures, BOOTSTRAP_PAUSE_MAX, &mut self.rng);
                if matches!(error, DialError::LocalPeerId { .. }) {
                    // That is us: never again.
                    seed.next = now + Duration::from_secs(365 * 24 * 3_600);
                }
                None
            }
            Dial::Peer(peer) => {
                if let DialError::WrongPeerId { address, .. } = error {
                    let (_, address) = split_peer(address.clone());
                    self.book.forget_address(&peer, &address);
                }
                self.book.failed(&peer, now);
                let is_due = self.book.is_due(&peer, now);
                if is_due && self.dial(swarm, peer, now) { None } else { Some(peer) }
            }
        }
    }

    /// Our own place in the network changed: everybody is worth a dial again.
    pub(in crate::net) fn begin_anew(&mut self, now: Instant) {
        self.book.begin_anew(now);
        for seed in self.seeds.iter_mut().filter(|seed| seed.failures > 0) {
            seed.failures = 1;
            seed.next = seed.next.min(now);
        }
    }

    /// A link was lost.
    pub(in crate::net) fn lost(&mut self, peer: &PeerId, least: Option<Duration>, now: Instant) {
        self.book.rest(peer, now, least.unwrap_or(RELINK_PAUSE));
    }
}
