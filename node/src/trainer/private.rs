//! Training whose updates tell little about any row: what a charter's `exchange.epsilon_max` asks for.
//!
//! Which rows a step has and its noise come from entropy of this machine, so that nobody can take them off again. What is
//! covered is one row of training data (a sentence, a text, a record). Scores on development data, the number of rows and
//! a tokenizer made from texts are not covered.
//!
//! What is spent follows from the place in the run: outer steps are reserved before they are signed and none is trained
//! twice for the others, so a node that starts again, without its last checkpoint too, has spent what stands before its
//! lesson. One that joined late has spent less than that.

use model::arch::config::ArchConfig;
use model::data::batch::Batch;
use model::data::batcher::Batcher;
use model::seed::{Seed, uniform};
use model::session::{Session, StepReport};
use model::train::noisy::RowNoise;
use model::train::privacy::Noise;
use protocol::id::OuterStep;
use protocol::stage::plan::plan;
use protocol::wire::charter::Charter;
use serde::{Deserialize, Serialize};

use crate::trainer::learner::{LearnerError, wrong};

/// δ is one in so many times the rows: far below the chance of telling everything about a single one.
const ROWS_PER_DELTA: f64 = 10.0;

/// What has been spent of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// ε so far.
    pub epsilon: f64,
    /// δ.
    pub delta: f64,
    /// Standard deviation of the noise over the clipping norm.
    pub noise_multiplier: f64,
    /// Chance of a row to be in a step.
    pub chance: f64,
    /// Noisy steps taken.
    pub steps: u64,
}

/// The budget of one node.
#[derive(Debug)]
pub struct Private {
    delta: f64,
    clip: f64,
    rows: usize,
    /// The least noise that keeps the whole run within the budget.
    noise: Noise,
    /// Inner steps of the run that it covers.
    total: u64,
    /// Inner steps of the run so far.
    steps: u64,
    secret: Seed,
}

impl Private {
    /// The budget that a charter sets, for so many rows; nothing where it sets none.
    ///
    /// # Errors
    /// The terms cannot be kept: rows do not stand alone, gradients are not clipped, or no noise keeps the budget.
    pub fn new(terms: &Charter, arch: &ArchConfig, rows: usize) -> Result<Option<Self>, LearnerError> {
        let Some(epsilon_max) = terms.exchange.epsilon_max else { return Ok(None) };
        let refuse = |why: &str| LearnerError { what: "keep the charter's epsilon_max", why: why.to_owned() };
        let is_related = match arch {
            ArchConfig::Graph(_) => true,
            ArchConfig::Multimodal(config) => config.graph.is_some(),
            _ => false,
        };
        if is_related {
            return Err(refuse("expected rows that stand alone, found nodes that show in one another"));
        }
        if terms.train.clip <= 0.0 {
            return Err(refuse("expected train.clip above 0, the longest gradient of one row, found 0"));
        }
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|e| refuse(&format!("no entropy for the noise: {e}")))?;
        let delta = 1.0 / (ROWS_PER_DELTA * rows.max(1) as f64);
        let chance = (f64::from(terms.train.batch) / rows.max(1) as f64).min(1.0);
        let total = plan(terms, OuterStep(1)).inner_total.max(1);
        let noise = Noise::for_budget(f64::from(epsilon_max), delta, chance, total)
            .map_err(wrong("keep the charter's epsilon_max"))?;
        let clip = f64::from(terms.train.clip);
        Ok(Some(Self { delta, clip, rows, noise, total, steps: 0, secret: Seed::from_bytes(secret) }))
    }

    /// Counts an inner step of the run, numbered from 0, as taken; false when the budget does not cover it.
    fn charge(&mut self, number: u64) -> bool {
        if number >= self.total {
            return false;
        }
        self.steps = self.steps.max(number + 1);
        true
    }

    /// Takes one noisy step at a rate, numbered from 0 in the run; nothing when the budget does not cover it.
    ///
    /// # Errors
    /// The model fails.
    pub fn step(
        &mut self,
        session: &mut Session,
        batches: &Batcher,
        rate: f64,
        number: u64,
    ) -> Result<Option<StepReport>, LearnerError> {
        // Counted before the step: whatever happens in it, it may have been seen.
        if !self.charge(number) {
            return Ok(None);
        }
        let chance = self.noise.chance;
        let seed = self.secret.fork_index(number);
        let mut rng = seed.fork("rows").rng();
        let rows: Vec<Batch> = (0..self.rows)
            .filter(|_| uniform(&mut rng) < chance)
            .map(|row| batches.dataset().batch(&[row]))
            .collect();
        let hidden = RowNoise {
            clip: self.clip,
            multiplier: self.noise.multiplier,
            rows_expected: chance * self.rows as f64,
            secret: seed.fork("noise"),
        };
        let mut report = session.private_step(&rows, rate, &hidden).map_err(wrong("train"))?;
        // How many rows there were is a secret; what is told is how many there are on average.
        report.samples = hidden.rows_expected.round() as u32;
        Ok(Some(report))
    }

    /// What has been spent, at most.
    pub fn spent(&self) -> Spent {
        Spent {
            epsilon: self.noise.epsilon(self.steps, self.delta),
            delta: self.delta,
            noise_multiplier: self.noise.multiplier,
            chance: self.noise.chance,
            steps: self.steps,
        }
    }

    /// Inner steps of the run so far, for a checkpoint: what is told of a node that only starts again to end.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Takes back the steps of a checkpoint.
    pub fn resume(&mut self, steps: u64) {
        self.steps = self.steps.max(steps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_its_checkpoint_has_spent_what_stands_before_its_lesson() {
        let noise = Noise::for_budget(3.0, 1e-4, 0.05, 200).unwrap();
        let fresh = || Private {
            delta: 1e-4,
            clip: 1.0,
            rows: 100,
            noise,
            total: 200,
            steps: 0,
            secret: Seed::from_u64(1),
        };
        let mut first = fresh();
        assert_eq!((first.spent().epsilon, first.spent().steps), (0.0, 0));
        assert!((0..100).all(|number| first.charge(number)));
        let half = first.spent().epsilon;
        assert!(half > 0.0 && half < 3.0);
        // Killed and started again with nothing: its next lesson begins behind all that may have been signed.
        let mut again = fresh();
        assert!(again.charge(104));
        assert!(again.spent().epsilon > half);
        // A restart that only ends tells what the checkpoint says.
        let mut ended = fresh();
        ended.resume(100);
        assert_eq!(ended.spent(), first.spent());
        assert!((100..200).all(|number| first.charge(number)) && !first.charge(200));
        assert!(first.spent().epsilon <= 3.0);
    }
}
