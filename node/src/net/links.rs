//! Which peers are connected, over what, since when.
//!
//! A connection becomes a link when the other end has said that it takes part in our run; until then, and unless it
//! does so soon, it is a stranger.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::swarm::ConnectionId;
use protocol::id::PeerId;

use crate::net::event::DownReason;
use crate::net::limits::{DOUBLE_FOR, IDENTIFY_WITHIN, TRIM_AGE};
use crate::net::link::Link;
use crate::net::screen::is_quic;

/// One connection.
#[derive(Debug)]
struct Connection {
    address: Multiaddr,
    /// Our end of a connection that the other dialled; of our own dials the system alone knows it.
    local: Option<IpAddr>,
    is_inbound: bool,
    is_relayed: bool,
    since: Instant,
}

/// Where a new connection runs.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    /// The other end.
    pub(super) address: Multiaddr,
    /// Our end, if the other dialled it.
    pub(super) local: Option<IpAddr>,
    /// Whether the other dialled.
    pub(super) is_inbound: bool,
    /// Whether it runs through a relay; the address of the other end says so only when we dialled.
    pub(super) is_relayed: bool,
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
    /// Notes a connection.
    pub(super) fn connected(&mut self, peer: PeerId, id: ConnectionId, ends: Ends, now: Instant) {
        let connected = self.peers.entry(peer).or_default();
        let Ends { address, local, is_inbound, is_relayed } = ends;
        let connection = Connection { address, local, is_inbound, is_relayed, since: now };
        connected.connections.insert(id, connection);
    }

    /// Connections to close because their peer has had two for a while and it is for us to choose.
    ///
    /// Both ends see the same two connections, so the end with the smaller name chooses; a direct one is kept over a
    /// relayed one, TCP over QUIC, an older one over a newer one.
    pub(super) fn doubles(&self, me: PeerId, now: Instant) -> Vec<ConnectionId> {
        let worst = |(_, connected): (&PeerId, &Connected)| {
            let youngest = connected.connections.values().map(|c| c.since).max()?;
            let is_settled = connected.connections.len() > 1 && now >= youngest + DOUBLE_FOR;
            let rank =
                |(id, c): &(&ConnectionId, &Connection)| (c.is_relayed, is_quic(&c.address), c.since, **id);
            let worst = connected.connections.iter().max_by_key(rank);
            worst.filter(|_| is_settled).map(|(id, _)| *id)
        };
        self.peers.iter().filter(|(peer, _)| me < **peer).filter_map(worst).collect()
    }

    /// Whether there is a connection to the peer that does not run through a relay.
    pub(super) fn is_direct(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|c| c.connections.values().any(|c| !c.is_relayed))
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
        connected.best().map(|c| (c.address.clone(), c.is_inbound))
    }

    /// Whether there is any connection to the peer.
    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// Whether the peer is linked.
    pub(super) fn is_link(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|c| c.is_link)
    }

    /// Where the peer's end of its best connection is.
    pub(super) fn address(&self, peer: &PeerId) -> Option<&Multiaddr> {
        self.peers.get(peer)?.best().map(|c| &c.address)
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

    /// Peers all of whose connections end at an address of ours that is gone; `is_last` when none other is left, so
    /// that connections we dialled ended there as well.
    pub(super) fn stranded(&self, gone: IpAddr, is_last: bool) -> Vec<PeerId> {
        let is_dead = |c: &Connection| c.local.map_or(is_last, |local| local == gone);
        self.peers
            .iter()
            .filter(|(_, c)| c.connections.values().all(is_dead))
            .map(|(peer, _)| *peer)
            .collect()
    }

    /// Every connected peer.
    pub(super) fn all(&self) -> Vec<PeerId> {
        self.peers.keys().copied().collect()
    }

    /// The links as the driver sees them.
    pub(super) fn list(&self, now: Instant) -> Vec<Link> {
        let link = |(peer, connected): (&PeerId, &Connected)| {
            let best = connected.best()?;
            connected.is_link.then(|| Link {
                peer: *peer,
                address: best.address.clone(),
                is_inbound: best.is_inbound,
                rtt: connected.rtt,
                age: now.saturating_duration_since(best.since),
            })
        };
        self.peers.iter().filter_map(link).collect()
    }
}

impl Connected {
    /// The oldest direct connection, or the oldest.
    fn best(&self) -> Option<&Connection> {
        self.connections.values().min_by_key(|c| (c.is_relayed, c.since))
    }

    fn since(&self) -> Option<Instant> {
        self.connections.values().map(|c| c.since).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "/ip4/10.0.0.1/tcp/1";
    const QUIC: &str = "/ip4/10.0.0.1/udp/1/quic-v1";
    const RELAYED: &str =
        "/ip4/10.0.0.9/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit";

    fn connect(links: &mut Links, me: u8, peer: u8, id: usize, address: &str) -> Vec<ConnectionId> {
        let address = address.parse().expect("a test writes valid addresses");
        let id = ConnectionId::new_unchecked(id);
        let is_relayed = address == RELAYED.parse().expect("valid");
        let ends = Ends { address, local: Some([10, 0, 0, me].into()), is_inbound: true, is_relayed };
        links.connected(PeerId([peer; 32]), id, ends, Instant::now());
        assert!(links.doubles(PeerId([me; 32]), Instant::now()).is_empty(), "both have their time");
        links.doubles(PeerId([me; 32]), Instant::now() + DOUBLE_FOR)
    }

    #[test]
    fn one_end_alone_chooses_which_of_two_connections_goes() {
        let mut links = Links::default();
        assert_eq!(connect(&mut links, 1, 2, 1, TCP), []);
        assert_eq!(connect(&mut links, 1, 2, 2, TCP), [ConnectionId::new_unchecked(2)]);
        let mut other_end = Links::default();
        assert_eq!(connect(&mut other_end, 2, 1, 1, TCP), []);
        assert_eq!(connect(&mut other_end, 2, 1, 2, TCP), []);
    }

    #[test]
    fn tcp_is_kept_even_when_quic_was_there_first() {
        let mut links = Links::default();
        connect(&mut links, 1, 2, 1, QUIC);
        assert_eq!(connect(&mut links, 1, 2, 2, TCP), [ConnectionId::new_unchecked(1)]);
    }

    #[test]
    fn a_direct_connection_takes_the_place_of_the_relayed_one() {
        let (mut links, peer) = (Links::default(), PeerId([2; 32]));
        connect(&mut links, 1, 2, 1, RELAYED);
        assert!(!links.is_direct(&peer));
        assert_eq!(connect(&mut links, 1, 2, 2, QUIC), [ConnectionId::new_unchecked(1)]);
        assert!(links.is_direct(&peer));
        assert_eq!(links.address(&peer), QUIC.parse().ok().as_ref());
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
    fn links_over_an_address_that_is_gone_are_stranded_and_dialled_ones_with_the_last_address() {
        let mut links = Links::default();
        connect(&mut links, 1, 2, 1, TCP);
        connect(&mut links, 9, 3, 2, TCP);
        let ends =
            Ends { address: TCP.parse().expect("valid"), local: None, is_inbound: false, is_relayed: false };
        let dialled = PeerId([4; 32]);
        links.connected(dialled, ConnectionId::new_unchecked(3), ends, Instant::now());
        let gone = [10, 0, 0, 1].into();
        assert_eq!(links.stranded(gone, false), [PeerId([2; 32])]);
        assert_eq!(links.stranded(gone, true), [PeerId([2; 32]), dialled]);
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
