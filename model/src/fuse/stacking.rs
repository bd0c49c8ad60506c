//! Stacking: members' logarithms weighted by logistic regression.
//!
//! `ŷ(k) ∝ exp(b_k + Σ a_j ln p_j(k))`: one weight per member and one offset per label, fitted to the cross-entropy of a
//! labelled set with a small pull towards equal weights and no offsets. Weights of their own for every label would fit a
//! calibration set of a few thousand examples by heart. A negative weight turns a liar's word around.

use rayon::prelude::*;

use crate::fuse::pool::{Pool, log_probability};
use crate::task::answers::Answers;

/// Steps of the optimizer; the loss is convex.
const STEPS: usize = 250;

/// Rate of the optimizer's first step; it falls to 0 in a straight line.
const RATE: f64 = 0.1;

/// Strength of the pull, as examples it counts for.
const PULL: f64 = 1.0;

/// Units in one parallel task.
const UNITS: usize = 512;

/// Fits a log-linear pool; `times` says how often each example counts.
///
/// # Panics
/// If the labels do not fit the answers; callers check what comes from outside.
pub fn fit(members: &[&Answers], truth: &[u32], times: &[f64]) -> Pool {
    let (count, labels) = (members.len(), members[0].labels());
    let mut logs: Vec<f32> = Vec::new(); // (counted units, members, labels)
    let mut right: Vec<(usize, f64)> = Vec::new();
    for (example, times) in times.iter().enumerate().filter(|(_, times)| **times > 0.0) {
        for unit in members[0].units_of(example) {
            right.push((truth[unit] as usize, *times));
            for member in members {
                logs.extend(member.unit(unit).iter().map(|p| log_probability(*p) as f32));
            }
        }
    }
    let total: f64 = right.iter().map(|(_, times)| times).sum::<f64>().max(1.0);
    let equal = 1.0 / count as f64;
    let mut parameters = vec![0.0; count + labels];
    parameters[..count].fill(equal);
    let (mut first, mut second) = (vec![0.0; count + labels], vec![0.0; count + labels]);
    for step in 0..STEPS {
        let mut slope = slope(&logs, &right, count, labels, &parameters);
        for (k, (slope, parameter)) in slope.iter_mut().zip(&parameters).enumerate() {
            let rest = if k < count { equal } else { 0.0 };
            *slope = (*slope + PULL * (parameter - rest)) / total;
        }
        // Adam (Kingma and Ba 2015): the logarithms of certain and of careful members differ a lot in size.
        let rate = RATE * (1.0 - step as f64 / STEPS as f64);
        let correct = |beta: f64| 1.0 - beta.powi(step as i32 + 1);
        for k in 0..parameters.len() {
            first[k] = 0.9 * first[k] + 0.1 * slope[k];
            second[k] = 0.999 * second[k] + 0.001 * slope[k] * slope[k];
            parameters[k] -= rate * (first[k] / correct(0.9)) / ((second[k] / correct(0.999)).sqrt() + 1e-8);
        }
    }
    let offsets = parameters.split_off(count);
    Pool::LogLinear { weights: parameters, offsets }
}

/// The gradient of the summed cross-entropy by weights and offsets; tasks are added in their order.
fn slope(logs: &[f32], right: &[(usize, f64)], count: usize, labels: usize, parameters: &[f64]) -> Vec<f64> {
    let parts: Vec<Vec<f64>> = logs
        .par_chunks(UNITS * count * labels)
        .zip(right.par_chunks(UNITS))
        .map(|(logs, right)| {
            let mut slope = vec![0.0; count + labels];
            let mut said = vec![0.0; labels];
            for (rows, (truth, times)) in logs.chunks_exact(count * labels).zip(right) {
                said.copy_from_slice(&parameters[count..]);
                for (row, weight) in rows.chunks_exact(labels).zip(parameters) {
                    said.iter_mut().zip(row).for_each(|(sum, log)| *sum += weight * f64::from(*log));
                }
                let largest = said.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                said.iter_mut().for_each(|value| *value = (*value - largest).exp());
                let sum: f64 = said.iter().sum();
                said.iter_mut().for_each(|value| *value *= times / sum);
                said[*truth] -= times;
                for (slope, row) in slope.iter_mut().zip(rows.chunks_exact(labels)) {
                    *slope += said.iter().zip(row).map(|(d, log)| d * f64::from(*log)).sum::<f64>();
                }
                slope[count..].iter_mut().zip(&said).for_each(|(slope, d)| *slope += d);
            }
            slope
        })
        .collect();
    parts.into_iter().fold(vec![0.0; count + labels], |mut sum, part| {
        sum.iter_mut().zip(&part).for_each(|(sum, value)| *sum += value);
        sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A careful member that is right three times in four, and one that says the label behind the truth.
    fn pair() -> (Answers, Answers, Vec<u32>) {
        let (mut good, mut liar, mut truth) = (Vec::new(), Vec::new(), Vec::new());
        for k in 0..120_u32 {
            let label = k % 3;
            let mut row = [0.2_f32; 3];
            row[((label + u32::from(k % 4 == 3)) % 3) as usize] = 0.6;
            good.extend(row);
            let mut row = [0.05_f32; 3];
            row[((label + 1) % 3) as usize] = 0.9;
            liar.extend(row);
            truth.push(label);
        }
        (Answers::of_texts(3, good).unwrap(), Answers::of_texts(3, liar).unwrap(), truth)
    }

    fn right(pool: &Pool, members: &[&Answers], truth: &[u32]) -> usize {
        let fused = pool.fuse(members).unwrap();
        truth
            .iter()
            .enumerate()
            .filter(|(k, label)| crate::fuse::pool::vote(fused.unit(*k)) == **label as usize)
            .count()
    }

    #[test]
    fn a_good_member_counts_for_more_than_noise_that_favours_one_label() {
        let (good, _, truth) = pair();
        let noise = Answers::of_texts(3, [0.8, 0.1, 0.1].repeat(120)).unwrap();
        let pool = fit(&[&good, &noise], &truth, &[1.0; 120]);
        assert_eq!(right(&pool, &[&good, &noise], &truth), 90, "{pool:?}");
        let alone = fit(&[&good, &noise], &truth, &[0.0; 120]);
        let weights = alone.weights();
        assert!(weights.iter().all(|w| (w - 0.5).abs() < 1e-6), "nothing to learn from: {weights:?}");
    }

    #[test]
    fn the_gradient_agrees_with_central_differences() {
        let (good, liar, truth) = pair();
        let logs: Vec<f32> = (0..120)
            .flat_map(|k| [good.unit(k), liar.unit(k)].concat())
            .map(|p| log_probability(p) as f32)
            .collect();
        let right: Vec<(usize, f64)> = truth.iter().map(|label| (*label as usize, 1.0)).collect();
        let mut at = vec![0.3, -0.4, 0.1, 0.0, -0.2];
        let loss = |at: &[f64]| -> f64 {
            let pool = Pool::LogLinear { weights: at[..2].to_vec(), offsets: at[2..].to_vec() };
            let fused = pool.fuse(&[&good, &liar]).unwrap();
            truth.iter().enumerate().map(|(k, label)| -f64::from(fused.unit(k)[*label as usize]).ln()).sum()
        };
        let found = slope(&logs, &right, 2, 3, &at);
        for k in 0..at.len() {
            let kept = at[k];
            at[k] = kept + 1e-3;
            let above = loss(&at);
            at[k] = kept - 1e-3;
            let expected = (above - loss(&at)) / 2e-3;
            at[k] = kept;
            assert!((found[k] - expected).abs() < 2e-2, "{k}: {} {expected}", found[k]);
        }
    }
}
