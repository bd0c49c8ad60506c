//! Runs of a scenario: one seed with its figures of time and memory, or many seeds on all cores.

use std::time::Instant;

use protocol::sim::bounds::ScenarioError;
use protocol::sim::findings::Violation;
use protocol::sim::outcome::Outcome;
use protocol::sim::scenario::Scenario;
use protocol::sim::start::{simulate, simulate_learning};
use rayon::prelude::*;
use serde::Serialize;

use crate::sim::models::Models;
use crate::telemetry::process::Usage;

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Time on the wall, seconds.
    pub wall_s: f64,
    /// Processor time of this process so far, seconds.
    pub cpu_s: Option<f64>,
    /// Largest memory of this process so far.
    pub peak_rss_bytes: Option<u64>,
}

/// Many runs of one scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Runs {
    /// Name of the scenario.
    pub scenario: String,
    /// Seeds run.
    pub seeds: u64,
    /// The first of them; the others follow it.
    pub seed_first: u64,
    /// Virtual time of all runs, seconds.
    pub virtual_s: f64,
    /// Events of all runs.
    pub events: u64,
    /// Mean over the seeds of the mean score.
    pub score_mean: f64,
    /// The worst score of any peer under any seed.
    pub score_worst: f64,
    /// Peers that told two stories, and those proven to.
    pub equivocations: protocol::sim::outcome::Equivocations,
    /// Time on the wall, seconds.
    pub wall_s: f64,
    /// Seeds under which something was violated.
    pub failed: Vec<Failed>,
}

/// A seed under which something was violated.
#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    /// The seed.
    pub seed: u64,
    /// What was violated first.
    pub violation: Violation,
}

/// Runs one seed.
pub fn one(scenario: &Scenario, seed: u64) -> Result<Run, ScenarioError> {
    let begun = Instant::now();
    let outcome = simulate(scenario.clone(), seed)?;
    Ok(Run::ended(outcome, begun))
}

/// Runs one seed with models in place of the scenario's problem.
pub fn one_learning(scenario: &Scenario, seed: u64, models: Models) -> Result<Run, ScenarioError> {
    let begun = Instant::now();
    let outcome = simulate_learning(scenario.clone(), seed, Box::new(models))?;
    Ok(Run::ended(outcome, begun))
}

impl Run {
    fn ended(outcome: Outcome, begun: Instant) -> Self {
        let wall_s = begun.elapsed().as_secs_f64();
        let Usage { rss_peak_bytes, cpu_seconds, .. } = Usage::of_self();
        Self { outcome, wall_s, cpu_s: cpu_seconds, peak_rss_bytes: rss_peak_bytes }
    }
}

/// Runs `count` seeds from `first`; `told` hears of each that is through.
pub fn many(
    scenario: &Scenario,
    first: u64,
    count: u64,
    told: impl Fn(&Outcome) + Sync,
) -> Result<Runs, ScenarioError> {
    let begun = Instant::now();
    let run = |seed: u64| {
        let mut outcome = simulate(scenario.clone(), seed)?;
        told(&outcome);
        // Nobody looks at the rows of many runs.
        outcome.rows = Vec::new();
        Ok(outcome)
    };
    let outcomes: Vec<Outcome> = (first..first.saturating_add(count))
        .into_par_iter()
        .map(run)
        .collect::<Result<_, ScenarioError>>()?;
    let failed = |outcome: &Outcome| {
        let violation = outcome.violations.first()?.clone();
        Some(Failed { seed: outcome.seed, violation })
    };
    Ok(Runs {
        scenario: scenario.name.clone(),
        seeds: count,
        seed_first: first,
        virtual_s: outcomes.iter().map(|o| o.virtual_s).sum(),
        events: outcomes.iter().map(|o| o.events).sum(),
        score_mean: outcomes.iter().map(|o| o.score_mean).sum::<f64>() / outcomes.len().max(1) as f64,
        score_worst: outcomes.iter().map(|o| o.score_worst).fold(f64::INFINITY, f64::min).min(1.0),
        equivocations: protocol::sim::outcome::Equivocations {
            made: outcomes.iter().map(|o| o.equivocations.made).sum(),
            proven: outcomes.iter().map(|o| o.equivocations.proven).sum(),
        },
        wall_s: begun.elapsed().as_secs_f64(),
        failed: outcomes.iter().filter_map(failed).collect(),
    })
}
