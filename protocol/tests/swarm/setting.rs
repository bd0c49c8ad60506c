//! Small scenarios that others vary.

use protocol::sim::outcome::Outcome;
use protocol::sim::scenario::{LearnerKind, Scenario};
use protocol::sim::world::World;
use protocol::wire::choice::Codec;

/// Five peers, each pulled towards a point of its own.
pub(crate) fn quadratic(peers: u32) -> Scenario {
    let mut scenario = Scenario { name: "test".to_owned(), peers, ..Scenario::default() };
    scenario.learner.kind = LearnerKind::Quadratic;
    scenario.learner.parameters = 1_024;
    scenario.learner.decay_share = 0.0;
    scenario.run.outer_steps = 12;
    scenario.run.inner_steps = 10;
    scenario.run.outer_momentum = 0.0;
    scenario.run.outer_rate = 1.0;
    scenario.run.codec = Codec::Int8;
    scenario
}

/// Runs it.
pub(crate) fn run(scenario: &Scenario, seed: u64) -> Outcome {
    World::new(scenario.clone(), seed).expect("the scenario holds").run()
}

/// Runs it; nothing may be violated.
pub(crate) fn holds(scenario: &Scenario, seed: u64) -> Outcome {
    let outcome = run(scenario, seed);
    assert!(outcome.violations.is_empty(), "seed {seed}: {:?}", outcome.violations);
    outcome
}
