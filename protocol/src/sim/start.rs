//! From a scenario and a seed to an outcome.

use crate::sim::baseline::swarm::Baseline;
use crate::sim::bounds::ScenarioError;
use crate::sim::learner::lesson::Learner;
use crate::sim::outcome::Outcome;
use crate::sim::scenario::{Algorithm, Scenario};
use crate::sim::world::World;

/// Runs a scenario under a seed with something else to learn than the scenario says.
pub fn simulate_learning(
    scenario: Scenario,
    seed: u64,
    learner: Box<dyn Learner>,
) -> Result<Outcome, ScenarioError> {
    match scenario.run.algorithm {
        Algorithm::Pull => {
            let labels: Vec<u32> = (0..scenario.peers).collect();
            Ok(World::learning(scenario, seed, &labels, learner)?.run())
        }
        _ => Ok(Baseline::learning(scenario, seed, learner)?.run()),
    }
}

/// Runs a scenario under a seed to its end or to the first violation.
pub fn simulate(scenario: Scenario, seed: u64) -> Result<Outcome, ScenarioError> {
    match scenario.run.algorithm {
        Algorithm::Pull => Ok(World::new(scenario, seed)?.run()),
        _ => Ok(Baseline::new(scenario, seed)?.run()),
    }
}
