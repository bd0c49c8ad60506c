//! Who is near whom: all distances between vectors, nearest neighbours, nearest-neighbour mixing, krum.

use crate::mixing::trimmed::TrimmedMean;
use crate::mixing::weighted;
use crate::shard::distance::block_distance_squared;

/// Elements of one block; with 17 vectors and their replacements it is 136 KiB, in the second-level cache.
const BLOCK: usize = 1024;

/// Squared distances between all pairs of some vectors.
#[derive(Clone, Debug)]
pub(crate) struct Distances {
    count: usize,
    squared: Vec<f64>,
}

impl Distances {
    /// Between all pairs of `vectors` (count, elements), in one pass over memory.
    pub(crate) fn between(vectors: &[&[f32]]) -> Self {
        let count = vectors.len();
        let mut squared = vec![0.0; count * count];
        let len = vectors.first().map_or(0, |v| v.len());
        for start in (0..len).step_by(BLOCK) {
            let part = start..(start + BLOCK).min(len);
            for a in 0..count {
                for b in a + 1..count {
                    squared[a * count + b] +=
                        block_distance_squared(&vectors[a][part.clone()], &vectors[b][part.clone()]);
                }
            }
        }
        for a in 0..count {
            for b in 0..a {
                squared[a * count + b] = squared[b * count + a];
            }
        }
        Self { count, squared }
    }

    /// The distances between some of the vectors; `places` names them.
    pub(crate) fn among(&self, places: &[usize]) -> Self {
        let squared = places.iter().flat_map(|&a| places.iter().map(move |&b| self.from(a)[b])).collect();
        Self { count: places.len(), squared }
    }

    /// Squared distances of one vector from all, itself included.
    pub(crate) fn from(&self, place: usize) -> &[f64] {
        &self.squared[place * self.count..(place + 1) * self.count]
    }

    /// The `count` vectors nearest to one, itself not counted; the earlier of two equally near.
    fn nearest_to(&self, place: usize, count: usize) -> Vec<usize> {
        let others: Vec<usize> = (0..self.count).filter(|&other| other != place).collect();
        nearest(&others, |other| self.from(place)[other], count)
    }

    /// Krum (Blanchard et al. 2017): the vector with the least sum of squared distances to its nearest
    /// `count - byzantine - 2` others (at least one).
    ///
    /// Where only one neighbour counts, the two nearest to each other have equal sums; of equals the one nearer to the
    /// first vector (the own one) is taken, so the choice does not hang on the order of peers.
    pub(crate) fn krum(&self, byzantine: usize) -> usize {
        let near = self.count.saturating_sub(byzantine + 2).max(1);
        let score = |place: usize| -> f64 {
            self.nearest_to(place, near).iter().map(|&other| self.from(place)[other]).sum()
        };
        let scores: Vec<f64> = (0..self.count).map(score).collect();
        let from_own = self.from(0);
        (0..self.count)
            .min_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(from_own[a].total_cmp(&from_own[b])))
            .unwrap_or(0)
    }
}

/// The `count` of `places` with the least distance, the earlier of two equally near; in rising order of place.
pub(crate) fn nearest(places: &[usize], distance: impl Fn(usize) -> f64, count: usize) -> Vec<usize> {
    let mut sorted = places.to_vec();
    sorted.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)).then(a.cmp(&b)));
    sorted.truncate(count);
    sorted.sort_unstable();
    sorted
}

/// Nearest-neighbour mixing, then the coordinate-wise trimmed mean (Allouah et al. 2023).
///
/// `vectors` (count, elements) holds own and pulled alike. Every one is replaced by the mean of itself and its
/// `count - 1 - byzantine` nearest others; of the replacements `byzantine` are dropped at each end of every coordinate
/// and the rest averaged into `out`. Returns the share of every vector, which sums to one: that of the replacements it
/// is in, in equal parts. `count` must exceed `2 * byzantine`.
pub(crate) fn mix_then_trim(
    vectors: &[&[f32]],
    distances: &Distances,
    byzantine: usize,
    out: &mut [f32],
) -> Vec<f64> {
    let count = vectors.len();
    let near = count - 1 - byzantine;
    let circle = |place: usize| {
        let mut members = distances.nearest_to(place, near);
        members.push(place);
        members.sort_unstable();
        members
    };
    let circles: Vec<Vec<usize>> = (0..count).map(circle).collect();
    let share = 1.0 / (near + 1) as f64;
    let mut trimmed = TrimmedMean::new(count, byzantine);
    let mut replacements = vec![0f32; count * BLOCK];
    for (at, out) in out.chunks_mut(BLOCK).enumerate() {
        let part = at * BLOCK..at * BLOCK + out.len();
        for (circle, replacement) in circles.iter().zip(replacements.chunks_mut(BLOCK)) {
            // In the order of places, whoever's circle it is: equal circles give equal bits, and none is favoured by
            // rounding when the trimmed mean compares them.
            let members: Vec<&[f32]> = circle.iter().map(|&other| &vectors[other][part.clone()]).collect();
            let (first, others) = members.split_first().expect("a circle holds at least its own vector");
            weighted::equally(first, others, share as f32, &mut replacement[..out.len()]);
        }
        let rows: Vec<&[f32]> = replacements.chunks(BLOCK).map(|row| &row[..out.len()]).collect();
        trimmed.mix(&rows, out);
    }
    let mut weights = vec![0.0; count];
    for (circle, kept) in circles.iter().zip(trimmed.shares()) {
        for &member in circle {
            weights[member] += kept * share;
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_symmetric_and_those_of_the_vectors() {
        let vectors: [&[f32]; 3] = [&[0.0, 0.0], &[3.0, 4.0], &[0.0, 1.0]];
        let distances = Distances::between(&vectors);
        assert_eq!(distances.from(0), [0.0, 25.0, 1.0]);
        assert_eq!(distances.from(1), [25.0, 0.0, 18.0]);
        assert_eq!(distances.nearest_to(0, 1), [2]);
        assert_eq!(distances.nearest_to(1, 2), [0, 2]);
    }

    #[test]
    fn krum_takes_the_vector_in_the_densest_place() {
        let vectors: [&[f32]; 5] = [&[10.0], &[0.9], &[1.0], &[1.2], &[-30.0]];
        assert_eq!(Distances::between(&vectors).krum(1), 2);
    }

    #[test]
    fn replacements_pull_an_outlier_in_before_it_is_trimmed() {
        // By hand, b = 1: every replacement is the mean of itself and its two nearest; then the middle two are averaged.
        let vectors: [&[f32]; 4] = [&[0.0], &[1.0], &[2.0], &[90.0]];
        let distances = Distances::between(&vectors);
        let mut out = [0.0];
        let weights = mix_then_trim(&vectors, &distances, 1, &mut out);
        // Replacements: 1, 1, 1, 31; kept: 1 and 1.
        assert!((out[0] - 1.0).abs() < 1e-6, "{out:?}");
        assert_eq!(weights[3], 0.0);
        assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
}
