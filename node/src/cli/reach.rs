//! Whether the node's ports are free and its bootstrap peers answer, with the reason when not.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::cli::check::Check;
use crate::cli::output::ExitCode;

/// Addresses tried at a time.
const TRIES_MAX: usize = 32;

enum Host {
    Ip(IpAddr),
    Name(String),
}

struct Target {
    host: Host,
    port: u16,
    is_tcp: bool,
}

/// Whether this machine lets the node listen on an address. The port is free again afterwards.
pub(super) fn port(address: &Multiaddr) -> Check {
    let name = format!("listen {address}");
    let Some(Target { host: Host::Ip(ip), port, is_tcp }) = target(address) else {
        return Check::warning(
            name,
            "not tried: not an IP address with a port",
            "check it by starting the node",
        );
    };
    let place = SocketAddr::new(ip, port);
    let bound = if is_tcp { TcpListener::bind(place).map(drop) } else { UdpSocket::bind(place).map(drop) };
    let Err(error) = bound else { return Check::good(name, "free") };
    let (found, remedy) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            "another program listens there".into(),
            "stop it, or choose another port in network.listen (0 takes any free one)",
        ),
        io::ErrorKind::PermissionDenied => {
            ("this user may not use that port".into(), "choose a port from 1024 on in network.listen")
        }
        io::ErrorKind::AddrNotAvailable => {
            ("this machine has no such address".into(), "listen on 0.0.0.0 or on an address of this machine")
        }
        _ => (error.to_string(), "choose another address in network.listen"),
    };
    Check::bad(ExitCode::Config, name, found, remedy)
}

/// Tries every bootstrap address at the same time. A node alone is a state and no error, so one that answers is enough;
/// only when none does, the command fails.
pub(super) fn bootstrap(addresses: &[Multiaddr], timeout: Duration) -> Vec<Check> {
    if addresses.is_empty() {
        let remedy = "nothing, if other nodes name this one or mDNS is on; otherwise set network.bootstrap";
        return vec![Check::warning("bootstrap", "no peers named", remedy)];
    }
    let (done, results) = mpsc::channel();
    for (at, address) in addresses.iter().take(TRIES_MAX).enumerate() {
        let (done, address) = (done.clone(), address.clone());
        // Looking a name up has no time limit of its own; a thread that hangs in it is left behind.
        let spawned = thread::Builder::new().spawn(move || drop(done.send((at, reach(&address, timeout)))));
        drop(spawned);
    }
    drop(done);
    let end = Instant::now() + timeout + Duration::from_secs(1);
    let mut found = BTreeMap::new();
    while found.len() < addresses.len().min(TRIES_MAX) {
        match results.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok((at, result)) => drop(found.insert(at, result)),
            Err(_) => break,
        }
    }
    let is_any_reached = found.values().any(|r| matches!(r, Ok(Some(_))));
    let is_any_unknown = found.values().any(|r| matches!(r, Ok(None)));
    let none = || {
        Err((
            "no answer: its name could not be looked up in time".to_string(),
            "check the name and this machine's DNS",
        ))
    };
    let checks = addresses.iter().enumerate().take(TRIES_MAX).map(|(at, address)| {
        let name = format!("bootstrap {address}");
        match found.remove(&at).unwrap_or_else(none) {
            Ok(Some(took)) => Check::good(name, format!("a connection opens in {} ms", took.as_millis())),
            Ok(None) => Check::warning(
                name,
                "not tried: only TCP can be tried without a handshake",
                "name the peer's TCP address, too",
            ),
            Err((why, remedy)) if is_any_reached || is_any_unknown => Check::warning(name, why, remedy),
            Err((why, remedy)) => Check::bad(ExitCode::Unreachable, name, why, remedy),
        }
    });
    checks.collect()
}

/// Time to open a TCP connection; `None` for addresses without TCP; the reason and a remedy otherwise.
fn reach(address: &Multiaddr, timeout: Duration) -> Result<Option<Duration>, (String, &'static str)> {
    let Some(Target { host, port, is_tcp: true }) = target(address) else { return Ok(None) };
    let places: Vec<SocketAddr> = match host {
        Host::Ip(ip) => vec![SocketAddr::new(ip, port)],
        Host::Name(name) => (name.as_str(), port)
            .to_socket_addrs()
            .map_err(|e| {
                (format!("the name {name} is not known: {e}"), "check the name and this machine's DNS")
            })?
            .take(4)
            .collect(),
    };
    let mut last = ("the name has no addresses".to_string(), "check the name");
    for place in places {
        let start = Instant::now();
        match TcpStream::connect_timeout(&place, timeout) {
            Ok(_) => return Ok(Some(start.elapsed())),
            Err(error) => last = reason(&error, timeout),
        }
    }
    Err(last)
}

fn reason(error: &io::Error, timeout: Duration) -> (String, &'static str) {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => (
            "the machine answers but nothing listens on that port".into(),
            "ask its owner whether the node runs and on which port",
        ),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => (
            format!("no answer within {} s", timeout.as_secs()),
            "a firewall may drop it: ask its owner to open the port, or check the address",
        ),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => (
            "there is no way from this machine to that network".into(),
            "check this machine's network and the address",
        ),
        _ => (error.to_string(), "check the address"),
    }
}

fn target(address: &Multiaddr) -> Option<Target> {
    let mut parts = address.iter();
    let host = match parts.next()? {
        Protocol::Ip4(ip) => Host::Ip(ip.into()),
        Protocol::Ip6(ip) => Host::Ip(ip.into()),
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => Host::Name(name.into_owned()),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some(Target { host, port, is_tcp: true }),
        Protocol::Udp(port) => Some(Target { host, port, is_tcp: false }),
        _ => None,
    }
}
