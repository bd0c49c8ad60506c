//! A short random projection of a long vector, from which distances can be estimated.
//!
//! A count sketch (Charikar, Chen and Farach-Colton 2002): every coordinate is added with a random sign to one of 256
//! buckets. It is linear, so the sketch of a difference is the difference of sketches, and its square estimates the
//! squared norm without bias with a standard deviation of at most sqrt(2 / 256), about 9 %, of it. It proves nothing
//! about vectors made by somebody who knows the seed; the distance gate of `mixing` does not rest on it.

use crate::crypto::hash::blake3_of;
use crate::id::RunId;
use crate::limits::SKETCH_LEN;
use crate::rng::Seed;
use crate::shard::noise::Noise;

const _: () = assert!(SKETCH_LEN == 256, "the top byte of a number names the bucket");

/// Numbers drawn at a time; a multiple of every shard boundary divides 2^32, where the counter starts over.
const CHUNK: usize = 512;

/// The projection all members of a run share.
#[derive(Clone, Debug)]
pub struct Sketcher {
    seed: Seed,
}

impl Sketcher {
    /// The projection of a run.
    pub fn of_run(run: &RunId) -> Self {
        Self::new(Seed::from_bytes(blake3_of("starling/sketch/1", &[&run.0.0]).0))
    }

    /// The projection that belongs to a seed.
    pub fn new(seed: Seed) -> Self {
        Self { seed }
    }

    /// Adds the coordinates `values`, the first of which stands at `offset` of the whole vector, to a sketch.
    ///
    /// Shards may be added in any order; the last bits depend on it. `sketch` must have `SKETCH_LEN` values.
    pub fn add(&self, offset: usize, values: &[f32], sketch: &mut [f32]) {
        let sketch: &mut [f32; SKETCH_LEN] =
            sketch.try_into().expect("the caller made the sketch with SKETCH_LEN values");
        let mut at = offset as u64;
        let mut rest = values;
        while !rest.is_empty() {
            // Coordinates 2^32 apart get another function instead of the same numbers again.
            let period = at >> 32;
            let left = (((period + 1) << 32) - at).min(rest.len() as u64) as usize;
            let (now, later) = rest.split_at(left);
            add_within(Noise::new(&self.seed.fork_index(period)), at as u32, now, sketch);
            rest = later;
            at += left as u64;
        }
    }

    /// The sketch of a whole vector: `SKETCH_LEN` values.
    pub fn sketch(&self, values: &[f32]) -> Vec<f32> {
        let mut sketch = vec![0.0; SKETCH_LEN];
        self.add(0, values, &mut sketch);
        sketch
    }
}

/// The sketch of a whole vector under a seed: `SKETCH_LEN` values.
pub fn sketch(values: &[f32], seed: &Seed) -> Vec<f32> {
    Sketcher::new(seed.clone()).sketch(values)
}

/// Estimates the squared Euclidean distance of two vectors from their sketches.
///
/// Infinite or NaN when a sketch is; sketches of different length are compared as far as the shorter goes.
pub fn distance_squared(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

fn add_within(noise: Noise, first: u32, values: &[f32], sketch: &mut [f32; SKETCH_LEN]) {
    let mut numbers = [0u32; CHUNK];
    for (at, chunk) in values.chunks(CHUNK).enumerate() {
        let start = first.wrapping_add((at * CHUNK) as u32);
        for (i, number) in (0u32..).zip(numbers.iter_mut()) {
            *number = noise.bits(start.wrapping_add(i));
        }
        for (value, number) in chunk.iter().zip(&numbers) {
            // The lowest bit becomes the sign, the top byte the bucket.
            let signed = f32::from_bits(value.to_bits() ^ number << 31);
            sketch[(number >> 24) as usize] += signed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(seed: u64, len: usize) -> Vec<f32> {
        let mut rng = Seed::from_u64(seed).rng();
        (0..len).map(|_| (rng.unit_f64() * 2.0 - 1.0) as f32).collect()
    }

    #[test]
    fn shards_added_one_by_one_give_the_sketch_of_the_whole() {
        let values = vector(1, 5_000);
        let sketcher = Sketcher::of_run(&RunId(crate::id::Hash([3; 32])));
        let whole = sketcher.sketch(&values);
        let mut parts = vec![0.0; SKETCH_LEN];
        for (at, shard) in values.chunks(640).enumerate() {
            sketcher.add(at * 640, shard, &mut parts);
        }
        assert_eq!(whole, parts);
    }

    #[test]
    fn coordinates_a_period_apart_get_other_numbers() {
        let sketcher = Sketcher::new(Seed::from_u64(1));
        let sketch_at = |offset: usize| {
            let mut sketch = vec![0.0; SKETCH_LEN];
            sketcher.add(offset, &vector(2, 64), &mut sketch);
            sketch
        };
        assert_ne!(sketch_at(0), sketch_at(1 << 32));
        // Across the border: the same as in two pieces.
        let border = (1 << 32) - 32;
        let mut pieces = vec![0.0; SKETCH_LEN];
        sketcher.add(border, &vector(2, 64)[..32], &mut pieces);
        sketcher.add(1 << 32, &vector(2, 64)[32..], &mut pieces);
        assert_eq!(sketch_at(border), pieces);
    }

    #[test]
    fn the_estimate_is_unbiased_and_within_its_deviation() {
        let (a, b) = (vector(5, 20_000), vector(6, 20_000));
        let exact: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        let ratios: Vec<f64> = (0..200)
            .map(|s| {
                let seed = Seed::from_u64(s);
                distance_squared(&sketch(&a, &seed), &sketch(&b, &seed)) / exact
            })
            .collect();
        let mean = ratios.iter().sum::<f64>() / 200.0;
        let deviation = (ratios.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / 199.0).sqrt();
        // The deviation is sqrt(2 / 256) = 0.088; the mean of 200 has a fourteenth of it, five of which are 0.031.
        assert!((mean - 1.0).abs() < 0.031, "{mean}");
        assert!((0.07..0.108).contains(&deviation), "{deviation}");
    }
}
