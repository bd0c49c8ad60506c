//! `int8`: blocks of 64 values, each with one half-precision scale: 66 bytes a block, 8.25 bits a parameter.
//!
//! A block is its scale (little-endian), then one signed byte a value; a last block may be shorter. Rounding is
//! stochastic, so the expectation of what is decoded is what was encoded (clipped values aside). The scale is rounded
//! up, so the largest value of a block is never out of range; codes lie in -127..=127.

use crate::shard::block::{INFINITE_BITS, magnitude_bits, nearest, read_scale, scale_for};
use crate::shard::fault::{DecodeError, NotFinite, not_finite};
use crate::shard::noise::Noise;

/// Values of a block.
pub const BLOCK: usize = 64;
/// Largest code.
const LEVELS: f32 = 127.0;
/// Bytes of a scale.
const SCALE: usize = 2;
/// The code no encoder writes.
const UNUSED: u8 = 0x80;

/// Bytes of `count` encoded values.
pub(crate) const fn encoded_bytes(count: usize) -> usize {
    count + SCALE * count.div_ceil(BLOCK)
}

/// Appends the encoding of `values`; returns how many were clipped.
pub(crate) fn encode(values: &[f32], noise: Noise, bytes: &mut Vec<u8>) -> Result<usize, NotFinite> {
    let mut clipped = 0;
    let (blocks, rest) = values.as_chunks::<BLOCK>();
    for (at, block) in blocks.iter().enumerate() {
        let first = at * BLOCK;
        let (scale, inverse) = scale_of(block, first, &mut clipped)?;
        let mut coded = [0u8; SCALE + BLOCK];
        coded[..SCALE].copy_from_slice(&scale);
        let (_, codes) = coded.split_at_mut(SCALE);
        round(block, inverse, noise, first as u32, codes);
        bytes.extend_from_slice(&coded);
    }
    if !rest.is_empty() {
        let first = blocks.len() * BLOCK;
        let (scale, inverse) = scale_of(rest, first, &mut clipped)?;
        let mut codes = [0u8; BLOCK];
        round(rest, inverse, noise, first as u32, &mut codes);
        bytes.extend_from_slice(&scale);
        bytes.extend_from_slice(&codes[..rest.len()]);
    }
    Ok(clipped)
}

/// The scale's bytes and its inverse (0 for an all-zero block).
#[inline(always)]
fn scale_of(block: &[f32], first: usize, clipped: &mut usize) -> Result<([u8; 2], f32), NotFinite> {
    let bits = magnitude_bits(block);
    if bits >= INFINITE_BITS {
        return Err(not_finite(block, first));
    }
    let scale = scale_for(f32::from_bits(bits), LEVELS);
    let wide = scale.to_f32();
    let reach = wide * LEVELS;
    if f32::from_bits(bits) > reach {
        *clipped += block.iter().filter(|value| value.abs() > reach).count();
    }
    let inverse = if wide == 0.0 { 0.0 } else { 1.0 / wide };
    Ok((scale.to_le_bytes(), inverse))
}

/// Rounds to codes: `floor(value / scale + u)` with u uniform in `[0, 1)`.
#[inline(always)]
fn round(block: &[f32], inverse: f32, noise: Noise, first: u32, codes: &mut [u8]) {
    for ((index, value), code) in (first..).zip(block).zip(codes) {
        let noisy = value * inverse + noise.centred(index);
        *code = nearest(noisy.clamp(-LEVELS, LEVELS)) as u8;
    }
}

/// Reads the values of blocks whose total length was checked.
pub(crate) fn decode(bytes: &[u8], values: &mut [f32]) -> Result<(), DecodeError> {
    let coded = bytes.chunks(SCALE + BLOCK);
    for (at, (coded, block)) in coded.zip(values.chunks_mut(BLOCK)).enumerate() {
        let (scale, codes) = coded.split_at(SCALE);
        let scale = read_scale([scale[0], scale[1]], at)?;
        let strange = match scale == 0.0 {
            true => codes.iter().any(|&code| code != 0),
            false => codes.iter().fold(false, |found, &code| found | (code == UNUSED)),
        };
        if strange {
            return Err(DecodeError::Code { block: at });
        }
        for (value, code) in block.iter_mut().zip(codes) {
            *value = f32::from(*code as i8) * scale;
        }
    }
    Ok(())
}
