//! How bytes travel: TCP with secured records and Yamux, QUIC beside it, names resolved where the machine can.
//!
//! TCP is for bulk: the kernel's congestion control can be chosen and it costs less. QUIC is for those that TCP does
//! not reach, and connections through a relay for those that nothing reaches at first.

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, Transport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, dns, quic, relay, tcp};

use crate::net::counted::{Counted, Meter};
use crate::net::error::NetError;
use crate::net::limits::HANDSHAKE;
use crate::net::muxer::Muxing;
use crate::net::screen::{Named, Screened};
use crate::net::secured::upgrade::Secured;

type Link = Boxed<(PeerId, StreamMuxerBox)>;

/// Builds the transport of a node; the behaviour with it keeps places at relays.
pub(super) fn build(
    key: &Keypair,
    allows_loopback: bool,
    meter: &Meter,
) -> Result<(Link, relay::client::Behaviour), NetError> {
    let direct = match dns::tokio::Transport::system(links(key, allows_loopback, meter)?) {
        Ok(resolving) => Named(resolving).boxed(),
        Err(error) => {
            tracing::warn!(%error, "no name server is configured: /dns addresses cannot be dialled, /ip4 and /ip6 can");
            links(key, allows_loopback, meter)?
        }
    };
    let (relayed, places) = relay::client::new(key.public().to_peer_id());
    // The relay sees sealed records only; what it is asked to carry to it goes over links of the direct kind.
    let relayed = relayed
        .upgrade(Version::V1Lazy)
        .authenticate(secured(key)?)
        .multiplex(Muxing::new())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let all = relayed.or_transport(direct).map(|either, _| either.into_inner());
    Ok((TransportTimeout::new(all, HANDSHAKE).boxed(), places))
}

fn secured(key: &Keypair) -> Result<Secured, NetError> {
    Secured::new(key).map_err(|e| NetError::Setup(format!("noise: {e}")))
}

fn links(key: &Keypair, allows_loopback: bool, meter: &Meter) -> Result<Link, NetError> {
    let count = meter.clone();
    let tcp = tcp::tokio::Transport::new(tcp::Config::default())
        .map(move |socket, _| Counted::new(socket, count.clone()))
        .upgrade(Version::V1Lazy)
        .authenticate(secured(key)?)
        .multiplex(Muxing::new())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let count = meter.clone();
    let quic = quic::tokio::Transport::new(quic::Config::new(key))
        .map(move |(peer, muxer), _| (peer, StreamMuxerBox::new(Counted::new(muxer, count.clone()))));
    let both = tcp.or_transport(quic).map(|either, _| either.into_inner());
    Ok(Screened::new(both, allows_loopback).boxed())
}
