//! A search for settings of training: drawn by seed, and halved again and again.
//!
//! Random search (Bergstra and Bengio 2012) trains every draw to the end. Successive halving (Jamieson and Talwalkar 2016)
//! trains all a little, keeps the best part and trains it longer, and so on; each rung begins anew, so that a search can
//! stop after any trial and go on from its file.

use model::seed::{Seed, exp, index, ln, uniform};
use protocol::wire::charter::TrainTerms;
use serde::{Deserialize, Serialize};

/// How far a rate is drawn from the charter's, either way, as a factor.
const RATE_REACH: f64 = 8.0;
const DECAYS: (f64, f64) = (1e-4, 0.3);
const BATCHES: [u32; 4] = [8, 16, 32, 64];
const WARMUPS: [f32; 3] = [0.0, 0.05, 0.1];

/// Settings of one trial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Peak learning rate.
    pub rate: f32,
    /// Rows in a batch.
    pub batch: u32,
    /// Weight decay.
    pub weight_decay: f32,
    /// Share of the steps in which the rate rises.
    pub warmup_share: f32,
}

impl Settings {
    /// What a charter says.
    pub fn of(terms: &TrainTerms) -> Self {
        let TrainTerms { rate, batch, weight_decay, warmup_share, .. } = *terms;
        Self { rate, batch, weight_decay, warmup_share }
    }

    /// The settings of trial `number`: the first are the charter's own, the others are drawn around them.
    pub fn drawn(terms: &TrainTerms, number: usize, seed: &Seed) -> Self {
        if number == 0 {
            return Self::of(terms);
        }
        let mut rng = seed.fork("trial").fork_index(number as u64).rng();
        let mut between = |low: f64, high: f64| {
            let (low, high) = (ln(low), ln(high));
            exp(low + (high - low) * uniform(&mut rng)) as f32
        };
        let rate = between(f64::from(terms.rate) / RATE_REACH, f64::from(terms.rate) * RATE_REACH);
        let weight_decay = between(DECAYS.0, DECAYS.1);
        let batch = BATCHES[index(&mut rng, BATCHES.len())];
        Self { rate, batch, weight_decay, warmup_share: WARMUPS[index(&mut rng, WARMUPS.len())] }
    }

    /// The terms with these settings in their place.
    pub fn put_into(&self, terms: &TrainTerms) -> TrainTerms {
        let Self { rate, batch, weight_decay, warmup_share } = *self;
        TrainTerms { rate, batch, weight_decay, warmup_share, ..terms.clone() }
    }
}

/// One trial that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// Its number, which gives its settings.
    pub trial: usize,
    /// Its rung, from 0; every trial of a plain search is of rung 0.
    pub rung: usize,
    /// Rows trained on.
    pub rows: u64,
    /// What it trained with.
    pub settings: Settings,
    /// The score on the development part.
    pub score: f64,
    /// The loss there.
    pub loss: f64,
    /// Samples both were taken on.
    #[serde(default)]
    pub samples: u64,
    /// How long it took.
    pub seconds: f64,
}

/// How a search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Trials of the first rung.
    pub trials: usize,
    /// Rows the last rung trains on.
    pub rows: u64,
    /// One in so many goes on to the next rung, with so many times the rows; 1 for a plain search.
    pub keep_one_in: usize,
}

impl Plan {
    /// Rungs, at least one: until a single trial is left.
    pub fn rungs(&self) -> usize {
        let (mut rungs, mut left) = (1, self.trials);
        while self.keep_one_in > 1 && left > 1 {
            left = left.div_ceil(self.keep_one_in);
            rungs += 1;
        }
        rungs
    }

    /// Rows that a trial of a rung trains on.
    pub fn rows_of(&self, rung: usize) -> u64 {
        let shrink = (self.keep_one_in as u64).saturating_pow((self.rungs() - 1 - rung) as u32);
        (self.rows / shrink.max(1)).max(1)
    }

    /// The rung that is not through, given the trials that were made, and the trials it lacks, at least one. Nothing when
    /// the search is over.
    pub fn open(&self, made: &[Trial]) -> Option<(usize, Vec<usize>)> {
        let mut left: Vec<usize> = (0..self.trials).collect();
        for rung in 0..self.rungs() {
            let of_rung: Vec<&Trial> = made.iter().filter(|trial| trial.rung == rung).collect();
            let is_open = |number: &usize| of_rung.iter().all(|trial| trial.trial != *number);
            let open: Vec<usize> = left.iter().copied().filter(is_open).collect();
            if !open.is_empty() {
                return Some((rung, open));
            }
            let mut done: Vec<&Trial> =
                of_rung.into_iter().filter(|trial| left.contains(&trial.trial)).collect();
            done.sort_by(|a, b| better(a, b));
            left = done.iter().take(left.len().div_ceil(self.keep_one_in.max(1))).map(|t| t.trial).collect();
            left.sort_unstable();
        }
        None
    }

    /// The best trial of the last rung that was reached.
    pub fn best<'a>(&self, made: &'a [Trial]) -> Option<&'a Trial> {
        let last = made.iter().map(|trial| trial.rung).max()?;
        made.iter().filter(|trial| trial.rung == last).min_by(|a, b| better(a, b))
    }
}

/// The higher score first, then the lower loss, then the smaller number.
fn better(a: &Trial, b: &Trial) -> std::cmp::Ordering {
    b.score.total_cmp(&a.score).then(a.loss.total_cmp(&b.loss)).then(a.trial.cmp(&b.trial))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Terms to draw around.
    pub(crate) fn terms() -> TrainTerms {
        TrainTerms {
            optimizer: "adamw".into(),
            rate: 1e-3,
            batch: 16,
            weight_decay: 0.01,
            clip: 1.0,
            warmup_share: 0.1,
            decay_share: 0.3,
            in_order: false,
        }
    }

    fn trial(number: usize, rung: usize, score: f64) -> Trial {
        let settings = Settings::drawn(&terms(), number, &Seed::from_u64(1));
        Trial { trial: number, rung, rows: 1, settings, score, loss: 1.0, samples: 1, seconds: 0.0 }
    }

    fn next(plan: &Plan, made: &[Trial]) -> Option<(usize, usize)> {
        plan.open(made).map(|(rung, open)| (open[0], rung))
    }

    #[test]
    fn the_first_trial_is_the_charter_and_the_others_lie_around_it() {
        let seed = Seed::from_u64(1);
        assert_eq!(Settings::drawn(&terms(), 0, &seed), Settings::of(&terms()));
        for number in 1..50 {
            let drawn = Settings::drawn(&terms(), number, &seed);
            assert!((1.2e-4..8.1e-3).contains(&drawn.rate) && BATCHES.contains(&drawn.batch), "{drawn:?}");
            assert_eq!(drawn, Settings::drawn(&terms(), number, &seed));
            assert_eq!(Settings::of(&drawn.put_into(&terms())), drawn);
        }
    }

    #[test]
    fn the_best_third_goes_on_with_three_times_the_rows() {
        let plan = Plan { trials: 9, rows: 900, keep_one_in: 3 };
        assert_eq!((plan.rungs(), plan.rows_of(0), plan.rows_of(2)), (3, 100, 900));
        let mut made = Vec::new();
        let mut order = Vec::new();
        while let Some((number, rung)) = next(&plan, &made) {
            order.push((number, rung));
            made.push(trial(number, rung, number as f64 / 10.0));
        }
        let first: Vec<(usize, usize)> = (0..9).map(|number| (number, 0)).collect();
        assert_eq!(order[..9], first);
        assert_eq!(order[9..], [(6, 1), (7, 1), (8, 1), (8, 2)]);
        assert_eq!(plan.best(&made).unwrap().trial, 8);
    }

    #[test]
    fn a_search_goes_on_where_it_stopped_and_a_plain_one_trains_each_once() {
        let plan = Plan { trials: 3, rows: 10, keep_one_in: 1 };
        assert_eq!((plan.rungs(), plan.rows_of(0)), (1, 10));
        let made = [trial(0, 0, 0.5), trial(2, 0, 0.7)];
        assert_eq!(plan.open(&made), Some((0, vec![1])));
        let all = [made[0].clone(), made[1].clone(), trial(1, 0, 0.6)];
        assert_eq!((plan.open(&all), plan.best(&all).unwrap().trial), (None, 2));
        assert_eq!(plan.best(&[]), None);
    }
}
