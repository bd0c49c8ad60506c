//! Starting the network: ports are taken and every setting is checked before anything runs.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use libp2p::core::transport::TransportError;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{Config, Swarm};
use libp2p::{Multiaddr, PeerId};
use protocol::rng::Seed;
use tokio::sync::mpsc;

use crate::net::behaviour::{Behaviour, kad_protocol, topic};
use crate::net::bulk::client::Client;
use crate::net::bulk::server::{PROTOCOL, Server};
use crate::net::config::NetConfig;
use crate::net::counted::Meter;
use crate::net::counters::Counters;
use crate::net::discovery::dialler::Dialler;
use crate::net::error::NetError;
use crate::net::event::NetEvent;
use crate::net::gossip::Traffic;
use crate::net::handle::NetHandle;
use crate::net::limits::{EVENTS_MAX, LINK_IDLE};
use crate::net::links::Links;
use crate::net::places::Places;
use crate::net::screen::{Reach, reach_of};
use crate::net::swarm::Task;
use crate::net::translate::from_libp2p;
use crate::net::transport;

/// Reports of the bulk plane that wait for the swarm task.
const REPORTS_MAX: usize = 256;

/// Starts the network of a node on the current tokio runtime.
///
/// The task ends after [`crate::net::command::NetCommand::Shutdown`], when the last handle is dropped, or when the
/// receiver is; the channel of events closes with it.
///
/// # Errors
/// Says which address cannot be listened on and why. Nothing runs and no port is held then.
pub fn start(config: NetConfig) -> Result<(NetHandle, mpsc::Receiver<NetEvent>), NetError> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(NetError::NoRuntime);
    }
    let now = Instant::now();
    let key = Keypair::ed25519_from_bytes(*config.secret).map_err(|e| NetError::Setup(e.to_string()))?;
    let name = key.public().to_peer_id();
    let me = from_libp2p(&name).map_err(|e| NetError::Setup(e.to_string()))?;
    let counters = Arc::new(Counters::default());
    let mut swarm = swarm(&config, &key, name, &counters)?;
    listen(&mut swarm, &config.listen)?;
    for address in &config.external {
        swarm.add_external_address(address.clone());
    }

    let mut control = swarm.behaviour().stream.new_control();
    let incoming = control.accept(PROTOCOL).map_err(|e| NetError::Setup(e.to_string()))?;
    let (commands, commanded) = mpsc::unbounded_channel();
    let (events, heard) = mpsc::channel(EVENTS_MAX);
    let (reports, reported) = mpsc::channel(REPORTS_MAX);
    let client =
        Client::new(control, config.limits.clone(), events.clone(), reports.clone(), Arc::clone(&counters));
    let server =
        Server::start(incoming, config.limits.clone(), events.clone(), reports, Arc::clone(&counters));
    let task = Task {
        swarm,
        me,
        kad_protocol: kad_protocol(&config.run),
        listening: config.external.iter().cloned().collect(),
        relays: config.relays,
        places: config.is_behind_router.then(|| Places::new(now)),
        links: Links::default(),
        links_max: config.links_max as usize,
        dialler: Dialler::new(&config.bootstrap, config.links_max, &chance()?, now),
        traffic: Traffic::new(topic(&config.run)),
        client,
        server,
        parked: BTreeMap::new(),
        commands: commanded,
        reports: reported,
        events,
        // What the operator says others can dial.
        outbox: config
            .external
            .iter()
            .map(|address| NetEvent::Listening { address: address.clone() })
            .collect(),
        counters: Arc::clone(&counters),
    };
    tokio::spawn(task.run());
    Ok((NetHandle { commands, counters, peer: me }, heard))
}

/// Chance for pauses and the order of dials; secret, so that nobody can time a node's next dial.
fn chance() -> Result<Seed, NetError> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|e| NetError::Setup(format!("no random numbers: {e}")))?;
    Ok(Seed::from_bytes(bytes))
}

fn swarm(
    config: &NetConfig,
    key: &Keypair,
    name: PeerId,
    counters: &Arc<Counters>,
) -> Result<Swarm<Behaviour>, NetError> {
    // A node that itself lives on the loopback interface has its peers there; any other is not sent there by rumour.
    let own = config.listen.iter().chain(&config.bootstrap).chain(&config.external);
    let allows_loopback = own.into_iter().any(|address| reach_of(address) == Reach::Machine);
    let meter = Meter::new(Arc::clone(counters), config.bytes_per_second);
    let (transport, places) = transport::build(key, allows_loopback, &meter)?;
    let behaviour = Behaviour::new(config, key, places)?;
    let settings = Config::with_tokio_executor().with_idle_connection_timeout(LINK_IDLE);
    Ok(Swarm::new(transport, behaviour, name, settings))
}

fn listen(swarm: &mut Swarm<Behaviour>, addresses: &[Multiaddr]) -> Result<(), NetError> {
    for address in addresses {
        probe(address)?;
        swarm.listen_on(address.clone()).map_err(|error| match error {
            TransportError::MultiaddrNotSupported(address) => NetError::Unsupported { address },
            TransportError::Other(error) => bind_error(address.clone(), error),
        })?;
    }
    Ok(())
}

/// Takes the port for a moment without sharing it: libp2p shares its TCP ports for hole punching, so two nodes of one
/// user on one port would both start and each get half of the connections.
fn probe(address: &Multiaddr) -> Result<(), NetError> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
        _ => return Err(NetError::Unsupported { address: address.clone() }),
    };
    let bound = match (parts.next(), parts.next()) {
        (Some(Protocol::Tcp(port)), None) => TcpListener::bind(SocketAddr::new(ip, port)).map(drop),
        (Some(Protocol::Udp(port)), Some(Protocol::QuicV1)) => {
            UdpSocket::bind(SocketAddr::new(ip, port)).map(drop)
        }
        _ => return Err(NetError::Unsupported { address: address.clone() }),
    };
    bound.map_err(|source| NetError::from_bind(address.clone(), source))
}

/// libp2p wraps what the system said; find it again.
fn bind_error(address: Multiaddr, error: std::io::Error) -> NetError {
    let raw = error.raw_os_error().map(std::io::Error::from_raw_os_error);
    NetError::from_bind(address, raw.unwrap_or(error))
}
