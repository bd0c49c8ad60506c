//! How bytes travel: TCP with secured records and Yamux, QUIC beside it, names resolved where the machine can.
//!
//! TCP is for bulk: the kernel's congestion control can be chosen and it costs less. QUIC is for those that TCP does
//! not reach.

use std::sync::Arc;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, Transport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, dns, quic, tcp};

use crate::net::counted::Counted;
use crate::net::counters::Counters;
use crate::net::error::NetError;
use crate::net::limits::HANDSHAKE;
use crate::net::muxer::Muxing;
use crate::net::screen::Screened;
use crate::net::secured::upgrade::Secured;

type Link = Boxed<(PeerId, StreamMuxerBox)>;

/// Builds the transport of a node.
pub(super) fn build(
    key: &Keypair,
    allows_loopback: bool,
    counters: &Arc<Counters>,
) -> Result<Link, NetError> {
    match dns::tokio::Transport::system(links(key, allows_loopback, counters)?) {
        Ok(resolving) => Ok(TransportTimeout::new(resolving, HANDSHAKE).boxed()),
        Err(error) => {
            tracing::warn!(%error, "no name server is configured: /dns addresses cannot be dialled, /ip4 and /ip6 can");
            Ok(TransportTimeout::new(links(key, allows_loopback, counters)?, HANDSHAKE).boxed())
        }
    }
}

fn links(key: &Keypair, allows_loopback: bool, counters: &Arc<Counters>) -> Result<Link, NetError> {
    let secured = Secured::new(key).map_err(|e| NetError::Setup(format!("noise: {e}")))?;
    let count = Arc::clone(counters);
    let tcp = tcp::tokio::Transport::new(tcp::Config::default())
        .map(move |socket, _| Counted::new(socket, Arc::clone(&count)))
        .upgrade(Version::V1Lazy)
        .authenticate(secured)
        .multiplex(Muxing::new())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let count = Arc::clone(counters);
    let quic = quic::tokio::Transport::new(quic::Config::new(key))
        .map(move |(peer, muxer), _| (peer, StreamMuxerBox::new(Counted::new(muxer, Arc::clone(&count)))));
    let both = tcp.or_transport(quic).map(|either, _| either.into_inner());
    Ok(Screened::new(both, allows_loopback).boxed())
}
