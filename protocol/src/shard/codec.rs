//! How the numbers of a shard become bytes and back.
//!
//! One entry for all codecs; the mathematics of each has a file of its own. Encoding is deterministic in values and
//! seed on every platform; decoding believes nothing: length, scales and codes are checked and no infinite or NaN value
//! comes out.

use crate::rng::Seed;
use crate::shard::fault::{DecodeError, NotFinite};
use crate::shard::noise::Noise;
use crate::shard::{int4, int8, lattice, plain, topk};
use crate::wire::choice::Codec;

/// Width of a lattice cell in root mean square distances between peers: sixteen cells hold eight of them on either side,
/// which differences between trained parameters rarely reach.
const CELLS_PER_SPREAD: f32 = 1.0;

/// What an encoding lost beyond rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodeStats {
    /// Bytes appended.
    pub bytes: usize,
    /// Values whose magnitude the codec cannot hold; they were set to its largest.
    pub clipped: usize,
}

/// What an encoder may know besides the values; a codec that needs none of it ignores it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// How far the receivers' own values are about away (root mean square, in units of the values). Without it `lattice4`
    /// writes what anybody can read.
    pub spread: Option<f32>,
    /// What was said of each value before. Empty where nothing was: then `topk` says the largest values.
    pub said: &'a [f32],
}

impl Codec {
    /// Bytes of `count` encoded values.
    pub const fn encoded_bytes(self, count: usize) -> usize {
        match self {
            Self::F32 => count * 4,
            Self::F16 | Self::Bf16 => count * 2,
            Self::Int8 => int8::encoded_bytes(count),
            Self::Int4 => int4::encoded_bytes(count),
            Self::Lattice4 => lattice::encoded_bytes(count),
            Self::Topk => topk::encoded_bytes(count),
        }
    }

    /// Appends the encoding of `values` (elements) to `bytes`.
    ///
    /// The seed feeds stochastic rounding and must be fresh for every update and shard (fork it by both), or errors
    /// add up instead of cancelling; codecs of 16 bits and more round to nearest and ignore it.
    /// `f32` and `bf16` write subnormal values as zeros.
    pub fn encode(self, values: &[f32], seed: &Seed, bytes: &mut Vec<u8>) -> Result<EncodeStats, NotFinite> {
        self.encode_knowing(values, Known::default(), seed, bytes)
    }

    /// The same by an encoder that knows something of receivers or of what it said before.
    pub fn encode_knowing(
        self,
        values: &[f32],
        known: Known<'_>,
        seed: &Seed,
        bytes: &mut Vec<u8>,
    ) -> Result<EncodeStats, NotFinite> {
        let start = bytes.len();
        bytes.reserve(self.encoded_bytes(values.len()));
        let encoded = match self {
            Self::F32 => plain::encode_f32(values, bytes),
            Self::F16 => plain::encode_f16(values, bytes),
            Self::Bf16 => plain::encode_bf16(values, bytes),
            Self::Int8 => int8::encode(values, Noise::new(seed), bytes),
            Self::Int4 => int4::encode(values, Noise::new(seed), bytes),
            Self::Lattice4 => {
                let cell = known.spread.map(|spread| spread * CELLS_PER_SPREAD);
                lattice::encode(values, cell, Noise::new(seed), bytes)
            }
            Self::Topk => topk::encode(values, known.said, Noise::new(seed), bytes),
        };
        match encoded {
            Ok(clipped) => Ok(EncodeStats { bytes: bytes.len() - start, clipped }),
            Err(error) => {
                bytes.truncate(start);
                Err(error)
            }
        }
    }

    /// Decodes exactly `values.len()` values; every one is finite and none subnormal.
    pub fn decode(self, bytes: &[u8], values: &mut [f32]) -> Result<(), DecodeError> {
        let expected = self.encoded_bytes(values.len());
        if bytes.len() != expected {
            return Err(DecodeError::Length { expected, found: bytes.len() });
        }
        match self {
            Self::F32 => plain::decode_f32(bytes, values),
            Self::F16 => plain::decode_f16(bytes, values),
            Self::Bf16 => plain::decode_bf16(bytes, values),
            Self::Int8 => int8::decode(bytes, values),
            Self::Int4 => int4::decode(bytes, values),
            Self::Lattice4 => match lattice::decode(bytes, &vec![0.0; values.len()], values)? {
                0 => Ok(()),
                _ => Err(DecodeError::Far { block: 0 }),
            },
            Self::Topk => Err(DecodeError::Partial),
        }
    }

    /// Decodes next to `near`, the receiver's own values of the same length, which must be finite. Returns how many values
    /// could not be read from there and are those of `near`; 0 where the codec needs none, and where it leaves values unsaid,
    /// which are those of `near` too.
    pub fn decode_near(self, bytes: &[u8], near: &[f32], values: &mut [f32]) -> Result<usize, DecodeError> {
        if !self.is_relative() {
            return self.decode(bytes, values).map(|()| 0);
        }
        let expected = self.encoded_bytes(values.len());
        if bytes.len() != expected {
            return Err(DecodeError::Length { expected, found: bytes.len() });
        }
        if self.is_sparse() {
            values.copy_from_slice(near);
            return topk::decode(bytes, values).map(|()| 0);
        }
        lattice::decode(bytes, near, values)
    }
}
