//! Fitting a rule to a calibration set: from answers and labels to a pool, with intervals for its weights.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fuse::evidence::Evidence;
use crate::fuse::pool::Pool;
use crate::fuse::rule::Rule;
use crate::fuse::{solve, stacking};
use crate::seed::{Seed, index};
use crate::task::answers::Answers;

/// Draws behind an interval of weights.
pub const DRAWS: usize = 200;

/// Share of the draws outside of an interval, on both sides together.
const OUTSIDE: f64 = 0.05;

/// A range of values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// The middle 95 % of drawn values.
    pub fn of(mut draws: Vec<f64>) -> Self {
        draws.sort_by(f64::total_cmp);
        let at = |share: f64| -> f64 {
            let place = (share * draws.len().saturating_sub(1) as f64).round() as usize;
            draws.get(place).copied().unwrap_or(f64::NAN)
        };
        Self { low: at(OUTSIDE / 2.0), high: at(1.0 - OUTSIDE / 2.0) }
    }
}

/// Members' answers on a calibration set, with its labels where there are any.
#[derive(Debug)]
pub struct Calibration<'a> {
    members: &'a [&'a Answers],
    truth: Option<&'a [u32]>,
    evidence: Evidence,
}

impl<'a> Calibration<'a> {
    /// Puts the answers side by side; `truth` has a label for every unit.
    ///
    /// # Errors
    /// The members do not fit each other or are too many, or the labels do not fit the answers.
    pub fn new(members: &'a [&'a Answers], truth: Option<&'a [u32]>) -> Result<Self> {
        Ok(Self { members, truth, evidence: Evidence::gather(members, truth)? })
    }

    /// The members' answers.
    pub fn members(&self) -> &'a [&'a Answers] {
        self.members
    }

    /// The labels, where there are any.
    pub fn truth(&self) -> Option<&'a [u32]> {
        self.truth
    }

    /// Every example once.
    pub fn all(&self) -> Vec<f64> {
        vec![1.0; self.evidence.examples()]
    }

    /// Fits a rule; `times` says how often each example counts.
    ///
    /// # Errors
    /// The rule needs labels and there are none.
    pub fn fit(&self, rule: Rule, times: &[f64]) -> Result<Pool> {
        let members = self.members.len();
        let unlabelled = || {
            let reason =
                format!("the rule {rule} needs labelled examples; label some, or take inverse or mean");
            Error::config("rule", reason)
        };
        let linear = |weights: Option<Vec<f64>>| {
            weights.map(|weights| Pool::Linear { weights }).ok_or_else(unlabelled)
        };
        match rule {
            Rule::Simplex => linear(solve::least_squares(&self.evidence, times)),
            Rule::SimplexLog => {
                linear(solve::log_loss(&self.evidence, times, &Pool::uniform(members).weights()))
            }
            Rule::Inverse => linear(Some(solve::inverse(&self.evidence, times))),
            Rule::Disagreement => linear(Some(solve::disagreement(&self.evidence, times))),
            Rule::Mean => Ok(Pool::uniform(members)),
            Rule::Geometric => {
                Ok(Pool::LogLinear { weights: Pool::uniform(members).weights(), offsets: Vec::new() })
            }
            Rule::Median => Ok(Pool::Median { members }),
            Rule::Vote => Ok(Pool::Vote { members }),
            Rule::Stacking => Ok(stacking::fit(self.members, self.truth.ok_or_else(unlabelled)?, times)),
        }
    }

    /// Intervals of the weights: the rule is fitted to examples drawn with replacement (Efron 1979). Nothing for rules
    /// that fit no weights, and for stacking, whose offsets move with its weights.
    ///
    /// # Errors
    /// As [`Calibration::fit`].
    pub fn intervals(&self, rule: Rule, seed: Seed) -> Result<Option<Vec<Interval>>> {
        // A fit by expectation-maximisation costs as much as all the others together.
        let draws = match rule {
            Rule::Simplex | Rule::Inverse | Rule::Disagreement => DRAWS,
            Rule::SimplexLog => DRAWS / 5,
            Rule::Mean | Rule::Geometric | Rule::Median | Rule::Vote | Rule::Stacking => return Ok(None),
        };
        let start = self.fit(rule, &self.all())?.weights();
        let mut columns = vec![Vec::with_capacity(draws); self.members.len()];
        for draw in 0..draws {
            let times = drawn(self.evidence.examples(), &seed.fork_index(draw as u64));
            // Started at the fit to all examples, a drawn one is near.
            let weights = match rule {
                Rule::SimplexLog => solve::log_loss(&self.evidence, &times, &start).unwrap_or_default(),
                _ => self.fit(rule, &times)?.weights(),
            };
            columns.iter_mut().zip(weights).for_each(|(column, weight)| column.push(weight));
        }
        Ok(Some(columns.into_iter().map(Interval::of).collect()))
    }
}

/// How often each example is drawn when as many as there are are drawn with replacement.
pub fn drawn(examples: usize, seed: &Seed) -> Vec<f64> {
    let mut rng = seed.fork("bootstrap").rng();
    let mut times = vec![0.0; examples];
    for _ in 0..examples {
        times[index(&mut rng, examples)] += 1.0;
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A member that is right on most texts, one that is right on few, and the truth.
    fn sample(texts: u32) -> (Answers, Answers, Vec<u32>) {
        let answers = |wrong: fn(u32) -> bool| {
            let row = |k| if wrong(k) == (k % 2 == 0) { [0.2, 0.8] } else { [0.8, 0.2] };
            Answers::of_texts(2, (0..texts).flat_map(row).collect()).unwrap()
        };
        (answers(|k| k % 5 == 0), answers(|k| k % 3 != 0), (0..texts).map(|k| k % 2).collect())
    }

    #[test]
    fn every_rule_can_be_fitted_to_labels_and_some_without() {
        let (good, bad, truth) = sample(60);
        let members = [&good, &bad];
        let labelled = Calibration::new(&members, Some(&truth)).unwrap();
        let plain = Calibration::new(&members, None).unwrap();
        for rule in Rule::ALL {
            let pool = labelled.fit(rule, &labelled.all()).unwrap();
            pool.check(2).unwrap();
            assert_eq!(pool.members(), 2);
            assert_eq!(plain.fit(rule, &plain.all()).is_ok(), !rule.needs_labels(), "{rule}");
        }
        let error = plain.fit(Rule::Simplex, &plain.all()).unwrap_err().to_string();
        assert!(error.contains("inverse"), "{error}");
    }

    #[test]
    fn intervals_hold_the_weight_and_narrow_with_more_examples() {
        let width = |texts: u32| {
            let (good, bad, truth) = sample(texts);
            let members = [&good, &bad];
            let calibration = Calibration::new(&members, Some(&truth)).unwrap();
            let weight = calibration.fit(Rule::Simplex, &calibration.all()).unwrap().weights()[0];
            let intervals = calibration.intervals(Rule::Simplex, Seed::from_u64(1)).unwrap().unwrap();
            assert!(intervals[0].low <= weight && weight <= intervals[0].high, "{weight} {intervals:?}");
            intervals[0].high - intervals[0].low
        };
        assert!(width(1500) < 0.6 * width(60), "{} {}", width(1500), width(60));
        let (good, bad, truth) = sample(30);
        let members = [&good, &bad];
        let calibration = Calibration::new(&members, Some(&truth)).unwrap();
        assert!(calibration.intervals(Rule::Vote, Seed::from_u64(1)).unwrap().is_none());
        assert!(calibration.intervals(Rule::SimplexLog, Seed::from_u64(1)).unwrap().is_some());
    }
}
