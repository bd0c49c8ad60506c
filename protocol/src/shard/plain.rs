//! Codecs without blocks: every value for itself in 32 or 16 bits, little-endian.
//!
//! Values beyond the largest of a 16-bit format are clipped to it and counted, not refused: a diverging node is judged
//! by distance, and its own manifest stays honest. Subnormal f32 values become zeros in both directions, because they
//! cost some processors a hundred times the time of a normal one.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::shard::block::{INFINITE_BITS, magnitude_bits};
use crate::shard::fault::{DecodeError, NotFinite, not_finite};

/// Values converted at a time; source and target stay in the first-level cache.
const CHUNK: usize = 1024;

/// Zero for values too small for the full precision of an f32.
#[inline]
fn flushed(value: f32) -> f32 {
    if value.abs() < f32::MIN_POSITIVE { 0.0 } else { value }
}

/// Appends 32-bit values; never clips.
pub(crate) fn encode_f32(values: &[f32], bytes: &mut Vec<u8>) -> Result<usize, NotFinite> {
    for (at, chunk) in values.chunks(CHUNK).enumerate() {
        if magnitude_bits(chunk) >= INFINITE_BITS {
            return Err(not_finite(chunk, at * CHUNK));
        }
        let mut raw = [0u8; CHUNK * 4];
        for (to, value) in raw.as_chunks_mut::<4>().0.iter_mut().zip(chunk) {
            *to = flushed(*value).to_le_bytes();
        }
        bytes.extend_from_slice(&raw[..chunk.len() * 4]);
    }
    Ok(0)
}

/// Reads 32-bit values.
pub(crate) fn decode_f32(bytes: &[u8], values: &mut [f32]) -> Result<(), DecodeError> {
    for (at, (raw, chunk)) in bytes.chunks(CHUNK * 4).zip(values.chunks_mut(CHUNK)).enumerate() {
        for (from, value) in raw.as_chunks::<4>().0.iter().zip(chunk.iter_mut()) {
            *value = flushed(f32::from_le_bytes(*from));
        }
        finite(chunk, at)?;
    }
    Ok(())
}

/// Defines encoder and decoder of a 16-bit format.
macro_rules! sixteen_bits {
    ($encode:ident, $decode:ident, $format:ty, $largest:expr, $text:literal) => {
        #[doc = concat!("Appends ", $text, " values; returns how many were clipped.")]
        pub(crate) fn $encode(values: &[f32], bytes: &mut Vec<u8>) -> Result<usize, NotFinite> {
            let largest: f32 = $largest;
            let mut clipped = 0;
            let mut within = [0f32; CHUNK];
            let mut short = [<$format>::ZERO; CHUNK];
            let mut raw = [0u8; CHUNK * 2];
            for (at, chunk) in values.chunks(CHUNK).enumerate() {
                let magnitude = magnitude_bits(chunk);
                if magnitude >= INFINITE_BITS {
                    return Err(not_finite(chunk, at * CHUNK));
                }
                let (within, short) = (&mut within[..chunk.len()], &mut short[..chunk.len()]);
                if magnitude > largest.to_bits() {
                    clipped += chunk.iter().filter(|value| value.abs() > largest).count();
                }
                for (to, value) in within.iter_mut().zip(chunk) {
                    *to = flushed(*value).clamp(-largest, largest);
                }
                short.convert_from_f32_slice(within);
                let raw = &mut raw[..chunk.len() * 2];
                for (to, value) in raw.as_chunks_mut::<2>().0.iter_mut().zip(short) {
                    *to = value.to_le_bytes();
                }
                bytes.extend_from_slice(raw);
            }
            Ok(clipped)
        }

        #[doc = concat!("Reads ", $text, " values.")]
        pub(crate) fn $decode(bytes: &[u8], values: &mut [f32]) -> Result<(), DecodeError> {
            let mut short = [<$format>::ZERO; CHUNK];
            for (at, (raw, chunk)) in bytes.chunks(CHUNK * 2).zip(values.chunks_mut(CHUNK)).enumerate() {
                let short = &mut short[..chunk.len()];
                for (from, value) in raw.as_chunks::<2>().0.iter().zip(short.iter_mut()) {
                    *value = <$format>::from_le_bytes(*from);
                }
                short.convert_to_f32_slice(chunk);
                for value in chunk.iter_mut() {
                    *value = flushed(*value);
                }
                finite(chunk, at)?;
            }
            Ok(())
        }
    };
}
sixteen_bits!(encode_f16, decode_f16, f16, f16::MAX.to_f32_const(), "half-precision");
sixteen_bits!(encode_bf16, decode_bf16, bf16, bf16::MAX.to_f32_const(), "bfloat16");

fn finite(chunk: &[f32], at: usize) -> Result<(), DecodeError> {
    if magnitude_bits(chunk) >= INFINITE_BITS {
        let NotFinite { index } = not_finite(chunk, at * CHUNK);
        return Err(DecodeError::NotFinite { index });
    }
    Ok(())
}
