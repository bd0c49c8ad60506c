//! Sorting networks: a fixed list of compare-exchanges that sorts any values.
//!
//! Without branches that depend on values, 64 coordinates are sorted side by side, whatever an attacker sends. Only the
//! exchanges that the kept ranks depend on are listed.

use std::ops::Range;

/// Coordinates sorted side by side.
pub(crate) const LANES: usize = 64;

/// One value of each of [`LANES`] coordinates.
pub(crate) type Row = [f32; LANES];

/// Compare-exchanges that bring the kept ranks of `count` values to their places.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// Places `(low, high)` with `low < high`; the smaller value goes to `low`.
    exchanges: Vec<(usize, usize)>,
}

impl Network {
    /// A network for `count` values of which only the ranks in `kept` matter (0 is the smallest).
    ///
    /// Batcher's merge exchange (Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M), which takes any count.
    pub(crate) fn new(count: usize, kept: Range<usize>) -> Self {
        let mut exchanges = Vec::new();
        let top = count.next_power_of_two() / 2;
        let mut p = top;
        while p > 0 {
            let (mut q, mut r, mut d) = (top, 0, p);
            loop {
                exchanges.extend((0..count.saturating_sub(d)).filter(|i| i & p == r).map(|i| (i, i + d)));
                if q == p {
                    break;
                }
                (d, q, r) = (q - p, q / 2, p);
            }
            p /= 2;
        }
        Self { exchanges: needed(exchanges, count, kept) }
    }

    /// Sorts every coordinate of `rows` (value, coordinate) as far as the kept ranks.
    #[inline]
    pub(crate) fn sort(&self, rows: &mut [Row]) {
        for &(low, high) in &self.exchanges {
            let (head, tail) = rows.split_at_mut(high);
            exchange(&mut head[low], &mut tail[0]);
        }
    }
}

/// Puts the smaller value of every coordinate into `low`, the larger into `high`.
///
/// Two loops and not one, and not f32::min: so each is one instruction for several coordinates, where a compiler would
/// otherwise branch on every comparison. No value is NaN.
#[inline]
fn exchange(low: &mut Row, high: &mut Row) {
    let mut smaller = [0f32; LANES];
    for i in 0..LANES {
        smaller[i] = if low[i] < high[i] { low[i] } else { high[i] };
    }
    for i in 0..LANES {
        high[i] = if high[i] > low[i] { high[i] } else { low[i] };
    }
    *low = smaller;
}

/// Drops, from the last backwards, exchanges neither of whose places is needed later.
fn needed(mut exchanges: Vec<(usize, usize)>, count: usize, kept: Range<usize>) -> Vec<(usize, usize)> {
    let mut wanted: Vec<bool> = (0..count).map(|place| kept.contains(&place)).collect();
    exchanges.reverse();
    exchanges.retain(|&(low, high)| {
        let any = wanted[low] || wanted[high];
        wanted[low] |= any;
        wanted[high] |= any;
        any
    });
    exchanges.reverse();
    exchanges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    /// A network that sorts every sequence of zeros and ones sorts every sequence (Knuth 5.3.4, theorem Z).
    #[test]
    fn every_small_network_sorts_its_kept_ranks() {
        for count in 1..=12usize {
            for kept in [0..count, count / 2..count / 2 + 1, count / 3..count - count / 3] {
                let network = Network::new(count, kept.clone());
                let masks: Vec<u32> = (0..1u32 << count).collect();
                for masks in masks.chunks(LANES) {
                    let mut rows = vec![[0.0; LANES]; count];
                    for (lane, mask) in masks.iter().enumerate() {
                        (0..count).for_each(|i| rows[i][lane] = (mask >> i & 1) as f32);
                    }
                    network.sort(&mut rows);
                    for (lane, mask) in masks.iter().enumerate() {
                        let zeros = count - mask.count_ones() as usize;
                        for rank in kept.clone() {
                            assert_eq!(
                                rows[rank][lane],
                                f32::from(rank >= zeros),
                                "{count} {kept:?} {mask:b}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn large_networks_sort_random_values() {
        let mut rng = Seed::from_u64(5).rng();
        for count in [16, 17, 33, 64, 65] {
            let network = Network::new(count, 0..count);
            let mut rows: Vec<Row> =
                (0..count).map(|_| std::array::from_fn(|_| rng.unit_f64() as f32 - 0.5)).collect();
            network.sort(&mut rows);
            assert!(rows.windows(2).all(|w| w[0].iter().zip(&w[1]).all(|(a, b)| a <= b)), "{count}");
        }
    }

    #[test]
    fn a_median_needs_fewer_exchanges_than_a_sort() {
        assert!(Network::new(9, 4..5).exchanges.len() < Network::new(9, 0..9).exchanges.len());
    }
}
