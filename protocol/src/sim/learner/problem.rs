//! A problem for a swarm: where it starts, how a peer trains on its own part, how good parameters are.

use std::sync::Arc;

use crate::rng::Seed;
use crate::shard::distance::distance_squared;
use crate::sim::learner::data::{CLASSES, Classes, Samples};
use crate::sim::learner::lesson::{CannotLearn, Learner, Lesson};
use crate::sim::learner::perceptron::{Perceptron, Scratch};
use crate::sim::scenario::{LearnerKind, LearnerTerms, Scenario};

/// Samples all peers are scored on.
const TEST_SAMPLES: usize = 600;

/// What the swarm learns. One problem serves all peers; nothing of a lesson is left for the next.
#[derive(Clone, Debug)]
pub struct Problem {
    terms: LearnerTerms,
    seed: Seed,
    genesis: Arc<[f32]>,
    task: Task,
    scratch: Scratch,
}

#[derive(Clone, Debug)]
enum Task {
    /// A target for every peer, and their mean.
    Quadratic { targets: Vec<Arc<[f32]>>, optimum: Arc<[f32]> },
    /// Samples for every peer, and those everybody is scored on.
    Classes { network: Perceptron, samples: Vec<Arc<Samples>>, test: Arc<Samples> },
}

impl Problem {
    /// A problem for `peers` peers of which the first `honest` define what is right.
    pub fn new(terms: &LearnerTerms, peers: usize, honest: usize, seed: &Seed) -> Self {
        let (genesis, task) = match terms.kind {
            LearnerKind::Quadratic => quadratic(terms.parameters as usize, peers, honest, seed),
            LearnerKind::Softmax => classes(Perceptron::new(0), terms, peers, seed),
            LearnerKind::Mlp => classes(Perceptron::new(terms.hidden as usize), terms, peers, seed),
        };
        Self {
            terms: terms.clone(),
            seed: seed.fork("batches"),
            genesis: genesis.into(),
            task,
            scratch: Scratch::default(),
        }
    }

    /// The problem of a scenario under a seed.
    pub fn of(scenario: &Scenario, seed: u64) -> Self {
        let honest = scenario.liars().iter().filter(|lies| lies.is_none()).count();
        let seed = Seed::from_u64(seed).fork("problem");
        Self::new(&scenario.learner, scenario.peers as usize, honest, &seed)
    }

    fn lesson(&mut self, lesson: Lesson, parameters: &mut [f32]) -> f64 {
        let mut loss = 0.0;
        match &self.task {
            Task::Quadratic { targets, .. } => {
                let target = &targets[lesson.peer as usize];
                for inner in 0..lesson.inner_steps {
                    loss += distance_squared(parameters, target) / 2.0 / parameters.len() as f64;
                    let rate = rate(&self.terms, lesson.inner_start + u64::from(inner), lesson.inner_total);
                    parameters.iter_mut().zip(target.iter()).for_each(|(x, t)| *x -= rate * (*x - t));
                }
            }
            Task::Classes { network, samples, .. } => {
                let samples = &samples[lesson.peer as usize];
                let mut seed = self.seed.fork_index(lesson.peer.into()).fork_index(lesson.step.into());
                if lesson.taken > 0 {
                    seed = seed.fork_index(lesson.taken.into());
                }
                let mut rng = seed.rng();
                let mut batch = Vec::with_capacity(self.terms.batch as usize);
                for inner in 0..lesson.inner_steps {
                    batch.clear();
                    batch.extend((0..self.terms.batch).map(|_| {
                        let (input, label) = samples.at(rng.below(samples.len() as u64) as usize);
                        (input, if lesson.flips_labels { CLASSES as u8 - 1 - label } else { label })
                    }));
                    let rate = rate(&self.terms, lesson.inner_start + u64::from(inner), lesson.inner_total);
                    loss += network.step(parameters, &batch, rate, &mut self.scratch);
                }
            }
        }
        loss / f64::from(lesson.inner_steps.max(1))
    }

    /// Accuracy, or how much of the way from genesis to the optimum is behind; and the loss.
    fn judged(&self, parameters: &[f32]) -> (f64, f64) {
        match &self.task {
            Task::Quadratic { optimum, .. } => {
                let left = distance_squared(parameters, optimum);
                let whole = distance_squared(&self.genesis, optimum).max(1e-12);
                (1.0 - (left / whole).sqrt(), left / 2.0 / parameters.len() as f64)
            }
            Task::Classes { network, test, .. } => network.score(parameters, test),
        }
    }

    /// The best parameters for the data of all peers together, where they are known or can be found: not for the
    /// perceptron.
    pub fn optimum(&self) -> Option<Vec<f32>> {
        match &self.task {
            Task::Quadratic { optimum, .. } => Some(optimum.to_vec()),
            Task::Classes { network, samples, .. } if self.terms.kind == LearnerKind::Softmax => {
                let mut all = Samples::default();
                samples.iter().for_each(|part| all.extend(part));
                let batch: Vec<(&[f32], u8)> = (0..all.len()).map(|i| all.at(i)).collect();
                let mut parameters = self.genesis.to_vec();
                let mut scratch = Scratch::default();
                // The loss is convex; so many steps take its slope below what a batch would show.
                for _ in 0..400 {
                    network.step(&mut parameters, &batch, 0.3, &mut scratch);
                }
                Some(parameters)
            }
            Task::Classes { .. } => None,
        }
    }
}

impl Learner for Problem {
    fn genesis(&self) -> &Arc<[f32]> {
        &self.genesis
    }

    fn train(&mut self, lesson: Lesson, parameters: &mut [f32]) -> Result<f64, CannotLearn> {
        Ok(self.lesson(lesson, parameters))
    }

    fn score(&mut self, parameters: &[f32]) -> Result<(f64, f64), CannotLearn> {
        Ok(self.judged(parameters))
    }
}

/// The peak, then a straight fall to 0 over the last share of the run.
fn rate(terms: &LearnerTerms, inner: u64, total: u64) -> f32 {
    let falling = f64::from(terms.decay_share) * total as f64;
    let left = total.saturating_sub(inner) as f64;
    if left >= falling { terms.rate } else { terms.rate * (left / falling) as f32 }
}

fn quadratic(len: usize, peers: usize, honest: usize, seed: &Seed) -> (Vec<f32>, Task) {
    let targets: Vec<Arc<[f32]>> = (0..peers)
        .map(|peer| {
            let mut rng = seed.fork("target").fork_index(peer as u64).rng();
            // Around 1, so that the optimum is far from genesis.
            (0..len).map(|_| rng.unit_f64() as f32 * 2.0).collect()
        })
        .collect();
    let mean = |k: usize| {
        let sum: f64 = targets[..honest].iter().map(|t| f64::from(t[k])).sum();
        (sum / honest as f64) as f32
    };
    let optimum: Arc<[f32]> = (0..len).map(mean).collect();
    (vec![0.0; len], Task::Quadratic { targets, optimum })
}

fn classes(network: Perceptron, terms: &LearnerTerms, peers: usize, seed: &Seed) -> (Vec<f32>, Task) {
    let classes = Classes::draw(&seed.fork("classes"));
    let samples = classes.split(terms.alpha, peers, terms.samples as usize, &seed.fork("split"));
    let test = classes.samples(&[1.0 / CLASSES as f64; CLASSES], TEST_SAMPLES, &mut seed.fork("test").rng());
    (network.genesis(&seed.fork("genesis")), Task::Classes { network, samples, test: Arc::new(test) })
}
