//! One look at the swarm each outer step.

use crate::sim::meter::{Row, consensus_relative};
use crate::sim::outcome::mean;
use crate::sim::queue::{Happening, NOBODY};
use crate::sim::world::World;
use crate::time::Span;

/// Nodes scored in a row of measurements.
const SCORED: usize = 8;
/// Rows between two that are scored.
const SCORED_EVERY: usize = 5;

impl World {
    /// Adds a row, checks what is checked now and then, and plans the next look.
    pub(super) fn measure(&mut self) {
        let honest_up = self.nodes.iter().filter(|n| n.counts()).count();
        let mut steps: Vec<u32> =
            self.nodes.iter().filter(|n| n.counts()).map(|n| n.peer.progress().step.0).collect();
        steps.sort_unstable();
        let is_scored = self.meter.rows.len().is_multiple_of(SCORED_EVERY);
        let score = if is_scored { self.score_of_few() } else { None };
        let row = Row {
            at_s: self.seconds(),
            up: honest_up as u32,
            step_median: steps.get(steps.len() / 2).copied().unwrap_or(0),
            step_least: steps.first().copied().unwrap_or(0),
            consensus_distance_relative: self.consensus(),
            score,
            bytes: self.meter.bytes.iter().sum(),
        };
        self.meter.rows.push(row);
        self.check_shunned();
        let every = Span((self.scenario.step_seconds() * 1e6) as u64);
        self.queue.push(self.now + every.max(Span(1)), NOBODY, 0, Happening::Measure);
    }

    /// `None` when what learns cannot say.
    fn score_of_few(&mut self) -> Option<f64> {
        let few = self.nodes.iter().filter(|n| n.counts()).take(SCORED);
        let learner = &mut self.learner;
        let scores = few.map(|n| learner.score(&n.agreed)).collect::<Result<Vec<_>, _>>();
        match scores {
            Ok(scores) => Some(mean(scores.iter().map(|(score, _)| *score))),
            Err(error) => {
                self.violated("learner", None, error.to_string());
                None
            }
        }
    }

    /// Root mean square distance of the honest peers' agreed parameters from their mean, over the norm of that mean.
    pub(super) fn consensus(&self) -> f64 {
        let up: Vec<&[f32]> = self.nodes.iter().filter(|n| n.counts()).map(|n| n.agreed.as_slice()).collect();
        consensus_relative(&up)
    }
}
