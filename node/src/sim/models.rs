//! Real models in the virtual swarm: every peer has a learner of the trainer with data of its own.
//!
//! It exists so that the whole protocol under faults and liars is seen with the models people train, for tens of peers.
//! Time stays virtual: how long a step takes is the scenario's word, not this machine's.

use std::sync::Arc;

use protocol::sim::learner::lesson::{CannotLearn, Learner as Swarm, Lesson as Task};

use crate::trainer::learner::{Learner, LearnerError, Lesson};

/// A model for every peer, and one that scores.
pub struct Models {
    genesis: Arc<[f32]>,
    peers: Vec<Box<dyn Learner>>,
    judge: Box<dyn Learner>,
}

impl Models {
    /// Puts a swarm's models together: all at the same genesis; `judge` holds the examples everybody is scored on.
    pub fn new(peers: Vec<Box<dyn Learner>>, judge: Box<dyn Learner>) -> Self {
        let mut genesis = vec![0.0; judge.parameters()];
        judge.read(&mut genesis);
        Self { genesis: genesis.into(), peers, judge }
    }
}

fn stopped(error: LearnerError) -> CannotLearn {
    CannotLearn(error.to_string())
}

impl Swarm for Models {
    fn genesis(&self) -> &Arc<[f32]> {
        &self.genesis
    }

    fn train(&mut self, task: Task, parameters: &mut [f32]) -> Result<f64, CannotLearn> {
        if task.flips_labels {
            let why =
                "labels of a model's data cannot be counted backwards; choose another attack than label-flip";
            return Err(CannotLearn(why.to_owned()));
        }
        let Some(learner) = self.peers.get_mut(task.peer as usize) else {
            return Err(CannotLearn(format!(
                "expected a model for every peer, found none for {}",
                task.peer
            )));
        };
        learner.write(parameters).map_err(stopped)?;
        let (steps, start, total) = (task.inner_steps, task.inner_start, task.inner_total);
        let lesson = Lesson { steps, start, total, seconds_max: 0 };
        let learned = learner.train(lesson, &|| false).map_err(stopped)?;
        learner.read(parameters);
        Ok(learned.loss)
    }

    fn score(&mut self, parameters: &[f32]) -> Result<(f64, f64), CannotLearn> {
        self.judge.write(parameters).map_err(stopped)?;
        let judged = self.judge.evaluate().map_err(stopped)?;
        Ok((judged.score, judged.loss))
    }
}
