//! How the numbers of a shard become bytes and back.
//!
//! One entry for all codecs; the mathematics of each has a file of its own. Encoding is deterministic in values and
//! seed on every platform; decoding believes nothing: length, scales and codes are checked and no infinite or NaN value
//! comes out.

use crate::rng::Seed;
use crate::shard::fault::{DecodeError, NotFinite};
use crate::shard::noise::Noise;
use crate::shard::{int4, int8, plain};
use crate::wire::choice::Codec;

/// What an encoding lost beyond rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodeStats {
    /// Bytes appended.
    pub bytes: usize,
    /// Values whose magnitude the codec cannot hold; they were set to its largest.
    pub clipped: usize,
}

impl Codec {
    /// Bytes of `count` encoded values.
    pub const fn encoded_bytes(self, count: usize) -> usize {
        match self {
            Self::F32 => count * 4,
            Self::F16 | Self::Bf16 => count * 2,
            Self::Int8 => int8::encoded_bytes(count),
            Self::Int4 => int4::encoded_bytes(count),
        }
    }

    /// Appends the encoding of `values` (elements) to `bytes`.
    ///
    /// The seed feeds stochastic rounding and must be fresh for every update and shard (fork it by both), or errors
    /// add up instead of cancelling; codecs of 16 bits and more round to nearest and ignore it.
    /// `f32` and `bf16` write subnormal values as zeros.
    pub fn encode(self, values: &[f32], seed: &Seed, bytes: &mut Vec<u8>) -> Result<EncodeStats, NotFinite> {
        let start = bytes.len();
        bytes.reserve(self.encoded_bytes(values.len()));
        let encoded = match self {
            Self::F32 => plain::encode_f32(values, bytes),
            Self::F16 => plain::encode_f16(values, bytes),
            Self::Bf16 => plain::encode_bf16(values, bytes),
            Self::Int8 => int8::encode(values, Noise::new(seed), bytes),
            Self::Int4 => int4::encode(values, Noise::new(seed), bytes),
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
        }
    }
}
