//! Which peers are connected, over what, since when.
//!
//! A connection becomes a link when the other end has said that it takes part in our run; until then, and unless it
//! does so soon, it is a stranger.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::swarm::ConnectionId;
use protocol::id::PeerId;

use crate::net::event::DownReason;
use crate::net::limits::{IDENTIFY_WITHIN, TRIM_AGE};
use crate::net::link::Link;
use crate::net::screen::is_quic;

/// One connection.
#[derive(Debug)]
struct Connection {
    address: Multiaddr,
    is_inbound: bool,
    since: Instant,
}

/// A connected peer.
#[derive(Debug, Default)]
struct Connected {
    connections: BTreeMap<ConnectionId, Connection>,
    is_link: bool,
    rtt: Option<Duration>,
    pings_missed: u32,
    /// Why we are closing it.
    leaving: Option<DownReason>,
}

/// What ended with the last connection of a peer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// A peer that never became a link.
    Stranger,
    /// A link; with the reason, if it was us who ended it.
    Link(Option<DownReason>),
}

/// All connected peers.
#[derive(Debug, Default)]
pub(super) struct Links {
    peers: BTreeMap<PeerId, Connected>,
}

impl Links {
    /// Notes a connection; answers the connection to close if the peer has two and it is for us to choose.
    ///
    /// Both ends see the same two connections, so the end with the smaller name chooses; TCP is kept over QUIC, an
    /// older one over a newer one.
    pub(super) fn connected(
        &mut self,
        me: PeerId,
        peer: PeerId,
        id: ConnectionId,
        address: Multiaddr,
        is_inbound: bool,
        now: Instant,
    ) -> Option<ConnectionId> {
        let connected = self.peers.entry(peer).or_default();
        connected.connections.insert(id, Connection { address, is_inbound, since: now });
        if connected.connections.len() < 2 || me > peer {
            return None;
        }
        connected
            .connections
            .iter()
            .max_by_key(|(id, c)| (is_quic(&c.address), c.since, **id))
            .map(|(id, _)| *id)
    }

    /// Notes the end of a connection; answers what ended with it if it was the peer's last.
    pub(super) fn closed(&mut self, peer: &PeerId, id: ConnectionId) -> Option<Ended> {
        let connected = self.peers.get_mut(peer)?;
        connected.connections.remove(&id);
        if !connected.connections.is_empty() {
            return None;
        }
        let gone = self.peers.remove(peer)?;
        Some(if gone.is_link { Ended::Link(gone.leaving) } else { Ended::Stranger })
    }

    /// The peer takes part in our run; answers where it is if that is news.
    pub(super) fn confirm(&mut self, peer: &PeerId) -> Option<(Multiaddr, bool)> {
        let connected = self.peers.get_mut(peer)?;
        if std::mem::replace(&mut connected.is_link, true) {
            return None;
        }
        connected.connections.values().next().map(|c| (c.address.clone(), c.is_inbound))
    }

    /// Whether there is any connection to the peer.
    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// Whether the peer is linked.
    pub(super) fn is_link(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|c| c.is_link)
    }

    /// Where the peer's end of its oldest connection is.
    pub(super) fn address(&self, peer: &PeerId) -> Option<&Multiaddr> {
        self.peers.get(peer)?.connections.values().min_by_key(|c| c.since).map(|c| &c.address)
    }

    /// Notes why we are about to close the connections to a peer.
    pub(super) fn leave(&mut self, peer: &PeerId, reason: DownReason) {
        if let Some(connected) = self.peers.get_mut(peer) {
            connected.leaving.get_or_insert(reason);
        }
    }

    /// A ping was answered.
    pub(super) fn pong(&mut self, peer: &PeerId, rtt: Duration) {
        if let Some(connected) = self.peers.get_mut(peer) {
            connected.rtt = Some(rtt);
            connected.pings_missed = 0;
        }
    }

    /// A ping was not answered; answers how many in a row.
    pub(super) fn missed(&mut self, peer: &PeerId) -> u32 {
        let Some(connected) = self.peers.get_mut(peer) else { return 0 };
        connected.pings_missed += 1;
        connected.pings_missed
    }

    /// Number of links.
    pub(super) fn count(&self) -> usize {
        self.peers.values().filter(|c| c.is_link).count()
    }

    /// Number of connections, those of strangers included.
    pub(super) fn connections(&self) -> usize {
        self.peers.values().map(|c| c.connections.len()).sum()
    }

    /// Strangers that did not say in time what they speak.
    pub(super) fn silent_strangers(&self, now: Instant) -> Vec<PeerId> {
        let is_late =
            |c: &Connected| !c.is_link && c.since().is_some_and(|since| now >= since + IDENTIFY_WITHIN);
        self.peers.iter().filter(|(_, c)| is_late(c)).map(|(peer, _)| *peer).collect()
    }

    /// Links to give up when there are more than `max`: the oldest of those that dialled us, for they had time to
    /// find others.
    pub(super) fn surplus(&self, max: usize, now: Instant) -> Vec<PeerId> {
        let surplus = self.count().saturating_sub(max);
        let mut old: Vec<(Instant, PeerId)> = self
            .peers
            .iter()
            .filter(|(_, c)| c.is_link && c.connections.values().all(|c| c.is_inbound))
            .filter_map(|(peer, c)| Some((c.since()?, *peer)))
            .filter(|(since, _)| now >= *since + TRIM_AGE)
            .collect();
        old.sort_unstable();
        old.into_iter().take(surplus).map(|(_, peer)| peer).collect()
    }

    /// Every connected peer.
    pub(super) fn all(&self) -> Vec<PeerId> {
        self.peers.keys().copied().collect()
    }

    /// The links as the driver sees them.
    pub(super) fn list(&self, now: Instant) -> Vec<Link> {
        let link = |(peer, connected): (&PeerId, &Connected)| {
            let oldest = connected.connections.values().min_by_key(|c| c.since)?;
            connected.is_link.then(|| Link {
                peer: *peer,
                address: oldest.address.clone(),
                is_inbound: oldest.is_inbound,
                rtt: connected.rtt,
                age: now.saturating_duration_since(oldest.since),
            })
        };
        self.peers.iter().filter_map(link).collect()
    }
}

impl Connected {
    fn since(&self) -> Option<Instant> {
        self.connections.values().map(|c| c.since).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "/ip4/10.0.0.1/tcp/1";
    const QUIC: &str = "/ip4/10.0.0.1/udp/1/quic-v1";

    fn connect(links: &mut Links, me: u8, peer: u8, id: usize, address: &str) -> Option<ConnectionId> {
        let address = address.parse().expect("a test writes valid addresses");
        let id = ConnectionId::new_unchecked(id);
        links.connected(PeerId([me; 32]), PeerId([peer; 32]), id, address, true, Instant::now())
    }

    #[test]
    fn one_end_alone_chooses_which_of_two_connections_goes() {
        let mut links = Links::default();
        assert_eq!(connect(&mut links, 1, 2, 1, TCP), None);
        assert_eq!(connect(&mut links, 1, 2, 2, TCP), Some(ConnectionId::new_unchecked(2)));
        let mut other_end = Links::default();
        assert_eq!(connect(&mut other_end, 2, 1, 1, TCP), None);
        assert_eq!(connect(&mut other_end, 2, 1, 2, TCP), None);
    }

    #[test]
    fn tcp_is_kept_even_when_quic_was_there_first() {
        let mut links = Links::default();
        connect(&mut links, 1, 2, 1, QUIC);
        assert_eq!(connect(&mut links, 1, 2, 2, TCP), Some(ConnectionId::new_unchecked(1)));
    }

    #[test]
    fn a_stranger_is_no_link_and_its_end_is_not_told() {
        let mut links = Links::default();
        let peer = PeerId([2; 32]);
        connect(&mut links, 1, 2, 1, TCP);
        assert_eq!((links.count(), links.connections()), (0, 1));
        assert_eq!(links.silent_strangers(Instant::now() + IDENTIFY_WITHIN), [peer]);
        assert_eq!(links.closed(&peer, ConnectionId::new_unchecked(1)), Some(Ended::Stranger));
        connect(&mut links, 1, 2, 2, TCP);
        assert!(links.confirm(&peer).is_some());
        assert!(links.confirm(&peer).is_none());
        assert!(links.silent_strangers(Instant::now() + IDENTIFY_WITHIN).is_empty());
        links.leave(&peer, DownReason::Hangup);
        assert_eq!(
            links.closed(&peer, ConnectionId::new_unchecked(2)),
            Some(Ended::Link(Some(DownReason::Hangup)))
        );
    }

    #[test]
    fn surplus_links_go_oldest_first_and_never_young() {
        let mut links = Links::default();
        for peer in 2..7 {
            connect(&mut links, 1, peer, peer.into(), TCP);
            links.confirm(&PeerId([peer; 32]));
        }
        let now = Instant::now();
        assert!(links.surplus(3, now).is_empty());
        assert_eq!(links.surplus(3, now + TRIM_AGE), [PeerId([2; 32]), PeerId([3; 32])]);
    }
}
