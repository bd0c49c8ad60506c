//! Names of things: hashes, peers, runs, outer steps, shards, asks.
//!
//! Each is a newtype, so that one cannot be passed where another belongs. Nothing here computes.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use thiserror::Error;

/// A blake3 hash: 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Default)]
pub struct Hash(pub [u8; 32]);

/// A peer's name: its ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct PeerId(pub [u8; 32]);

/// The order of the bytes. Every table is sorted by it, and the first eight bytes nearly always decide.
impl Ord for PeerId {
    fn cmp(&self, other: &Self) -> Ordering {
        let head = |id: &Self| id.0.first_chunk().map(|first| u64::from_be_bytes(*first));
        head(self).cmp(&head(other)).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for PeerId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A run's name: the blake3 hash of its canonical charter, lineage included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct RunId(pub Hash);

/// The number of an outer step; the first is 1, 0 means genesis.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct OuterStep(pub u32);

/// Position of a shard inside an update.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ShardIndex(pub u32);

/// A local number of a question this peer asked; never travels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct AskId(pub u64);

/// A local number of a question somebody asked this peer; never travels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct InboundId(pub u64);

/// A local number of a gossip message waiting for a verdict; never travels.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct GossipId(pub u64);

/// A text that is not 64 hexadecimal digits.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("expected 64 hexadecimal digits, found {0:?}")]
pub struct NotHex(pub String);

impl OuterStep {
    /// The step after this one; stays at the largest number once there.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Outer steps from `earlier` to `self`; 0 when `earlier` is later.
    pub fn since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
}

fn hex(bytes: &[u8; 32], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
}

fn from_hex(text: &str) -> Result<[u8; 32], NotHex> {
    let wrong = || NotHex(text.chars().take(80).collect());
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut out = [0u8; 32];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(out)
}

macro_rules! hex_text {
    ($name:ident, $bytes:expr, $make:expr) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let bytes: fn(&$name) -> &[u8; 32] = $bytes;
                hex(bytes(self), f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }
        impl FromStr for $name {
            type Err = NotHex;
            fn from_str(text: &str) -> Result<Self, NotHex> {
                let make: fn([u8; 32]) -> $name = $make;
                from_hex(text).map(make)
            }
        }
        impl $name {
            /// The first eight hexadecimal digits, for people.
            pub fn short(&self) -> String {
                let mut text = self.to_string();
                text.truncate(8);
                text
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
hex_text!(Hash, |h| &h.0, Hash);
hex_text!(PeerId, |p| &p.0, PeerId);
hex_text!(RunId, |r| &r.0.0, |b| RunId(Hash(b)));

macro_rules! number {
    ($($name:ident),*) => { $(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}", self.0) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{}({})", stringify!($name), self.0) }
        }
    )* };
}
number!(OuterStep, ShardIndex, AskId, InboundId, GossipId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_it_was_written() {
        let peer = PeerId(std::array::from_fn(|i| (i * 7) as u8));
        assert_eq!(peer.to_string().parse::<PeerId>(), Ok(peer));
        assert!("zz".parse::<PeerId>().is_err());
        assert!("é".repeat(32).parse::<PeerId>().is_err());
        assert_eq!(peer.short().len(), 8);
    }
}
