//! What the swarm says happened, and what follows from it.

use std::sync::Arc;
use std::time::Instant;

use libp2p::core::ConnectedPoint;
use libp2p::swarm::{ConnectionError, ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, gossipsub, identify, kad, mdns, ping};

use crate::net::behaviour::BehaviourEvent;
use crate::net::command::Verdict;
use crate::net::event::{DownReason, NetEvent};
use crate::net::limits::{BOOK_ADDRESSES_MAX, HANGUP_PAUSE, OUTBOX_GOSSIP_MAX, PINGS_MISSED_MAX};
use crate::net::links::Ended;
use crate::net::screen::{is_quic, is_sensible, reach_of};
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
            SwarmEvent::NewListenAddr { address, .. } => self.tell(NetEvent::Listening { address }),
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
            SwarmEvent::ListenerClosed { addresses, reason: Err(error), .. } => {
                tracing::error!(?addresses, %error, "a listener ended: others cannot dial these addresses any more");
            }
            _ => {}
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
        let surplus = self.links.connected(self.me, peer, id, address, endpoint.is_listener(), now);
        if let Some(surplus) = surplus {
            self.swarm.close_connection(surplus);
        }
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
                if !matches!(reason, DownReason::Hangup | DownReason::Banned) {
                    self.dialler.lost(&peer, None, now);
                }
                self.client.forget(&peer);
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
                .into_iter()
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
            Err(ping::Failure::Timeout) => {
                if self.links.missed(&peer) >= PINGS_MISSED_MAX {
                    self.dialler.lost(&peer, Some(HANGUP_PAUSE), Instant::now());
                    self.hang_up(&peer, DownReason::Silent);
                }
            }
            Err(_) => {}
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
