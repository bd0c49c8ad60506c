//! Named choices a charter makes: how numbers are encoded, how shards are combined.
//!
//! The mathematics lives in `shard` and `mixing`; here are only the names, because a charter must be readable below them.

use std::str::FromStr;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

macro_rules! named {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),* }
        impl $name {
            /// Every choice, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// The name people write.
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $text),* } }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.name()) }
        }
        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                Self::ALL.iter().copied().find(|c| c.name() == text).ok_or_else(|| {
                    let all: Vec<_> = Self::ALL.iter().map(|c| c.name()).collect();
                    format!("expected a {} ({}), found {text:?}", $what, all.join(", "))
                })
            }
        }
    };
}

named!(
    /// How the numbers of a shard are encoded.
    Codec, "codec" {
        /// 32 bits, exact.
        F32 = "f32",
        /// IEEE half precision.
        F16 = "f16",
        /// The upper half of an f32.
        Bf16 = "bf16",
        /// 8 bits, one f16 scale a block of 64: 8.25 bits a parameter.
        Int8 = "int8",
        /// 4 bits, one f16 scale a block of 32: 4.5 bits a parameter.
        Int4 = "int4",
        /// 4 bits read next to the receiver's own values, cell and check a block of 64: 4.5 bits a parameter; every
        /// eighth outer step travels as `int8`.
        Lattice4 = "lattice4",
        /// The sixteenth of all values that moved farthest from what was last said of them, 8 bits each: 0.9 bits a
        /// parameter; the receiver keeps its own elsewhere. Every eighth outer step travels as `int8`.
        Topk = "topk",
    }
);

impl Codec {
    /// Whether whoever decodes needs values of its own near those that were encoded.
    pub const fn is_relative(self) -> bool {
        matches!(self, Self::Lattice4 | Self::Topk)
    }

    /// Whether an update says some of its values only, so that its author must remember what it said of the others.
    pub const fn is_sparse(self) -> bool {
        matches!(self, Self::Topk)
    }

    /// Whether the codec keeps at least 16 bits, as settle steps ask.
    pub const fn is_fine(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::Bf16)
    }
}

named!(
    /// How a peer combines its own shard with those it pulled.
    Rule, "mixing rule" {
        /// Plain mean.
        Mean = "mean",
        /// Nearest-neighbour mixing, then the coordinate-wise trimmed mean.
        NnmTrimmed = "nnm-trimmed",
        /// Mean over the nearest.
        Nearest = "nearest",
        /// Self-centred clipping.
        Clip = "clip",
        /// Coordinate-wise trimmed mean.
        Trimmed = "trimmed",
        /// Coordinate-wise median.
        Median = "median",
        /// The vector closest to its neighbours.
        Krum = "krum",
    }
);

named!(
    /// What a peer does in an outer step.
    Stage, "stage" {
        /// Waits to be far enough to take part.
        Join = "join",
        /// Trains and mixes.
        Train = "train",
        /// Mixes without training, so that all nodes agree.
        Settle = "settle",
        /// Is through; serves what others still need.
        Done = "done",
    }
);
