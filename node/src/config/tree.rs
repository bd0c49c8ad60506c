//! The settings as other rooms get them: plain typed values, checked one by one and against each other.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::config::hours::Hours;
use crate::config::key::Value;
use crate::telemetry::log::{LogConfig, LogFormat};

/// All settings of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Who the node is and where its files are.
    pub node: NodeSection,
    /// How it is reached.
    pub network: NetworkSection,
    /// What of this machine it may use.
    pub train: TrainSection,
    /// Who may look at it.
    pub http: HttpSection,
    /// What it tells.
    pub log: LogSection,
}

/// Who the node is and where its files are.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSection {
    /// Name; `None`: the beginning of the public key.
    pub name: Option<String>,
    /// Organization that charter or certificate must name; `None`: any.
    pub organization: Option<String>,
    /// Training data, absolute or relative to the working directory; `None`: the node only observes.
    pub data: Option<PathBuf>,
    /// Folder of saved state, ledger, metrics, status and identity.
    pub dir: PathBuf,
    /// The signed charter.
    pub charter: PathBuf,
    /// Whether members may ask this node's model.
    pub answer_queries: bool,
    /// Most bytes of all files in its directory; `None` for no bound.
    pub disk_max: Option<u64>,
}

/// How the node is reached.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::struct_excessive_bools)] // each is a switch of the settings file
pub struct NetworkSection {
    /// Addresses to listen on, as configured; see [`NetworkSection::listen_all`].
    pub listen: Vec<Multiaddr>,
    /// Peers to try first.
    pub bootstrap: Vec<Multiaddr>,
    /// Addresses others reach this node under.
    pub external: Vec<Multiaddr>,
    /// Whether QUIC is used beside TCP.
    pub quic: bool,
    /// Whether peers are looked for by multicast.
    pub mdns: bool,
    /// Whether a router keeps others from dialling this node.
    pub behind_router: bool,
    /// Whether members behind routers are served.
    pub relay: bool,
    /// Most bytes a second in each direction; `None` for no bound.
    pub rate_max: Option<u64>,
    /// Most links at a time.
    pub links_max: u32,
}

/// What of this machine the node may use.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSection {
    /// `auto`, `cpu`, `cuda`, `cuda:N` or `metal`.
    pub device: String,
    /// Which of the charter's architectures; `None`: by this machine's memory.
    pub variant: Option<String>,
    /// Threads that compute; `None`: one for each core.
    pub threads: Option<usize>,
    /// Longest time between two saved states.
    pub checkpoint_interval: Duration,
    /// Hours in which it trains; `None`: all.
    pub hours: Option<Hours>,
}

/// Who may look at the node over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSection {
    /// Where it is served; `None` for nowhere.
    pub listen: Option<SocketAddr>,
    /// Names under which it may be asked, beside localhost and IP addresses.
    pub hosts: Vec<String>,
}

/// What the node tells.
#[derive(Clone, Debug, PartialEq)]
pub struct LogSection {
    /// Level and form of log lines.
    pub lines: LogConfig,
    /// How often `status.json` is replaced.
    pub status_interval: Duration,
    /// Most bytes of a record file; `None` for no bound.
    pub records_max: Option<u64>,
}

impl NetworkSection {
    /// All addresses to listen on: the configured ones and, with QUIC, their UDP twins.
    pub fn listen_all(&self) -> Vec<Multiaddr> {
        let mut all = self.listen.clone();
        if self.quic {
            let twins = self.listen.iter().filter_map(quic_twin);
            let new: Vec<_> = twins.filter(|twin| !self.listen.contains(twin)).collect();
            all.extend(new);
        }
        all
    }
}

/// `/ip4/A/udp/P/quic-v1` for `/ip4/A/tcp/P`; `None` for anything else.
fn quic_twin(address: &Multiaddr) -> Option<Multiaddr> {
    let mut twin = Multiaddr::empty();
    let mut is_tcp = false;
    for part in address {
        match part {
            Protocol::Tcp(port) => {
                is_tcp = true;
                twin.push(Protocol::Udp(port));
                twin.push(Protocol::QuicV1);
            }
            Protocol::Ip4(_) | Protocol::Ip6(_) => twin.push(part),
            _ => return None,
        }
    }
    is_tcp.then_some(twin)
}

/// A relation between settings that cannot hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The setting to change.
    pub name: &'static str,
    /// What is wrong and what to do.
    pub why: String,
}

impl Config {
    /// Builds the tree from one value per setting. `base` is the settings file's folder; `start` tells for each setting
    /// the folder that a relative path in it starts at.
    pub(super) fn build<'a>(
        base: &Path,
        value: impl Fn(&'static str) -> Value,
        start: impl Fn(&'static str) -> &'a Path,
    ) -> Self {
        let value = &value;
        // Joining keeps an absolute path as it is.
        let full = |name, path: String| start(name).join(path);
        Self {
            node: NodeSection {
                name: filled(value("node.name")),
                organization: filled(value("node.organization")),
                data: filled(value("node.data")).map(|path| full("node.data", path)),
                dir: filled(value("node.dir"))
                    .map_or_else(|| base.to_path_buf(), |path| full("node.dir", path)),
                charter: full("node.charter", text(value("node.charter"))),
                answer_queries: switch(value("node.answer_queries")),
                disk_max: size(value("node.disk_max")),
            },
            network: NetworkSection {
                listen: addresses(value("network.listen")),
                bootstrap: addresses(value("network.bootstrap")),
                external: addresses(value("network.external")),
                quic: switch(value("network.quic")),
                mdns: switch(value("network.mdns")),
                behind_router: switch(value("network.behind_router")),
                relay: switch(value("network.relay")),
                rate_max: size(value("network.rate_max")),
                links_max: u32::try_from(count(value("network.links_max"))).expect("its bounds fit u32"),
            },
            train: TrainSection {
                device: text(value("train.device")),
                variant: filled(value("train.variant")),
                threads: usize::try_from(count(value("train.threads"))).ok().filter(|&n| n > 0),
                checkpoint_interval: time(value("train.checkpoint_interval")),
                hours: filled(value("train.hours")).and_then(|hours| Hours::parse(&hours).ok()),
            },
            http: HttpSection {
                listen: text(value("http.listen")).parse().ok(),
                hosts: text(value("http.hosts")).split_whitespace().map(str::to_owned).collect(),
            },
            log: LogSection {
                lines: LogConfig {
                    level: text(value("log.level")),
                    format: if text(value("log.format")) == "json" {
                        LogFormat::Json
                    } else {
                        LogFormat::Text
                    },
                },
                status_interval: time(value("log.status_interval")),
                records_max: size(value("log.records_max")),
            },
        }
    }

    /// Relations between settings that cannot hold.
    pub(super) fn contradictions(&self) -> Vec<Contradiction> {
        let mut found = Vec::new();
        let mut say = |name, why| found.push(Contradiction { name, why });
        let network = &self.network;
        let is_quic = |a: &&Multiaddr| a.iter().any(|p| matches!(p, Protocol::QuicV1));
        if network.listen.is_empty() {
            say(
                "network.listen",
                "expected at least one address; to take any free port use \"/ip4/0.0.0.0/tcp/0\"".into(),
            );
        }
        if let Some(address) =
            network.listen.iter().chain(&network.external).find(is_quic).filter(|_| !network.quic)
        {
            say(
                "network.quic",
                format!("it is false but {address} needs QUIC; set quic = true or remove the address"),
            );
        }
        for address in &network.listen {
            let is_local =
                address.iter().next().is_some_and(|p| matches!(p, Protocol::Ip4(_) | Protocol::Ip6(_)));
            let has_port = address.iter().any(|p| matches!(p, Protocol::Tcp(_) | Protocol::QuicV1));
            if !is_local || !has_port {
                say(
                    "network.listen",
                    format!("a node listens on an IP address with a TCP port or QUIC, found {address}"),
                );
            }
        }
        for (name, all) in
            [("network.bootstrap", &network.bootstrap), ("network.external", &network.external)]
        {
            if let Some(address) = all.iter().find(|a| !is_reachable(a)) {
                say(
                    name,
                    format!(
                        "nobody can be reached at {address}; give an address with a host and a port other than 0"
                    ),
                );
            }
        }
        if let Some(address) = network.bootstrap.iter().find(|a| network.external.contains(a)) {
            say(
                "network.bootstrap",
                format!("{address} is this node's own external address; name another peer or none"),
            );
        }
        if network.relay && network.behind_router {
            say(
                "network.relay",
                "it is true but network.behind_router says that others cannot dial this node; set one of them only"
                    .into(),
            );
        }
        let linked = network.bootstrap.len();
        if linked > network.links_max as usize {
            say(
                "network.links_max",
                format!("expected at least the {linked} bootstrap peers, found {}", network.links_max),
            );
        }
        found
    }
}

fn is_reachable(address: &Multiaddr) -> bool {
    address.iter().all(|part| match part {
        // It leads to whatever its owner writes; a node looks up plain names only.
        Protocol::Dnsaddr(_) => false,
        Protocol::Ip4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        Protocol::Ip6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
        Protocol::Tcp(port) | Protocol::Udp(port) => port != 0,
        _ => true,
    }) && address.iter().any(|part| matches!(part, Protocol::Tcp(_) | Protocol::Udp(_)))
}

fn filled(value: Value) -> Option<String> {
    Some(text(value)).filter(|t| !t.is_empty())
}

fn text(value: Value) -> String {
    match value {
        Value::Text(text) => text,
        other => panic!("the list of settings names a text here, not {other:?}"),
    }
}

fn switch(value: Value) -> bool {
    match value {
        Value::Switch(switch) => switch,
        other => panic!("the list of settings names a switch here, not {other:?}"),
    }
}

fn count(value: Value) -> u64 {
    match value {
        Value::Count(count) => count,
        other => panic!("the list of settings names a number here, not {other:?}"),
    }
}

/// A number of bytes; `None` for 0, which stands for no bound.
fn size(value: Value) -> Option<u64> {
    match value {
        Value::Size(size) => Some(size).filter(|size| *size > 0),
        other => panic!("the list of settings names a size here, not {other:?}"),
    }
}

fn time(value: Value) -> Duration {
    match value {
        Value::Time(time) => time,
        other => panic!("the list of settings names a time here, not {other:?}"),
    }
}

fn addresses(value: Value) -> Vec<Multiaddr> {
    match value {
        Value::Addresses(all) => all,
        other => panic!("the list of settings names addresses here, not {other:?}"),
    }
}
