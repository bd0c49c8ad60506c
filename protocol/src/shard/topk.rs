//! `topk`: of every sixteen values one, those that moved farthest from what this peer last said of them.
//!
//! A sparse update is usually a change: whoever follows one author without a gap adds the changes up, and what the author
//! left out goes into its next one (error feedback). Nobody follows anybody here: every shard of every step is drawn from
//! other peers, and no two of them hold a base in common except genesis. Against genesis alone most of a trained vector
//! would be lost each time. So a place that is said is said whole, as its value in the delta to genesis, and takes the
//! place of what was said of it before; it can be read by anybody, at any time, and a lost update breaks nothing. Where
//! nothing is said the receiver reads its own value, so that the mean moves it there by nothing.
//!
//! What the author keeps is for its choice alone: its own values as its updates so far have told them. The difference
//! from them holds everything left out and every rounding error since, and the largest differences are said next: that is
//! the error feedback. An author that lost this memory chooses worse for a while and is read as rightly as before. Whole
//! updates in between (`stage::plan`) tell everything again, for joiners and for what a draw missed.
//!
//! A block of 1,024 values, of which k are said, is one scale (half precision), k signed bytes, and the k places, rising,
//! as Elias and Fano wrote them: the low four bits of each, two in a byte, the first in the low half; then 2k bits, of
//! which bit p / 16 + j, rounded down, is set for the j-th place p. A last block of n values says k = ceil(n / 16); what
//! is left of a byte is 0. 114 bytes a block, 0.89 bits a parameter. The length follows from the number of values, and
//! every choice of places has one form.

use crate::shard::block::{INFINITE_BITS, magnitude_bits, nearest, read_scale, scale_of};
use crate::shard::fault::{DecodeError, NotFinite, not_finite};
use crate::shard::noise::Noise;

/// Values of a block.
pub const BLOCK: usize = 1024;
/// Values of which one is said.
pub const ONE_IN: usize = 16;
/// Most values of a block that are said.
const MOST: usize = BLOCK / ONE_IN;
/// Largest code.
const LEVELS: f32 = 127.0;
/// Bytes of a scale.
const SCALE: usize = 2;
/// The code no encoder writes.
const UNUSED: u8 = 0x80;

const _: () = assert!(ONE_IN == 16, "half a byte holds the place among so many");

/// How many of `count` values of a block are said.
const fn said_of(count: usize) -> usize {
    count.div_ceil(ONE_IN)
}

/// Bytes of a block of `count` values.
const fn block_bytes(count: usize) -> usize {
    let said = said_of(count);
    SCALE + said + said.div_ceil(2) + said.div_ceil(4)
}

/// Bytes of `count` encoded values.
pub(crate) const fn encoded_bytes(count: usize) -> usize {
    (count / BLOCK) * block_bytes(BLOCK)
        + match count % BLOCK {
            0 => 0,
            rest => block_bytes(rest),
        }
}

/// Appends the encoding of those of `values` that differ most from `said`, of the same length, or empty where nothing was
/// said before; returns how many were clipped.
pub(crate) fn encode(
    values: &[f32],
    said: &[f32],
    noise: Noise,
    bytes: &mut Vec<u8>,
) -> Result<usize, NotFinite> {
    assert!(said.is_empty() || said.len() == values.len(), "a shard has one length");
    let mut clipped = 0;
    for (at, block) in values.chunks(BLOCK).enumerate() {
        let first = at * BLOCK;
        if magnitude_bits(block) >= INFINITE_BITS {
            return Err(not_finite(block, first));
        }
        let said = if said.is_empty() { said } else { &said[first..first + block.len()] };
        encode_block(block, said, first, noise, &mut clipped, bytes);
    }
    Ok(clipped)
}

/// Appends one block of finite values, the first of which stands at element `first`.
fn encode_block(
    block: &[f32],
    said: &[f32],
    first: usize,
    noise: Noise,
    clipped: &mut usize,
    bytes: &mut Vec<u8>,
) {
    let (mut places, mut chosen) = ([0usize; MOST], [0f32; MOST]);
    let count = said_of(block.len());
    let (places, chosen) = (&mut places[..count], &mut chosen[..count]);
    choose(block, said, places);
    chosen.iter_mut().zip(&*places).for_each(|(value, place)| *value = block[*place]);
    let (scale, inverse) = scale_of(chosen, f32::from_bits(magnitude_bits(chosen)), LEVELS, clipped);
    bytes.extend_from_slice(&scale);
    bytes.extend(chosen.iter().zip(&*places).map(|(value, place)| {
        // floor(value / scale + u) with u uniform in [0, 1)
        let noisy = value * inverse + noise.centred((first as u32).wrapping_add(*place as u32));
        nearest(noisy.clamp(-LEVELS, LEVELS)) as u8
    }));
    let low = |place: &usize| (place % ONE_IN) as u8;
    bytes.extend(places.chunks(2).map(|pair| low(&pair[0]) | pair.get(1).map_or(0, low) << 4));
    let start = bytes.len();
    bytes.resize(start + count.div_ceil(4), 0);
    for (j, place) in places.iter().enumerate() {
        let bit = place / ONE_IN + j;
        bytes[start + bit / 8] |= 1 << (bit % 8);
    }
}

/// Fills `places` with those of the values of `block` farthest from `said`, rising; of equals the first.
fn choose(block: &[f32], said: &[f32], places: &mut [usize]) {
    let mut keys = [0u64; BLOCK];
    let keys = &mut keys[..block.len()];
    for (place, (key, value)) in keys.iter_mut().zip(block).enumerate() {
        let moved = value - said.get(place).copied().unwrap_or(0.0);
        // Farthest first, then by place: no two keys are alike, so the choice is one on every platform.
        *key = u64::from(u32::MAX - (moved.to_bits() & 0x7fff_ffff)) << 32 | place as u64;
    }
    if places.len() < keys.len() {
        keys.select_nth_unstable(places.len());
    }
    places.iter_mut().zip(keys).for_each(|(place, key)| *place = (*key & 0xffff_ffff) as usize);
    places.sort_unstable();
}

/// Reads blocks whose total length was checked into `values`, which hold the reader's own and keep them where nothing is
/// said.
pub(crate) fn decode(mut bytes: &[u8], values: &mut [f32]) -> Result<(), DecodeError> {
    for (at, block) in values.chunks_mut(BLOCK).enumerate() {
        let (coded, rest) = bytes.split_at(block_bytes(block.len()));
        decode_block(coded, block, at)?;
        bytes = rest;
    }
    Ok(())
}

fn decode_block(coded: &[u8], block: &mut [f32], at: usize) -> Result<(), DecodeError> {
    let count = said_of(block.len());
    let (scale, rest) = coded.split_at(SCALE);
    let (codes, rest) = rest.split_at(count);
    let (lows, highs) = rest.split_at(count.div_ceil(2));
    let scale = read_scale([scale[0], scale[1]], at)?;
    if codes.iter().any(|&code| code == UNUSED || scale == 0.0 && code != 0) {
        return Err(DecodeError::Code { block: at });
    }
    let strange = DecodeError::Place { block: at };
    if count % 2 == 1 && lows.last().is_some_and(|pair| pair >> 4 != 0) {
        return Err(strange);
    }
    let (mut found, mut free) = (0, 0);
    for (byte, &bits) in highs.iter().enumerate() {
        let mut bits = bits;
        while bits != 0 {
            let bit = byte * 8 + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let Some(code) = codes.get(found) else { return Err(strange) };
            let low = lows[found / 2] >> (found % 2 * 4) & 15;
            let place = (bit - found) * ONE_IN + usize::from(low);
            // Bits beyond the last place give places beyond the block.
            if place < free || place >= block.len() {
                return Err(strange);
            }
            block[place] = f32::from(*code as i8) * scale;
            (found, free) = (found + 1, place + 1);
        }
    }
    if found == count { Ok(()) } else { Err(strange) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rng::Seed;

    fn noise(seed: u64) -> Noise {
        Noise::new(&Seed::from_u64(seed))
    }

    fn vector(seed: u64, len: usize) -> Vec<f32> {
        let mut rng = Seed::from_u64(seed).rng();
        (0..len).map(|_| rng.unit_f64() as f32 - 0.5).collect()
    }

    fn coded(values: &[f32], said: &[f32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(values, said, noise(1), &mut bytes).unwrap();
        assert_eq!(bytes.len(), encoded_bytes(values.len()));
        bytes
    }

    fn read_next_to(own: &[f32], bytes: &[u8]) -> Vec<f32> {
        let mut values = own.to_vec();
        decode(bytes, &mut values).unwrap();
        values
    }

    #[test]
    fn what_moved_farthest_is_said_whole_and_the_rest_is_the_readers_own() {
        for len in [1, 2, 15, 16, 17, 33, 259, 1_023, 1_024, 1_025, 5_000] {
            let (theirs, said, own) = (vector(1, len), vector(2, len), vector(3, len));
            let read = read_next_to(&own, &coded(&theirs, &said));
            for start in (0..len).step_by(BLOCK) {
                let block = start..len.min(start + BLOCK);
                let moved = |i: &usize| (theirs[*i] - said[*i]).abs();
                let (told, kept): (Vec<usize>, Vec<usize>) = block.clone().partition(|i| read[*i] != own[*i]);
                assert_eq!(told.len(), block.len().div_ceil(ONE_IN), "{len}");
                assert!(told.iter().all(|i| (read[*i] - theirs[*i]).abs() <= 0.5 / 127.0 * 1.01));
                let least = told.iter().map(moved).fold(f32::INFINITY, f32::min);
                assert!(kept.iter().map(moved).all(|moved| moved <= least), "{len}");
            }
        }
    }

    #[test]
    fn what_was_left_out_comes_next_until_all_of_a_standing_vector_is_told() {
        let theirs = vector(1, 1_500);
        let mut told = vec![0.0; 1_500];
        let error = |told: &[f32]| told.iter().zip(&theirs).map(|(t, v)| (t - v).abs()).fold(0.0, f32::max);
        let mut errors = Vec::new();
        for step in 0..=ONE_IN as u64 {
            let mut bytes = Vec::new();
            encode(&theirs, &told, noise(step), &mut bytes).unwrap();
            decode(&bytes, &mut told).unwrap();
            errors.push(error(&told));
        }
        assert!(errors[ONE_IN - 2] > 0.5 / 127.0 * 1.01, "the smallest has not had its turn: {errors:?}");
        assert!(errors[ONE_IN] <= 0.5 / 127.0 * 1.01, "{errors:?}");
    }

    #[test]
    fn a_small_change_that_lasts_has_its_turn_beside_large_ones() {
        // Sixty-four values jump by one every step, all others creep by a hundredth.
        let (mut theirs, mut told) = (vec![0.0f32; BLOCK], vec![0.0; BLOCK]);
        let mut turns = 0;
        for step in 0..800 {
            for (i, value) in theirs.iter_mut().enumerate() {
                *value = if i < MOST { (step % 2) as f32 } else { *value + 0.01 };
            }
            let before = told.clone();
            decode(&coded(&theirs, &told), &mut told).unwrap();
            turns += before[MOST..].iter().zip(&told[MOST..]).filter(|(b, t)| b != t).count();
        }
        // Each falls behind by one in a hundred steps; then it is as far as those that jump.
        assert!(turns >= 4 * (BLOCK - MOST), "{turns}");
    }

    #[test]
    fn of_equals_the_first_are_said_and_zeros_are_exact() {
        let read = read_next_to(&[9.0; 40], &coded(&[0.25; 40], &[]));
        assert!(read[..3].iter().all(|r| (r - 0.25).abs() < 0.003) && read[3..].iter().all(|r| *r == 9.0));
        let read = read_next_to(&[9.0; 40], &coded(&[0.0; 40], &vector(1, 40)));
        assert_eq!(read.iter().filter(|r| **r == 0.0).count(), 3);
    }

    #[test]
    fn rounding_is_right_on_average() {
        let theirs = [1.0f32, 0.123_4];
        let mut sum = 0.0;
        for seed in 0..2_000 {
            let mut bytes = Vec::new();
            // 17 values say two: the first sets the scale.
            let values: Vec<f32> = theirs.iter().copied().chain([0.0; 15]).collect();
            encode(&values, &[], noise(seed), &mut bytes).unwrap();
            sum += f64::from(read_next_to(&[0.0; 17], &bytes)[1]);
        }
        // A rounding error deviates by at most half a code; the mean of 2,000 by 8.8e-5, of which this is five.
        assert!((sum / 2_000.0 - 0.123_4).abs() < 4.4e-4, "{}", sum / 2_000.0);
    }

    #[test]
    fn a_whole_block_takes_114_bytes() {
        assert_eq!(encoded_bytes(BLOCK), 114);
        assert_eq!(encoded_bytes(10 * BLOCK + 17), 1_140 + 2 + 2 + 1 + 1);
        assert_eq!([encoded_bytes(0), encoded_bytes(1), encoded_bytes(64)], [0, 5, 9]);
    }

    #[test]
    fn every_choice_of_places_has_exactly_one_form() {
        // 17 values say two: 65,536 ways to write two bytes of places.
        let mut seen = BTreeSet::new();
        for (lows, highs) in (0..=255).flat_map(|lows| (0..=255).map(move |highs| (lows, highs))) {
            let mut values = [0.0; 17];
            if decode(&[0, 0x3c, 1, 1, lows, highs], &mut values).is_ok() {
                let places: Vec<usize> = (0..17).filter(|place| values[*place] == 1.0).collect();
                assert_eq!(places.len(), 2, "{lows} {highs}");
                assert!(seen.insert(places), "{lows} {highs}");
            }
        }
        assert_eq!(seen.len(), 17 * 16 / 2);
    }

    /// Row 52 of the catalogue of bad input: places out of range, out of order, twice, too few and too many.
    #[test]
    fn places_no_encoder_writes_are_refused() {
        // 40 values say three, at 0, 5 and 39: scale, codes, low halves, then the bits 0, 1 and 2 + 2.
        let good = [0, 0x3c, 1, 2, 3, 0x50, 0x07, 0b1_0011];
        let mut expected = vec![9.0; 40];
        (expected[0], expected[5], expected[39]) = (1.0, 2.0, 3.0);
        assert_eq!(read_next_to(&[9.0; 40], &good), expected);
        let place = Err(DecodeError::Place { block: 0 });
        let code = Err(DecodeError::Code { block: 0 });
        let rows = [
            ("the same place twice", 5, 0x00, place),
            ("not rising", 5, 0x0f, place),
            ("beyond the end of the block", 6, 0x08, place),
            ("half a byte of places left over", 6, 0x17, place),
            ("fewer than are said", 7, 0b0_0011, place),
            ("more than are said", 7, 0b11_0011, place),
            ("in a group beyond the block", 7, 0b10_0011, place),
            ("in a group far beyond the block", 7, 0b1000_0011, place),
            ("none", 7, 0, place),
            ("all bits", 7, 0xff, place),
            ("the unused code", 3, UNUSED, code),
        ];
        for (what, at, byte, expected) in rows {
            let mut bytes = good;
            bytes[at] = byte;
            assert_eq!(decode(&bytes, &mut [9.0; 40]), expected, "{what}");
        }
        let mut zero = good;
        zero[1] = 0;
        assert_eq!(decode(&zero, &mut [9.0; 40]), code, "codes under scale 0");
        for bits in [0x7c00u16, 0x7e00, 0xfc00, 0xbc00, 0x8000] {
            let mut bytes = good;
            bytes[..2].copy_from_slice(&bits.to_le_bytes());
            assert_eq!(decode(&bytes, &mut [9.0; 40]), Err(DecodeError::Scale { block: 0, bits }));
        }
    }
}
