//! The trainer thread: owns the learner and the parameters, takes orders one at a time, reports each.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

use protocol::id::{OuterStep, PeerId};
use protocol::mixing::outer::Outer;
use protocol::mixing::plausible::Gate;
use protocol::peer::input::{Evaluated, Mixed, Trained};
use protocol::peer::output::{MixHow, MixOrder, TrainOrder};
use protocol::rng::Seed;
use protocol::shard::cut::cut;
use protocol::time::Span;
use protocol::wire::choice::Codec;
use rayon::prelude::*;

use crate::trainer::job::{Checkpoint, Job, Report, ShardBytes};
use crate::trainer::learner::{Learner, LearnerError, Lesson};
use crate::trainer::update::{ShardMix, ShardState, encode, mix_shard};

/// What the trainer starts from.
pub struct TrainerStart {
    /// The model with its data, holding the genesis parameters.
    pub learner: Box<dyn Learner>,
    /// Codec of training steps; it decides where shards are cut.
    pub codec: Codec,
    /// Seed of the rounding noise; secret, this node's own.
    pub noise: Seed,
    /// Seed of the sketch, the same on every node.
    pub sketch: Seed,
    /// μ and η of the outer optimizer.
    pub outer: (f32, f32),
    /// Folder the finished model is written to.
    pub export: PathBuf,
    /// A checkpoint to go on from.
    pub restored: Option<Checkpoint>,
}

/// The handle of the trainer thread.
pub struct Trainer {
    jobs: Option<mpsc::Sender<Job>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Trainer {
    /// Starts the thread; `report` is called on it for every report.
    pub fn start(
        start: TrainerStart,
        report: impl FnMut(Report) + Send + 'static,
    ) -> Result<Self, LearnerError> {
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Worker::new(start, stop.clone())?;
        let (jobs, orders) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("trainer".to_owned())
            .spawn(move || worker.run(&orders, report))
            .map_err(|e| LearnerError {
                what: "start the trainer thread",
                why: format!("{e}; free memory or raise the limit of threads"),
            })?;
        Ok(Self { jobs: Some(jobs), stop, thread: Some(thread) })
    }

    /// Gives an order; false when the trainer is gone.
    pub fn order(&self, job: Job) -> bool {
        self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok())
    }

    /// Lets the inner step under way finish and ends the thread.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the panic hook; there is nothing left to save.
            let _ = thread.join();
        }
    }
}

impl Drop for Trainer {
    fn drop(&mut self) {
        self.end();
    }
}

struct Worker {
    learner: Box<dyn Learner>,
    cuts: Vec<Range<usize>>,
    genesis: Vec<f32>,
    agreed: Vec<f32>,
    working: Vec<f32>,
    outer: Outer,
    mixed: Vec<f32>,
    gates: Vec<Gate>,
    noise: Seed,
    sketch: Seed,
    export: PathBuf,
    stop: Arc<AtomicBool>,
}

impl Worker {
    fn new(start: TrainerStart, stop: Arc<AtomicBool>) -> Result<Self, LearnerError> {
        let TrainerStart { mut learner, codec, noise, sketch, outer, export, restored } = start;
        let len = learner.parameters();
        let mut genesis = vec![0.0; len];
        learner.read(&mut genesis);
        let mut agreed = genesis.clone();
        let mut outer = Outer::new(outer.0, outer.1, len)
            .map_err(|e| LearnerError { what: "set up the outer optimizer", why: e.to_string() })?;
        if let Some(checkpoint) = restored {
            if checkpoint.agreed.len() != len {
                return Err(LearnerError {
                    what: "resume from the checkpoint",
                    why: format!(
                        "expected {len} parameters, found {}; it belongs to another model",
                        checkpoint.agreed.len()
                    ),
                });
            }
            agreed = checkpoint.agreed;
            outer
                .restore(checkpoint.momentum)
                .map_err(|e| LearnerError { what: "resume from the checkpoint", why: e.to_string() })?;
            learner.restore(&checkpoint.learner)?;
            learner.write(&agreed)?;
        }
        let cuts = cut(len, codec);
        let gates = cuts.iter().map(|_| Gate::new()).collect();
        let (working, mixed) = (agreed.clone(), agreed.clone());
        Ok(Self { learner, cuts, genesis, agreed, working, mixed, outer, gates, noise, sketch, export, stop })
    }

    fn run(mut self, orders: &mpsc::Receiver<Job>, mut report: impl FnMut(Report)) {
        while let Ok(job) = orders.recv() {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let done = match job {
                Job::Train(order) => self.train(order),
                Job::Mix(order, bytes) => self.mix(&order, &bytes),
                Job::Evaluate(step) => self.evaluate(step),
                Job::Checkpoint(step) => Ok(Some(self.checkpoint(step))),
                Job::Export(step) => self
                    .learner
                    .export(&self.export, step)
                    .map(|()| Some(Report::Exported(self.export.clone()))),
            };
            match done {
                Ok(Some(done)) => report(done),
                Ok(None) => {}
                Err(error) => {
                    report(Report::Broken(error.to_string()));
                    return;
                }
            }
        }
    }

    /// `None` when stopped in the middle: an unfinished step is not reported.
    fn train(&mut self, order: TrainOrder) -> Result<Option<Report>, LearnerError> {
        let begun = Instant::now();
        let plan = order.plan;
        let lesson = Lesson {
            steps: plan.inner_steps,
            start: plan.inner_start,
            total: plan.inner_total,
            seconds_max: order.seconds_max,
        };
        let stop = self.stop.clone();
        let learned = if lesson.steps > 0 {
            self.learner.train(lesson, &|| stop.load(Ordering::Relaxed))?
        } else {
            Default::default()
        };
        if self.stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        self.learner.read(&mut self.working);
        let busy = Span(begun.elapsed().as_micros() as u64);
        let noise = self.noise.fork_index(u64::from(order.step.0));
        let encoded = encode(&self.working, &self.genesis, &self.cuts, plan.codec, &noise, &self.sketch);
        let Some((update, blocks)) = encoded else {
            return Err(LearnerError {
                what: "encode the update",
                why: "a parameter is not a finite number; the checkpoint before is intact, restart to go on from it"
                    .to_owned(),
            });
        };
        let trained = Trained {
            step: order.step,
            inner_steps: learned.steps,
            dropped: learned.dropped,
            samples: learned.samples,
            loss: learned.loss,
            busy,
            update,
        };
        Ok(Some(Report::Trained(trained, blocks)))
    }

    fn mix(&mut self, order: &MixOrder, bytes: &ShardBytes) -> Result<Option<Report>, LearnerError> {
        let begun = Instant::now();
        if matches!(order.how, MixHow::Join) {
            self.learner.read(&mut self.working);
        }
        let found = self.mix_shards(order, bytes);
        let len = self.agreed.len();
        match order.how {
            MixHow::Step { is_settling: false, .. } => self.outer.step(0..len, &mut self.agreed, &self.mixed),
            // Momentum would carry on where nothing is trained, and a joiner has none of its own.
            MixHow::Step { .. } | MixHow::Join => {
                self.agreed.copy_from_slice(&self.mixed);
                self.outer.rest();
            }
        }
        // The working copy is read anew from the learner before it is used again.
        self.learner.write(&self.agreed)?;
        let mut weights: std::collections::BTreeMap<PeerId, f32> = std::collections::BTreeMap::new();
        let mut refused = Vec::new();
        let (mut square, mut count, mut own) = (0.0, 0usize, 0.0);
        let shards = found.len().max(1);
        for shard in found {
            for (peer, weight) in shard.weights {
                *weights.entry(peer).or_default() += weight / shards as f32;
            }
            refused.extend(shard.refused);
            count += shard.distances.len();
            square += shard.distances.iter().sum::<f64>();
            own += shard.own_square;
        }
        refused.sort_unstable();
        refused.dedup();
        // Mean squared distance of a whole pulled model, against our own delta.
        let mean = if count == 0 { 0.0 } else { square / count as f64 * shards as f64 };
        let mixed = Mixed {
            step: order.step,
            weights: weights.into_iter().collect(),
            refused,
            distance: if own > 0.0 { (mean / own).sqrt() } else { 0.0 },
            busy: Span(begun.elapsed().as_micros() as u64),
        };
        Ok(Some(Report::Mixed(mixed)))
    }

    fn mix_shards(&mut self, order: &MixOrder, bytes: &ShardBytes) -> Vec<ShardMix> {
        let mut mixed = self.mixed.as_mut_slice();
        let mut states = Vec::with_capacity(self.cuts.len());
        for (range, gate) in self.cuts.iter().zip(&mut self.gates) {
            let (own, rest) = mixed.split_at_mut(range.len());
            mixed = rest;
            states.push(ShardState {
                genesis: &self.genesis[range.clone()],
                working: &self.working[range.clone()],
                mixed: own,
                gate,
            });
        }
        let shards = order.sources.par_iter().zip(states);
        shards
            .map_init(Vec::new, |spare, ((_, sources), state)| {
                mix_shard(sources, bytes, order.how, state, spare)
            })
            .collect()
    }

    fn evaluate(&mut self, step: OuterStep) -> Result<Option<Report>, LearnerError> {
        let judged = self.learner.evaluate()?;
        Ok(Some(Report::Evaluated(Evaluated {
            step,
            metric: judged.metric,
            score: judged.score as f32,
            loss: judged.loss as f32,
            samples: judged.samples,
        })))
    }

    fn checkpoint(&self, step: OuterStep) -> Report {
        let checkpoint = Checkpoint {
            agreed: self.agreed.clone(),
            momentum: self.outer.velocity().to_vec(),
            learner: self.learner.state(),
        };
        Report::Checkpoint(step, checkpoint)
    }
}
