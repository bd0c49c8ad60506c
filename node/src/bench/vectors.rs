//! The vectors of the common averaging benchmark, defined by integers alone, so that programs in any language average
//! the same bits.
//!
//! Element j of node i is `(splitmix64(i * 2^32 + j) >> 40) / 2^23 - 1`: 24 bits, exact in f32, in [-1, 1).

use model::train::benchmark_b::splitmix64;

use crate::trainer::averaging::Expected;

/// Places at which every system compares its result.
const PLACES: u64 = 65_536;

fn element(node: usize, index: usize) -> f64 {
    let counter = ((node as u64) << 32).wrapping_add(index as u64);
    (splitmix64(counter) >> 40) as f64 / f64::from(1 << 23) - 1.0
}

/// The vector of node `node`, `(length)`.
pub fn vector(node: usize, length: usize) -> Vec<f32> {
    (0..length).map(|index| element(node, index) as f32).collect()
}

/// The exact mean of the vectors of `nodes` nodes at the places every system looks at.
pub fn expected(nodes: usize, length: usize) -> Expected {
    let mut places: Vec<usize> = (0..PLACES)
        .map(|k| (splitmix64(k) % length.max(1) as u64) as usize)
        .filter(|p| *p < length)
        .collect();
    places.sort_unstable();
    places.dedup();
    let mean = |index: &usize| (0..nodes).map(|node| element(node, *index)).sum::<f64>() / nodes as f64;
    let values = places.iter().map(mean).collect();
    Expected { places, values }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_has_the_published_bits() {
        // The sum over j of (j + 1) times the bits of element j, modulo 2^64, as NumPy finds it for the vector that
        // `common_vec.vector(3, 1 << 20)` of the benchmark's scripts makes.
        let sum = vector(3, 1 << 20)
            .iter()
            .zip(1u64..)
            .fold(0u64, |sum, (x, j)| sum.wrapping_add(u64::from(x.to_bits()).wrapping_mul(j)));
        assert_eq!(sum, 7_095_853_514_297_815_258);
    }

    #[test]
    fn results_are_compared_at_the_published_places() {
        let expected = expected(4, 10_000_000);
        assert_eq!(expected.places.len(), 65_348);
        assert_eq!(expected.places[..3], [120, 127, 406]);
        assert!((expected.values[0] + 0.216_032_21).abs() < 1e-8, "{}", expected.values[0]);
    }

    #[test]
    fn expected_values_are_the_mean_of_all_vectors() {
        let vectors: Vec<Vec<f32>> = (0..3).map(|node| vector(node, 1_000)).collect();
        let expected = expected(3, 1_000);
        assert_eq!(expected.places, (0..1_000).collect::<Vec<_>>());
        for (place, value) in expected.places.iter().zip(&expected.values) {
            let mean = vectors.iter().map(|v| f64::from(v[*place])).sum::<f64>() / 3.0;
            assert!((mean - value).abs() < 1e-12);
        }
    }
}
