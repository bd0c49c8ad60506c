//! Copies count once: vectors far nearer to each other than vectors are to each other in general.
//!
//! Peers with data of their own come to parameters of their own. Liars who agree on what to say, or who repeat one honest
//! peer to make its data weigh more than all others', send nearly the same vector several times, and rules that look for
//! company take them for the majority. A liar can hide by adding noise of its own, at the price of spreading what it
//! says; that is measured with the attacks of the simulator and not ruled out here.

use crate::mixing::neighbours::Distances;

/// Vectors nearer to each other than this part of a distance between honest ones are copies. Rounding of eight bits keeps
/// two encodings of one vector below it; honest peers with data alike, who drew the same neighbours, stay above a quarter
/// as a rule and not always.
const NEAR: f64 = 0.1;

/// The places that count, rising, each with the size of its group: the first of each group of copies, all others. Place 0
/// always counts.
///
/// What is far is told by a distance that `byzantine` liars among `count` vectors cannot make larger than the largest
/// between honest ones, nor as small as that between copies of one honest vector: of all pairs in rising order, the one
/// behind as many as the copies have, and half as many as the honest have. Where there is none, nothing is a copy.
pub(crate) fn distinct(distances: &Distances, count: usize, byzantine: usize) -> Vec<(usize, usize)> {
    let all: Vec<usize> = (0..count).collect();
    let pairs_of = |vectors: usize| vectors * vectors.saturating_sub(1) / 2;
    let honest = pairs_of(count.saturating_sub(byzantine));
    let typical = pairs_of(byzantine + 1) + honest / 2;
    if typical >= honest {
        return all.into_iter().map(|place| (place, 1)).collect();
    }
    let mut pairs: Vec<f64> = all.iter().flat_map(|&a| distances.from(a)[a + 1..].iter().copied()).collect();
    pairs.sort_unstable_by(f64::total_cmp);
    let near = NEAR * NEAR * pairs[typical];
    let mut kept: Vec<(usize, usize)> = Vec::with_capacity(count);
    for place in all {
        match kept.iter_mut().find(|(other, _)| distances.from(place)[*other] < near) {
            Some((_, size)) => *size += 1,
            None => kept.push((place, 1)),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distinct_of(vectors: &[&[f32]]) -> Vec<usize> {
        let kept = distinct(&Distances::between(vectors), vectors.len(), 1);
        kept.into_iter().map(|(place, _)| place).collect()
    }

    #[test]
    fn the_first_of_several_copies_counts_and_whoever_is_alone() {
        let vectors: [&[f32]; 6] =
            [&[0.0, 0.0], &[9.0, 1.0], &[0.0, 8.0], &[9.01, 1.0], &[-7.0, 3.0], &[4.0, -6.0]];
        assert_eq!(distinct_of(&vectors), [0, 1, 2, 4, 5]);
    }

    #[test]
    fn copies_of_the_own_vector_do_not_count_and_the_own_one_does() {
        let vectors: [&[f32]; 5] = [&[5.0], &[0.0], &[5.001], &[9.0], &[-4.0]];
        assert_eq!(distinct_of(&vectors), [0, 1, 3, 4]);
    }

    #[test]
    fn liars_far_away_do_not_make_copies_of_the_honest() {
        let honest: [&[f32]; 6] =
            [&[0.0, 1.0], &[1.0, 0.0], &[0.3, 0.2], &[-1.0, 0.4], &[0.8, -1.0], &[-0.4, -0.9]];
        let far: [&[f32]; 3] = [&[1e6, 0.0], &[0.0, 1e6], &[-1e6, 1e6]];
        let all: Vec<&[f32]> = honest.iter().chain(&far).copied().collect();
        assert_eq!(distinct(&Distances::between(&all), 9, 3).len(), 9);
    }

    #[test]
    fn peers_that_all_agree_are_no_copies_and_few_are_never() {
        let one: &[f32] = &[1.0];
        assert_eq!(distinct_of(&[one; 6]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(distinct_of(&[one, one, &[9.0]]), [0, 1, 2]);
    }
}
