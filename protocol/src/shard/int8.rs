//! `int8`: blocks of 64 values, each with one half-precision scale: 66 bytes a block, 8.25 bits a parameter.
//!
//! A block is its scale (little-endian), then one signed byte a value; a last block may be shorter. Rounding is
//! stochastic, so the expectation of what is decoded is what was encoded (clipped values aside). The scale is rounded
//! up, so the largest value of a block is never out of range; codes lie in -127..=127.

use crate::shard::block::{INFINITE_BITS, magnitude_bits, nearest, read_scale, scale_of};
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
        let (scale, codes) = encode_block(block, at * BLOCK, noise, &mut clipped)?;
        bytes.extend_from_slice(&scale);
        bytes.extend_from_slice(&codes);
    }
    if !rest.is_empty() {
        let mut padded = [0f32; BLOCK];
        padded[..rest.len()].copy_from_slice(rest);
        let (scale, codes) = encode_block(&padded, blocks.len() * BLOCK, noise, &mut clipped)?;
        bytes.extend_from_slice(&scale);
        bytes.extend_from_slice(&codes[..rest.len()]);
    }
    Ok(clipped)
}

/// Scale and codes of one block whose first value stands at element `first`.
#[inline]
fn encode_block(
    block: &[f32; BLOCK],
    first: usize,
    noise: Noise,
    clipped: &mut usize,
) -> Result<([u8; SCALE], [u8; BLOCK]), NotFinite> {
    let magnitude = magnitude_bits(block);
    if magnitude >= INFINITE_BITS {
        return Err(not_finite(block, first));
    }
    let (scale, inverse) = scale_of(block, f32::from_bits(magnitude), LEVELS, clipped);
    let mut codes = [0u8; BLOCK];
    for i in 0..BLOCK {
        // floor(value / scale + u) with u uniform in [0, 1)
        let noisy = block[i] * inverse + noise.centred((first as u32).wrapping_add(i as u32));
        codes[i] = nearest(noisy.clamp(-LEVELS, LEVELS)) as u8;
    }
    Ok((scale, codes))
}

/// Reads the values of blocks whose total length was checked.
pub(crate) fn decode(bytes: &[u8], values: &mut [f32]) -> Result<(), DecodeError> {
    let coded = bytes.chunks(SCALE + BLOCK);
    for (at, (coded, block)) in coded.zip(values.chunks_mut(BLOCK)).enumerate() {
        let (scale, codes) = coded.split_at(SCALE);
        let scale = read_scale([scale[0], scale[1]], at)?;
        let strange = if scale == 0.0 {
            codes.iter().any(|&code| code != 0)
        } else {
            codes.iter().map(|&code| u8::from(code == UNUSED)).fold(0, u8::max) == 1
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
