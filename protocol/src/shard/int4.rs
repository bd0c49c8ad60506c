//! `int4`: blocks of 32 values, each with one half-precision scale: 18 bytes a block, 4.5 bits a parameter.
//!
//! A block is its scale (little-endian), then 16 bytes: byte j holds value j in its low half and value j + 16 in its
//! high half, each as code + 8 with codes in -7..=7. A last block of n values has ceil(n / 2) bytes and pairs value j
//! with value j + ceil(n / 2); an odd one is padded with the code 0. Rounding is stochastic, as in `int8`.

use crate::shard::block::{INFINITE_BITS, magnitude_bits, nearest, read_scale, scale_of};
use crate::shard::fault::{DecodeError, NotFinite, not_finite};
use crate::shard::noise::Noise;

/// Values of a block.
pub const BLOCK: usize = 32;
/// Bytes of the codes of a whole block.
const HALF: usize = BLOCK / 2;
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
    let (blocks, rest) = values.as_chunks::<BLOCK>();
    for (at, block) in blocks.iter().enumerate() {
        let (scale, codes) = encode_block(block, at * BLOCK, noise, &mut clipped)?;
        let mut packed = [0u8; HALF];
        for j in 0..HALF {
            packed[j] = codes[j] | codes[j + HALF] << 4;
        }
        bytes.extend_from_slice(&scale);
        bytes.extend_from_slice(&packed);
    }
    if !rest.is_empty() {
        let mut padded = [0f32; BLOCK];
        padded[..rest.len()].copy_from_slice(rest);
        let (scale, mut codes) = encode_block(&padded, blocks.len() * BLOCK, noise, &mut clipped)?;
        codes[rest.len()..].fill(BIAS);
        let half = rest.len().div_ceil(2);
        bytes.extend_from_slice(&scale);
        bytes.extend((0..half).map(|j| codes[j] | codes[j + half] << 4));
    }
    Ok(clipped)
}

/// Scale and stored codes of one block whose first value stands at element `first`.
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
    let mut codes = [BIAS; BLOCK];
    for i in 0..BLOCK {
        // floor(value / scale + u) + 8 with u uniform in [0, 1)
        let noisy = block[i] * inverse + noise.centred((first as u32).wrapping_add(i as u32));
        codes[i] = (nearest(noisy.clamp(-LEVELS, LEVELS)) + i32::from(BIAS)) as u8;
    }
    Ok((scale, codes))
}

/// Reads the values of blocks whose total length was checked.
pub(crate) fn decode(bytes: &[u8], values: &mut [f32]) -> Result<(), DecodeError> {
    let (blocks, rest) = values.as_chunks_mut::<BLOCK>();
    // The last block may be as long as a whole one: 31 values need 16 bytes too.
    let (coded, coded_rest) = bytes.split_at(blocks.len() * (SCALE + HALF));
    let last = blocks.len();
    for (at, (coded, block)) in coded.as_chunks::<{ SCALE + HALF }>().0.iter().zip(blocks).enumerate() {
        let mut codes = [BIAS; BLOCK];
        for j in 0..HALF {
            codes[j] = coded[SCALE + j] & 15;
            codes[j + HALF] = coded[SCALE + j] >> 4;
        }
        *block = decode_block([coded[0], coded[1]], &codes, at)?;
    }
    if let [low, high, packed @ ..] = coded_rest {
        let mut codes = [BIAS; BLOCK];
        for (j, byte) in packed.iter().enumerate() {
            codes[j] = byte & 15;
            codes[j + packed.len()] = byte >> 4;
        }
        if codes[rest.len()..].iter().any(|&code| code != BIAS) {
            return Err(DecodeError::Code { block: last });
        }
        rest.copy_from_slice(&decode_block([*low, *high], &codes, last)?[..rest.len()]);
    }
    Ok(())
}

/// The values of one block of stored codes.
#[inline]
fn decode_block(scale: [u8; SCALE], codes: &[u8; BLOCK], at: usize) -> Result<[f32; BLOCK], DecodeError> {
    let scale = read_scale(scale, at)?;
    let out_of_range = codes.iter().map(|&code| u8::from(code == 0)).fold(0, u8::max) == 1;
    let not_zero = scale == 0.0 && codes.iter().any(|&code| code != BIAS);
    if out_of_range || not_zero {
        return Err(DecodeError::Code { block: at });
    }
    Ok(std::array::from_fn(|i| (i32::from(codes[i]) - i32::from(BIAS)) as f32 * scale))
}
