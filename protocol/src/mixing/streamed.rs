//! The mean straight from encoded shards: each is decoded a block at a time, measured and added while it is near the
//! processor.
//!
//! It exists because decoding whole shards first costs more in memory traffic than all the arithmetic. Its result and
//! its distances are those of decoding, measuring and `mean` of `rule`, to the last bit. Which shards are plausible is
//! only known when all of them are measured: mean them, judge, and mean the rest again if one is refused.

use std::ops::Range;

use crate::shard::block::{INFINITE_BITS, magnitude_bits};
use crate::shard::cut::CUT_ELEMENTS;
use crate::shard::distance::{BLOCK, block_distance_squared};
use crate::shard::fault::DecodeError;
use crate::shard::topk;
use crate::wire::choice::Codec;

/// A shard as it travelled: a delta from genesis.
#[derive(Clone, Copy, Debug)]
pub struct CodedShard<'a> {
    /// How it is encoded.
    pub codec: Codec,
    /// The bytes, not checked yet.
    pub bytes: &'a [u8],
}

/// What the mean found on its way.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Squared distance of the own vector from genesis.
    pub own_square: f64,
    /// Squared distance of each shard from the own vector.
    pub squares: Vec<f64>,
    /// Values of each shard that could not be read next to the own ones, which stand in their place.
    pub far: Vec<usize>,
    /// Whether every value of the mean is finite; if not, keep the own vector.
    pub is_finite: bool,
}

/// A shard that does not decode; what was written is meaningless. Leave it out and mean again.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[error("the shard at place {place} does not decode: {fault}")]
pub struct Undecodable {
    /// Its place among the shards.
    pub place: usize,
    /// What is wrong with it.
    pub fault: DecodeError,
}

/// Writes the mean of `own` and every `genesis` + shard into `out`; all slices are one shard's elements.
pub fn mean(
    own: &[f32],
    genesis: &[f32],
    shards: &[CodedShard<'_>],
    out: &mut [f32],
) -> Result<Measured, Undecodable> {
    assert!(own.len() == genesis.len() && own.len() == out.len(), "a shard has one length");
    for (place, shard) in shards.iter().enumerate() {
        let (expected, found) = (shard.codec.encoded_bytes(own.len()), shard.bytes.len());
        if expected != found {
            return Err(Undecodable { place, fault: DecodeError::Length { expected, found } });
        }
    }
    let weight = (1.0 / (shards.len() + 1) as f64) as f32;
    let mut measured = Measured {
        own_square: 0.0,
        squares: vec![0.0; shards.len()],
        far: vec![0; shards.len()],
        is_finite: true,
    };
    let (mut room, mut near) = ([0f32; BLOCK], [0f32; BLOCK]);
    let is_relative = shards.iter().any(|shard| shard.codec.is_relative());
    for (at, out) in out.chunks_mut(BLOCK).enumerate() {
        let part = at * BLOCK..at * BLOCK + out.len();
        let theirs = &mut room[..out.len()];
        let (own, genesis) = (&own[part.clone()], &genesis[part.clone()]);
        measured.own_square += block_distance_squared(own, genesis);
        if is_relative {
            near.iter_mut().zip(own.iter().zip(genesis)).for_each(|(n, (own, genesis))| *n = own - genesis);
        }
        let near = &near[..out.len()];
        out.fill(0.0);
        for (place, shard) in shards.iter().enumerate() {
            let far =
                shard.decode(part.clone(), near, theirs).map_err(|fault| Undecodable { place, fault })?;
            measured.far[place] += far;
            for (((sum, theirs), own), genesis) in out.iter_mut().zip(theirs.iter_mut()).zip(own).zip(genesis)
            {
                *theirs += genesis;
                *sum += *theirs - own;
            }
            measured.squares[place] += block_distance_squared(theirs, own);
        }
        for (out, own) in out.iter_mut().zip(own) {
            *out = own + *out * weight;
        }
        measured.is_finite &= magnitude_bits(out) < INFINITE_BITS;
    }
    Ok(measured)
}

impl CodedShard<'_> {
    /// Decodes the elements of `part`, which begins at a whole block of every codec; the length was checked.
    fn decode(&self, part: Range<usize>, near: &[f32], values: &mut [f32]) -> Result<usize, DecodeError> {
        let bytes = self.codec.encoded_bytes(part.start)..self.codec.encoded_bytes(part.end);
        self.codec.decode_near(&self.bytes[bytes], near, values)
    }
}

const _: () = assert!(
    BLOCK.is_multiple_of(CUT_ELEMENTS) && BLOCK.is_multiple_of(topk::BLOCK),
    "a part begins at a whole block"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mixing::rule::mix;
    use crate::rng::Seed;
    use crate::shard::distance::distance_squared;
    use crate::wire::choice::Rule;

    fn vector(seed: u64, len: usize) -> Vec<f32> {
        let mut rng = Seed::from_u64(seed).rng();
        (0..len).map(|_| (rng.unit_f64() - 0.5) as f32).collect()
    }

    fn encoded(codec: Codec, seed: u64, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        codec.encode(&vector(seed, len), &Seed::from_u64(seed), &mut bytes).expect("finite values encode");
        bytes
    }

    fn views(shards: &[(Codec, Vec<u8>)]) -> Vec<CodedShard<'_>> {
        shards.iter().map(|(codec, bytes)| CodedShard { codec: *codec, bytes }).collect()
    }

    #[test]
    fn mean_and_distances_are_those_of_decoding_first_to_the_last_bit() {
        for len in [1, 63, 1_024, 5_000, 5_055] {
            let (own, genesis) = (vector(1, len), vector(2, len));
            let shards: Vec<(Codec, Vec<u8>)> =
                (3..).zip(Codec::ALL).map(|(seed, &codec)| (codec, encoded(codec, seed, len))).collect();
            let near: Vec<f32> = own.iter().zip(&genesis).map(|(own, genesis)| own - genesis).collect();
            let mut out = vec![f32::NAN; len];
            let measured = mean(&own, &genesis, &views(&shards), &mut out).unwrap();
            let decoded: Vec<Vec<f32>> = shards
                .iter()
                .map(|(codec, bytes)| {
                    let mut theirs = vec![0.0; len];
                    codec.decode_near(bytes, &near, &mut theirs).unwrap();
                    theirs.iter_mut().zip(&genesis).for_each(|(y, g)| *y += g);
                    theirs
                })
                .collect();
            let theirs: Vec<&[f32]> = decoded.iter().map(Vec::as_slice).collect();
            let mut expected = vec![0.0; len];
            mix(Rule::Mean, 0, &own, &theirs, &mut expected).unwrap();
            assert_eq!(out, expected);
            assert_eq!(measured.own_square, distance_squared(&own, &genesis));
            let squares: Vec<f64> = theirs.iter().map(|y| distance_squared(y, &own)).collect();
            assert_eq!(measured.squares, squares);
            assert!(measured.is_finite);
        }
    }

    #[test]
    fn the_mean_of_nothing_is_the_own_vector() {
        let (own, genesis) = (vector(1, 2_000), vector(2, 2_000));
        let mut out = vec![f32::NAN; 2_000];
        assert!(mean(&own, &genesis, &[], &mut out).unwrap().squares.is_empty());
        assert_eq!(out, own);
    }

    #[test]
    fn a_shard_that_does_not_decode_is_named() {
        let len = 3_000;
        let (own, genesis) = (vector(1, len), vector(2, len));
        let good = (Codec::F16, encoded(Codec::F16, 3, len));
        let mut bad = encoded(Codec::F16, 4, len);
        bad.truncate(bad.len() - 2);
        let mut out = vec![0.0; len];
        let found = mean(&own, &genesis, &views(&[good.clone(), (Codec::F16, bad)]), &mut out).unwrap_err();
        assert_eq!(
            found,
            Undecodable { place: 1, fault: DecodeError::Length { expected: 6_000, found: 5_998 } }
        );
        let mut nan = encoded(Codec::F32, 5, len);
        nan[4 * (len - 1)..].copy_from_slice(&f32::NAN.to_le_bytes());
        let found = mean(&own, &genesis, &views(&[(Codec::F32, nan), good]), &mut out).unwrap_err();
        assert_eq!(found.place, 0);
        assert!(matches!(found.fault, DecodeError::NotFinite { .. }));
    }

    #[test]
    fn a_mean_beyond_32_bits_is_told() {
        let far = |value: f32| {
            let mut bytes = Vec::new();
            Codec::F32.encode(&[value; 100], &Seed::from_u64(1), &mut bytes).expect("finite values encode");
            (Codec::F32, bytes)
        };
        let shards = [far(f32::MAX), far(f32::MAX)];
        let measured = mean(&[-f32::MAX; 100], &[0.0; 100], &views(&shards), &mut [0.0; 100]).unwrap();
        assert!(!measured.is_finite);
    }
}
