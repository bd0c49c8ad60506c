//! Softmax cross-entropy, forward and backward in place.

use rayon::prelude::*;

use crate::ops::simd::{LANES, exp, sum_lanes, vectorized};

/// Targets equal to this do not count, as in PyTorch.
pub const IGNORE: i32 = -100;

/// The loss of one batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CrossEntropy {
    /// Mean of `-ln p(target)` over the counted rows; NaN when none counts, as in PyTorch.
    pub loss: f64,
    /// Rows that counted.
    pub counted: usize,
}

/// Replaces `logits (rows, classes)` by the gradient of the mean loss and returns the loss.
///
/// # Panics
/// If a target is neither [`IGNORE`] nor a class; callers check what comes from outside.
pub fn cross_entropy(logits: &mut [f32], classes: usize, targets: &[i32]) -> CrossEntropy {
    let counted = targets.iter().filter(|target| **target != IGNORE).count();
    let weight = if counted == 0 { 0.0 } else { 1.0 / counted as f32 };
    // About 8,000 logits a task, whatever the number of classes.
    let rows = (8192 / classes.max(1)).clamp(1, 1024);
    let losses: Vec<f64> = logits
        .par_chunks_mut(rows * classes)
        .zip(targets.par_chunks(rows))
        .map(|(logits, targets)| {
            let mut loss = 0.0;
            for (row, target) in logits.chunks_exact_mut(classes).zip(targets) {
                if *target == IGNORE {
                    row.fill(0.0);
                    continue;
                }
                let target = usize::try_from(*target).expect("targets were checked to be classes");
                let logit = f64::from(row[target]);
                let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum = softmax_row(row, largest, weight);
                row[target] -= weight;
                loss += f64::from(sum).ln() + f64::from(largest) - logit;
            }
            loss
        })
        .collect();
    CrossEntropy { loss: losses.iter().sum::<f64>() / counted as f64, counted }
}

#[inline(always)]
fn softmax_row_body<const FMA: bool>(row: &mut [f32], largest: f32, weight: f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for k in 0..LANES {
            chunk[k] = exp::<FMA>(chunk[k] - largest);
            lanes[k] += chunk[k];
        }
    }
    let mut sum = sum_lanes(lanes);
    for x in rest {
        *x = exp::<FMA>(*x - largest);
        sum += *x;
    }
    let factor = weight / sum;
    for x in row {
        *x *= factor;
    }
    sum
}

vectorized! {
    /// `row = weight * softmax(row)` given the row's largest value; returns the sum of the exponentials.
    pub fn softmax_row(row: &mut [f32], largest: f32, weight: f32) -> f32 = softmax_row_body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(logits: &[f64], classes: usize, targets: &[i32]) -> f64 {
        let (mut loss, mut counted) = (0.0, 0.0);
        for (row, target) in logits.chunks(classes).zip(targets) {
            if *target != IGNORE {
                let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = row.iter().map(|x| (x - largest).exp()).sum();
                loss += sum.ln() + largest - row[*target as usize];
                counted += 1.0;
            }
        }
        loss / counted
    }

    #[test]
    fn loss_and_gradient_agree_with_central_differences() {
        for classes in [2, 9, 70] {
            let rows = 13;
            let mut logits: Vec<f64> =
                (0..rows * classes).map(|k| f64::from(((k * 7919) % 501) as f32 / 50.0 - 5.0)).collect();
            let targets: Vec<i32> =
                (0..rows).map(|row| if row % 4 == 3 { IGNORE } else { (row * 5 % classes) as i32 }).collect();
            let mut gradient: Vec<f32> = logits.iter().map(|x| *x as f32).collect();
            let result = cross_entropy(&mut gradient, classes, &targets);
            assert_eq!(result.counted, 10);
            assert!((result.loss - exact(&logits, classes, &targets)).abs() < 1e-6);
            for k in 0..logits.len() {
                let kept = logits[k];
                logits[k] = kept + 1e-4;
                let above = exact(&logits, classes, &targets);
                logits[k] = kept - 1e-4;
                let slope = (above - exact(&logits, classes, &targets)) / 2e-4;
                logits[k] = kept;
                assert!((slope - f64::from(gradient[k])).abs() < 1e-7, "{k}: {slope} {}", gradient[k]);
            }
        }
    }

    #[test]
    fn a_batch_without_targets_has_no_gradient_and_no_loss() {
        let mut logits = vec![1.0, 2.0, 3.0, 4.0];
        let result = cross_entropy(&mut logits, 2, &[IGNORE, IGNORE]);
        assert!(result.loss.is_nan() && result.counted == 0);
        assert_eq!(logits, [0.0; 4]);
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let mut logits = vec![1e30, -1e30, 0.0];
        let result = cross_entropy(&mut logits, 3, &[0]);
        assert_eq!(result.loss, 0.0);
        assert!(logits.iter().all(|x| x.is_finite()));
    }
}
