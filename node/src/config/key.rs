//! The list of settings: name, kind, default, meaning. Everything else about settings is derived from it.

use std::time::Duration;

use libp2p::Multiaddr;
use toml::de::DeValue;

use crate::config::{hours, unit};
use crate::telemetry::escape;
use crate::telemetry::log;

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Section and name, as `network.listen`.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The default, as it would stand in the file.
    pub default: &'static str,
    /// What it does, one or more sentences for the commented file.
    pub meaning: &'static str,
}

/// What values a setting takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A text that the function accepts.
    Text(fn(&str) -> Result<(), String>),
    /// True or false.
    Switch,
    /// A whole number between two bounds, both included.
    Count(u64, u64),
    /// A time between two bounds, both included.
    Time(Duration, Duration),
    /// A number of bytes between two bounds, both included, or 0 for none.
    Size(u64, u64),
    /// A list of network addresses.
    Addresses,
}

/// A value that fits its setting.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// True or false.
    Switch(bool),
    /// A whole number.
    Count(u64),
    /// A time.
    Time(Duration),
    /// A number of bytes.
    Size(u64),
    /// Addresses.
    Addresses(Vec<Multiaddr>),
}

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
/// Below this, words about links would wait behind shards for so long that links would count as dead.
const RATE_LEAST: u64 = 100_000;
/// A terabyte a second.
const RATE_MOST: u64 = 1_000_000_000_000;

/// All settings, in the order of the file.
pub const KEYS: &[Key] = &[
    Key {
        name: "node.name",
        kind: Kind::Text(name),
        default: "\"\"",
        meaning: "Name shown to people and to other peers. Empty: the beginning of the node's public key.",
    },
    Key {
        name: "node.organization",
        kind: Kind::Text(name),
        default: "\"\"",
        meaning: "Who runs this node. A node does not start under a charter or certificate that names somebody else. Empty: whatever they say.",
    },
    Key {
        name: "node.data",
        kind: Kind::Text(any_text),
        default: "\"\"",
        meaning: "The private training data: a file or a folder. It never leaves this node. A relative path starts at this file's folder.",
    },
    Key {
        name: "node.dir",
        kind: Kind::Text(any_text),
        default: "\"\"",
        meaning: "Where saved state, ledger, metrics and status go. Empty: this file's folder.",
    },
    Key {
        name: "node.charter",
        kind: Kind::Text(not_empty),
        default: "\"charter.toml\"",
        meaning: "The signed charter of the run. A relative path starts at this file's folder.",
    },
    Key {
        name: "node.answer_queries",
        kind: Kind::Switch,
        default: "false",
        meaning: "Whether other members may ask this node's model about texts of theirs, where the charter allows predictions. An answer tells what the model makes of a text; see docs/security.md.",
    },
    Key {
        name: "node.disk_max",
        kind: Kind::Size(16 << 20, 1 << 50),
        default: "\"0 B\"",
        meaning: "Most bytes of all files in the node's directory, whoever wrote them, from \"16 MiB\"; 0: no bound. A node without room for its next saved state pauses and goes on when there is some.",
    },
    Key {
        name: "network.listen",
        kind: Kind::Addresses,
        default: "[\"/ip4/0.0.0.0/tcp/7171\"]",
        meaning: "Addresses to listen on. Port 0 takes any free port.",
    },
    Key {
        name: "network.bootstrap",
        kind: Kind::Addresses,
        default: "[]",
        meaning: "Peers to try first, as \"/ip4/192.0.2.7/tcp/7171\" or \"/dns4/example.org/tcp/7171\". Any peer of the run will do; none is special.",
    },
    Key {
        name: "network.external",
        kind: Kind::Addresses,
        default: "[]",
        meaning: "Addresses under which others reach this node, when a router or container hides them.",
    },
    Key {
        name: "network.quic",
        kind: Kind::Switch,
        default: "true",
        meaning: "Listen with QUIC, too, on the UDP port of the same number as each TCP address.",
    },
    Key {
        name: "network.mdns",
        kind: Kind::Switch,
        default: "false",
        meaning: "Look for peers on the local network by multicast.",
    },
    Key {
        name: "network.behind_router",
        kind: Kind::Switch,
        default: "false",
        meaning: "A router keeps others from dialling this node: ask it for a port (UPnP), ask other members whether they can dial this node, and otherwise keep a place at members that relay first words.",
    },
    Key {
        name: "network.relay",
        kind: Kind::Switch,
        default: "false",
        meaning: "Serve members behind routers: tell them whether they can be dialled, and carry their first words, never shards. Needs an address that others can dial.",
    },
    Key {
        name: "network.rate_max",
        kind: Kind::Size(RATE_LEAST, RATE_MOST),
        default: "\"0 B\"",
        meaning: "Most bytes in a second in each direction, all peers together, from \"100 kB\"; 0: no bound. A node that has less than its updates need falls behind.",
    },
    Key {
        name: "network.links_max",
        kind: Kind::Count(1, 1024),
        default: "64",
        meaning: "Most peers linked at the same time, 1 to 1024.",
    },
    Key {
        name: "train.device",
        kind: Kind::Text(device),
        default: "\"auto\"",
        meaning: "Where to train: auto, cpu, cuda, cuda:N or metal.",
    },
    Key {
        name: "train.variant",
        kind: Kind::Text(name),
        default: "\"\"",
        meaning: "Which of the charter's architectures to train, where it offers several; \"primary\" is the first. Empty: the largest that fits a quarter of this machine's memory.",
    },
    Key {
        name: "train.threads",
        kind: Kind::Count(0, 1024),
        default: "0",
        meaning: "Threads that compute, up to 1024. 0: one for each processor core.",
    },
    Key {
        name: "train.checkpoint_interval",
        kind: Kind::Time(SECOND, DAY),
        default: "\"60 s\"",
        meaning: "Longest time between two saved states, 1 s to 1 d. After a crash at most this much training is lost.",
    },
    Key {
        name: "train.hours",
        kind: Kind::Text(hours::check),
        default: "\"\"",
        meaning: "Hours in which the node trains, as \"22:00-06:00\" in UTC or \"22:00-06:00 +01:00\"; in between it stays linked and pauses. Empty: at all hours.",
    },
    Key {
        name: "http.listen",
        kind: Kind::Text(http_listen),
        default: "\"127.0.0.1:7180\"",
        meaning: "Where the dashboard, metrics and the HTTP API are served, as \"127.0.0.1:7180\". Port 0 takes any free port; empty: nowhere. On an address that others reach, whoever reaches it can read everything but your data; only commands need the token.",
    },
    Key {
        name: "http.hosts",
        kind: Kind::Text(http_hosts),
        default: "\"\"",
        meaning: "Names under which the HTTP server may be asked, separated by spaces, beside localhost and IP addresses. Requests under other names are refused, so that no web page can reach it through a visitor's browser.",
    },
    Key {
        name: "log.level",
        kind: Kind::Text(level),
        default: "\"info\"",
        meaning: "What is logged: error, warn, info, debug, trace, or target=level pairs. RUST_LOG wins over it.",
    },
    Key {
        name: "log.format",
        kind: Kind::Text(log_format),
        default: "\"text\"",
        meaning: "Log lines as text or json.",
    },
    Key {
        name: "log.records_max",
        kind: Kind::Size(1 << 20, 1 << 40),
        default: "\"1 GiB\"",
        meaning: "Most bytes of each record file (events.jsonl and its like), from \"1 MiB\"; a full one becomes NAME.old, in place of the one before. 0: no bound.",
    },
    Key {
        name: "log.status_interval",
        kind: Kind::Time(Duration::from_millis(100), Duration::from_secs(5)),
        default: "\"1 s\"",
        meaning: "How often status.json and peers.json are replaced, 100 ms to 5 s.",
    },
];

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

impl Key {
    /// The part before the dot.
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').expect("a setting's name holds a dot").0
    }

    /// The part after the dot.
    pub fn leaf(&self) -> &'static str {
        self.name.split_once('.').expect("a setting's name holds a dot").1
    }

    /// The environment variable that sets it, as `STARLING_NETWORK_LISTEN`.
    pub fn variable(&self) -> String {
        format!("STARLING_{}", self.name.replace('.', "_").to_uppercase())
    }

    /// The default value.
    pub fn default_value(&self) -> Value {
        let value = DeValue::parse(self.default).expect("a default is TOML");
        self.from_toml(value.get_ref()).expect("a default fits its setting")
    }

    /// Reads a value of the file; an error says what was expected and what was found.
    pub fn from_toml(&self, value: &DeValue) -> Result<Value, String> {
        let found = || match value {
            DeValue::String(text) => format!("the text {:?}", short(text)),
            DeValue::Integer(number) => format!("the number {}", number.as_str()),
            DeValue::Float(number) => format!("the number {}", number.as_str()),
            DeValue::Boolean(switch) => switch.to_string(),
            other => format!("a value of type {}", other.type_str()),
        };
        match (self.kind, value) {
            (Kind::Text(check), DeValue::String(text)) => check(text).map(|()| Value::Text(text.to_string())),
            (Kind::Switch, DeValue::Boolean(switch)) => Ok(Value::Switch(*switch)),
            (Kind::Count(least, most), DeValue::Integer(number)) => {
                let digits = number.as_str().replace('_', "");
                let radix = number.radix();
                let negative = digits.starts_with('-');
                let parsed = i128::from_str_radix(digits.trim_start_matches(['+', '-']), radix).ok();
                let parsed = parsed.map(|n| if negative { -n } else { n });
                bounded(parsed, least, most).ok_or_else(|| {
                    format!("expected a whole number from {least} to {most}, found {}", number.as_str())
                })
            }
            (Kind::Time(least, most), DeValue::String(text)) => time_between(text, least, most),
            (Kind::Size(least, most), DeValue::String(text)) => size_between(text, least, most),
            (Kind::Addresses, DeValue::Array(items)) => {
                let texts = items.iter().map(|item| match item.get_ref() {
                    DeValue::String(text) => Ok(text.to_string()),
                    other => Err(format!(
                        "expected a list of addresses in quotes, found a value of type {} in it",
                        other.type_str()
                    )),
                });
                addresses(texts.collect::<Result<Vec<_>, _>>()?.iter().map(String::as_str))
            }
            (kind, _) => Err(format!("expected {}, found {}", kind.expected(), found())),
        }
    }

    /// Reads a value of a variable or flag: as in the file but without quotes, lists separated by commas.
    pub fn from_text(&self, text: &str) -> Result<Value, String> {
        let found = || format!("expected {}, found {:?}", self.kind.expected(), short(text));
        match self.kind {
            Kind::Text(check) => check(text).map(|()| Value::Text(text.into())),
            Kind::Switch => match text.trim() {
                "true" | "1" | "yes" | "on" => Ok(Value::Switch(true)),
                "false" | "0" | "no" | "off" => Ok(Value::Switch(false)),
                _ => Err(found()),
            },
            Kind::Count(least, most) => bounded(text.trim().parse().ok(), least, most).ok_or_else(found),
            Kind::Time(least, most) => time_between(text, least, most),
            Kind::Size(least, most) => size_between(text, least, most),
            Kind::Addresses => addresses(text.split(',').map(str::trim).filter(|item| !item.is_empty())),
        }
    }
}

impl Kind {
    fn expected(self) -> String {
        match self {
            Self::Text(_) => "a text in quotes".into(),
            Self::Switch => "true or false".into(),
            Self::Count(least, most) => format!("a whole number from {least} to {most}"),
            Self::Time(..) => "a time with its unit in quotes, such as \"30 s\"".into(),
            Self::Size(..) => "a size with its unit in quotes, such as \"5 MB\"".into(),
            Self::Addresses => "a list of addresses in quotes, such as [\"/ip4/192.0.2.7/tcp/7171\"]".into(),
        }
    }
}

impl Value {
    /// The value as it would stand in the file.
    pub fn to_toml(&self) -> String {
        let quoted = |text: &str| toml::Value::String(text.into()).to_string();
        match self {
            Self::Text(text) => quoted(text),
            Self::Switch(switch) => switch.to_string(),
            Self::Count(count) => count.to_string(),
            Self::Time(time) => quoted(&unit::show_time(*time)),
            Self::Size(size) => quoted(&unit::show_size(*size)),
            Self::Addresses(all) => {
                let items: Vec<_> = all.iter().map(|a| quoted(&a.to_string())).collect();
                format!("[{}]", items.join(", "))
            }
        }
    }
}

fn bounded(number: Option<i128>, least: u64, most: u64) -> Option<Value> {
    let number = u64::try_from(number?).ok()?;
    (least..=most).contains(&number).then_some(Value::Count(number))
}

fn time_between(text: &str, least: Duration, most: Duration) -> Result<Value, String> {
    let time = unit::time(text)?;
    if (least..=most).contains(&time) {
        return Ok(Value::Time(time));
    }
    let (least, most) = (unit::show_time(least), unit::show_time(most));
    Err(format!("expected a time from {least} to {most}, found {:?}", short(text)))
}

fn size_between(text: &str, least: u64, most: u64) -> Result<Value, String> {
    let size = unit::size(text)?;
    if size == 0 || (least..=most).contains(&size) {
        return Ok(Value::Size(size));
    }
    let (least, most) = (unit::show_size(least), unit::show_size(most));
    Err(format!("expected 0 B, or a size from {least} to {most}, found {:?}", short(text)))
}

/// Most addresses in one list: more would only slow the start down.
const ADDRESSES_MAX: usize = 256;

fn addresses<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Value, String> {
    let mut all = Vec::new();
    for text in texts {
        let address = text.parse::<Multiaddr>().ok().filter(|a| !a.is_empty());
        let address = address.ok_or_else(|| {
            format!(
                "expected an address such as \"/ip4/192.0.2.7/tcp/7171\", found {:?}{}",
                short(text),
                address_hint(text)
            )
        })?;
        if all.contains(&address) {
            return Err(format!("expected each address once, found {:?} twice", short(text)));
        }
        if all.len() == ADDRESSES_MAX {
            return Err(format!("expected at most {ADDRESSES_MAX} addresses, found more"));
        }
        all.push(address);
    }
    Ok(Value::Addresses(all))
}

/// What a plain `host:port` would be as an address.
fn address_hint(text: &str) -> String {
    let Some((host, port)) = text.rsplit_once(':') else { return String::new() };
    let host = host.trim_matches(['[', ']']);
    match (host.parse::<std::net::IpAddr>(), port.parse::<u16>()) {
        (Ok(std::net::IpAddr::V4(ip)), Ok(port)) => format!("; did you mean \"/ip4/{ip}/tcp/{port}\"?"),
        (Ok(std::net::IpAddr::V6(ip)), Ok(port)) => format!("; did you mean \"/ip6/{ip}/tcp/{port}\"?"),
        (Err(_), Ok(port))
            if host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)) && !host.is_empty() =>
        {
            format!("; did you mean \"/dns4/{host}/tcp/{port}\"?")
        }
        _ => String::new(),
    }
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

fn any_text(text: &str) -> Result<(), String> {
    if text.len() > 4096 || text.contains('\0') {
        return Err("expected a path of at most 4096 bytes without a zero byte".into());
    }
    Ok(())
}

fn not_empty(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("expected a path, found an empty text".into()) } else { any_text(text) }
}

fn name(text: &str) -> Result<(), String> {
    let good = text.chars().count() <= 64 && !text.chars().any(escape::is_unsafe) && text.trim() == text;
    if good {
        Ok(())
    } else {
        Err(format!(
            "expected a name of at most 64 characters without control characters or outer spaces, found {:?}",
            short(text)
        ))
    }
}

fn device(text: &str) -> Result<(), String> {
    let is_numbered = text.strip_prefix("cuda:").is_some_and(|n| n.parse::<u8>().is_ok());
    if is_numbered || ["auto", "cpu", "cuda", "metal"].contains(&text) {
        return Ok(());
    }
    Err(format!("expected auto, cpu, cuda, cuda:N or metal, found {:?}", short(text)))
}

fn level(text: &str) -> Result<(), String> {
    log::check_level(text).map_err(|e| e.to_string())
}

fn http_listen(text: &str) -> Result<(), String> {
    if text.is_empty() || text.parse::<std::net::SocketAddr>().is_ok() {
        return Ok(());
    }
    Err(format!(
        "expected an IP address with a port, such as \"127.0.0.1:7180\", or nothing, found {:?}",
        short(text)
    ))
}

fn http_hosts(text: &str) -> Result<(), String> {
    let is_name = |name: &str| {
        name.len() <= 253 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    };
    if text.len() <= 4096 && text.split_whitespace().all(is_name) {
        return Ok(());
    }
    Err(format!("expected host names without ports, separated by spaces, found {:?}", short(text)))
}

fn log_format(text: &str) -> Result<(), String> {
    if ["text", "json"].contains(&text) {
        Ok(())
    } else {
        Err(format!("expected text or json, found {:?}", short(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_fits_its_setting_and_reads_back_as_it_is_shown() {
        for key in KEYS {
            let value = key.default_value();
            let shown = value.to_toml();
            let parsed = DeValue::parse(&shown).unwrap();
            assert_eq!(key.from_toml(parsed.get_ref()), Ok(value), "{}", key.name);
            assert!(find(key.name).is_some() && key.meaning.ends_with('.'), "{}", key.name);
        }
    }

    #[test]
    fn a_plain_host_and_port_is_answered_with_the_address_that_was_meant() {
        let key = find("network.bootstrap").unwrap();
        for (text, hint) in [
            ("192.0.2.7:80", "/ip4/192.0.2.7/tcp/80"),
            ("[::1]:80", "/ip6/::1/tcp/80"),
            ("example.org:80", "/dns4/example.org/tcp/80"),
        ] {
            let error = key.from_text(text).unwrap_err();
            assert!(error.contains(hint), "{error}");
        }
    }
}
