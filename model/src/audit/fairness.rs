//! Fairness of a model: whether its decisions treat groups of examples alike.
//!
//! The names are those of fairlearn. One class counts as the favourable decision, the others as its absence. Small groups
//! give wild rates, so every comparison comes with an interval, and how many examples are behind a rate is said.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::seed::{Seed, index};

/// Resamples of the bootstrap.
const RESAMPLES: usize = 500;
/// Bins of the calibration error.
const BINS: usize = 10;

/// One decision about one example.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The group the example belongs to.
    pub group: String,
    /// Whether the favourable class is the true one.
    pub is_true: bool,
    /// Whether it was decided for.
    pub is_selected: bool,
    /// The probability the model gave it.
    pub probability: f64,
}

/// Rates of one group; a rate without examples behind it is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rates {
    /// Examples.
    pub count: usize,
    /// Share decided for.
    pub selection_rate: f64,
    /// Share decided rightly.
    pub accuracy: f64,
    /// Share decided for among those for whom it is true.
    pub true_positive_rate: Option<f64>,
    /// Share decided for among the others.
    pub false_positive_rate: Option<f64>,
    /// Mean distance between stated probability and share that is true, over ten bins weighted by size.
    pub calibration_error: f64,
}

/// How unlike the groups are. Differences: 0 is alike; ratios: 1 is alike.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gaps {
    /// Largest minus smallest selection rate.
    pub demographic_parity_difference: f64,
    /// Smallest over largest selection rate.
    pub demographic_parity_ratio: f64,
    /// The larger of the differences of true and of false positive rates.
    pub equalized_odds_difference: f64,
    /// The smaller of their ratios.
    pub equalized_odds_ratio: f64,
    /// Largest minus smallest true positive rate.
    pub equal_opportunity_difference: f64,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fairness {
    /// The class that counts as favourable.
    pub favourable: String,
    /// Rates by group.
    pub groups: BTreeMap<String, Rates>,
    /// The comparison.
    pub gaps: Gaps,
    /// 95 % intervals of each gap, low and high.
    pub low: Gaps,
    /// See `low`.
    pub high: Gaps,
}

/// Compares the groups of some decisions.
///
/// # Errors
/// There are fewer than two groups.
pub fn compare(decisions: &[Decision], favourable: &str, seed: &Seed) -> Result<Fairness> {
    let all: Vec<&Decision> = decisions.iter().collect();
    let groups = rates(&all);
    if groups.len() < 2 {
        let reason = format!("expected examples in at least two groups, found {}", groups.len());
        return Err(Error::config("data.group", reason));
    }
    let mut rng = seed.fork("fairness").rng();
    let mut drawn: Vec<Gaps> = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        let sample: Vec<&Decision> = (0..all.len()).map(|_| all[index(&mut rng, all.len())]).collect();
        drawn.push(gaps(&rates(&sample)));
    }
    let at = |share: usize| {
        let of = |value: fn(&Gaps) -> f64| {
            let mut values: Vec<f64> = drawn.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values[RESAMPLES * share / 1000]
        };
        Gaps {
            demographic_parity_difference: of(|g| g.demographic_parity_difference),
            demographic_parity_ratio: of(|g| g.demographic_parity_ratio),
            equalized_odds_difference: of(|g| g.equalized_odds_difference),
            equalized_odds_ratio: of(|g| g.equalized_odds_ratio),
            equal_opportunity_difference: of(|g| g.equal_opportunity_difference),
        }
    };
    let gaps = gaps(&groups);
    Ok(Fairness { favourable: favourable.to_owned(), groups, gaps, low: at(25), high: at(975) })
}

fn rates(decisions: &[&Decision]) -> BTreeMap<String, Rates> {
    let mut by_group: BTreeMap<&str, Vec<&Decision>> = BTreeMap::new();
    for decision in decisions {
        by_group.entry(&decision.group).or_default().push(decision);
    }
    by_group.into_iter().map(|(group, own)| (group.to_owned(), rates_of(&own))).collect()
}

fn rates_of(own: &[&Decision]) -> Rates {
    let share = |of: &dyn Fn(&Decision) -> bool, is: &dyn Fn(&Decision) -> bool| {
        let whole = own.iter().filter(|d| of(d)).count();
        let part = own.iter().filter(|d| of(d) && is(d)).count();
        (whole > 0).then(|| part as f64 / whole as f64)
    };
    let everybody = |_: &Decision| true;
    let mut bins = [(0.0, 0.0, 0.0); BINS]; // probability, true, count
    for decision in own {
        let bin = ((decision.probability * BINS as f64) as usize).min(BINS - 1);
        bins[bin].0 += decision.probability;
        bins[bin].1 += f64::from(u8::from(decision.is_true));
        bins[bin].2 += 1.0;
    }
    let distance: f64 = bins.iter().map(|(stated, true_ones, _)| (stated - true_ones).abs()).sum();
    Rates {
        count: own.len(),
        selection_rate: share(&everybody, &|d| d.is_selected).unwrap_or(0.0),
        accuracy: share(&everybody, &|d| d.is_selected == d.is_true).unwrap_or(0.0),
        true_positive_rate: share(&|d| d.is_true, &|d| d.is_selected),
        false_positive_rate: share(&|d| !d.is_true, &|d| d.is_selected),
        calibration_error: distance / own.len().max(1) as f64,
    }
}

fn gaps(groups: &BTreeMap<String, Rates>) -> Gaps {
    let span = |rate: fn(&Rates) -> Option<f64>| {
        let values: Vec<f64> = groups.values().filter_map(rate).collect();
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if values.is_empty() {
            return (0.0, 1.0);
        }
        (high - low, if high == 0.0 { 1.0 } else { low / high })
    };
    let selection = span(|rates| Some(rates.selection_rate));
    let (hits, false_alarms) =
        (span(|rates| rates.true_positive_rate), span(|rates| rates.false_positive_rate));
    Gaps {
        demographic_parity_difference: selection.0,
        demographic_parity_ratio: selection.1,
        equalized_odds_difference: hits.0.max(false_alarms.0),
        equalized_odds_ratio: hits.1.min(false_alarms.1),
        equal_opportunity_difference: hits.0,
    }
}

impl fmt::Display for Fairness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.groups.keys().map(|group| group.chars().count()).max().unwrap_or(0).max(5);
        let rate = |rate: Option<f64>| rate.map_or("-".to_owned(), |rate| format!("{rate:.3}"));
        writeln!(out, "favourable decision: {}\n", self.favourable)?;
        writeln!(
            out,
            "{:<width$}  {:>6}  {:>9}  {:>8}  {:>8}  {:>9}  {:>11}",
            "group", "count", "selection", "accuracy", "true pos", "false pos", "calibration"
        )?;
        for (group, rates) in &self.groups {
            writeln!(
                out,
                "{group:<width$}  {:>6}  {:>9.3}  {:>8.3}  {:>8}  {:>9}  {:>11.3}",
                rates.count,
                rates.selection_rate,
                rates.accuracy,
                rate(rates.true_positive_rate),
                rate(rates.false_positive_rate),
                rates.calibration_error
            )?;
        }
        writeln!(out)?;
        let mut line = |name: &str, of: fn(&Gaps) -> f64| {
            writeln!(
                out,
                "{name:<30}  {:.3}   95 % {:.3} to {:.3}",
                of(&self.gaps),
                of(&self.low),
                of(&self.high)
            )
        };
        line("demographic parity difference", |g| g.demographic_parity_difference)?;
        line("demographic parity ratio", |g| g.demographic_parity_ratio)?;
        line("equalized odds difference", |g| g.equalized_odds_difference)?;
        line("equalized odds ratio", |g| g.equalized_odds_ratio)?;
        line("equal opportunity difference", |g| g.equal_opportunity_difference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(group, true, selected, how many)`.
    fn decisions(counts: &[(&str, bool, bool, usize)]) -> Vec<Decision> {
        let one = |(group, is_true, is_selected, n): &(&str, bool, bool, usize)| {
            let probability = if *is_selected { 0.9 } else { 0.1 };
            let decision = Decision {
                group: (*group).to_owned(),
                is_true: *is_true,
                is_selected: *is_selected,
                probability,
            };
            vec![decision; *n]
        };
        counts.iter().flat_map(one).collect()
    }

    #[test]
    fn rates_and_gaps_follow_fairlearns_definitions() {
        // fairlearn 0.15 says so on these counts: selection .5 and .25, true positives .75 and .5, false positives .25 and 0.
        let made = decisions(&[
            ("a", true, true, 30),
            ("a", true, false, 10),
            ("a", false, true, 10),
            ("a", false, false, 30),
            ("b", true, true, 10),
            ("b", true, false, 10),
            ("b", false, false, 20),
        ]);
        let found = compare(&made, "yes", &Seed::from_u64(1)).unwrap();
        assert_eq!(found.groups["a"].selection_rate, 0.5);
        assert_eq!(found.groups["b"].true_positive_rate, Some(0.5));
        assert_eq!(found.gaps.demographic_parity_difference, 0.25);
        assert_eq!(found.gaps.demographic_parity_ratio, 0.5);
        assert_eq!(found.gaps.equalized_odds_difference, 0.25);
        assert_eq!(found.gaps.equalized_odds_ratio, 0.0);
        assert_eq!(found.gaps.equal_opportunity_difference, 0.25);
        let (low, high) = (found.low.demographic_parity_difference, found.high.demographic_parity_difference);
        assert!(low < 0.25 && 0.25 < high && low > 0.0, "{low} {high}");
        // 40 selected with 0.9 stated and 30 true; 40 others with 0.1 stated and 10 true.
        assert!((found.groups["a"].calibration_error - (6.0 + 6.0) / 80.0).abs() < 1e-9);
        assert!(found.to_string().contains("equal opportunity difference"));
    }

    #[test]
    fn one_group_cannot_be_compared_and_missing_rates_are_no_gap() {
        let one = decisions(&[("a", true, true, 3)]);
        assert!(compare(&one, "yes", &Seed::from_u64(1)).is_err());
        let without_negatives = decisions(&[("a", true, true, 3), ("b", true, true, 3)]);
        let found = compare(&without_negatives, "yes", &Seed::from_u64(1)).unwrap();
        assert_eq!(found.groups["a"].false_positive_rate, None);
        assert_eq!((found.gaps.equalized_odds_difference, found.gaps.equalized_odds_ratio), (0.0, 1.0));
    }
}
