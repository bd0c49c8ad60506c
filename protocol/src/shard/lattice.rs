//! `lattice4`: four bits a value, read next to what the receiver holds itself (modulo quantization, Lu and De Sa 2020).
//!
//! A value is rounded, stochastically, to a multiple k of the block's cell width, and only k modulo 16 travels. Whoever
//! decodes takes the multiple of that remainder nearest to its own value, which is right while the two differ by less than
//! about eight cells. So the cell follows how far peers are apart, not how far training has come, and four bits are as
//! fine as eight are elsewhere.
//!
//! A block of 64 is its cell (half precision), a check, and 32 bytes of remainders: byte j holds value j in its low half
//! and value j + 32 in its high half. A last block of n values has ceil(n / 2) bytes of them and pairs value j with value
//! j + ceil(n / 2); an odd one is padded with 0. 36 bytes a block, 4.5 bits a parameter.
//!
//! The check sums what does not travel, k / 16 rounded down, with an odd weight for every place, modulo 2^16: a block of
//! which one value was read a multiple of 16 beside the truth is always noticed, one with several except by chance in
//! 65,536. What is read wrongly is not used: the receiver keeps its own values in that block.

use crate::shard::block::{INFINITE_BITS, magnitude_bits, nearest, read_scale, scale_of};
use crate::shard::fault::{DecodeError, NotFinite, not_finite};
use crate::shard::noise::Noise;

/// Values of a block.
pub const BLOCK: usize = 64;
/// Bytes of cell and check.
const HEAD: usize = 4;
/// Bytes of the remainders of a whole block.
const HALF: usize = BLOCK / 2;
/// Largest multiple on either side that is read rightly next to zero.
const PLAIN: f32 = 7.0;
/// Most halvings of the cell below what would be read rightly next to zero: multiples stay far within 2^22.
const FINEST: f32 = 131_072.0;
/// Largest multiple that is written or read; the nearest integer of anything larger is not found by rounding.
const LARGEST: f32 = 1_048_576.0;

/// Bytes of `count` encoded values.
pub(crate) const fn encoded_bytes(count: usize) -> usize {
    (count / BLOCK) * (HEAD + HALF)
        + match count % BLOCK {
            0 => 0,
            rest => HEAD + rest.div_ceil(2),
        }
}

/// Appends the encoding of `values`; returns how many were clipped.
///
/// `cell` is the width to round to, as far as a block needs one that narrow; without it blocks are read rightly next to
/// zero, as `int4` is.
pub(crate) fn encode(
    values: &[f32],
    cell: Option<f32>,
    noise: Noise,
    bytes: &mut Vec<u8>,
) -> Result<usize, NotFinite> {
    let mut clipped = 0;
    for (at, block) in values.chunks(BLOCK).enumerate() {
        encode_block(block, at * BLOCK, cell, noise, &mut clipped, bytes)?;
    }
    Ok(clipped)
}

/// Appends one block whose first value stands at element `first`.
fn encode_block(
    block: &[f32],
    first: usize,
    cell: Option<f32>,
    noise: Noise,
    clipped: &mut usize,
    bytes: &mut Vec<u8>,
) -> Result<(), NotFinite> {
    let magnitude = magnitude_bits(block);
    if magnitude >= INFINITE_BITS {
        return Err(not_finite(block, first));
    }
    let magnitude = f32::from_bits(magnitude);
    let narrow = cell.map_or(magnitude, |cell| (cell * PLAIN).clamp(magnitude / FINEST, magnitude));
    let (scale, inverse) = scale_of(block, narrow, PLAIN, clipped);
    let limit = if narrow < magnitude { LARGEST } else { PLAIN };
    let mut multiples = [0i32; BLOCK];
    for (i, (multiple, value)) in multiples.iter_mut().zip(block).enumerate() {
        // floor(value / cell + u) with u uniform in [0, 1)
        let noisy = value * inverse + noise.centred((first as u32).wrapping_add(i as u32));
        *multiple = nearest(noisy.clamp(-limit, limit));
    }
    let half = block.len().div_ceil(2);
    let remainder = |i: usize| (multiples[i] & 15) as u8;
    bytes.extend_from_slice(&scale);
    bytes.extend_from_slice(&check(&multiples[..block.len()]).to_le_bytes());
    let high = |j: usize| if j + half < block.len() { remainder(j + half) } else { 0 };
    bytes.extend((0..half).map(|j| remainder(j) | high(j) << 4));
    Ok(())
}

/// Sums what does not travel of the multiples of a block.
fn check(multiples: &[i32]) -> u16 {
    let weighed = (0u16..).zip(multiples).map(|(i, k)| {
        let weight = (2 * i + 1).wrapping_mul(0x9e37);
        ((k >> 4) as u16).wrapping_mul(weight)
    });
    weighed.fold(0, u16::wrapping_add)
}

/// Reads the values of blocks whose total length was checked, next to `near`, values of the same length. Returns how many
/// values lie in blocks that could not be read from there; they are those of `near`.
pub(crate) fn decode(bytes: &[u8], near: &[f32], values: &mut [f32]) -> Result<usize, DecodeError> {
    let mut far = 0;
    let blocks = near.chunks(BLOCK).zip(values.chunks_mut(BLOCK));
    for (at, (coded, (near, block))) in bytes.chunks(HEAD + HALF).zip(blocks).enumerate() {
        let &[low, high, first, second, ref remainders @ ..] = coded else {
            return Err(DecodeError::Code { block: at });
        };
        let cell = read_scale([low, high], at)?;
        let expected = u16::from_le_bytes([first, second]);
        let half = block.len().div_ceil(2);
        if cell == 0.0 && (expected != 0 || remainders.iter().any(|pair| *pair != 0)) {
            return Err(DecodeError::Code { block: at });
        }
        if block.len() % 2 == 1 && remainders.last().is_some_and(|pair| pair >> 4 != 0) {
            return Err(DecodeError::Code { block: at });
        }
        let inverse = if cell == 0.0 { 0.0 } else { 1.0 / cell };
        let mut multiples = [0i32; BLOCK];
        for (i, (multiple, near)) in multiples.iter_mut().zip(near).enumerate() {
            let remainder = if i < half { remainders[i] & 15 } else { remainders[i - half] >> 4 };
            let remainder = i32::from(remainder);
            let own = (near * inverse).clamp(-LARGEST, LARGEST);
            *multiple = remainder + 16 * nearest((own - remainder as f32) * (1.0 / 16.0));
        }
        if check(&multiples[..block.len()]) == expected {
            block.iter_mut().zip(&multiples).for_each(|(value, k)| *value = *k as f32 * cell);
        } else {
            block.copy_from_slice(near);
            far += block.len();
        }
    }
    Ok(far)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    fn noise(seed: u64) -> Noise {
        Noise::new(&Seed::from_u64(seed))
    }

    /// Values around `offset`, `spread` wide.
    fn around(offset: f32, spread: f32, len: usize, seed: u64) -> Vec<f32> {
        let mut rng = Seed::from_u64(seed).rng();
        (0..len).map(|_| offset + spread * (rng.unit_f64() as f32 * 2.0 - 1.0)).collect()
    }

    fn coded(values: &[f32], cell: Option<f32>) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(values, cell, noise(1), &mut bytes).unwrap();
        assert_eq!(bytes.len(), encoded_bytes(values.len()));
        bytes
    }

    #[test]
    fn whoever_is_near_reads_far_from_zero_to_a_cell() {
        for len in [1, 2, 63, 64, 65, 130, 1_000] {
            let (theirs, own) = (around(3.0, 0.01, len, 1), around(3.0, 0.01, len, 2));
            let bytes = coded(&theirs, Some(0.005));
            let mut read = vec![0.0; len];
            assert_eq!(decode(&bytes, &own, &mut read), Ok(0));
            for (read, theirs) in read.iter().zip(&theirs) {
                assert!((read - theirs).abs() <= 0.0051, "{read} {theirs}");
            }
        }
    }

    #[test]
    fn whoever_is_far_notices_and_keeps_its_own() {
        let theirs = around(3.0, 0.01, 640, 1);
        let bytes = coded(&theirs, Some(0.005));
        // All off by a multiple of sixteen cells, and one block of ten by one value.
        for (own, expected) in [(around(5.0, 0.01, 640, 2), 640), (theirs.clone(), 64)] {
            let mut own = own;
            if expected == 64 {
                own[200] += 0.2;
            }
            let mut read = vec![0.0; 640];
            assert_eq!(decode(&bytes, &own, &mut read), Ok(expected));
            let kept = own.iter().zip(&read).filter(|(own, read)| own == read).count();
            assert!(kept >= expected, "{kept}");
        }
    }

    #[test]
    fn no_single_value_read_beside_the_truth_passes_the_check() {
        let theirs = around(0.0, 1.0, 64, 1);
        let bytes = coded(&theirs, Some(0.01));
        for place in 0..64 {
            for cells in [16.0, -16.0, 48.0, 16.0 * 4_096.0] {
                let mut own = theirs.clone();
                own[place] += cells * 0.01;
                assert_eq!(decode(&bytes, &own, &mut [0.0; 64]), Ok(64), "{place} {cells}");
            }
        }
    }

    #[test]
    fn rounding_is_right_on_average() {
        let theirs = vec![0.123_4f32; 64];
        let mut sum = 0.0;
        for seed in 0..2_000 {
            let mut bytes = Vec::new();
            encode(&theirs, Some(0.01), noise(seed), &mut bytes).unwrap();
            let mut read = vec![0.0; 64];
            decode(&bytes, &[0.12; 64], &mut read).unwrap();
            sum += f64::from(read[7]);
        }
        // A rounding error has at most half a cell as deviation; the mean of 2,000 has 1.1e-4, of which this is five.
        assert!((sum / 2_000.0 - 0.123_4).abs() < 6e-4, "{}", sum / 2_000.0);
    }

    #[test]
    fn without_a_cell_a_block_is_read_next_to_zero_and_zeros_are_exact() {
        let theirs = around(0.0, 2.0, 200, 1);
        let mut read = vec![9.0; 200];
        assert_eq!(decode(&coded(&theirs, None), &[0.0; 200], &mut read), Ok(0));
        assert!(read.iter().zip(&theirs).all(|(r, t)| (r - t).abs() < 2.0 / 7.0 * 1.01));
        assert_eq!(decode(&coded(&[0.0; 70], Some(0.1)), &[5.0; 70], &mut read[..70]), Ok(0));
        assert!(read[..70].iter().all(|r| *r == 0.0));
        // Peers that agree to the last bit still say what they have.
        let bytes = coded(&theirs, Some(0.0));
        assert_eq!(decode(&bytes, &theirs, &mut read), Ok(0));
        assert!(read.iter().zip(&theirs).all(|(r, t)| (r - t).abs() < 1e-5));
    }

    #[test]
    fn bytes_no_encoder_writes_are_refused() {
        let mut bytes = coded(&[0.5], Some(0.1));
        bytes[4] |= 0x10;
        assert_eq!(decode(&bytes, &[0.5], &mut [0.0]), Err(DecodeError::Code { block: 0 }));
        let mut zero = coded(&[0.0; 64], None);
        zero[2] = 1;
        assert_eq!(decode(&zero, &[0.0; 64], &mut [0.0; 64]), Err(DecodeError::Code { block: 0 }));
        let mut scale = coded(&[0.5; 64], None);
        scale[1] = 0xfc;
        assert!(matches!(
            decode(&scale, &[0.5; 64], &mut [0.0; 64]),
            Err(DecodeError::Scale { block: 0, .. })
        ));
        let mut not = Vec::new();
        let found = encode(&[0.0, f32::NAN], None, noise(1), &mut not);
        assert_eq!(found, Err(NotFinite { index: 1 }));
    }
}
