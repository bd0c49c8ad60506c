//! Losses against a teacher's probabilities, forward and backward in place.
//!
//! They exist because a student learns from two sources at once: labels, and what a teacher says of every label. Both
//! rules take the teacher as probabilities, so that a teacher may be one model, several, or a stranger's traded answers;
//! a softened teacher follows from them, because `softmax(z / T)` is `p^(1/T)` divided by its sum. The kernel knows no
//! teacher and no file.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ops::loss::{CrossEntropy, IGNORE};

/// How labels `y` and a teacher's probabilities `t` make one loss of the student's probabilities `p`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SoftRule {
    /// `‖p − y‖² + α ‖p − t‖²`.
    Squared {
        /// Weight α of the teacher.
        alpha: f64,
    },
    /// `−ln p_y + α T² KL(t^T ‖ p^T)`, where `^T` marks probabilities at temperature T (Hinton and others 2015).
    Divergence {
        /// Weight α of the teacher.
        alpha: f64,
        /// Temperature T: above 1 the teacher's small probabilities count more.
        temperature: f64,
    },
}

impl SoftRule {
    /// Refuses weights and temperatures that cannot work.
    pub fn check(self) -> Result<()> {
        let (alpha, temperature) = match self {
            Self::Squared { alpha } => (alpha, 1.0),
            Self::Divergence { alpha, temperature } => (alpha, temperature),
        };
        if !(alpha >= 0.0 && alpha.is_finite()) {
            return Err(Error::config("alpha", format!("expected a number from 0, found {alpha}")));
        }
        if !(0.01..=100.0).contains(&temperature) {
            return Err(Error::config("temperature", format!("expected 0.01 to 100, found {temperature}")));
        }
        Ok(())
    }
}

/// Replaces `logits (rows, classes)` by the gradient of the mean loss and returns the loss.
///
/// A row of zeros in `teacher (rows, classes)` has no teacher and a target of [`IGNORE`] no label; a row with neither
/// does not count. The mean is over the rows that count.
///
/// # Panics
/// If a target is neither [`IGNORE`] nor a class, or the sizes differ; callers check what comes from outside.
pub fn soft_loss(
    logits: &mut [f32],
    classes: usize,
    targets: &[i32],
    teacher: &[f32],
    rule: SoftRule,
) -> CrossEntropy {
    assert_eq!(logits.len(), teacher.len(), "a teacher says something of every logit");
    let is_taught = |row: &[f32]| row.iter().any(|value| *value > 0.0);
    let counted = targets
        .iter()
        .zip(teacher.chunks_exact(classes))
        .filter(|(target, row)| **target != IGNORE || is_taught(row))
        .count();
    let weight = if counted == 0 { 0.0 } else { 1.0 / counted as f64 };
    let rows = (8192 / classes.max(1)).clamp(1, 1024);
    let losses: Vec<f64> = logits
        .par_chunks_mut(rows * classes)
        .zip(teacher.par_chunks(rows * classes))
        .zip(targets.par_chunks(rows))
        .map(|((logits, teacher), targets)| {
            let mut row = Row::new(classes);
            let each = logits.chunks_exact_mut(classes).zip(teacher.chunks_exact(classes)).zip(targets);
            each.map(|((logits, teacher), target)| {
                let target = usize::try_from(*target).ok();
                let teacher = is_taught(teacher).then_some(teacher);
                row.loss(logits, target, teacher, rule, weight)
            })
            .sum()
        })
        .collect();
    CrossEntropy { loss: losses.iter().sum::<f64>() * weight, counted }
}

/// Buffers of one row: classes are few or many, but one row is worked on at a time.
struct Row {
    student: Vec<f64>,
    softened: Vec<f64>,
    taught: Vec<f64>,
    slope: Vec<f64>,
}

impl Row {
    fn new(classes: usize) -> Self {
        let zeros = || vec![0.0; classes];
        Self { student: zeros(), softened: zeros(), taught: zeros(), slope: zeros() }
    }

    /// The loss of one row; its logits become `weight` times their gradient.
    fn loss(
        &mut self,
        logits: &mut [f32],
        target: Option<usize>,
        teacher: Option<&[f32]>,
        rule: SoftRule,
        weight: f64,
    ) -> f64 {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let log_sum = softmax(logits, f64::from(largest), 1.0, &mut self.student);
        let loss = match rule {
            SoftRule::Squared { alpha } => self.squared(target, teacher, alpha),
            SoftRule::Divergence { alpha, temperature } => {
                self.slope.fill(0.0);
                let mut loss = 0.0;
                if let Some(target) = target {
                    loss += log_sum - f64::from(logits[target]);
                    self.slope.copy_from_slice(&self.student);
                    self.slope[target] -= 1.0;
                }
                if let Some(teacher) = teacher {
                    loss += alpha * self.divergence(logits, f64::from(largest), teacher, alpha, temperature);
                }
                loss
            }
        };
        for (logit, slope) in logits.iter_mut().zip(&self.slope) {
            *logit = (weight * slope) as f32;
        }
        loss
    }

    /// `‖p − y‖² + α ‖p − t‖²`; with `g` its derivative by p, the derivative by logit k is `p_k (g_k − Σ p_j g_j)`.
    fn squared(&mut self, target: Option<usize>, teacher: Option<&[f32]>, alpha: f64) -> f64 {
        let mut loss = 0.0;
        self.slope.fill(0.0);
        for (class, (p, slope)) in self.student.iter().zip(&mut self.slope).enumerate() {
            if let Some(target) = target {
                let difference = p - f64::from(u8::from(class == target));
                loss += difference * difference;
                *slope += 2.0 * difference;
            }
            if let Some(teacher) = teacher {
                let difference = p - f64::from(teacher[class]);
                loss += alpha * difference * difference;
                *slope += 2.0 * alpha * difference;
            }
        }
        let mean: f64 = self.student.iter().zip(&self.slope).map(|(p, g)| p * g).sum();
        for (slope, p) in self.slope.iter_mut().zip(&self.student) {
            *slope = p * (*slope - mean);
        }
        loss
    }

    /// `T² KL(t^T ‖ p^T)`; adds α times its derivative by the logits, which is `T (p^T − t^T)`.
    fn divergence(
        &mut self,
        logits: &[f32],
        largest: f64,
        teacher: &[f32],
        alpha: f64,
        temperature: f64,
    ) -> f64 {
        let log_sum = softmax(logits, largest, temperature, &mut self.softened);
        soften(teacher, temperature, &mut self.taught);
        let mut divergence = 0.0;
        for (class, (p, t)) in self.softened.iter().zip(&self.taught).enumerate() {
            if *t > 0.0 {
                // ln p from the logits: p itself may have become 0.
                divergence += t * (t.ln() - f64::from(logits[class]) / temperature + log_sum);
            }
            self.slope[class] += alpha * temperature * (p - t);
        }
        temperature * temperature * divergence
    }
}

/// `softmax(logits / temperature)`; returns the logarithm of the sum of exponentials.
fn softmax(logits: &[f32], largest: f64, temperature: f64, out: &mut [f64]) -> f64 {
    let mut sum = 0.0;
    for (out, logit) in out.iter_mut().zip(logits) {
        *out = ((f64::from(*logit) - largest) / temperature).exp();
        sum += *out;
    }
    for out in out {
        *out /= sum;
    }
    sum.ln() + largest / temperature
}

/// The probabilities that a teacher of these probabilities has at a temperature; not all of them may be 0.
pub fn soften(probabilities: &[f32], temperature: f64, out: &mut [f64]) {
    let largest = f64::from(probabilities.iter().copied().fold(0.0, f32::max));
    let mut sum = 0.0;
    for (out, p) in out.iter_mut().zip(probabilities) {
        // Divided by the largest first, so that no temperature makes all of them 0.
        *out = if *p > 0.0 { (f64::from(*p) / largest).powf(1.0 / temperature) } else { 0.0 };
        sum += *out;
    }
    for out in out {
        *out /= sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [SoftRule; 4] = [
        SoftRule::Squared { alpha: 0.7 },
        SoftRule::Squared { alpha: 0.0 },
        SoftRule::Divergence { alpha: 0.5, temperature: 3.0 },
        SoftRule::Divergence { alpha: 2.0, temperature: 1.0 },
    ];

    fn plain_softmax(row: &[f64], temperature: f64) -> Vec<f64> {
        let sum: f64 = row.iter().map(|z| (z / temperature).exp()).sum();
        row.iter().map(|z| (z / temperature).exp() / sum).collect()
    }

    /// The formulas as they are written, without any care for speed or size.
    fn exact(logits: &[f64], classes: usize, targets: &[i32], teacher: &[f32], rule: SoftRule) -> f64 {
        let (mut sum, mut counted) = (0.0, 0.0);
        for ((row, target), t) in logits.chunks(classes).zip(targets).zip(teacher.chunks(classes)) {
            let is_taught = t.iter().any(|t| *t > 0.0);
            counted += f64::from(u8::from(is_taught || *target != IGNORE));
            let p = plain_softmax(row, 1.0);
            match rule {
                SoftRule::Squared { alpha } => {
                    for k in 0..classes {
                        if *target != IGNORE {
                            sum += (p[k] - f64::from(u8::from(k == *target as usize))).powi(2);
                        }
                        if is_taught {
                            sum += alpha * (p[k] - f64::from(t[k])).powi(2);
                        }
                    }
                }
                SoftRule::Divergence { alpha, temperature } => {
                    if *target != IGNORE {
                        sum -= p[*target as usize].ln();
                    }
                    if is_taught {
                        let p = plain_softmax(row, temperature);
                        let t: Vec<f64> = t.iter().map(|t| f64::from(*t).powf(1.0 / temperature)).collect();
                        let whole: f64 = t.iter().sum();
                        for (t, p) in t.iter().zip(&p) {
                            sum += alpha * temperature.powi(2) * (t / whole) * (t / whole / p).ln();
                        }
                    }
                }
            }
        }
        sum / counted
    }

    /// Logits, targets and teachers of every kind: with and without a label, with and without a teacher.
    fn sample(classes: usize, rows: usize) -> (Vec<f64>, Vec<i32>, Vec<f32>) {
        let logits =
            (0..rows * classes).map(|k| f64::from(((k * 7919) % 501) as f32 / 125.0 - 2.0)).collect();
        let targets =
            (0..rows).map(|row| if row % 4 == 3 { IGNORE } else { (row * 5 % classes) as i32 }).collect();
        let mut teacher: Vec<f32> = (0..rows * classes).map(|k| (1 + (k * 104_729) % 97) as f32).collect();
        for (row, values) in teacher.chunks_mut(classes).enumerate() {
            let sum: f32 = values.iter().sum();
            let is_taught = row % 5 != 2 && row != 7;
            values.iter_mut().for_each(|value| *value = if is_taught { *value / sum } else { 0.0 });
        }
        (logits, targets, teacher)
    }

    #[test]
    fn loss_and_gradient_agree_with_central_differences() {
        for rule in RULES {
            for classes in [2, 9, 70] {
                let (mut logits, targets, teacher) = sample(classes, 13);
                let mut gradient: Vec<f32> = logits.iter().map(|x| *x as f32).collect();
                let result = soft_loss(&mut gradient, classes, &targets, &teacher, rule);
                assert_eq!(result.counted, 12, "row 7 has neither a label nor a teacher");
                let expected = exact(&logits, classes, &targets, &teacher, rule);
                assert!((result.loss - expected).abs() < 1e-6, "{rule:?} {} {expected}", result.loss);
                for k in 0..logits.len() {
                    let kept = logits[k];
                    logits[k] = kept + 1e-4;
                    let above = exact(&logits, classes, &targets, &teacher, rule);
                    logits[k] = kept - 1e-4;
                    let slope = (above - exact(&logits, classes, &targets, &teacher, rule)) / 2e-4;
                    logits[k] = kept;
                    assert!(
                        (slope - f64::from(gradient[k])).abs() < 1e-7,
                        "{rule:?} {k}: {slope} {}",
                        gradient[k]
                    );
                }
            }
        }
    }

    #[test]
    fn without_a_teacher_the_divergence_is_the_cross_entropy() {
        let (logits, targets, teacher) = sample(9, 13);
        let mut own: Vec<f32> = logits.iter().map(|x| *x as f32).collect();
        let mut plain = own.clone();
        let rule = SoftRule::Divergence { alpha: 1.0, temperature: 2.0 };
        let soft = soft_loss(&mut own, 9, &targets, &vec![0.0; teacher.len()], rule);
        let hard = crate::ops::loss::cross_entropy(&mut plain, 9, &targets);
        assert_eq!(soft.counted, hard.counted);
        assert!((soft.loss - hard.loss).abs() < 1e-6);
        assert!(own.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn a_student_that_says_what_its_teacher_says_has_no_gradient() {
        let logits = [0.3_f32, -1.2, 2.0, 0.0];
        let p = plain_softmax(&logits.map(f64::from), 1.0);
        let teacher: Vec<f32> = p.iter().map(|p| *p as f32).collect();
        for rule in RULES {
            let mut gradient = logits.to_vec();
            let result = soft_loss(&mut gradient, 4, &[IGNORE], &teacher, rule);
            assert!(result.loss.abs() < 1e-6 && gradient.iter().all(|g| g.abs() < 1e-6), "{rule:?}");
        }
    }

    #[test]
    fn extreme_logits_and_certain_teachers_stay_finite() {
        for rule in RULES {
            let mut logits = vec![1e30, -1e30, 0.0, 5.0, 5.0, 5.0];
            let teacher = [0.0, 1.0, 0.0, 1e-38, 0.0, 1.0];
            soft_loss(&mut logits, 3, &[0, IGNORE], &teacher, rule);
            assert!(logits.iter().all(|x| x.is_finite()), "{rule:?}");
        }
        let mut silent = vec![1.0, 2.0];
        let result = soft_loss(&mut silent, 2, &[IGNORE], &[0.0, 0.0], RULES[0]);
        assert!(result.counted == 0 && silent == [0.0, 0.0]);
    }
}
