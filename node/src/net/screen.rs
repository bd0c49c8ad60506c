//! Which addresses may be dialled at all, whoever names them.
//!
//! Every part of libp2p dials through the transport, so the last word is spoken here: rumours must not turn this node
//! on its own machine, on a network of its neighbourhood that has no peers, or on a stranger's host.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use libp2p::Multiaddr;
use libp2p::core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use protocol::quota::Bucket;
use protocol::time::Time;

use crate::net::limits::{DIAL_HOSTS_MAX, DIALS_PER_HOST};

/// How near an address is; a peer may only tell of addresses at least as far as the link over which it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// This machine.
    Machine,
    /// A private network.
    Private,
    /// Everywhere.
    Public,
}

/// The IP address that a multiaddress begins with.
pub(super) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        // An IPv4 address in IPv6 clothes must not slip through as something else.
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)),
        _ => None,
    }
}

/// How near an address is; names count as public, and what they resolve to is looked at again when it is dialled.
pub(super) fn reach_of(address: &Multiaddr) -> Reach {
    match ip_of(address) {
        Some(ip) if ip.is_loopback() => Reach::Machine,
        Some(IpAddr::V4(ip)) if ip.is_private() || is_shared(ip.octets()) => Reach::Private,
        Some(IpAddr::V6(ip)) if ip.is_unique_local() => Reach::Private,
        _ => Reach::Public,
    }
}

/// 100.64.0.0/10, the addresses providers share among customers.
fn is_shared(octets: [u8; 4]) -> bool {
    octets[0] == 100 && octets[1] & 0xc0 == 64
}

/// Whether the address leads through a relay.
pub(super) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::P2pCircuit))
}

/// Whether anybody could be reached there: a unicast host and a port, perhaps of one relay that is named.
pub(super) fn is_sensible(address: &Multiaddr) -> bool {
    let parts: Vec<Protocol<'_>> = address.iter().collect();
    let mut relays = parts.iter().enumerate().filter(|(_, part)| matches!(part, Protocol::P2pCircuit));
    let is_relay_named = match (relays.next(), relays.next()) {
        (None, _) => true,
        (Some((at, _)), None) => at > 0 && matches!(parts.get(at - 1), Some(Protocol::P2p(_))),
        (Some(_), Some(_)) => false,
    };
    let is_host = match address.iter().next() {
        Some(Protocol::Ip4(_) | Protocol::Ip6(_)) => match ip_of(address) {
            Some(IpAddr::V4(ip)) => {
                !(ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() || ip.is_link_local())
            }
            Some(IpAddr::V6(ip)) => !(ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local()),
            None => false,
        },
        // Not /dnsaddr: it leads to whatever its owner writes, further names included.
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) => true,
        _ => false,
    };
    let has_more_names = address.iter().skip(1).any(|part| is_name(&part));
    let has_bad_part = address.iter().any(|part| matches!(part, Protocol::Tcp(0) | Protocol::Udp(0)));
    is_host && !has_bad_part && !has_more_names && is_relay_named
}

fn is_name(part: &Protocol<'_>) -> bool {
    matches!(part, Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_))
}

/// Whether this is a QUIC address.
pub(super) fn is_quic(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::QuicV1))
}

/// Counts dials of public hosts.
struct Dials {
    hosts: BTreeMap<IpAddr, Bucket>,
    start: Instant,
}

impl Dials {
    fn may_dial(&mut self, address: &Multiaddr) -> bool {
        let Some(ip) = ip_of(address) else { return true };
        if reach_of(address) != Reach::Public {
            return true;
        }
        let now = Time(self.start.elapsed().as_micros() as u64);
        if self.hosts.len() >= DIAL_HOSTS_MAX && !self.hosts.contains_key(&ip) {
            // A full bucket says nothing; when none is full, dialling pauses rather than the count.
            let idle: Vec<IpAddr> = self
                .hosts
                .iter_mut()
                .filter_map(|(ip, bucket)| bucket.clone().take(DIALS_PER_HOST, now).then_some(*ip))
                .collect();
            for ip in idle {
                self.hosts.remove(&ip);
            }
            if self.hosts.len() >= DIAL_HOSTS_MAX {
                return false;
            }
        }
        let new = || Bucket::new(DIALS_PER_HOST, DIALS_PER_HOST.div_ceil(60), now);
        self.hosts.entry(ip).or_insert_with(new).take(1, now)
    }
}

/// A transport that dials sensible addresses only, and no host too often.
pub(super) struct Screened<T> {
    inner: T,
    allows_loopback: bool,
    dials: Dials,
}

impl<T> Screened<T> {
    /// `allows_loopback`: whether this node's own addresses say that it lives on one machine with others.
    pub(super) fn new(inner: T, allows_loopback: bool) -> Self {
        Self { inner, allows_loopback, dials: Dials { hosts: BTreeMap::new(), start: Instant::now() } }
    }
}

impl<T: Transport + Unpin> Transport for Screened<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        let is_near = reach_of(&address) == Reach::Machine;
        // What runs through a relay is dialled by the transport beside this one, and the relay by this one.
        let is_good = is_sensible(&address) && !is_relayed(&address);
        if !is_good || (is_near && !self.allows_loopback) || !self.dials.may_dial(&address) {
            tracing::debug!(%address, "not dialled: not a sensible address here, or dialled too often");
            return Err(TransportError::MultiaddrNotSupported(address));
        }
        self.inner.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

/// A transport in which names are looked up: for sensible addresses only. What a name leads to is dialled by a
/// [`Screened`] one.
pub(super) struct Named<T>(pub(super) T);

impl<T: Transport + Unpin> Transport for Named<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        self.0.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.0.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        if !is_sensible(&address) {
            return Err(TransportError::MultiaddrNotSupported(address));
        }
        self.0.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.0).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;

    use super::*;

    /// Takes every address and dials nothing.
    #[derive(Default)]
    struct Taking(Vec<Multiaddr>);

    impl Transport for Taking {
        type Output = ();
        type Error = std::io::Error;
        type ListenerUpgrade = std::future::Pending<Result<(), std::io::Error>>;
        type Dial = std::future::Pending<Result<(), std::io::Error>>;

        fn listen_on(&mut self, _: ListenerId, _: Multiaddr) -> Result<(), TransportError<Self::Error>> {
            Ok(())
        }

        fn remove_listener(&mut self, _: ListenerId) -> bool {
            false
        }

        fn dial(&mut self, to: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<Self::Error>> {
            self.0.push(to);
            Ok(std::future::pending())
        }

        fn poll(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
            Poll::Pending
        }
    }

    #[test]
    fn no_name_is_looked_up_that_leads_to_further_names() {
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };
        let mut named = Named(Taking::default());
        for (text, is_dialled) in [
            ("/dns4/node.example/tcp/1", true),
            ("/ip4/9.9.9.9/tcp/1", true),
            ("/dnsaddr/node.example", false),
            ("/dns4/node.example/dnsaddr/other.example/tcp/1", false),
        ] {
            assert_eq!(named.dial(address(text), options).is_ok(), is_dialled, "{text}");
        }
        assert_eq!(named.0.0.len(), 2);
    }

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("a test writes valid addresses")
    }

    #[test]
    fn addresses_where_nobody_can_be_are_not_dialled() {
        for text in [
            "/ip4/0.0.0.0/tcp/4001",
            "/ip4/224.0.0.1/tcp/4001",
            "/ip4/255.255.255.255/udp/4001/quic-v1",
            "/ip4/169.254.169.254/tcp/80",
            "/ip6/::/tcp/4001",
            "/ip6/ff02::1/tcp/4001",
            "/ip6/fe80::1/tcp/4001",
            "/ip6/::ffff:169.254.1.1/tcp/4001",
            "/ip4/192.0.2.1/tcp/0",
            "/unix/socket",
            "/memory/1",
            "/dnsaddr/node.example",
            "/dnsaddr/node.example/tcp/1",
            "/dns4/node.example/dns4/other.example/tcp/1",
            "/ip4/9.9.9.9/tcp/1/dnsaddr/node.example",
            "/ip4/9.9.9.9/tcp/1/p2p-circuit",
            "/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit",
        ] {
            assert!(!is_sensible(&address(text)), "{text}");
        }
        for text in [
            "/ip4/127.0.0.1/tcp/1",
            "/ip6/2001:db8::1/udp/4001/quic-v1",
            "/dns4/node.example/tcp/4001",
            "/ip4/9.9.9.9/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit",
        ] {
            assert!(is_sensible(&address(text)), "{text}");
        }
    }

    #[test]
    fn the_reach_of_an_address_is_read_from_its_host() {
        for (text, reach) in [
            ("/ip4/127.1.2.3/tcp/1", Reach::Machine),
            ("/ip6/::1/tcp/1", Reach::Machine),
            ("/ip6/::ffff:127.0.0.1/tcp/1", Reach::Machine),
            ("/ip4/10.0.0.1/tcp/1", Reach::Private),
            ("/ip4/100.64.0.1/tcp/1", Reach::Private),
            ("/ip6/fd00::1/tcp/1", Reach::Private),
            ("/ip4/9.9.9.9/tcp/1", Reach::Public),
            ("/dns4/node.example/tcp/1", Reach::Public),
        ] {
            assert_eq!(reach_of(&address(text)), reach, "{text}");
        }
    }

    #[test]
    fn one_public_host_is_not_dialled_without_end() {
        let mut dials = Dials { hosts: BTreeMap::new(), start: Instant::now() };
        let victim = address("/ip4/9.9.9.9/tcp/443");
        let granted = (0..1_000).filter(|_| dials.may_dial(&victim)).count() as u64;
        // The bucket may refill by a few tokens while the loop runs.
        assert!((DIALS_PER_HOST..DIALS_PER_HOST + 10).contains(&granted), "{granted}");
        let near = address("/ip4/127.0.0.1/tcp/443");
        assert!((0..1_000).all(|_| dials.may_dial(&near)));
    }

    #[test]
    fn the_count_of_dialled_hosts_is_bounded() {
        let mut dials = Dials { hosts: BTreeMap::new(), start: Instant::now() };
        for i in 0..(2 * DIAL_HOSTS_MAX as u32) {
            let [a, b, c, _] = i.to_le_bytes();
            dials.may_dial(&address(&format!("/ip4/9.{a}.{b}.{c}/tcp/1")));
        }
        assert!(dials.hosts.len() <= DIAL_HOSTS_MAX);
    }
}
