//! What the swarm says happened, and what follows from it.

use std::sync::Arc;
use std::time::Instant;

use libp2p::core::ConnectedPoint;
use libp2p::swarm::{ConnectionError, ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, gossipsub, identify, kad, mdns, ping};

use crate::net::behaviour::BehaviourEvent;
use crate::net::command::Verdict;
use crate::net::event::{DownReason, NetEvent};
use crate::net::limits::{BOOK_ADDRESSES_MAX, OUTBOX_GOSSIP_MAX, PINGS_MISSED_MAX};
use crate::net::links::{Ended, Ends};
use crate::net::nat;
use crate::net::screen::{Reach, ip_of, is_quic, is_relayed, is_sensible, reach_of};
use crate::net::swarm::Task;
use crate::net::translate::{from_libp2p, split_peer};

fn reason_of(cause: Option<ConnectionError>) -> DownReason {
    match cause {
        None => DownReason::Closed,
        Some(ConnectionError::KeepAliveTimeout) => DownReason::Idle,
        Some(ConnectionError::IO(error)) => match error.kind() {
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset => DownReason::Closed,
            // The multiplexer wraps the news that the other end closed properly.
            _ if error.to_string().ends_with("connection is closed") => DownReason::Closed,
            _ => DownReason::Broken(error.to_string()),
        },
    }
}

impl Task {
    pub(super) fn happened(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.behaved(event),
            // Own interfaces, and what relays, routers and other members found out; not what this end guesses.
            SwarmEvent::NewListenAddr { address, .. } | SwarmEvent::ExternalAddrConfirmed { address } => {
                self.reachable(address);
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.unreachable(&address);
                self.stranded(&address);
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, num_established, .. } => {
                self.closed(peer_id, connection_id, cause, num_established);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, peer_id } => {
                self.not_dialled(connection_id, peer_id, &error);
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                self.counters.inbound_failed.add(1);
                tracing::debug!(%error, "an incoming connection failed");
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener had a fault; it goes on listening");
            }
            SwarmEvent::ExternalAddrExpired { address } => self.unreachable(&address),
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                if let Some(places) = &mut self.places {
                    places.closed(listener_id, Instant::now());
                }
                if let Err(error) = reason
                    && !addresses.iter().all(is_relayed)
                {
                    tracing::error!(?addresses, %error, "a listener ended: others cannot dial these addresses any more");
                }
                addresses.iter().for_each(|address| self.unreachable(address));
            }
            _ => {}
        }
    }

    /// We can be reached at one more address. A machine that got a new one is in another network: dials that failed
    /// before say nothing there.
    fn reachable(&mut self, address: Multiaddr) {
        if self.relays && !is_relayed(&address) && reach_of(&address) == Reach::Public {
            // A relay names its own addresses to those it serves.
            self.swarm.add_external_address(address.clone());
        }
        if self.listening.insert(address.clone()) {
            self.dialler.begin_anew(Instant::now());
            self.tell(NetEvent::Listening { address });
        }
    }

    fn unreachable(&mut self, address: &Multiaddr) {
        if self.listening.remove(address) {
            self.tell(NetEvent::Unreachable { address: address.clone() });
        }
    }

    /// An address of this machine is gone, and with it what was connected over it: no end will ever hear of that.
    fn stranded(&mut self, address: &Multiaddr) {
        let Some(gone) = ip_of(address) else { return };
        let own = self.listening.iter().filter(|address| !is_relayed(address));
        let mut left = own.filter_map(ip_of).filter(|ip| !ip.is_loopback());
        if left.clone().any(|ip| ip == gone) {
            return;
        }
        let is_last = left.next().is_none();
        for peer in self.links.stranded(gone, is_last) {
            self.dialler.lost(&peer, None, Instant::now());
            self.hang_up(&peer, DownReason::Silent);
        }
    }

    fn connected(&mut self, name: libp2p::PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let now = Instant::now();
        let Ok(peer) = from_libp2p(&name) else {
            tracing::debug!(peer = %name, "not an ed25519 peer");
            self.swarm.close_connection(id);
            return;
        };
        let (_, address) = split_peer(endpoint.get_remote_address().clone());
        if endpoint.is_dialer() {
            self.dialler.book.learn(peer, [address.clone()], now);
        }
        self.dialler.connected(id, peer, now);
        let local = match endpoint {
            ConnectedPoint::Listener { local_addr, .. } => {
                ip_of(local_addr).filter(|ip| !ip.is_unspecified())
            }
            ConnectedPoint::Dialer { .. } => None,
        };
        let (is_inbound, is_relayed) = (endpoint.is_listener(), endpoint.is_relayed());
        let ends = Ends { address, local, is_inbound, is_relayed };
        self.links.connected(peer, id, ends, now);
    }

    fn closed(&mut self, name: libp2p::PeerId, id: ConnectionId, cause: Option<ConnectionError>, left: u32) {
        let Ok(peer) = from_libp2p(&name) else { return };
        let ended = self.links.closed(&peer, id);
        if left > 0 {
            return;
        }
        let now = Instant::now();
        match ended {
            Some(Ended::Link(leaving)) => {
                let reason = leaving.unwrap_or_else(|| reason_of(cause));
                if !matches!(reason, DownReason::Hangup | DownReason::Banned | DownReason::Silent) {
                    self.dialler.lost(&peer, None, now);
                }
                self.client.forget(&peer);
                if let Some(places) = &mut self.places {
                    places.lost(&name);
                }
                self.counters.links.set(self.links.count() as u64);
                self.tell(NetEvent::LinkDown { peer, reason });
            }
            // Refused by the other end, or another run: no better than a dial that failed.
            Some(Ended::Stranger) => self.dialler.book.failed(&peer, now),
            None => {}
        }
        self.unpark(&peer);
    }

    fn not_dialled(&mut self, id: ConnectionId, name: Option<libp2p::PeerId>, error: &DialError) {
        self.counters.dials_failed.add(1);
        tracing::debug!(peer = ?name, %error, "a dial failed");
        let gone = self.dialler.failed(&mut self.swarm, id, error, Instant::now());
        if let Some(peer) = gone
            && !self.links.is_connected(&peer)
        {
            self.unpark(&peer);
        }
    }

    fn behaved(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(event) => self.gossiped(event),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, connection_id }) => {
                self.identified(peer_id, connection_id, info);
            }
            BehaviourEvent::Ping(event) => self.pinged(event),
            BehaviourEvent::Kad(event) => self.walked(event),
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                let now = Instant::now();
                for (name, address) in found.into_iter().take(BOOK_ADDRESSES_MAX * 8) {
                    self.rumour(&name, [address], now);
                }
            }
            BehaviourEvent::Traversal(event) => nat::noted(event),
            _ => {}
        }
    }

    fn gossiped(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let Ok(from) = from_libp2p(&propagation_source) else { return };
                self.counters.gossip_received.add(message.data.len() as u64);
                let (tag, given_up) = self.traffic.heard(message_id, propagation_source);
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                if let Some((id, source)) = given_up {
                    gossip.report_message_validation_result(
                        &id,
                        &source,
                        gossipsub::MessageAcceptance::Ignore,
                    );
                }
                if self.outbox.len() >= OUTBOX_GOSSIP_MAX {
                    self.counters.gossip_dropped.add(1);
                    self.traffic.judge(gossip, tag, Verdict::Ignore);
                    return;
                }
                self.tell(NetEvent::Heard { from, tag, bytes: Arc::from(message.data) });
            }
            gossipsub::Event::Subscribed { .. } if self.traffic.is_waiting() => {
                let unpublished = self.traffic.retry(&mut self.swarm.behaviour_mut().gossip, Instant::now());
                self.unpublished(unpublished);
            }
            gossipsub::Event::SlowPeer { peer_id, .. } => {
                tracing::debug!(peer = %peer_id, "takes gossip more slowly than it comes");
            }
            _ => {}
        }
    }

    /// The peer said what it speaks and where it is.
    fn identified(&mut self, name: libp2p::PeerId, id: ConnectionId, info: identify::Info) {
        let Ok(peer) = from_libp2p(&name) else { return };
        let now = Instant::now();
        if !info.protocols.contains(&self.kad_protocol) {
            tracing::debug!(peer = %peer.short(), "takes part in another run");
            self.dialler.book.forget(&peer);
            self.swarm.behaviour_mut().kad.remove_peer(&name);
            self.links.leave(&peer, DownReason::Hangup);
            self.swarm.close_connection(id);
            return;
        }
        if let Some(near) = self.links.address(&peer).map(reach_of) {
            let told: Vec<Multiaddr> = info
                .listen_addrs
                .iter()
                .cloned()
                .map(split_peer)
                .filter(|(who, _)| who.is_none_or(|who| who == name))
                .map(|(_, address)| address)
                .filter(|address| is_sensible(address) && reach_of(address) >= near)
                .take(2 * BOOK_ADDRESSES_MAX)
                .collect();
            // The table dials all addresses of a peer at once, and QUIC would win; TCP is what bulk wants.
            let has_tcp = told.iter().any(|address| !is_quic(address));
            for address in told.iter().filter(|address| !has_tcp || !is_quic(address)) {
                self.swarm.behaviour_mut().kad.add_address(&name, address.clone());
            }
            self.dialler.book.learn(peer, told, now);
        }
        // Through a relay only first words go; a hole is being punched, or the connection ends soon.
        if !self.links.is_direct(&peer) {
            return;
        }
        if let (Some(places), Some(address)) = (&mut self.places, self.links.address(&peer)) {
            places.learn(name, address, &info);
        }
        if let Some((address, is_inbound)) = self.links.confirm(&peer) {
            self.dialler.linked(&peer);
            self.counters.links.set(self.links.count() as u64);
            self.tell(NetEvent::LinkUp { peer, address, is_inbound });
            for (ask, _) in self.parked.remove(&peer).unwrap_or_default() {
                self.client.ask(ask);
            }
        }
    }

    fn pinged(&mut self, event: ping::Event) {
        let Ok(peer) = from_libp2p(&event.peer) else { return };
        match event.result {
            Ok(rtt) => self.links.pong(&peer, rtt),
            Err(ping::Failure::Unsupported) => {}
            // A stream that cannot be opened is as silent as one that is not answered.
            Err(ping::Failure::Timeout | ping::Failure::Other { .. }) => {
                if self.links.missed(&peer) >= PINGS_MISSED_MAX {
                    self.dialler.lost(&peer, None, Instant::now());
                    self.hang_up(&peer, DownReason::Silent);
                }
            }
        }
    }

    fn walked(&mut self, event: kad::Event) {
        let now = Instant::now();
        match event {
            kad::Event::RoutingUpdated { peer, addresses, .. } => {
                self.rumour(&peer, addresses.into_vec(), now);
            }
            kad::Event::OutboundQueryProgressed {
                result: kad::QueryResult::GetClosestPeers(found), ..
            } => {
                let peers = match found {
                    Ok(found) => found.peers,
                    Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
                };
                for info in peers {
                    self.rumour(&info.peer_id, info.addrs, now);
                }
            }
            _ => {}
        }
    }

    /// Somebody says that a peer is there.
    fn rumour(
        &mut self,
        name: &libp2p::PeerId,
        addresses: impl IntoIterator<Item = Multiaddr>,
        now: Instant,
    ) {
        let Ok(peer) = from_libp2p(name) else { return };
        if peer != self.me && !self.is_banned(name) {
            self.dialler.book.learn(peer, addresses.into_iter().map(|address| split_peer(address).1), now);
        }
    }

    fn is_banned(&self, name: &libp2p::PeerId) -> bool {
        self.swarm.behaviour().banned.blocked_peers().contains(name)
    }
}
