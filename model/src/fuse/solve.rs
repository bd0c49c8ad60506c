//! Weights on the simplex from evidence, one function a rule.

use crate::fuse::evidence::Evidence;

/// Steps of the projected gradient; the problem has a few members, and a step costs their number squared.
const GRADIENT_STEPS: usize = 3000;

/// Steps of expectation-maximisation without a change worth one more.
const EM_STEPS: usize = 500;

/// Pull towards equal weights, relative to the size of the quadratic: members that say the same share their weight.
const RIDGE: f64 = 1e-6;

/// Smallest probability given to the true label: one confident mistake must not decide the fit.
const FLOOR: f64 = 1e-9;

/// Weights that minimise `(1/N) Σ ‖Σ w_j ŷ_j − y‖²` on the simplex; nothing without labels.
///
/// With `G_ij = (1/N) Σ ŷ_i · ŷ_j` and `c_j = (1/N) Σ ŷ_j(y)` that is `w'Gw − 2c'w`, convex, solved by accelerated
/// projected gradient (Beck and Teboulle 2009) with restarts (O'Donoghue and Candès 2015).
pub fn least_squares(evidence: &Evidence, times: &[f64]) -> Option<Vec<f64>> {
    let count = evidence.members();
    let (mut products, mut hits) = evidence.quadratic(times)?;
    let trace: f64 = (0..count).map(|k| products[k * count + k]).sum();
    let ridge = RIDGE * trace / count as f64;
    for k in 0..count {
        products[k * count + k] += ridge;
        hits[k] += ridge / count as f64;
    }
    // The trace of a positive matrix is at least its largest eigenvalue.
    let rate = 1.0 / (trace + ridge * count as f64).max(f64::MIN_POSITIVE);
    let mut weights = vec![1.0 / count as f64; count];
    let (mut ahead, mut momentum) = (weights.clone(), 1.0_f64);
    for _ in 0..GRADIENT_STEPS {
        let slope = |k: usize| -> f64 {
            products[k * count..(k + 1) * count].iter().zip(&ahead).map(|(g, w)| g * w).sum::<f64>() - hits[k]
        };
        let slopes: Vec<f64> = (0..count).map(slope).collect();
        let next = onto_simplex(&ahead.iter().zip(&slopes).map(|(w, g)| w - rate * g).collect::<Vec<f64>>());
        let moved: Vec<f64> = next.iter().zip(&weights).map(|(a, b)| a - b).collect();
        let is_uphill = moved.iter().zip(&slopes).map(|(m, g)| m * g).sum::<f64>() > 0.0;
        let next_momentum =
            if is_uphill { 1.0 } else { f64::midpoint(1.0, (1.0 + 4.0 * momentum * momentum).sqrt()) };
        let factor = if is_uphill { 0.0 } else { (momentum - 1.0) / next_momentum };
        ahead = next.iter().zip(&moved).map(|(w, m)| w + factor * m).collect();
        momentum = next_momentum;
        weights = next;
        if !is_uphill && moved.iter().all(|m| m.abs() < 1e-12) {
            break;
        }
    }
    Some(weights)
}

/// Weights that minimise `−(1/N) Σ ln Σ w_j ŷ_j(y)` on the simplex, from `start`; nothing without labels.
///
/// Expectation-maximisation for the shares of a mixture: every step lowers the loss (Dempster and others 1977).
pub fn log_loss(evidence: &Evidence, times: &[f64], start: &[f64]) -> Option<Vec<f64>> {
    let each = evidence.likelihoods(times)?;
    let units = evidence.counted(times);
    let mut weights = start.to_vec();
    for _ in 0..EM_STEPS {
        let mut shares = vec![0.0; weights.len()];
        for (times, row) in each.clone() {
            let given = |p: &f32| f64::from(*p).max(FLOOR);
            let mixture: f64 = row.iter().zip(&weights).map(|(p, w)| w * given(p)).sum();
            for ((share, p), weight) in shares.iter_mut().zip(row).zip(&weights) {
                *share += times * weight * given(p) / mixture;
            }
        }
        let moved =
            shares.iter().zip(&weights).map(|(share, w)| (share / units - w).abs()).fold(0.0, f64::max);
        weights = shares.into_iter().map(|share| share / units).collect();
        if moved < 1e-5 {
            break;
        }
    }
    let sum: f64 = weights.iter().sum();
    Some(weights.into_iter().map(|w| w / sum).collect())
}

/// `w_j ∝ 1/d_j` with d_j the mean squared distance from the members' median.
pub fn inverse(evidence: &Evidence, times: &[f64]) -> Vec<f64> {
    let distances = evidence.distances(true, times);
    let mean = distances.iter().sum::<f64>() / distances.len() as f64;
    // A member that is the median everywhere would take everything, and two of them would divide by 0.
    let least = (1e-3 * mean).max(1e-12);
    normalised(distances.into_iter().map(|d| 1.0 / (d + least)).collect())
}

/// `w_j = d_j / Σ d_k` with d_j the mean squared distance from the members' mean; equal where nobody disagrees.
pub fn disagreement(evidence: &Evidence, times: &[f64]) -> Vec<f64> {
    normalised(evidence.distances(false, times))
}

fn normalised(values: Vec<f64>) -> Vec<f64> {
    let sum: f64 = values.iter().sum();
    if sum <= 0.0 {
        return vec![1.0 / values.len() as f64; values.len()];
    }
    values.into_iter().map(|value| value / sum).collect()
}

/// The nearest point whose places are not negative and sum to 1 (Held, Wolfe and Crowder 1974).
pub fn onto_simplex(point: &[f64]) -> Vec<f64> {
    let mut sorted = point.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (mut sum, mut shift) = (0.0, 0.0);
    for (k, value) in sorted.iter().enumerate() {
        sum += value;
        let candidate = (sum - 1.0) / (k + 1) as f64;
        if value - candidate > 0.0 {
            shift = candidate;
        }
    }
    point.iter().map(|value| (value - shift).max(0.0)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fuse::pool::Pool;
    use crate::seed::{Seed, below, uniform};
    use crate::task::answers::Answers;

    /// Members that give the true label of a text `skill` before normalisation and noise to the others; a negative skill
    /// favours the label behind the true one.
    fn members(skills: &[f64], texts: usize) -> (Vec<Answers>, Vec<u32>) {
        let mut rng = Seed::from_u64(3).rng();
        let truth: Vec<u32> = (0..texts).map(|_| below(&mut rng, 4) as u32).collect();
        let answers = skills.iter().map(|skill| {
            let mut values = Vec::new();
            for label in &truth {
                let mut row: Vec<f64> = (0..4).map(|_| uniform(&mut rng)).collect();
                let favoured = if *skill < 0.0 { (label + 1) % 4 } else { *label };
                row[favoured as usize] += skill.abs();
                let sum: f64 = row.iter().sum();
                values.extend(row.iter().map(|p| (p / sum) as f32));
            }
            Answers::of_texts(4, values).unwrap()
        });
        (answers.collect(), truth)
    }

    fn loss(weights: &[f64], members: &[Answers], truth: &[u32]) -> (f64, f64) {
        let all: Vec<&Answers> = members.iter().collect();
        let fused = Pool::Linear { weights: weights.to_vec() }.fuse(&all).unwrap();
        let (mut squares, mut logs) = (0.0, 0.0);
        for (unit, label) in truth.iter().enumerate() {
            for (k, p) in fused.unit(unit).iter().enumerate() {
                squares += (f64::from(*p) - f64::from(u8::from(k == *label as usize))).powi(2);
            }
            logs -= f64::from(fused.unit(unit)[*label as usize]).max(FLOOR).ln();
        }
        (squares / truth.len() as f64, logs / truth.len() as f64)
    }

    #[test]
    fn no_other_weights_have_a_smaller_loss() {
        let (members, truth) = members(&[1.0, 0.5, 0.2, -1.0], 400);
        let all: Vec<&Answers> = members.iter().collect();
        let evidence = Evidence::gather(&all, Some(&truth)).unwrap();
        let times = vec![1.0; 400];
        let squares = least_squares(&evidence, &times).unwrap();
        let logs = log_loss(&evidence, &times, &[0.25; 4]).unwrap();
        assert!(squares[3] < 1e-6 && logs[3] < 1e-2, "{squares:?} {logs:?}");
        let mut rng = Seed::from_u64(4).rng();
        for _ in 0..300 {
            let other = crate::seed::dirichlet(&mut rng, 0.7, 4);
            assert!(loss(&squares, &members, &truth).0 <= loss(&other, &members, &truth).0 + 1e-7);
            assert!(loss(&logs, &members, &truth).1 <= loss(&other, &members, &truth).1 + 1e-4);
        }
    }

    #[test]
    fn members_that_say_the_same_share_their_weight() {
        let (mut members, truth) = members(&[1.0, -0.5], 200);
        members.push(members[0].clone());
        let all: Vec<&Answers> = members.iter().collect();
        let weights = least_squares(&Evidence::gather(&all, Some(&truth)).unwrap(), &[1.0; 200]).unwrap();
        assert!((weights[0] - weights[2]).abs() < 1e-4, "{weights:?}");
    }

    #[test]
    fn a_liar_among_honest_members_loses_weight_by_inverse_and_gains_it_by_disagreement() {
        let (members, _) = members(&[1.0, 1.0, 1.0, 1.0, -2.0], 300);
        let all: Vec<&Answers> = members.iter().collect();
        let evidence = Evidence::gather(&all, None).unwrap();
        let times = vec![1.0; 300];
        assert!(inverse(&evidence, &times)[4] < 0.1);
        assert!(disagreement(&evidence, &times)[4] > 0.4);
        assert!(
            least_squares(&evidence, &times).is_none() && log_loss(&evidence, &times, &[0.2; 5]).is_none()
        );
    }

    #[test]
    fn members_of_one_mind_get_equal_weights_from_every_rule() {
        let (members, truth) = members(&[1.0], 50);
        let all = [&members[0], &members[0], &members[0]];
        let evidence = Evidence::gather(&all, Some(&truth)).unwrap();
        let times = vec![1.0; 50];
        for weights in [
            inverse(&evidence, &times),
            disagreement(&evidence, &times),
            least_squares(&evidence, &times).unwrap(),
            log_loss(&evidence, &times, &[1.0 / 3.0; 3]).unwrap(),
        ] {
            assert!(weights.iter().all(|w| (w - 1.0 / 3.0).abs() < 1e-5), "{weights:?}");
        }
    }

    #[test]
    fn an_example_that_counts_twice_weighs_as_two() {
        let (members, truth) = members(&[0.6, 0.4], 40);
        let all: Vec<&Answers> = members.iter().collect();
        let evidence = Evidence::gather(&all, Some(&truth)).unwrap();
        let mut times = vec![1.0; 40];
        (times[3], times[7]) = (2.0, 0.0);
        let rows = |answers: &Answers| -> Answers {
            let chosen = (0..40).filter(|k| *k != 7).chain([3]);
            Answers::of_texts(4, chosen.flat_map(|k| answers.unit(k).to_vec()).collect()).unwrap()
        };
        let other: Vec<Answers> = members.iter().map(rows).collect();
        let labels: Vec<u32> = (0..40).filter(|k| *k != 7).chain([3]).map(|k| truth[k]).collect();
        let again = Evidence::gather(&other.iter().collect::<Vec<_>>(), Some(&labels)).unwrap();
        let ones = vec![1.0; 40];
        let near = |a: Vec<f64>, b: Vec<f64>| a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(least_squares(&evidence, &times).unwrap(), least_squares(&again, &ones).unwrap()));
        assert!(near(inverse(&evidence, &times), inverse(&again, &ones)));
        let start = [0.5; 2];
        assert!(near(log_loss(&evidence, &times, &start).unwrap(), log_loss(&again, &ones, &start).unwrap()));
    }

    proptest! {
        #[test]
        fn the_projection_is_on_the_simplex_and_nothing_there_is_nearer(
            point in prop::collection::vec(-3.0_f64..3.0, 1..6),
            other in prop::collection::vec(0.01_f64..1.0, 6),
        ) {
            let on = onto_simplex(&point);
            prop_assert!(on.iter().all(|w| *w >= 0.0) && (on.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            let other = normalised(other[..point.len()].to_vec());
            let distance = |to: &[f64]| point.iter().zip(to).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
            prop_assert!(distance(&on) <= distance(&other) + 1e-9);
        }
    }
}
