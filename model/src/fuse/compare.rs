//! Rules measured against each other and against the members, and the choice that does not lose.
//!
//! A rule that was fitted to an example must not be judged by it. Rules are therefore cross-validated: the calibration
//! set is cut into five parts, and each part is fused by a pool fitted to the other four. The default rule is guarded in
//! the same way: where equal weights or the best member alone do clearly better out of the fit, they are taken instead.

use serde::{Deserialize, Serialize};

use crate::data::labels::LabelSet;
use crate::data::schema::TaskKind;
use crate::error::{Error, Result};
use crate::fuse::fit::Calibration;
use crate::fuse::gate::judge;
use crate::fuse::pool::Pool;
use crate::fuse::quality::{Quality, measure};
use crate::fuse::rule::Rule;
use crate::fuse::spans::fuse_spans;
use crate::fuse::tally::{Tally, compare, score, tallies, total};
use crate::seed::{Seed, shuffle};
use crate::task::answers::Answers;

/// Parts of the calibration set in cross-validation.
pub const FOLDS: usize = 5;

/// What the pools of a cross-validation are fitted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candidate {
    /// A rule.
    Rule(Rule),
    /// The member with the best score on the examples fitted to, alone.
    BestSingle,
}

/// What a guarded choice fell back to, and the scores out of the fit that decided.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    /// The rule's score out of the fit.
    pub score_rule: f64,
    /// The score of equal weights.
    pub score_uniform: f64,
    /// The score of the best member alone, chosen out of the fit.
    pub score_best_single: f64,
    /// What is used.
    pub used: Used,
}

/// What a guarded choice uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Used {
    /// The rule.
    Rule,
    /// Equal weights, which did better.
    Uniform,
    /// The best member alone, which did better.
    BestSingle,
}

/// Rules and members measured on one labelled calibration set.
#[derive(Debug)]
pub struct Comparison<'a> {
    calibration: &'a Calibration<'a>,
    truth: &'a [u32],
    kind: TaskKind,
    labels: &'a LabelSet,
    parts: Vec<usize>, // by example: the part it is in
    seed: Seed,
}

impl<'a> Comparison<'a> {
    /// Cuts the calibration set into parts.
    ///
    /// # Errors
    /// It has no labels, or too few examples to be cut.
    pub fn new(
        calibration: &'a Calibration<'a>,
        kind: TaskKind,
        labels: &'a LabelSet,
        seed: &Seed,
    ) -> Result<Self> {
        let Some(truth) = calibration.truth() else {
            return Err(Error::config("calibrate", "expected labelled examples to compare on, found none"));
        };
        let examples = calibration.all().len();
        if examples < 2 * FOLDS {
            let reason =
                format!("expected at least {} examples to fit and check on, found {examples}", 2 * FOLDS);
            return Err(Error::config("calibrate", reason));
        }
        let mut order: Vec<usize> = (0..examples).collect();
        shuffle(&mut seed.fork("folds").rng(), &mut order);
        let mut parts = vec![0; examples];
        for (place, example) in order.into_iter().enumerate() {
            parts[example] = place % FOLDS;
        }
        Ok(Self { calibration, truth, kind, labels, parts, seed: seed.fork("guard") })
    }

    /// Measures answers about the calibration set.
    ///
    /// # Errors
    /// They do not fit its labels.
    pub fn quality(&self, answers: &Answers) -> Result<Quality> {
        measure(answers, self.truth, self.kind, self.labels)
    }

    /// Answers of a candidate to every example, each by a pool fitted without it.
    ///
    /// # Errors
    /// As [`Calibration::fit`].
    pub fn out_of_fit(&self, candidate: Candidate) -> Result<Answers> {
        let members = self.calibration.members();
        let labels = members[0].labels();
        let pools = self.pools(candidate)?;
        let mut values = vec![0.0; members[0].values().len()];
        for (example, part) in self.parts.iter().enumerate() {
            for unit in members[0].units_of(example) {
                let rows: Vec<&[f32]> = members.iter().map(|member| member.unit(unit)).collect();
                pools[*part].apply(&rows, &mut values[unit * labels..(unit + 1) * labels]);
            }
        }
        Answers::new(labels, &members[0].lengths(), values)
    }

    /// The score when members vote for whole entities with the weights of a candidate, each sentence by weights fitted
    /// without it.
    ///
    /// # Errors
    /// The labels are no tags, the candidate's weights are not on the simplex, or as [`Calibration::fit`].
    pub fn spans_out_of_fit(&self, candidate: Candidate) -> Result<f64> {
        let members = self.calibration.members();
        let by_part: Vec<Vec<Vec<u32>>> = self
            .pools(candidate)?
            .iter()
            .map(|pool| fuse_spans(members, &pool.weights(), self.labels))
            .collect::<Result<_>>()?;
        let said: Vec<Vec<u32>> =
            self.parts.iter().enumerate().map(|(example, part)| by_part[*part][example].clone()).collect();
        Ok(total(&compare(members[0], &said, self.truth, self.kind, self.labels)))
    }

    /// For every part of the calibration set a pool fitted to the others.
    fn pools(&self, candidate: Candidate) -> Result<Vec<Pool>> {
        let fit = |part: usize| {
            let times: Vec<f64> = self.parts.iter().map(|p| f64::from(u8::from(*p != part))).collect();
            match candidate {
                Candidate::Rule(rule) => self.calibration.fit(rule, &times),
                Candidate::BestSingle => {
                    Ok(Pool::single(self.calibration.members().len(), self.best_single(&times)))
                }
            }
        };
        (0..FOLDS).map(fit).collect()
    }

    /// The member with the best score on examples that count `times`, the first of equals.
    pub fn best_single(&self, times: &[f64]) -> usize {
        let scores: Vec<f64> = self
            .calibration
            .members()
            .iter()
            .map(|member| score(&tallies(member, self.truth, self.kind, self.labels), times))
            .collect();
        (1..scores.len()).fold(0, |best, member| if scores[member] > scores[best] { member } else { best })
    }

    /// Fits a rule to all examples, unless equal weights or the best member alone are better out of the fit by more than
    /// one standard error of the difference: a smaller one is chance, and following it would make the choice worse.
    ///
    /// # Errors
    /// As [`Calibration::fit`].
    pub fn guarded(&self, rule: Rule) -> Result<(Pool, Guard)> {
        let tallied = |candidate| -> Result<Vec<Tally>> {
            Ok(tallies(&self.out_of_fit(candidate)?, self.truth, self.kind, self.labels))
        };
        let by_rule = tallied(Candidate::Rule(rule))?;
        let (uniform, single) = (tallied(Candidate::Rule(Rule::Mean))?, tallied(Candidate::BestSingle)?);
        let members = self.calibration.members().len();
        let all = self.calibration.all();
        let is_uniform = total(&uniform) >= total(&single);
        let other = if is_uniform { &uniform } else { &single };
        let verdict = judge(other, &by_rule, 0.0, self.seed)?;
        // Half of a 95 % interval is 1.96 standard errors.
        let error = (verdict.difference_interval.high - verdict.difference_interval.low) / (2.0 * 1.96);
        let (used, pool) = if verdict.difference <= error {
            (Used::Rule, self.calibration.fit(rule, &all)?)
        } else if is_uniform {
            (Used::Uniform, Pool::uniform(members))
        } else {
            (Used::BestSingle, Pool::single(members, self.best_single(&all)))
        };
        let guard = Guard {
            score_rule: total(&by_rule),
            score_uniform: total(&uniform),
            score_best_single: total(&single),
            used,
        };
        Ok((pool, guard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::uniform;

    const CLASSES: usize = 5;
    const TEXTS: usize = 400;

    /// Eight members; each is right with a probability of its own, the first `liars` say the class behind the true one.
    fn flock(liars: usize, seed: u64) -> (Vec<Answers>, Vec<u32>, LabelSet) {
        let mut rng = Seed::from_u64(seed).rng();
        let truth: Vec<u32> = (0..TEXTS).map(|k| (k % CLASSES) as u32).collect();
        let member = |number: usize| {
            let mut values = Vec::new();
            for label in &truth {
                let is_right = uniform(&mut rng) < 0.5 + 0.03 * number as f64;
                let said = match (number < liars, is_right) {
                    (true, _) => label + 1,
                    (false, true) => *label,
                    (false, false) => label + 1 + (4.0 * uniform(&mut rng)) as u32,
                };
                let mut row = [0.05_f32; CLASSES];
                row[said as usize % CLASSES] = 0.8;
                values.extend(row);
            }
            Answers::of_texts(CLASSES, values).unwrap()
        };
        let members = (0..8).map(member).collect();
        (members, truth, LabelSet::classes(["a", "b", "c", "d", "e"]).unwrap())
    }

    /// Scores on texts nobody was fitted to: the guarded default, equal weights, the best member.
    fn scores(liars: usize) -> (f64, f64, f64) {
        let (members, truth, labels) = flock(liars, 1);
        let all: Vec<&Answers> = members.iter().collect();
        let calibration = Calibration::new(&all, Some(&truth)).unwrap();
        let seed = Seed::from_u64(2);
        let comparison = Comparison::new(&calibration, TaskKind::Classify, &labels, &seed).unwrap();
        let (pool, guard) = comparison.guarded(Rule::usual(true)).unwrap();
        let best = comparison.best_single(&calibration.all());
        assert!(guard.score_best_single <= 1.0 && best >= liars);
        let (fresh, truth, labels) = flock(liars, 9);
        let all: Vec<&Answers> = fresh.iter().collect();
        let score = |pool: &Pool| {
            measure(&pool.fuse(&all).unwrap(), &truth, TaskKind::Classify, &labels).unwrap().score
        };
        (score(&pool), score(&Pool::uniform(8)), score(&Pool::single(8, best)))
    }

    #[test]
    fn the_default_does_not_lose_among_honest_members_and_wins_with_two_liars() {
        let (fused, equal, single) = scores(0);
        assert!(fused >= equal.max(single) - 0.01, "{fused} {equal} {single}");
        let (fused, equal, single) = scores(2);
        assert!(fused >= equal + 0.03 && fused >= single - 0.01, "{fused} {equal} {single}");
    }

    #[test]
    fn where_fitting_does_not_help_the_guard_falls_back() {
        // Seven members guess; one is always right: a rule that leaves the others any weight can only lose.
        let (mut members, truth, labels) = flock(0, 3);
        let certain = |label: &u32| -> Vec<f32> {
            (0..CLASSES).map(|k| f32::from(u8::from(k == *label as usize))).collect()
        };
        members[4] = Answers::of_texts(CLASSES, truth.iter().flat_map(certain).collect()).unwrap();
        let all: Vec<&Answers> = members.iter().collect();
        let calibration = Calibration::new(&all, Some(&truth)).unwrap();
        let comparison =
            Comparison::new(&calibration, TaskKind::Classify, &labels, &Seed::from_u64(2)).unwrap();
        let (pool, guard) = comparison.guarded(Rule::Disagreement).unwrap();
        assert_eq!(guard.used, Used::BestSingle, "{guard:?}");
        assert_eq!(pool, Pool::single(8, 4));
        assert_eq!(guard.score_best_single, 1.0);
    }

    #[test]
    fn answers_out_of_the_fit_come_from_pools_that_did_not_see_the_example() {
        let (members, mut truth, labels) = flock(0, 4);
        let all: Vec<&Answers> = members.iter().collect();
        let answers = |truth: &[u32]| {
            let calibration = Calibration::new(&all, Some(truth)).unwrap();
            let comparison =
                Comparison::new(&calibration, TaskKind::Classify, &labels, &Seed::from_u64(2)).unwrap();
            let part = comparison.parts[0];
            let own: Vec<usize> = (0..TEXTS).filter(|k| comparison.parts[*k] == part).collect();
            (comparison.out_of_fit(Candidate::Rule(Rule::Simplex)).unwrap(), own)
        };
        let (before, part) = answers(&truth);
        part.iter().for_each(|k| truth[*k] = (truth[*k] + 1) % 5);
        let (after, _) = answers(&truth);
        assert!(
            part.iter().all(|k| before.unit(*k) == after.unit(*k)),
            "other labels there change nothing there"
        );
        assert_ne!(before, after);
    }

    #[test]
    fn entities_that_most_members_agree_on_are_scored_out_of_the_fit() {
        // One word a sentence; three members are right, two say another type everywhere.
        let labels = LabelSet::tagging(["LOC", "ORG"]).unwrap();
        let truth: Vec<u32> = (0..60).map(|k| [0, 1, 3][k % 3]).collect();
        let said = |is_right: bool| {
            let row = |label: u32| {
                let told = if is_right { label } else { 4 - label.max(1) };
                (0..5).map(move |k| if k == told { 0.6 } else { 0.1 })
            };
            Answers::new(5, &[1; 60], truth.iter().copied().flat_map(row).collect()).unwrap()
        };
        let members = [said(true), said(true), said(true), said(false), said(false)];
        let all: Vec<&Answers> = members.iter().collect();
        let calibration = Calibration::new(&all, Some(&truth)).unwrap();
        let comparison =
            Comparison::new(&calibration, TaskKind::Tagging, &labels, &Seed::from_u64(2)).unwrap();
        assert_eq!(comparison.spans_out_of_fit(Candidate::Rule(Rule::Mean)).unwrap(), 1.0);
        let crossed = comparison.spans_out_of_fit(Candidate::Rule(Rule::Disagreement)).unwrap();
        assert!(crossed < 0.5, "{crossed}");
    }

    #[test]
    fn too_few_or_unlabelled_examples_are_refused() {
        let (members, truth, labels) = flock(0, 5);
        let all: Vec<&Answers> = members.iter().collect();
        let plain = Calibration::new(&all, None).unwrap();
        assert!(Comparison::new(&plain, TaskKind::Classify, &labels, &Seed::from_u64(1)).is_err());
        let few = Answers::of_texts(2, [0.5; 6].to_vec()).unwrap();
        let members = [&few];
        let short = Calibration::new(&members, Some(&truth[..3])).err();
        assert!(short.is_some(), "a label outside of the answers");
        let calibration = Calibration::new(&members, Some(&[0, 1, 0])).unwrap();
        let error =
            Comparison::new(&calibration, TaskKind::Classify, &labels, &Seed::from_u64(1)).unwrap_err();
        assert!(error.to_string().contains("at least 10"), "{error}");
    }
}
