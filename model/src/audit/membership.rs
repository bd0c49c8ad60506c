//! Whether a model tells who was in its training data: the threshold attack of Yeom and others (2018).
//!
//! An attacker who sees the model's probabilities guesses that an example was trained on when its loss is small. The report
//! says how well that works: near .5 the model gives nothing away by this attack, which is no proof against better ones.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::eval::separation::auc;

/// The share of strangers taken for members at which the attack is judged (Carlini and others 2022).
const FALSE_ALARMS: f64 = 0.01;

/// The report.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Membership {
    /// Training examples looked at.
    pub members: usize,
    /// Others looked at.
    pub strangers: usize,
    /// Chance that a training example has a smaller loss than another: .5 gives nothing away, 1 everything.
    pub auc: f64,
    /// Share of training examples found when one stranger in a hundred is taken for one.
    pub found_at_one_percent: f64,
    /// Mean loss of the training examples.
    pub loss_members: f64,
    /// Mean loss of the others.
    pub loss_strangers: f64,
}

/// Judges the attack on the losses of both.
///
/// # Errors
/// One of the two has no example.
pub fn attack(members: &[f64], strangers: &[f64]) -> Result<Membership> {
    if members.is_empty() || strangers.is_empty() {
        let reason =
            format!("expected training examples and others, found {} and {}", members.len(), strangers.len());
        return Err(Error::config("data", reason));
    }
    let mut others = strangers.to_vec();
    others.sort_by(f64::total_cmp);
    let allowed = (FALSE_ALARMS * others.len() as f64) as usize;
    let threshold = others[allowed.min(others.len() - 1)];
    let found = members.iter().filter(|loss| **loss < threshold).count();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    Ok(Membership {
        members: members.len(),
        strangers: strangers.len(),
        auc: auc(members, strangers)?,
        found_at_one_percent: found as f64 / members.len() as f64,
        loss_members: mean(members),
        loss_strangers: mean(strangers),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_that_of_the_curve_and_ties_count_half() {
        let found = attack(&[0.1, 0.5], &[0.5, 0.9]).unwrap();
        assert_eq!(found.auc, 3.5 / 4.0);
        let blind = attack(&[1.0; 50], &[1.0; 50]).unwrap();
        assert_eq!((blind.auc, blind.found_at_one_percent), (0.5, 0.0));
        assert!(attack(&[], &[1.0]).is_err());
    }

    #[test]
    fn one_stranger_in_a_hundred_may_be_taken_for_a_member() {
        let strangers: Vec<f64> = (0..200).map(f64::from).collect();
        // Two of 200 are below the threshold of 2.
        let found = attack(&[0.5, 1.5, 2.5, 100.0], &strangers).unwrap();
        assert_eq!(found.found_at_one_percent, 0.5);
    }
}
