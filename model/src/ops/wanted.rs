//! What the outputs of a batch should be, and the loss that follows from it.
//!
//! A network gives numbers; whether they are weighed against each other, each for itself, or taken as they are is no
//! matter of the network. Both engines ask here, so that a new kind of target is written once.

use crate::ops::loss::{CrossEntropy, cross_entropy};

/// What the outputs of a batch should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wanted<'a> {
    /// One label for each output, `(outputs)`: softmax cross-entropy.
    Classes(&'a [i32]),
    /// 1 or 0 for every label of every output, `(outputs, labels)`: binary cross-entropy of a sigmoid.
    Marks(&'a [f32]),
    /// A number for every label of every output, `(outputs, labels)`: mean square.
    Numbers(&'a [f32]),
}

impl Wanted<'_> {
    /// Replaces `logits (outputs, labels)` by the gradient of the mean loss and returns the loss.
    ///
    /// # Panics
    /// If there are not as many targets as the logits need; callers check what comes from outside.
    pub fn loss(&self, logits: &mut [f32], labels: usize) -> CrossEntropy {
        match self {
            Self::Classes(targets) => cross_entropy(logits, labels, targets),
            Self::Marks(marks) => each(logits, labels, marks, |logit, mark| {
                let (x, y) = (f64::from(logit), f64::from(mark));
                // The form that overflows for no logit, as PyTorch's BCEWithLogitsLoss has it.
                (x.max(0.0) - x * y + (-x.abs()).exp().ln_1p(), 1.0 / (1.0 + (-x).exp()) - y)
            }),
            Self::Numbers(numbers) => each(logits, labels, numbers, |said, number| {
                let miss = f64::from(said) - f64::from(number);
                (miss * miss, 2.0 * miss)
            }),
        }
    }
}

/// The mean of a loss that looks at every number alone; `of` answers value and slope.
fn each(logits: &mut [f32], labels: usize, wanted: &[f32], of: fn(f32, f32) -> (f64, f64)) -> CrossEntropy {
    assert_eq!(logits.len(), wanted.len(), "targets were checked to be one for every number");
    let count = wanted.len() as f64;
    let mut sum = 0.0;
    for (logit, wanted) in logits.iter_mut().zip(wanted) {
        let (value, slope) = of(*logit, *wanted);
        sum += value;
        *logit = (slope / count) as f32;
    }
    CrossEntropy { loss: sum / count, counted: wanted.len() / labels.max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_of_marks_and_numbers_agree_with_central_differences() {
        let logits: Vec<f32> = (0..12).map(|k| ((k * 7) % 12) as f32 / 2.0 - 3.0).collect();
        let marks: Vec<f32> = (0..12).map(|k| f32::from(u8::from(k % 3 == 0))).collect();
        let numbers: Vec<f32> = (0..12).map(|k| k as f32 / 6.0 - 1.0).collect();
        for wanted in [Wanted::Marks(&marks), Wanted::Numbers(&numbers)] {
            let mut gradient = logits.clone();
            let found = wanted.loss(&mut gradient, 3);
            assert_eq!(found.counted, 4);
            for place in 0..logits.len() {
                let at = |step: f32| {
                    let mut moved = logits.clone();
                    moved[place] += step;
                    wanted.loss(&mut moved, 3).loss
                };
                // Both steps are powers of two, so that the moved logits are exact.
                let slope = (at(0.007_812_5) - at(-0.007_812_5)) / 0.015_625;
                assert!((slope - f64::from(gradient[place])).abs() < 1e-5, "{wanted:?} {place}");
            }
        }
    }

    #[test]
    fn the_loss_of_marks_is_that_of_independent_coins_and_stays_finite() {
        let loss = |logit: f32, mark: f32| Wanted::Marks(&[mark]).loss(&mut [logit], 1).loss;
        assert!((loss(0.0, 1.0) - 2.0_f64.ln()).abs() < 1e-12);
        assert!((loss(1.0, 1.0) - 0.313_261_687_518).abs() < 1e-9);
        assert_eq!((loss(1e30, 1.0), loss(-1e30, 0.0)), (0.0, 0.0));
        assert!(loss(-1e30, 1.0).is_finite());
        assert_eq!(Wanted::Numbers(&[1.0, 0.0]).loss(&mut [3.0, 0.0], 1).loss, 2.0);
    }
}
