//! Norms and distances of parameter vectors.
//!
//! Sums run in a fixed order in blocks: fast in 32 bits inside a block, in 64 bits between blocks. A block whose sum
//! leaves the safe range of 32 bits is summed again in 64, so huge and tiny values are measured right and only infinite
//! or NaN values give a result that is not finite.

/// Elements summed in 32 bits; 64 sums of 16 each keep the relative error near 1e-6.
pub(crate) const BLOCK: usize = 1024;
/// Sums kept side by side, so that the compiler can work on them at once.
const LANES: usize = 16;
/// Block sums outside this range are taken again in 64 bits.
const SAFE: std::ops::Range<f64> = 1e-30..1e30;

/// The squared Euclidean distance of two vectors of equal length; not finite exactly when an input is not.
pub fn distance_squared(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "a distance needs two vectors of one length");
    a.chunks(BLOCK).zip(b.chunks(BLOCK)).map(|(a, b)| block_distance_squared(a, b)).sum()
}

/// The Euclidean norm of a vector; not finite exactly when a value is not.
pub fn norm(values: &[f32]) -> f64 {
    norm_squared(values).sqrt()
}

/// Its square.
pub fn norm_squared(values: &[f32]) -> f64 {
    let zeros = [0.0; BLOCK];
    values.chunks(BLOCK).map(|chunk| block_distance_squared(chunk, &zeros[..chunk.len()])).sum()
}

/// The squared distance within one block of at most a few thousand elements.
#[inline]
pub(crate) fn block_distance_squared(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0f32; LANES];
    let ((a_groups, a_rest), (b_groups, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a_groups.iter().zip(b_groups) {
        for lane in 0..LANES {
            let difference = a[lane] - b[lane];
            sums[lane] += difference * difference;
        }
    }
    for ((a, b), sum) in a_rest.iter().zip(b_rest).zip(&mut sums) {
        *sum += (a - b) * (a - b);
    }
    let total: f64 = sums.iter().map(|&sum| f64::from(sum)).sum();
    if SAFE.contains(&total) { total } else { precise(a, b) }
}

#[cold]
fn precise(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn distances_agree_with_sums_in_double_precision_at_every_magnitude() {
        let mut rng = Seed::from_u64(11).rng();
        for len in [0, 1, 15, 16, 17, 1_023, 1_024, 1_025, 10_000] {
            for magnitude in [1e-38f32, 1e-20, 1e-3, 1.0, 1e15, 1e38] {
                let mut draw =
                    || (0..len).map(|_| (rng.unit_f64() as f32 - 0.5) * magnitude).collect::<Vec<_>>();
                let (a, b) = (draw(), draw());
                let exact: f64 = a.iter().zip(&b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
                let found = distance_squared(&a, &b);
                assert!((found - exact).abs() <= 1e-5 * exact, "{len} {magnitude}: {found} {exact}");
                assert!(
                    (norm(&a).powi(2) - distance_squared(&a, &vec![0.0; len])).abs()
                        <= 1e-9 * norm(&a).powi(2)
                );
            }
        }
    }

    #[test]
    fn only_values_that_are_no_numbers_give_a_distance_that_is_none() {
        assert!(distance_squared(&[f32::MAX; 2_000], &[-f32::MAX; 2_000]).is_finite());
        assert!(!distance_squared(&[0.0, f32::NAN], &[0.0, 0.0]).is_finite());
        assert!(!norm(&[f32::INFINITY]).is_finite());
        assert_eq!(distance_squared(&[1e-30; 3], &[1e-30; 3]), 0.0);
    }
}
