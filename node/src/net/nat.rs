//! Nodes behind routers: finding out whether others can dial us, keeping a place at a relay, punching holes.
//!
//! A router lets in only what was called from inside. So a node behind one asks it for a port (UPnP), has linked members
//! check whether that worked (AutoNAT, version 2), and otherwise keeps a place at up to two members that
//! relay. A relay carries first words only: over it both ends agree to dial each other at the same moment (DCUtR), and
//! what they exchange goes over that direct connection. Any member with an address of its own may serve the others so;
//! none has to.

use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{PeerId, autonat, dcutr, relay, upnp};

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
