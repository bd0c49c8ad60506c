//! `int4`: blocks of 32 values, each with one half-precision scale: 18 bytes a block, 4.5 bits a parameter.
//!
//! A block is its scale (little-endian), then 16 bytes: byte j holds value j in its low half and value j + 16 in its
//! high half, each as code + 8 with codes in -7..=7. A last block of n values has ceil(n / 2) bytes and pairs value j
//! with value j + ceil(n / 2); an odd one is padded with the code 0. Rounding is stochastic, as in `int8`.

use crate::shard::block::{INFINITE_BITS, magnitude_bits, nearest, read_scale, scale_for};
use crate::shard::fault::{DecodeError, NotFinite, not_finite};
use crate::shard::noise::Noise;

/// Values of a block.
pub const BLOCK: usize = 32;
/// Largest code.
const LEVELS: f32 = 7.0;
/// Bytes of a scale.
const SCALE: usize = 2;
/// What is added to a code to store it without a sign.
const BIAS: u8 = 8;

/// Bytes of `count` encoded values.
pub(crate) const fn encoded_bytes(count: usize) -> usize {
    (count / BLOCK) * (SCALE + BLOCK / 2)
        + match count % BLOCK {
            0 => 0,
            rest => SCALE + rest.div_ceil(2),
        }
}

/// Appends the encoding of `values`; returns how many were clipped.
pub(crate) fn encode(values: &[f32], noise: Noise, bytes: &mut Vec<u8>) -> Result<usize, NotFinite> {
    let mut clipped = 0;
    for (at, block) in values.chunks(BLOCK).enumerate() {
        let magnitude = magnitude_bits(block);
        if magnitude >= INFINITE_BITS {
            return Err(not_finite(block, at * BLOCK));
        }
        let scale = scale_for(f32::from_bits(magnitude), LEVELS);
        let wide = scale.to_f32();
        let reach = wide * LEVELS;
        if f32::from_bits(magnitude) > reach {
            clipped += block.iter().filter(|value| value.abs() > reach).count();
        }
        let inverse = if wide == 0.0 { 0.0 } else { 1.0 / wide };
        let mut codes = [BIAS; BLOCK];
        let first = (at * BLOCK) as u32;
        match <&[f32; BLOCK]>::try_from(block) {
            // The same loop twice: over an array the compiler can work on several values at once.
            Ok(whole) => round(whole, inverse, noise, first, &mut codes),
            Err(_) => round(block, inverse, noise, first, &mut codes),
        }
        let half = block.len().div_ceil(2);
        let mut packed = [0u8; BLOCK / 2];
        for (j, byte) in packed[..half].iter_mut().enumerate() {
            *byte = codes[j] | codes[j + half] << 4;
        }
        bytes.extend_from_slice(&scale.to_le_bytes());
        bytes.extend_from_slice(&packed[..half]);
    }
    Ok(clipped)
}

/// Rounds to stored codes: `floor(value / scale + u) + 8` with u uniform in `[0, 1)`.
#[inline(always)]
fn round(block: &[f32], inverse: f32, noise: Noise, first: u32, codes: &mut [u8; BLOCK]) {
    for ((index, value), code) in (first..).zip(block).zip(codes) {
        let noisy = value * inverse + noise.centred(index);
        *code = (nearest(noisy.clamp(-LEVELS, LEVELS)) + i32::from(BIAS)) as u8;
    }
}

/// Reads the values of blocks whose total length was checked.
pub(crate) fn decode(bytes: &[u8], values: &mut [f32]) -> Result<(), DecodeError> {
    let coded = bytes.chunks(SCALE + BLOCK / 2);
    for (at, (coded, block)) in coded.zip(values.chunks_mut(BLOCK)).enumerate() {
        let (scale, packed) = coded.split_at(SCALE);
        let scale = read_scale([scale[0], scale[1]], at)?;
        let half = packed.len();
        let mut codes = [BIAS; BLOCK];
        for (j, byte) in packed.iter().enumerate() {
            codes[j] = byte & 15;
            codes[j + half] = byte >> 4;
        }
        let out_of_range = codes.iter().fold(false, |found, &code| found | (code == 0));
        let not_zero = scale == 0.0 && codes.iter().any(|&code| code != BIAS);
        let padding = codes[block.len()..].iter().any(|&code| code != BIAS);
        if out_of_range || not_zero || padding {
            return Err(DecodeError::Code { block: at });
        }
        for (value, code) in block.iter_mut().zip(codes) {
            *value = (f32::from(code) - f32::from(BIAS)) * scale;
        }
    }
    Ok(())
}
