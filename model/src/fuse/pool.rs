//! A fitted fusion: how to make one distribution of what the members say about one word or text.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::task::answers::Answers;

/// Smallest probability whose logarithm is taken: no member's certainty may rule a label out alone.
const FLOOR: f64 = 1e-6;

/// How the members' probabilities are put together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Pool {
    /// `Σ w_j p_j`, with weights that are not negative and sum to 1.
    Linear {
        /// One per member.
        weights: Vec<f64>,
    },
    /// `exp(b + Σ a_j ln p_j)`, normalised; weights of any sign.
    LogLinear {
        /// One per member.
        weights: Vec<f64>,
        /// One per label; empty for none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        offsets: Vec<f64>,
    },
    /// The median of each label's probability, normalised.
    Median {
        /// How many there are.
        members: usize,
    },
    /// Votes, one per member for its likeliest label; equal counts are decided by the mean.
    Vote {
        /// How many there are.
        members: usize,
    },
}

impl Pool {
    /// Equal weights.
    pub fn uniform(members: usize) -> Self {
        Self::Linear { weights: vec![1.0 / members as f64; members] }
    }

    /// One member alone.
    pub fn single(members: usize, chosen: usize) -> Self {
        let weight = |member| f64::from(u8::from(member == chosen));
        Self::Linear { weights: (0..members).map(weight).collect() }
    }

    /// Members it was fitted for.
    pub fn members(&self) -> usize {
        match self {
            Self::Linear { weights } | Self::LogLinear { weights, .. } => weights.len(),
            Self::Median { members } | Self::Vote { members } => *members,
        }
    }

    /// The weight of every member; equal where the rule has none.
    pub fn weights(&self) -> Vec<f64> {
        match self {
            Self::Linear { weights } | Self::LogLinear { weights, .. } => weights.clone(),
            Self::Median { members } | Self::Vote { members } => vec![1.0 / *members as f64; *members],
        }
    }

    /// Refuses what a file may hold and mathematics does not allow.
    pub fn check(&self, labels: usize) -> Result<()> {
        let wrong = |reason: String| Err(Error::config("pool", reason));
        if self.members() == 0 {
            return wrong("expected at least 1 member, found none".into());
        }
        let (weights, offsets): (&[f64], &[f64]) = match self {
            Self::Linear { weights } => (weights, &[]),
            Self::LogLinear { weights, offsets } => (weights, offsets),
            Self::Median { .. } | Self::Vote { .. } => return Ok(()),
        };
        if weights.iter().chain(offsets).any(|value| !value.is_finite()) {
            return wrong("expected finite weights, found another".into());
        }
        if !offsets.is_empty() && offsets.len() != labels {
            return wrong(format!("expected {labels} offsets, found {}", offsets.len()));
        }
        let sum: f64 = weights.iter().sum();
        let is_on_simplex = weights.iter().all(|w| *w >= 0.0) && (sum - 1.0).abs() < 1e-6;
        if matches!(self, Self::Linear { .. }) && !is_on_simplex {
            return wrong(format!("expected weights from 0 that sum to 1, found the sum {sum}"));
        }
        Ok(())
    }

    /// The same pool for the members that are there: a linear one shares the weight of the others out in proportion
    /// (equally where nobody present has any), a log-linear one scales up to the same total.
    ///
    /// # Panics
    /// If `present` does not name every member.
    pub fn restricted(&self, present: &[bool]) -> Self {
        assert_eq!(present.len(), self.members(), "every member is there or not");
        let kept = |weights: &[f64]| -> Vec<f64> {
            weights.iter().zip(present).filter(|(_, here)| **here).map(|(w, _)| *w).collect()
        };
        let count = present.iter().filter(|here| **here).count();
        match self {
            Self::Median { .. } => Self::Median { members: count },
            Self::Vote { .. } => Self::Vote { members: count },
            Self::Linear { weights } => {
                let kept = kept(weights);
                let sum: f64 = kept.iter().sum();
                if sum <= 0.0 {
                    return Self::uniform(count);
                }
                Self::Linear { weights: kept.into_iter().map(|w| w / sum).collect() }
            }
            Self::LogLinear { weights, offsets } => {
                let total: f64 = weights.iter().sum();
                let mut kept = kept(weights);
                let sum: f64 = kept.iter().sum();
                // A total near 0 says nothing about a scale.
                let scale = if total / sum > 0.0 && (total / sum).is_finite() { total / sum } else { 1.0 };
                kept.iter_mut().for_each(|w| *w *= scale);
                Self::LogLinear { weights: kept, offsets: offsets.clone() }
            }
        }
    }

    /// One distribution from one row per member; `out` has one place per label.
    ///
    /// # Panics
    /// If there is not one row per member; the caller put them side by side.
    pub fn apply(&self, rows: &[&[f32]], out: &mut [f32]) {
        assert_eq!(rows.len(), self.members(), "one row per member");
        match self {
            Self::Linear { weights } => {
                for (label, out) in out.iter_mut().enumerate() {
                    let sum: f64 = rows.iter().zip(weights).map(|(row, w)| w * f64::from(row[label])).sum();
                    *out = sum as f32;
                }
            }
            Self::LogLinear { weights, offsets } => {
                let log = |label: usize| -> f64 {
                    let members = rows.iter().zip(weights);
                    let sum: f64 = members.map(|(row, w)| w * log_probability(row[label])).sum();
                    sum + offsets.get(label).copied().unwrap_or(0.0)
                };
                let logs: Vec<f64> = (0..out.len()).map(log).collect();
                let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let powers: Vec<f64> = logs.iter().map(|log| (log - largest).exp()).collect();
                normalised(&powers, out);
            }
            Self::Median { .. } => {
                let mut column = vec![0.0_f32; rows.len()];
                let medians: Vec<f64> = (0..out.len())
                    .map(|label| {
                        column.iter_mut().zip(rows).for_each(|(place, row)| *place = row[label]);
                        median(&mut column)
                    })
                    .collect();
                if medians.iter().all(|value| *value == 0.0) {
                    // Members that are certain of different labels have no common ground: their mean then.
                    return Self::uniform(rows.len()).apply(rows, out);
                }
                normalised(&medians, out);
            }
            Self::Vote { .. } => {
                // The mean is below 1 in every place, so it decides between equal counts and nothing else.
                Self::uniform(rows.len()).apply(rows, out);
                let mut votes: Vec<f64> = out.iter().map(|p| f64::from(*p)).collect();
                for row in rows {
                    votes[vote(row)] += 1.0;
                }
                normalised(&votes, out);
            }
        }
    }

    /// One set of answers from one per member.
    ///
    /// # Errors
    /// The numbers differ, or the answers do not fit each other.
    pub fn fuse(&self, members: &[&Answers]) -> Result<Answers> {
        check_members(members)?;
        if members.len() != self.members() {
            return Err(Error::shape("members that answer", self.members(), members.len()));
        }
        let labels = members[0].labels();
        let mut values = vec![0.0; members[0].values().len()];
        for (unit, out) in values.chunks_exact_mut(labels).enumerate() {
            let rows: Vec<&[f32]> = members.iter().map(|member| member.unit(unit)).collect();
            self.apply(&rows, out);
        }
        Answers::new(labels, &members[0].lengths(), values)
    }
}

/// Refuses members that are none or that answer about different labels or examples.
pub fn check_members(members: &[&Answers]) -> Result<()> {
    let Some(first) = members.first() else {
        return Err(Error::shape("members of a fusion", "at least 1", 0));
    };
    let shape =
        |a: &Answers| format!("{} labels, {} examples, {} units", a.labels(), a.examples(), a.units());
    match members.iter().position(|member| !member.fits(first)) {
        None => Ok(()),
        Some(other) => {
            Err(Error::shape(format!("answers of member {other}"), shape(first), shape(members[other])))
        }
    }
}

/// The label a member votes for: its likeliest, the first of equals.
pub fn vote(row: &[f32]) -> usize {
    let best = |best: usize, label: usize| if row[label] > row[best] { label } else { best };
    (1..row.len()).fold(0, best)
}

/// A logarithm that is never infinite.
pub fn log_probability(p: f32) -> f64 {
    f64::from(p).max(FLOOR).ln()
}

/// The middle of the values, the mean of the two middle ones of an even number.
pub fn median(values: &mut [f32]) -> f64 {
    values.sort_by(f32::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        return f64::from(values[middle]);
    }
    f64::midpoint(f64::from(values[middle - 1]), f64::from(values[middle]))
}

fn normalised(values: &[f64], out: &mut [f32]) {
    let sum: f64 = values.iter().sum();
    for (out, value) in out.iter_mut().zip(values) {
        *out = (value / sum) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [[f32; 3]; 3] = [[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.0, 0.1, 0.9]];

    fn applied(pool: &Pool) -> [f32; 3] {
        let rows: Vec<&[f32]> = ROWS.iter().map(<[f32; 3]>::as_slice).collect();
        let mut out = [0.0; 3];
        pool.apply(&rows, &mut out);
        assert!((out.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{pool:?} {out:?}");
        out
    }

    fn close(found: [f32; 3], expected: [f32; 3]) {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{found:?} {expected:?}");
    }

    #[test]
    fn every_pool_does_what_its_formula_says() {
        close(applied(&Pool::uniform(3)), [1.3 / 3.0, 0.2, 1.1 / 3.0]);
        close(applied(&Pool::single(3, 1)), [0.6, 0.3, 0.1]);
        close(applied(&Pool::Median { members: 3 }), [0.6 / 0.9, 0.2 / 0.9, 0.1 / 0.9]);
        let vote = applied(&Pool::Vote { members: 3 });
        close(vote, [(2.0 + 1.3 / 3.0) / 4.0, 0.2 / 4.0, (1.0 + 1.1 / 3.0) / 4.0]);
        let third = |a: f32, b: f32, c: f32| (a * b * c).powf(1.0 / 3.0);
        let roots = [third(0.7, 0.6, 1e-6), third(0.2, 0.3, 0.1), third(0.1, 0.1, 0.9)];
        let sum: f32 = roots.iter().sum();
        let geometric = Pool::LogLinear { weights: vec![1.0 / 3.0; 3], offsets: vec![] };
        close(applied(&geometric), roots.map(|root| root / sum));
    }

    #[test]
    fn certain_members_of_different_opinions_have_the_mean_as_median() {
        let rows: [&[f32]; 3] = [&[1.0, 0.0, 0.0], &[0.0, 1.0, 0.0], &[0.0, 0.0, 1.0]];
        let mut out = [0.0; 3];
        Pool::Median { members: 3 }.apply(&rows, &mut out);
        close(out, [1.0 / 3.0; 3]);
    }

    #[test]
    fn an_absent_member_leaves_its_weight_to_the_others() {
        let pool = Pool::Linear { weights: vec![0.5, 0.3, 0.2] };
        assert_eq!(pool.restricted(&[true, false, true]).weights(), [0.5 / 0.7, 0.2 / 0.7]);
        assert_eq!(Pool::single(3, 1).restricted(&[true, false, true]).weights(), [0.5, 0.5]);
        let logs = Pool::LogLinear { weights: vec![1.0, 0.5, 0.5], offsets: vec![] };
        assert_eq!(logs.restricted(&[true, false, false]).weights(), [2.0]);
        assert_eq!(Pool::Vote { members: 3 }.restricted(&[true, true, false]).members(), 2);
    }

    #[test]
    fn pools_that_files_may_hold_and_mathematics_does_not_allow_are_refused() {
        for (pool, is_good) in [
            (Pool::uniform(3), true),
            (Pool::Linear { weights: vec![] }, false),
            (Pool::Linear { weights: vec![1.5, -0.5] }, false),
            (Pool::Linear { weights: vec![0.5, 0.4] }, false),
            (Pool::LogLinear { weights: vec![-2.0], offsets: vec![0.0; 3] }, true),
            (Pool::LogLinear { weights: vec![f64::NAN], offsets: vec![] }, false),
            (Pool::LogLinear { weights: vec![1.0], offsets: vec![0.0; 2] }, false),
            (Pool::Median { members: 0 }, false),
        ] {
            assert_eq!(pool.check(3).is_ok(), is_good, "{pool:?}");
        }
    }

    #[test]
    fn members_that_speak_of_other_examples_are_refused() {
        let a = Answers::of_texts(2, vec![1.0, 0.0]).unwrap();
        let b = Answers::of_texts(2, vec![1.0, 0.0, 0.0, 1.0]).unwrap();
        assert!(Pool::uniform(2).fuse(&[&a, &b]).is_err());
        assert!(Pool::uniform(2).fuse(&[&a]).is_err() && Pool::uniform(1).fuse(&[]).is_err());
        assert_eq!(Pool::uniform(2).fuse(&[&a, &a]).unwrap(), a);
    }
}
