//! From a scenario and a seed to an outcome.

use crate::sim::baseline::swarm::Baseline;
use crate::sim::bounds::ScenarioError;
use crate::sim::outcome::Outcome;
use crate::sim::scenario::{Algorithm, Scenario};
use crate::sim::world::World;

/// Runs a scenario under a seed to its end or to the first violation.
pub fn simulate(scenario: Scenario, seed: u64) -> Result<Outcome, ScenarioError> {
    match scenario.run.algorithm {
        Algorithm::Pull => Ok(World::new(scenario, seed)?.run()),
        _ => Ok(Baseline::new(scenario, seed)?.run()),
    }
}
