//! Seeds and the draws made from them.
//!
//! Every random number in this crate comes from a [`Seed`] forked by a label, so that a new draw in one room does not
//! shift another room's stream, and so that equal seeds give equal numbers on every platform: the logarithm and the
//! exponential used here are built from exact IEEE operations instead of the platform's mathematics library.
//! It deliberately reads no entropy from the system: whoever starts a run brings the seed.

use std::fmt;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

const FORK_LABEL: &str = "starling model seed fork by label v1";
const FORK_INDEX: &str = "starling model seed fork by index v1";
const FROM_U64: &str = "starling model seed from integer v1";

/// 32 bytes from which independent streams of random numbers are forked.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Takes the bytes as they are, for example from a run's hash.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Spreads a small integer, as a person would type it, over 32 bytes.
    pub fn from_u64(value: u64) -> Self {
        Self(blake3::derive_key(FROM_U64, &value.to_le_bytes()))
    }

    /// Names the independent stream `label` below this seed.
    pub fn fork(&self, label: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(FORK_LABEL);
        hasher.update(&self.0);
        hasher.update(label.as_bytes());
        Self(*hasher.finalize().as_bytes())
    }

    /// Names the independent stream number `index` below this seed (an epoch, a step, a node).
    pub fn fork_index(&self, index: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(FORK_INDEX);
        hasher.update(&self.0);
        hasher.update(&index.to_le_bytes());
        Self(*hasher.finalize().as_bytes())
    }

    /// The generator of this seed's stream, at its beginning.
    pub fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(self.0)
    }

    /// The bytes, for saving.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Seed({:02x}{:02x}{:02x}{:02x}..)", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

/// Draws an integer in `0..bound` without bias (rejection); `bound` 0 gives 0.
pub fn below(rng: &mut impl Rng, bound: u64) -> u64 {
    if bound <= 1 {
        return 0;
    }
    // The largest multiple of `bound` that fits: values at or above it would favour small results.
    let limit = u64::MAX - u64::MAX % bound;
    loop {
        let value = rng.next_u64();
        if value < limit {
            return value % bound;
        }
    }
}

/// Draws an index in `0..length`; `length` 0 gives 0.
pub fn index(rng: &mut impl Rng, length: usize) -> usize {
    below(rng, length as u64) as usize
}

/// Draws a number in `[0, 1)` with 53 random bits.
pub fn uniform(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// Draws one element, or nothing from an empty slice.
pub fn pick<'a, T>(rng: &mut impl Rng, items: &'a [T]) -> Option<&'a T> {
    items.get(index(rng, items.len()))
}

/// Shuffles in place (Fisher and Yates, from the end).
pub fn shuffle<T>(rng: &mut impl Rng, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, index(rng, last + 1));
    }
}

/// Draws from the standard normal distribution (Marsaglia's polar method; the second number of the pair is not kept,
/// so that the stream has no hidden state).
pub fn normal(rng: &mut impl Rng) -> f64 {
    loop {
        let x = 2.0 * uniform(rng) - 1.0;
        let y = 2.0 * uniform(rng) - 1.0;
        let square = x * x + y * y;
        if square > 0.0 && square < 1.0 {
            return x * (-2.0 * ln(square) / square).sqrt();
        }
    }
}

/// Draws `n` shares that sum to 1 from a symmetric Dirichlet distribution.
///
/// A small `alpha` gives skewed shares (0.3 is the usual strong skew), a large one nearly equal shares. An `alpha`
/// that is not a positive number counts as 1; `n` 0 gives no shares.
pub fn dirichlet(rng: &mut impl Rng, alpha: f64, n: usize) -> Vec<f64> {
    let alpha = if alpha.is_finite() && alpha > 0.0 { alpha } else { 1.0 };
    // Gamma draws of a small shape underflow; their logarithms do not.
    let logs: Vec<f64> = (0..n).map(|_| ln_gamma_draw(rng, alpha)).collect();
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut shares: Vec<f64> = logs.iter().map(|log| exp(log - largest)).collect();
    let sum: f64 = shares.iter().sum();
    for share in &mut shares {
        *share /= sum;
    }
    shares
}

/// Draws the logarithm of a gamma variate of the given shape and scale 1 (Marsaglia and Tsang 2000).
fn ln_gamma_draw(rng: &mut impl Rng, shape: f64) -> f64 {
    if shape < 1.0 {
        // Gamma(a) = Gamma(a + 1) U^(1/a).
        let boosted = ln_gamma_draw(rng, shape + 1.0);
        return boosted + ln(uniform(rng).max(f64::MIN_POSITIVE)) / shape;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng);
        let root = 1.0 + c * x;
        if root <= 0.0 {
            continue;
        }
        let v = root * root * root;
        let u = uniform(rng).max(f64::MIN_POSITIVE);
        if ln(u) < 0.5 * x * x + d - d * v + d * ln(v) {
            return ln(d) + ln(v);
        }
    }
}

/// Natural logarithm of a positive normal number, equal in every bit on every platform.
///
/// Splits `x = m 2^e` with m near 1 and sums ln m = 2 artanh((m - 1) / (m + 1)).
pub fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let t2 = t * t;
    let mut term = t;
    let mut sum = 0.0;
    // |t| <= 0.1716, so the 12th term is below 1e-19 of the first.
    for k in 0..12 {
        sum += term / f64::from(2 * k + 1);
        term *= t2;
    }
    2.0 * sum + exponent as f64 * std::f64::consts::LN_2
}

/// Exponential of a number, equal in every bit on every platform; 0 below -700 and the value at 700 above 700.
pub fn exp(x: f64) -> f64 {
    if x < -700.0 {
        return 0.0;
    }
    let x = x.min(700.0);
    let exponent = (x / std::f64::consts::LN_2).round();
    let rest = x - exponent * std::f64::consts::LN_2;
    let mut term = 1.0;
    let mut sum = 1.0;
    // |rest| <= 0.3466: 16 terms reach the last bit.
    for k in 1..=16 {
        term *= rest / f64::from(k);
        sum += term;
    }
    sum * f64::from_bits(((1023 + exponent as i64) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_labels_give_equal_streams_and_other_labels_other_ones() {
        let seed = Seed::from_u64(7);
        assert_eq!(seed.fork("a"), Seed::from_u64(7).fork("a"));
        assert_ne!(seed.fork("a"), seed.fork("b"));
        assert_ne!(seed.fork_index(0), seed.fork_index(1));
        assert_ne!(seed.fork_index(0), seed);
        assert_eq!(seed.rng().next_u64(), seed.rng().next_u64());
    }

    #[test]
    fn portable_logarithm_and_exponential_agree_with_the_platform() {
        for k in 1..4000 {
            let x = f64::from(k) * 0.013;
            assert!((ln(x) - x.ln()).abs() <= 4e-15 * x.ln().abs().max(1.0), "ln {x}");
            assert!((exp(-x) - (-x).exp()).abs() <= 2e-14 * (-x).exp(), "exp {}", -x);
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn normal_draws_have_mean_zero_and_variance_one() {
        let mut rng = Seed::from_u64(1).rng();
        let draws: Vec<f64> = (0..40_000).map(|_| normal(&mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / draws.len() as f64;
        // Five standard errors of either estimate.
        assert!(mean.abs() < 0.025, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.04, "variance {variance}");
    }

    #[test]
    fn dirichlet_shares_sum_to_one_and_skew_with_small_alpha() {
        let mut rng = Seed::from_u64(2).rng();
        let mut largest_mean = |alpha: f64| {
            let mut sum = 0.0;
            for _ in 0..400 {
                let shares = dirichlet(&mut rng, alpha, 5);
                assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
                sum += shares.iter().copied().fold(0.0, f64::max);
            }
            sum / 400.0
        };
        let skewed = largest_mean(0.05);
        let even = largest_mean(100.0);
        assert!(skewed > 0.8 && even < 0.3, "{skewed} {even}");
    }

    #[test]
    fn shuffling_keeps_every_item_and_moves_most() {
        let mut items: Vec<u32> = (0..100).collect();
        shuffle(&mut Seed::from_u64(3).rng(), &mut items);
        let moved = items.iter().enumerate().filter(|(place, item)| *place as u32 != **item).count();
        assert!(moved > 80);
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<u32>>());
    }

    #[test]
    fn a_draw_below_a_bound_stays_below_it_and_reaches_all_values() {
        let mut rng = Seed::from_u64(4).rng();
        let mut seen = [0_u32; 7];
        for _ in 0..7000 {
            seen[below(&mut rng, 7) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
        assert_eq!(below(&mut rng, 0), 0);
    }
}
