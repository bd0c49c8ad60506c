//! Rules that give every vector one weight: mean, nearest, clip, krum.
//!
//! The mix is the own vector plus weighted differences from it, so vectors that agree give themselves to the last bit.

/// Elements mixed at a time; one block of every vector stays in the second-level cache.
pub(crate) const BLOCK: usize = 4096;

/// `out = own + sum_j weights[j] * (pulled[j] - own)`, all of one length (elements); `weights` belongs to `pulled`.
///
/// Each weight lies in 0..=1 and their sum does not exceed 1. Differences are added in the order given.
pub(crate) fn mix(own: &[f32], pulled: &[&[f32]], weights: &[f64], out: &mut [f32]) {
    let chosen: Vec<(&[f32], f32)> = pulled
        .iter()
        .zip(weights)
        .filter(|(_, weight)| **weight != 0.0)
        .map(|(theirs, weight)| (*theirs, *weight as f32))
        .collect();
    let first = chosen.first().map_or(0.0, |(_, weight)| *weight);
    let equal = chosen.iter().all(|(_, weight)| *weight == first);
    let mut parts = Vec::with_capacity(chosen.len());
    for (at, out) in out.chunks_mut(BLOCK).enumerate() {
        let part = at * BLOCK..at * BLOCK + out.len();
        let own = &own[part.clone()];
        if equal {
            parts.clear();
            parts.extend(chosen.iter().map(|(theirs, _)| &theirs[part.clone()]));
            equally(own, &parts, first, out);
        } else {
            out.copy_from_slice(own);
            for (theirs, weight) in &chosen {
                for ((out, theirs), own) in out.iter_mut().zip(&theirs[part.clone()]).zip(own) {
                    *out += (theirs - own) * weight;
                }
            }
        }
    }
}

/// `out = own + weight * sum_j (others[j] - own)` for one block; differences are summed before they are weighted.
pub(crate) fn equally(own: &[f32], others: &[&[f32]], weight: f32, out: &mut [f32]) {
    out.fill(0.0);
    for other in others {
        for ((sum, other), own) in out.iter_mut().zip(*other).zip(own) {
            *sum += other - own;
        }
    }
    for (out, own) in out.iter_mut().zip(own) {
        *out = own + *out * weight;
    }
}

/// Self-centred clipping (He, Karimireddy and Jaggi 2022): weight of every pulled vector when differences longer than the
/// radius are shortened to it and then averaged with the own vector.
///
/// The radius is the (m - b)-th smallest of the m distances; `byzantine` (b) must be less than m.
pub(crate) fn clipped(distances: &[f64], byzantine: usize) -> Vec<f64> {
    let mut sorted = distances.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let radius = sorted[sorted.len() - byzantine - 1];
    let share = 1.0 / (distances.len() + 1) as f64;
    distances.iter().map(|&d| if d <= radius { share } else { share * (radius / d) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_that_agree_give_themselves() {
        let own: Vec<f32> = (0..5_000).map(|i| (i as f32).sin() * 0.1).collect();
        let mut out = vec![0.0; own.len()];
        for weights in [[0.25, 0.3, 0.1], [0.25; 3], [0.0; 3]] {
            mix(&own, &[&own, &own, &own], &weights, &mut out);
            assert_eq!(out, own);
        }
    }

    #[test]
    fn weights_move_the_own_vector_towards_the_others() {
        let mut out = [0.0; 2];
        mix(&[1.0, 2.0], &[&[3.0, 2.0], &[9.0, 9.0], &[5.0, 6.0]], &[0.25, 0.0, 0.5], &mut out);
        assert_eq!(out, [3.5, 4.0]);
        mix(&[1.0, 2.0], &[&[3.0, 2.0], &[9.0, 9.0], &[5.0, 6.0]], &[0.5, 0.0, 0.5], &mut out);
        assert_eq!(out, [4.0, 4.0]);
    }

    #[test]
    fn clipping_shortens_what_lies_beyond_the_radius_and_nothing_else() {
        assert_eq!(clipped(&[1.0, 4.0, 2.0], 1), [0.25, 0.125, 0.25]);
        assert_eq!(clipped(&[1.0, 4.0, 2.0], 0), [0.25, 0.25, 0.25]);
        assert_eq!(clipped(&[0.0, 0.0, 3.0], 1), [0.25, 0.25, 0.0]);
    }
}
