//! The coordinate-wise trimmed mean, and the median as its extreme.
//!
//! In every coordinate the `trim` smallest and the `trim` largest values are dropped and the rest averaged (Yin, Chen,
//! Kannan and Bartlett 2018). With at most `trim` liars each coordinate of the result lies between the smallest and the
//! largest honest value, whatever the liars send.

use crate::mixing::network::{LANES, Network, Row};

/// A trimmed mean of a fixed number of vectors.
#[derive(Clone, Debug)]
pub(crate) struct TrimmedMean {
    count: usize,
    trim: usize,
    network: Network,
    rows: Vec<Row>,
    kept: Vec<u64>,
}

impl TrimmedMean {
    /// Of `count` vectors, `trim` dropped at each end; `count` must exceed `2 * trim`.
    pub(crate) fn new(count: usize, trim: usize) -> Self {
        assert!(count > 2 * trim, "a trimmed mean keeps at least one value");
        let network = Network::new(count, trim..count - trim);
        Self { count, trim, network, rows: vec![[0.0; LANES]; count], kept: vec![0; count] }
    }

    /// The median of `count` vectors: the middle value, or the mean of the two.
    pub(crate) fn median(count: usize) -> Self {
        Self::new(count, (count - 1) / 2)
    }

    /// Mixes `vectors` (count, elements) coordinate by coordinate into `out` (elements); no value may be NaN.
    pub(crate) fn mix(&mut self, vectors: &[&[f32]], out: &mut [f32]) {
        assert_eq!(vectors.len(), self.count, "the network was made for this many vectors");
        let (low, high) = (self.trim, self.count - 1 - self.trim);
        let inverse = 1.0 / (high - low + 1) as f32;
        for (at, out) in out.chunks_mut(LANES).enumerate() {
            let part = at * LANES..at * LANES + out.len();
            for (row, vector) in self.rows.iter_mut().zip(vectors) {
                row[..out.len()].copy_from_slice(&vector[part.clone()]);
            }
            self.network.sort(&mut self.rows);
            let (lowest, highest) = (&self.rows[low], &self.rows[high]);
            let mut sum: Row = [0.0; LANES];
            for row in &self.rows[low + 1..=high] {
                for ((sum, value), base) in sum.iter_mut().zip(row).zip(lowest) {
                    *sum += value - base;
                }
            }
            // From the lowest kept value, so that equal values give themselves; held in the box against rounding.
            for (((out, sum), base), top) in out.iter_mut().zip(&sum).zip(lowest).zip(highest) {
                *out = (base + sum * inverse).clamp(*base, *top);
            }
            for (kept, vector) in self.kept.iter_mut().zip(vectors) {
                *kept += within(&vector[part.clone()], lowest, highest);
            }
        }
    }

    /// Share of every vector in what was kept so far; sums to one. A value equal to the last kept one counts as kept.
    pub(crate) fn shares(&self) -> Vec<f64> {
        let total: u64 = self.kept.iter().sum();
        self.kept.iter().map(|&kept| kept as f64 / total.max(1) as f64).collect()
    }
}

#[inline]
fn within(values: &[f32], lowest: &Row, highest: &Row) -> u64 {
    let inside = values
        .iter()
        .zip(lowest)
        .zip(highest)
        .map(|((v, low), high)| u32::from(v >= low) * u32::from(v <= high));
    u64::from(inside.sum::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(trim: usize, vectors: &[&[f32]]) -> (Vec<f32>, Vec<f64>) {
        let mut out = vec![0.0; vectors[0].len()];
        let mut mean = TrimmedMean::new(vectors.len(), trim);
        mean.mix(vectors, &mut out);
        (out, mean.shares())
    }

    #[test]
    fn the_ends_are_dropped_in_every_coordinate_for_itself() {
        let (out, shares) = mixed(1, &[&[1.0, 9.0], &[2.0, 3.0], &[3.0, 2.0], &[50.0, -7.0]]);
        assert_eq!(out, [2.5, 2.5]);
        assert_eq!(shares, [0.0, 0.5, 0.5, 0.0]);
    }

    #[test]
    fn a_median_is_the_middle_value_or_the_mean_of_two() {
        let mut out = [0.0; 2];
        TrimmedMean::median(3).mix(&[&[1.0, 5.0], &[3.0, -4.0], &[2.0, 0.0]], &mut out);
        assert_eq!(out, [2.0, 0.0]);
        TrimmedMean::median(4).mix(&[&[1.0, 5.0], &[3.0, -4.0], &[2.0, 0.0], &[9.0, 1.0]], &mut out);
        assert_eq!(out, [2.5, 0.5]);
        TrimmedMean::median(1).mix(&[&[7.0, 8.0]], &mut out);
        assert_eq!(out, [7.0, 8.0]);
    }
}
