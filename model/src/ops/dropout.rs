//! Dropout masks from labelled streams.
//!
//! A mask is a pure function of its seed, so that a step can be repeated, on this engine or another, and gives the
//! same numbers. Kept values are scaled so that the expectation does not change.

use rand_chacha::rand_core::Rng;
use rayon::prelude::*;

use crate::seed::Seed;

/// Elements that share one stream of the generator.
const STREAM: usize = 1 << 13;

/// A dropout probability in the resolution of the masks (1 / 65536).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    threshold: u16,
}

impl Dropout {
    /// `None` for a probability below 1 / 65536: nothing is dropped. `probability` is below 1.
    pub fn new(probability: f64) -> Option<Self> {
        let threshold = (probability * 65_536.0).round().clamp(0.0, 65_535.0) as u16;
        (threshold > 0).then_some(Self { threshold })
    }

    /// The factor of kept values, `1 / (1 - probability)`.
    pub fn scale(self) -> f32 {
        (65_536.0 / (65_536.0 - f64::from(self.threshold))) as f32
    }

    /// Fills `keep` with 1 where the value stays and 0 where it is dropped.
    pub fn fill(self, seed: &Seed, keep: &mut [u8]) {
        keep.par_chunks_mut(STREAM).enumerate().for_each(|(index, keep)| {
            let mut bytes = [0_u8; 2 * STREAM];
            seed.fork_index(index as u64).rng().fill_bytes(&mut bytes[..2 * keep.len()]);
            for (keep, pair) in keep.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *keep = u8::from(u16::from_le_bytes(*pair) >= self.threshold);
            }
        });
    }

    /// `x = x / (1 - p)` where kept, 0 elsewhere. The backward pass is the same call on the gradient.
    pub fn apply(self, x: &mut [f32], keep: &[u8]) {
        let scale = self.scale();
        x.par_chunks_mut(STREAM).zip(keep.par_chunks(STREAM)).for_each(|(x, keep)| {
            for (x, keep) in x.iter_mut().zip(keep) {
                *x *= scale * f32::from(*keep);
            }
        });
    }

    /// Adds the bias to each row of `bias.len()` and then drops.
    pub fn apply_bias(self, x: &mut [f32], bias: &[f32], keep: &[u8]) {
        let scale = self.scale();
        let width = bias.len();
        x.par_chunks_mut(width).zip(keep.par_chunks(width)).with_min_len(32).for_each(|(x, keep)| {
            for ((x, bias), keep) in x.iter_mut().zip(bias).zip(keep) {
                *x = (*x + bias) * scale * f32::from(*keep);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_dropped_values_is_the_probability_and_the_mean_stays() {
        let dropout = Dropout::new(0.1).unwrap();
        let n = 3 * STREAM + 100;
        let mut keep = vec![9; n];
        dropout.fill(&Seed::from_u64(5), &mut keep);
        let dropped = keep.iter().map(|keep| f64::from(1 - *keep)).sum::<f64>() / n as f64;
        // Five standard errors.
        assert!((dropped - 0.1).abs() < 5.0 * (0.09 / n as f64).sqrt(), "{dropped}");
        let mut x = vec![1.0_f32; n];
        dropout.apply(&mut x, &keep);
        let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / n as f64;
        assert!((mean - (1.0 - dropped) / 0.9).abs() < 1e-4, "{mean}");
    }

    #[test]
    fn equal_seeds_give_equal_masks_for_any_number_of_threads() {
        let mask = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut keep = vec![0; 2 * STREAM + 1];
            pool.install(|| Dropout::new(0.5).unwrap().fill(&Seed::from_u64(6), &mut keep));
            keep
        };
        assert_eq!(mask(1), mask(3));
    }

    #[test]
    fn no_dropout_is_no_mask() {
        assert!(Dropout::new(0.0).is_none());
    }
}
