//! Training whose updates tell little about any row: what a charter's `exchange.epsilon_max` asks for.
//!
//! Which rows a step has and its noise come from entropy of this machine, so that nobody can take them off again. What is
//! covered is one row of training data (a sentence, a text, a record). Scores on development data, the number of rows and
//! a tokenizer made from texts are not covered.

use model::arch::config::ArchConfig;
use model::data::batch::Batch;
use model::data::batcher::Batcher;
use model::seed::{Seed, uniform};
use model::session::{Session, StepReport};
use model::train::noisy::RowNoise;
use model::train::privacy::Noise;
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
    epsilon_max: f64,
    delta: f64,
    clip: f64,
    chance: f64,
    rows: usize,
    lesson: u64,
    noise: Option<Noise>,
    steps: u64,
    secret: Seed,
}

impl Private {
    /// The budget that a charter sets, for so many rows; nothing where it sets none.
    ///
    /// # Errors
    /// The terms cannot be kept: rows do not stand alone, or gradients are not clipped.
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
        Ok(Some(Self {
            epsilon_max: f64::from(epsilon_max),
            delta: 1.0 / (ROWS_PER_DELTA * rows.max(1) as f64),
            clip: f64::from(terms.train.clip),
            chance: (f64::from(terms.train.batch) / rows.max(1) as f64).min(1.0),
            rows,
            lesson: u64::from(terms.schedule.inner_steps),
            noise: None,
            steps: 0,
            secret: Seed::from_bytes(secret),
        }))
    }

    /// Takes one noisy step at a rate, in a run of so many; nothing when that would cost more than the budget.
    ///
    /// # Errors
    /// No noise keeps the budget, or the model fails.
    pub fn step(
        &mut self,
        session: &mut Session,
        batches: &Batcher,
        rate: f64,
        total: u64,
    ) -> Result<Option<StepReport>, LearnerError> {
        let noise = match self.noise {
            Some(noise) => noise,
            None => Noise::for_budget(self.epsilon_max, self.delta, self.chance, total.max(1))
                .map_err(wrong("keep the charter's epsilon_max"))?,
        };
        self.noise = Some(noise);
        if noise.epsilon(self.steps + 1, self.delta) > self.epsilon_max {
            return Ok(None);
        }
        let seed = self.secret.fork_index(self.steps);
        let mut rng = seed.fork("rows").rng();
        let rows: Vec<Batch> = (0..self.rows)
            .filter(|_| uniform(&mut rng) < self.chance)
            .map(|row| batches.dataset().batch(&[row]))
            .collect();
        let hidden = RowNoise {
            clip: self.clip,
            multiplier: noise.multiplier,
            rows_expected: self.chance * self.rows as f64,
            secret: seed.fork("noise"),
        };
        // Counted before the step: whatever happens in it, it may have been seen.
        self.steps += 1;
        let mut report = session.private_step(&rows, rate, &hidden).map_err(wrong("train"))?;
        // How many rows there were is a secret; what is told is how many there are on average.
        report.samples = hidden.rows_expected.round() as u32;
        Ok(Some(report))
    }

    /// What has been spent.
    pub fn spent(&self) -> Spent {
        let noise = self.noise.unwrap_or(Noise { multiplier: f64::INFINITY, chance: self.chance });
        Spent {
            epsilon: self.noise.map_or(0.0, |noise| noise.epsilon(self.steps, self.delta)),
            delta: self.delta,
            noise_multiplier: if noise.multiplier.is_finite() { noise.multiplier } else { 0.0 },
            chance: self.chance,
            steps: self.steps,
        }
    }

    /// Noisy steps taken, for a checkpoint.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Takes back the steps of a checkpoint. An update made since may have been published and will be made again with
    /// other noise, so the steps of one more lesson count as taken.
    pub fn resume(&mut self, steps: u64) {
        self.steps = steps + self.lesson;
    }
}
