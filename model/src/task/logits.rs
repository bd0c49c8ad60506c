//! Reading logits: the best label and how sure it is.
//!
//! A task asks whatever gives logits (a training session, an ensemble, a test) through one trait, so that it needs to
//! know none of them.

use crate::arch::cache::Cache;
use crate::data::batch::Batch;
use crate::error::{Error, Result};

/// Gives logits for batches.
pub trait Logits {
    /// The number of labels.
    fn labels(&self) -> usize;

    /// The logits of a batch: `(rows, width, labels)` for a task with a label per token, else `(rows, labels)`.
    fn logits(&mut self, batch: &Batch) -> Result<Vec<f32>>;
}

/// Continues a text.
pub trait Continues {
    /// The longest text it reads, tokens.
    fn tokens_max(&self) -> usize;

    /// Reads new tokens behind those of the cache; answers the logits `(vocabulary)` behind the last.
    fn extend(&mut self, ids: &[u32], cache: &mut Cache) -> Result<Vec<f32>>;
}

/// A label and its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// The label.
    pub label: u32,
    /// Its softmax probability, 0 to 1.
    pub probability: f32,
}

/// The largest of the logits, the first of equals; nothing when none is a number.
pub fn choose(logits: &[f32]) -> Option<Choice> {
    let mut best: Option<(usize, f32)> = None;
    for (place, logit) in logits.iter().enumerate() {
        if !logit.is_nan() && best.is_none_or(|(_, value)| *logit > value) {
            best = Some((place, *logit));
        }
    }
    let (label, largest) = best?;
    let sum: f32 = logits.iter().filter(|logit| !logit.is_nan()).map(|logit| (logit - largest).exp()).sum();
    // An infinite logit gives NaN differences to itself; it is then the only candidate.
    let probability = if sum.is_finite() && sum > 0.0 { 1.0 / sum } else { 1.0 };
    Some(Choice { label: label as u32, probability })
}

/// The softmax of finite logits; `out` has as many values.
pub fn softmax(logits: &[f32], out: &mut [f32]) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for (to, logit) in out.iter_mut().zip(logits) {
        *to = (logit - largest).exp();
        sum += *to;
    }
    out.iter_mut().for_each(|value| *value /= sum);
}

/// Refuses logits of another size than `(positions, labels)` or that are not finite.
pub fn check(logits: &[f32], positions: usize, labels: usize) -> Result<()> {
    if logits.len() != positions * labels {
        return Err(Error::shape("logits", format!("{positions} x {labels}"), logits.len()));
    }
    if logits.iter().any(|logit| !logit.is_finite()) {
        return Err(Error::NotFinite {
            what: "a logit".into(),
            remedy: "the parameters are damaged or training diverged: go back to an earlier checkpoint"
                .into(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_logit_wins_and_its_probability_is_the_softmax() {
        let choice = choose(&[0.0, 2.0, 1.0]).unwrap();
        assert_eq!(choice.label, 1);
        assert!((choice.probability - 0.665_241).abs() < 1e-5);
        assert_eq!(choose(&[1.0, 1.0]).unwrap().label, 0);
        assert_eq!(choose(&[]), None);
        assert_eq!(choose(&[f32::NAN]), None);
        assert_eq!(choose(&[f32::NAN, -3.0]).unwrap(), Choice { label: 1, probability: 1.0 });
    }

    #[test]
    fn logits_of_the_wrong_size_or_not_finite_are_refused() {
        assert!(check(&[0.0; 6], 2, 3).is_ok());
        assert!(check(&[0.0; 5], 2, 3).is_err());
        assert!(check(&[0.0, f32::INFINITY], 1, 2).is_err());
    }
}
