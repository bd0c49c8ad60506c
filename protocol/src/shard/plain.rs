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
    ($encode:ident, $format:ty, $largest:expr, $text:literal) => {
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
    };
}
sixteen_bits!(encode_f16, f16, f16::MAX.to_f32_const(), "half-precision");
sixteen_bits!(encode_bf16, bf16, bf16::MAX.to_f32_const(), "bfloat16");

/// Reads half-precision values.
pub(crate) fn decode_f16(bytes: &[u8], values: &mut [f32]) -> Result<(), DecodeError> {
    decode_sixteen(bytes, values, 0x7c00, widened_f16)
}

/// Reads bfloat16 values.
pub(crate) fn decode_bf16(bytes: &[u8], values: &mut [f32]) -> Result<(), DecodeError> {
    decode_sixteen(bytes, values, 0x7f80, |bits| flushed(f32::from_bits(u32::from(bits) << 16)))
}

/// Reads values of 16 bits; `infinite` is the smallest magnitude, as bits, that is no number.
#[inline]
fn decode_sixteen(
    bytes: &[u8],
    values: &mut [f32],
    infinite: i16,
    widened: impl Fn(u16) -> f32,
) -> Result<(), DecodeError> {
    for (at, (raw, chunk)) in bytes.chunks(CHUNK * 2).zip(values.chunks_mut(CHUNK)).enumerate() {
        let mut largest = 0i16;
        for (from, value) in raw.as_chunks::<2>().0.iter().zip(chunk.iter_mut()) {
            let bits = u16::from_le_bytes(*from);
            // Signed, because that comparison is the one every vector unit has.
            largest = largest.max((bits & 0x7fff) as i16);
            *value = widened(bits);
        }
        if largest >= infinite {
            let magnitude = |from: &[u8; 2]| (u16::from_le_bytes(*from) & 0x7fff) as i16;
            let within = raw.as_chunks::<2>().0.iter().position(|from| magnitude(from) >= infinite);
            return Err(DecodeError::NotFinite { index: at * CHUNK + within.unwrap_or(0) });
        }
    }
    Ok(())
}

/// A finite half-precision value as 32 bits, exactly. Plain integer steps, so that the compiler works on several at
/// once on every processor; infinities and NaN come out as large numbers.
#[inline]
fn widened_f16(bits: u16) -> f32 {
    /// Difference of the two formats' exponent offsets, 127 - 15, in its place.
    const OFFSET: u32 = 112 << 23;
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let normal = magnitude + OFFSET;
    // A subnormal has no leading one: give it one, and take it off again as a number.
    let subnormal = f32::from_bits(magnitude + (OFFSET + (1 << 23))) - f32::from_bits(OFFSET + (1 << 23));
    let is_normal = magnitude >= 1 << 23;
    let value = if is_normal { normal } else { subnormal.to_bits() };
    f32::from_bits(value | u32::from(bits & 0x8000) << 16)
}

fn finite(chunk: &[f32], at: usize) -> Result<(), DecodeError> {
    if magnitude_bits(chunk) >= INFINITE_BITS {
        let NotFinite { index } = not_finite(chunk, at * CHUNK);
        return Err(DecodeError::NotFinite { index });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_half_is_widened_exactly_and_nothing_else_is_let_through() {
        for bits in 0..=u16::MAX {
            let (expected, bytes, mut value) = (f16::from_bits(bits), bits.to_le_bytes(), [f32::NAN]);
            let decoded = decode_f16(&bytes, &mut value);
            if expected.is_finite() {
                assert_eq!((decoded, value[0].to_bits()), (Ok(()), expected.to_f32().to_bits()), "{bits:#x}");
            } else {
                assert_eq!(decoded, Err(DecodeError::NotFinite { index: 0 }), "{bits:#x}");
            }
        }
    }

    #[test]
    fn every_finite_bfloat_is_widened_exactly_and_subnormals_are_zero() {
        for bits in 0..=u16::MAX {
            let (expected, bytes, mut value) = (bf16::from_bits(bits), bits.to_le_bytes(), [f32::NAN]);
            let decoded = decode_bf16(&bytes, &mut value);
            if !expected.is_finite() {
                assert_eq!(decoded, Err(DecodeError::NotFinite { index: 0 }), "{bits:#x}");
            } else if expected.to_f32().abs() < f32::MIN_POSITIVE {
                assert_eq!((decoded, value[0]), (Ok(()), 0.0), "{bits:#x}");
            } else {
                assert_eq!((decoded, value[0].to_bits()), (Ok(()), expected.to_f32().to_bits()), "{bits:#x}");
            }
        }
    }
}
