//! Nodes behind routers: finding out whether others can dial us, keeping a place at a relay, punching holes.
//!
//! A router lets in only what was called from inside. So a node behind one asks it for a port (UPnP), has linked members
//! check whether that worked (AutoNAT, version 2), and otherwise keeps a place at up to [`RELAYS_MAX`] members that
//! relay. A relay carries first words only: over it both ends agree to dial each other at the same moment (DCUtR), and
//! what they exchange goes over that direct connection. Any member with an address of its own may serve the others so;
//! none has to.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{NetworkBehaviour, Swarm};
use libp2p::{Multiaddr, PeerId, autonat, dcutr, relay, upnp};

use crate::net::behaviour::Behaviour;
use crate::net::screen::{is_quic, is_relayed};

/// Relays a node behind a router keeps a place at: one may go away.
const RELAYS_MAX: usize = 2;
/// Relays remembered, to turn to when one goes away.
const RELAYS_KNOWN_MAX: usize = 16;
/// Pause after a relay refused a place or took it back.
const RELAY_PAUSE: Duration = Duration::from_secs(30);

/// The parts of libp2p that deal with routers.
#[derive(NetworkBehaviour)]
pub(super) struct Traversal {
    /// Dials through relays, and keeps places at them.
    places: relay::client::Behaviour,
    /// Turns relayed connections into direct ones.
    punch: dcutr::Behaviour,
    /// Carries first words of others.
    relay: Toggle<relay::Behaviour>,
    /// Tells others whether they can be dialled.
    judge: Toggle<autonat::v2::server::Behaviour>,
    /// Asks others whether we can be dialled.
    probe: Toggle<autonat::v2::client::Behaviour>,
    /// Asks the router for a port.
    router: Toggle<upnp::tokio::Behaviour>,
}

impl Traversal {
    /// `places` belongs to the transport that dials through relays.
    pub(super) fn new(
        me: PeerId,
        is_behind_router: bool,
        relays: bool,
        places: relay::client::Behaviour,
    ) -> Self {
        Self {
            places,
            punch: dcutr::Behaviour::new(me),
            // Its own limits: two minutes and 128 KiB for each of at most 16 conversations.
            relay: relays.then(|| relay::Behaviour::new(me, relay::Config::default())).into(),
            judge: relays.then(autonat::v2::server::Behaviour::default).into(),
            probe: is_behind_router.then(autonat::v2::client::Behaviour::default).into(),
            router: is_behind_router.then(upnp::tokio::Behaviour::default).into(),
        }
    }
}

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

/// Tells the log what came of it.
pub(super) fn noted(event: TraversalEvent) {
    match event {
        TraversalEvent::Places(relay::client::Event::ReservationReqAccepted {
            relay_peer_id,
            renewal: false,
            ..
        }) => tracing::info!(relay = %relay_peer_id, "keeps a place at a relay"),
        TraversalEvent::Punch(dcutr::Event { remote_peer_id, result: Ok(_) }) => {
            tracing::info!(peer = %remote_peer_id, "punched a hole: the connection is direct now");
        }
        TraversalEvent::Punch(dcutr::Event { remote_peer_id, result: Err(error) }) => {
            tracing::debug!(peer = %remote_peer_id, %error, "no direct connection");
        }
        TraversalEvent::Probe(event) => match event.result {
            Ok(()) => tracing::info!(address = %event.tested_addr, "others can dial this node"),
            Err(error) => {
                tracing::debug!(address = %event.tested_addr, %error, "others cannot dial this node");
            }
        },
        TraversalEvent::Router(upnp::Event::NewExternalAddr { external_addr, .. }) => {
            tracing::info!(address = %external_addr, "the router forwards a port to this node");
        }
        TraversalEvent::Router(upnp::Event::ExpiredExternalAddr { external_addr, .. }) => {
            tracing::warn!(address = %external_addr, "the router forwards this port no more");
        }
        TraversalEvent::Router(upnp::Event::GatewayNotFound) => {
            tracing::info!("no router here opens ports when asked (UPnP)");
        }
        TraversalEvent::Router(upnp::Event::NonRoutableGateway) => {
            tracing::info!("the router that answers is itself behind another one");
        }
        _ => {}
    }
}
