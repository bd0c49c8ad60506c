//! How well one number tells two kinds of examples apart, and with it whether a model knows what it was not made for.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Share of what belongs that may be refused wrongly.
const FALSE_REFUSALS: f64 = 0.05;

/// Texts that belong to no class, told by how unsure the model is of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OutOfScope {
    /// Texts that belong to no class.
    pub texts: u64,
    /// Chance that the model is less sure of one of them than of one that belongs to a class.
    pub auc: f64,
    /// Share of them refused when one in twenty of the others is.
    pub refused_at_five_percent: f64,
}

impl OutOfScope {
    /// Judges the probabilities of the chosen classes.
    ///
    /// # Errors
    /// One of the two is empty.
    pub fn judge(inside: &[f64], outside: &[f64]) -> Result<Self> {
        let auc = auc(outside, inside)?;
        let mut sorted = inside.to_vec();
        sorted.sort_by(f64::total_cmp);
        let threshold = sorted[((FALSE_REFUSALS * sorted.len() as f64) as usize).min(sorted.len() - 1)];
        let refused = outside.iter().filter(|probability| **probability < threshold).count();
        Ok(Self {
            texts: outside.len() as u64,
            auc,
            refused_at_five_percent: refused as f64 / outside.len() as f64,
        })
    }
}

/// Chance that one of `lower` is below one of `higher`; ties count half, as the area under the curve has them.
///
/// # Errors
/// One of the two is empty.
pub fn auc(lower: &[f64], higher: &[f64]) -> Result<f64> {
    if lower.is_empty() || higher.is_empty() {
        let found = format!("{} and {}", lower.len(), higher.len());
        return Err(Error::shape("examples of the two kinds", "at least 1 of each", found));
    }
    let mut sorted = higher.to_vec();
    sorted.sort_by(f64::total_cmp);
    let wins: f64 = lower
        .iter()
        .map(|value| {
            let below = sorted.partition_point(|other| other < value);
            let not_above = sorted.partition_point(|other| other <= value);
            (sorted.len() - not_above) as f64 + 0.5 * (not_above - below) as f64
        })
        .sum();
    Ok(wins / (lower.len() * sorted.len()) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_that_of_the_curve_and_ties_count_half() {
        assert_eq!(auc(&[0.1, 0.5], &[0.5, 0.9]).unwrap(), 3.5 / 4.0);
        assert_eq!(auc(&[1.0; 9], &[1.0; 5]).unwrap(), 0.5);
        assert_eq!(auc(&[2.0], &[1.0]).unwrap(), 0.0);
        assert!(auc(&[], &[1.0]).is_err());
    }

    #[test]
    fn strangers_are_refused_below_what_nineteen_in_twenty_reach() {
        let inside: Vec<f64> = (0..100).map(|k| f64::from(k) / 100.0).collect();
        let found = OutOfScope::judge(&inside, &[0.01, 0.04, 0.06, 0.9]).unwrap();
        assert_eq!((found.texts, found.refused_at_five_percent), (4, 0.5));
        assert!(found.auc > 0.7);
    }
}
