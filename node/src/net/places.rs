//! Places at relays: where a node behind a router can be called until somebody can dial it directly.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::Swarm;
use libp2p::{Multiaddr, PeerId, relay};

use crate::net::behaviour::Behaviour;
use crate::net::screen::{is_quic, is_relayed};

/// Relays a node behind a router keeps a place at: one may go away.
const RELAYS_MAX: usize = 2;
/// Relays remembered, to turn to when one goes away.
const RELAYS_KNOWN_MAX: usize = 16;
/// Pause after a relay refused a place or took it back.
const RELAY_PAUSE: Duration = Duration::from_secs(30);

/// Places at relays, of a node behind a router.
pub(super) struct Places {
    /// Members that relay, and where they are linked.
    known: BTreeMap<PeerId, Multiaddr>,
    /// Places kept or being asked for.
    kept: Vec<(ListenerId, PeerId)>,
    next: Instant,
}

impl Places {
    pub(super) fn new(now: Instant) -> Self {
        Self { known: BTreeMap::new(), kept: Vec::new(), next: now }
    }

    /// A linked member says what it speaks.
    pub(super) fn learn(&mut self, peer: PeerId, address: &Multiaddr, info: &libp2p::identify::Info) {
        let may_relay = info.protocols.contains(&relay::HOP_PROTOCOL_NAME) && !is_quic(address);
        if may_relay && (self.known.len() < RELAYS_KNOWN_MAX || self.known.contains_key(&peer)) {
            self.known.insert(peer, address.clone());
        } else if !may_relay {
            self.known.remove(&peer);
        }
    }

    /// A member is linked no more.
    pub(super) fn lost(&mut self, peer: &PeerId) {
        self.known.remove(peer);
    }

    /// Asks for places while there are too few and nobody can dial us directly; gives them up when somebody can.
    pub(super) fn tick(&mut self, swarm: &mut Swarm<Behaviour>, now: Instant) {
        if swarm.external_addresses().any(|address| !is_relayed(address)) {
            for (listener, _) in std::mem::take(&mut self.kept) {
                swarm.remove_listener(listener);
            }
            return;
        }
        if now < self.next || self.kept.len() >= RELAYS_MAX {
            return;
        }
        let free = self.known.iter().find(|(peer, _)| !self.kept.iter().any(|(_, kept)| kept == *peer));
        let Some((peer, address)) = free else { return };
        let place = address.clone().with(Protocol::P2p(*peer)).with(Protocol::P2pCircuit);
        match swarm.listen_on(place) {
            Ok(listener) => {
                tracing::debug!(relay = %peer, "asks for a place at a relay");
                self.kept.push((listener, *peer));
            }
            Err(error) => {
                tracing::debug!(relay = %peer, %error, "no place at a relay");
                self.next = now + RELAY_PAUSE;
            }
        }
    }

    /// A listener ended; if it was a place at a relay, another is asked for after a while.
    pub(super) fn closed(&mut self, listener: ListenerId, now: Instant) {
        if let Some(at) = self.kept.iter().position(|(kept, _)| *kept == listener) {
            let (_, peer) = self.kept.swap_remove(at);
            self.known.remove(&peer);
            self.next = now + RELAY_PAUSE;
        }
    }
}
