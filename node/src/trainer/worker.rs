//! The trainer thread: owns the learner and the parameters, takes orders one at a time, reports each.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocol::id::{Hash, OuterStep, PeerId, ShardIndex};
use protocol::mixing::outer::Outer;
use protocol::peer::input::{Evaluated, Mixed, Trained};
use protocol::peer::memory::ShardMemory;
use protocol::peer::output::{MixHow, MixOrder, TrainOrder};
use protocol::peer::update::{MixScratch, ShardMix, ShardState, mix_shard};
use protocol::rng::Seed;
use protocol::shard::cut::cut;
use protocol::time::Span;
use protocol::wire::choice::{Codec, Stage};
use rayon::prelude::*;

use crate::trainer::affinity::Affinity;
use crate::trainer::job::{Checkpoint, Job, Report, ShardBytes};
use crate::trainer::learner::{Learner, LearnerError};
use crate::trainer::overlap::Overlap;
use crate::trainer::responder::Newest;
use crate::trainer::update::encode;

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
    /// A checkpoint to go on from, and the outer step it belongs to.
    pub restored: Option<(OuterStep, Checkpoint)>,
    /// Where the newest model is left for the responder; nothing where nobody is answered.
    pub newest: Option<Newest>,
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
    /// Parameters after training; then their mix with the others'; between mix and training nothing of use.
    working: Vec<f32>,
    outer: Outer,
    memories: Vec<ShardMemory>,
    ahead: Ahead,
    overlap: Overlap,
    affinity: Affinity,
    /// What it found, to be reported after the evaluation.
    affine: Option<Report>,
    noise: Seed,
    sketch: Seed,
    export: PathBuf,
    newest: Option<Newest>,
    stop: Arc<AtomicBool>,
}

/// Shards of one outer step that were mixed before the others had come.
#[derive(Default)]
struct Ahead {
    step: OuterStep,
    found: BTreeMap<ShardIndex, ShardMix>,
    busy: Duration,
    scratch: MixScratch,
}

impl Ahead {
    /// Forgets what belongs to another step.
    fn begin(&mut self, step: OuterStep) {
        if self.step != step {
            self.take();
            self.step = step;
        }
    }

    fn take(&mut self) -> (BTreeMap<ShardIndex, ShardMix>, Duration) {
        (std::mem::take(&mut self.found), std::mem::take(&mut self.busy))
    }
}

impl Worker {
    fn new(start: TrainerStart, stop: Arc<AtomicBool>) -> Result<Self, LearnerError> {
        let TrainerStart { mut learner, codec, noise, sketch, outer, export, restored, newest } = start;
        let len = learner.parameters();
        let mut genesis = vec![0.0; len];
        learner.read(&mut genesis);
        let mut agreed = genesis.clone();
        let cuts = cut(len, codec);
        let mut memories: Vec<ShardMemory> =
            cuts.iter().map(|cut| ShardMemory::new(codec, cut.len())).collect();
        let mut outer = Outer::new(outer.0, outer.1, len)
            .map_err(|e| LearnerError { what: "set up the outer optimizer", why: e.to_string() })?;
        if let Some((step, checkpoint)) = restored {
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
            if !ShardMemory::recall(&mut memories, &checkpoint.said) {
                return Err(LearnerError {
                    what: "resume from the checkpoint",
                    why: format!(
                        "what it says was said has {} values, which is not what a run with codec {codec} and {len} parameters keeps; it belongs to another run",
                        checkpoint.said.len()
                    ),
                });
            }
            learner.restore(&checkpoint.learner)?;
            learner.write(&agreed)?;
            leave(newest.as_ref(), step, &*learner);
        }
        let working = agreed.clone();
        let ahead = Ahead::default();
        Ok(Self {
            learner,
            cuts,
            genesis,
            agreed,
            working,
            outer,
            memories,
            ahead,
            overlap: Overlap::default(),
            affinity: Affinity::default(),
            affine: None,
            noise,
            sketch,
            export,
            newest,
            stop,
        })
    }

    fn run(mut self, orders: &mpsc::Receiver<Job>, mut report: impl FnMut(Report)) {
        loop {
            let job = match self.next_job(orders) {
                Ok(Some(job)) => job,
                Ok(None) => return,
                Err(error) => {
                    report(Report::Broken(error.to_string()));
                    return;
                }
            };
            let done = match job {
                Job::Train(order) => self.train(order),
                Job::MixAhead(order, bytes) => {
                    self.mix_ahead(&order, bytes);
                    Ok(None)
                }
                Job::Mix(order, bytes) => self.mix(&order, &bytes),
                Job::Evaluate(step) => self.evaluate(step),
                Job::Checkpoint => Ok(Some(self.checkpoint())),
                Job::Export(step) => self
                    .learner
                    .export(&self.export, step)
                    .map(|()| Some(Report::Exported(self.export.clone()))),
            };
            match done {
                Ok(Some(done)) => {
                    report(done);
                    self.affine.take().into_iter().for_each(&mut report);
                }
                Ok(None) => {}
                Err(error) => {
                    report(Report::Broken(error.to_string()));
                    return;
                }
            }
        }
    }

    /// The next order, trained ahead for until it is there; `None` when there is none any more.
    fn next_job(&mut self, orders: &mpsc::Receiver<Job>) -> Result<Option<Job>, LearnerError> {
        let stop = self.stop.clone();
        let is_stopped = || stop.load(Ordering::Relaxed);
        while self.overlap.is_due() && !is_stopped() {
            match orders.try_recv() {
                Ok(job) => return Ok(Some(job)),
                Err(mpsc::TryRecvError::Disconnected) => return Ok(None),
                Err(mpsc::TryRecvError::Empty) => self.overlap.train(&mut *self.learner, &is_stopped)?,
            }
        }
        Ok(orders.recv().ok().filter(|_| !is_stopped()))
    }

    /// `None` when stopped in the middle: an unfinished step is not reported.
    fn train(&mut self, order: TrainOrder) -> Result<Option<Report>, LearnerError> {
        let begun = Instant::now();
        let plan = order.plan;
        let mut done =
            self.overlap.resume(order.step, &self.agreed, &mut self.working, &mut *self.learner)?;
        let lesson = done.rest(plan, order.seconds_max);
        let stop = self.stop.clone();
        if lesson.steps > 0 {
            let learned = self.learner.train(lesson, &|| stop.load(Ordering::Relaxed))?;
            done.add(learned, Duration::ZERO);
        }
        if self.stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        self.learner.read(&mut self.working);
        // Should a step be trained twice, nothing mixed into the parameters of before is left.
        self.ahead.take();
        let busy = Span((done.busy + begun.elapsed()).as_micros() as u64);
        let learned = done.whole();
        let encoding = Instant::now();
        let noise = self.noise.fork_index(u64::from(order.step.0));
        let encoded = encode(
            &self.working,
            &self.genesis,
            &self.cuts,
            &mut self.memories,
            plan.codec,
            &noise,
            &self.sketch,
        );
        let Some((update, blocks)) = encoded else {
            return Err(LearnerError {
                what: "encode the update",
                why: "a parameter is not a finite number; the checkpoint before is intact, restart to go on from it"
                    .to_owned(),
            });
        };
        let is_measured = plan.evaluates && plan.stage == Stage::Train && self.learner.can_glance();
        self.affinity.begin(is_measured, &self.working);
        let next = order.next.filter(|_| self.learner.trains_ahead());
        self.overlap.begin(order.step, next, order.seconds_max, &self.working);
        let trained = Trained {
            step: order.step,
            inner_steps: learned.steps,
            dropped: learned.dropped,
            samples: learned.samples,
            loss: learned.loss,
            busy,
            encoding: Span(encoding.elapsed().as_micros() as u64),
            update,
        };
        Ok(Some(Report::Trained(trained, blocks)))
    }

    /// Mixes shards that are complete while others are under way. Training reads the working parameters anew, so
    /// what is mixed here is lost without harm when the step is given up.
    fn mix_ahead(&mut self, order: &MixOrder, bytes: ShardBytes) {
        let begun = Instant::now();
        self.affinity.keep(&bytes);
        self.ahead.begin(order.step);
        for (shard, sources) in &order.sources {
            let place = shard.0 as usize;
            let (Some(range), Some(memory)) = (self.cuts.get(place), self.memories.get_mut(place)) else {
                continue;
            };
            let (genesis, working) = (&self.genesis[range.clone()], &mut self.working[range.clone()]);
            let state = ShardState { genesis, working, gate: &mut memory.gate };
            let find = |hash: &Hash| bytes.get(&(*shard, *hash)).map(AsRef::as_ref);
            let found = mix_shard(sources, find, order.how, state, &mut self.ahead.scratch);
            self.ahead.found.insert(*shard, found);
        }
        self.ahead.busy += begun.elapsed();
    }

    fn mix(&mut self, order: &MixOrder, bytes: &ShardBytes) -> Result<Option<Report>, LearnerError> {
        let begun = Instant::now();
        if matches!(order.how, MixHow::Join) {
            // A joiner takes over the others' parameters; its own training is not carried over to them.
            self.overlap.drop();
            self.affinity.begin(false, &[]);
            self.learner.read(&mut self.working);
        }
        self.ahead.begin(order.step);
        let (mut found, busy) = self.ahead.take();
        let late = self.mix_shards(order, bytes, &found);
        let len = self.agreed.len();
        match order.how {
            MixHow::Step { is_settling: false, .. } if !self.outer.is_none() => {
                self.outer.step(0..len, &mut self.agreed, &self.working);
            }
            // The mix as it is. Momentum would carry on where nothing is trained, and a joiner has none of its own.
            MixHow::Step { .. } | MixHow::Join => {
                std::mem::swap(&mut self.agreed, &mut self.working);
                self.outer.rest();
            }
        }
        self.overlap.mixed(&*self.learner, &mut self.working);
        self.affinity.mixed(order, bytes);
        self.learner.write(&self.agreed)?;
        leave(self.newest.as_ref(), order.step, &*self.learner);
        let mut weights: BTreeMap<PeerId, f32> = BTreeMap::new();
        let mut refused = Vec::new();
        let (mut square, mut count, mut own) = (0.0, 0usize, 0.0);
        let shards = order.sources.len().max(1);
        // In the order of the shards, so that sums do not depend on what came first.
        found.extend(late);
        for shard in found.into_values() {
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
            busy: Span((busy + begun.elapsed()).as_micros() as u64),
        };
        Ok(Some(Report::Mixed(mixed)))
    }

    /// Mixes the shards that were not mixed ahead.
    fn mix_shards(
        &mut self,
        order: &MixOrder,
        bytes: &ShardBytes,
        ahead: &BTreeMap<ShardIndex, ShardMix>,
    ) -> Vec<(ShardIndex, ShardMix)> {
        let mut working = self.working.as_mut_slice();
        let mut states = Vec::with_capacity(self.cuts.len());
        for (range, memory) in self.cuts.iter().zip(&mut self.memories) {
            let (own, rest) = working.split_at_mut(range.len());
            working = rest;
            let genesis = &self.genesis[range.clone()];
            states.push(ShardState { genesis, working: own, gate: &mut memory.gate });
        }
        let shards =
            order.sources.par_iter().zip(states).filter(|((shard, _), _)| !ahead.contains_key(shard));
        shards
            .map_init(MixScratch::default, |scratch, ((shard, sources), state)| {
                let find = |hash: &Hash| bytes.get(&(*shard, *hash)).map(AsRef::as_ref);
                (*shard, mix_shard(sources, find, order.how, state, scratch))
            })
            .collect()
    }

    fn evaluate(&mut self, step: OuterStep) -> Result<Option<Report>, LearnerError> {
        let begun = Instant::now();
        let judged = self.learner.evaluate()?;
        if let Some(found) = self.affinity.measure(&mut *self.learner, &self.genesis, &self.cuts)? {
            self.learner.write(&self.agreed)?;
            self.affine = Some(Report::Affinity(step, found));
        }
        Ok(Some(Report::Evaluated(Evaluated {
            step,
            metric: judged.metric,
            score: judged.score as f32,
            loss: judged.loss as f32,
            samples: judged.samples,
            busy: Span(begun.elapsed().as_micros() as u64),
        })))
    }

    fn checkpoint(&self) -> Report {
        let checkpoint = Checkpoint {
            agreed: self.agreed.clone(),
            momentum: self.outer.velocity().to_vec(),
            said: ShardMemory::all_said(&self.memories),
            learner: self.learner.state(),
        };
        Report::Checkpoint(checkpoint)
    }
}

/// Leaves the learner's model for the responder, where there is one.
fn leave(newest: Option<&Newest>, step: OuterStep, learner: &dyn Learner) {
    if let Some(newest) = newest
        && let Some(parameters) = learner.model()
    {
        newest.put(step, parameters);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::averaging::{Averaging, Expected};
    use protocol::exchange::pull::Source;
    use protocol::stage::plan::Plan;
    use protocol::wire::choice::Rule;

    const LEN: usize = 3_000;
    const STEP: OuterStep = OuterStep(1);

    fn vector(seed: u64) -> Vec<f32> {
        let mut rng = Seed::from_u64(seed).rng();
        (0..LEN).map(|_| rng.unit_f64() as f32 - 0.5).collect()
    }

    /// A worker of a run with this codec, from the start or from a checkpoint.
    fn started(
        codec: Codec,
        outer: (f32, f32),
        restored: Option<Checkpoint>,
    ) -> Result<Worker, LearnerError> {
        let start = TrainerStart {
            learner: Box::new(Averaging::new(vector(1), Expected::default())),
            codec,
            noise: Seed::from_u64(5),
            sketch: Seed::from_u64(6),
            outer,
            export: PathBuf::new(),
            restored: restored.map(|checkpoint| (STEP, checkpoint)),
            newest: None,
        };
        Worker::new(start, Arc::default())
    }

    /// The order of a training step.
    fn lesson(step: OuterStep, codec: Codec, inner_steps: u32) -> TrainOrder {
        let plan = Plan {
            stage: Stage::Train,
            codec,
            inner_steps,
            inner_start: 0,
            inner_total: 1,
            evaluates: false,
        };
        TrainOrder { step, plan, seconds_max: 0, next: None }
    }

    /// A worker whose learner has trained to `vector(1)`.
    fn trained(outer: (f32, f32)) -> Worker {
        let mut worker = started(Codec::F16, outer, None).unwrap();
        worker.train(lesson(STEP, Codec::F16, 1)).unwrap();
        worker
    }

    fn sparse(restored: Option<Checkpoint>) -> Result<Worker, LearnerError> {
        started(Codec::Topk, (0.0, 1.0), restored)
    }

    /// Hashes of the shards it publishes in outer step `step`.
    fn publishes(worker: &mut Worker, step: u32) -> Vec<Hash> {
        match worker.train(lesson(OuterStep(step), Codec::Topk, 1)).unwrap() {
            Some(Report::Trained(_, blocks)) => blocks.into_iter().map(|(hash, _)| hash).collect(),
            other => panic!("expected an update, found {other:?}"),
        }
    }

    fn saved(worker: &Worker) -> Checkpoint {
        match worker.checkpoint() {
            Report::Checkpoint(checkpoint) => checkpoint,
            other => panic!("expected a checkpoint, found {other:?}"),
        }
    }

    #[test]
    fn a_restarted_worker_goes_on_from_what_its_updates_have_said() {
        let mut worker = sparse(None).unwrap();
        publishes(&mut worker, 2);
        let (kept, lost) = (saved(&worker), Checkpoint { said: Vec::new(), ..saved(&worker) });
        assert_eq!(kept.said.len(), LEN);
        let expected = publishes(&mut worker, 3);
        assert_eq!(publishes(&mut sparse(Some(kept)).unwrap(), 3), expected);
        // Without it the update is as good as any to read, and says again what was said.
        assert_ne!(publishes(&mut sparse(Some(lost)).unwrap(), 3), expected);
        let other = Checkpoint { said: vec![0.0; LEN - 1], ..saved(&worker) };
        assert!(sparse(Some(other)).is_err());
        assert!(saved(&trained((0.0, 1.0))).said.is_empty(), "codecs that say everything keep nothing");
    }

    /// What three peers send, shard by shard.
    fn pulled() -> (MixOrder, ShardBytes) {
        let (cuts, genesis) = (cut(LEN, Codec::F16), vec![0.0; LEN]);
        let mut memories = vec![ShardMemory::default(); cuts.len()];
        let mut sources: Vec<(ShardIndex, Vec<Source>)> =
            (0..cuts.len()).map(|shard| (ShardIndex(shard as u32), Vec::new())).collect();
        let mut bytes = ShardBytes::new();
        for peer in 2..5u8 {
            let theirs = vector(peer.into());
            let (noise, sketch) = (Seed::from_u64(7), Seed::from_u64(6));
            let (_, blocks) =
                encode(&theirs, &genesis, &cuts, &mut memories, Codec::F16, &noise, &sketch).unwrap();
            for ((shard, from), (hash, block)) in sources.iter_mut().zip(blocks) {
                from.push(Source { peer: PeerId([peer; 32]), step: STEP, hash, codec: Codec::F16 });
                bytes.insert((*shard, hash), block);
            }
        }
        let how = MixHow::Step { rule: Rule::Mean, byzantine: 0, is_settling: false };
        (MixOrder { step: STEP, sources, how }, bytes)
    }

    fn report(worker: &mut Worker, order: &MixOrder, bytes: &ShardBytes) -> Mixed {
        match worker.mix(order, bytes).unwrap() {
            Some(Report::Mixed(mixed)) => Mixed { busy: Span::ZERO, ..mixed },
            other => panic!("expected a mix, found {other:?}"),
        }
    }

    #[test]
    fn shards_mixed_ahead_in_any_order_give_what_mixing_all_at_once_gives() {
        let (order, bytes) = pulled();
        for outer in [(0.0, 1.0), (0.5, 0.7)] {
            let mut at_once = trained(outer);
            let expected = report(&mut at_once, &order, &bytes);
            assert_eq!(expected.weights.len(), 3);
            let mut piecemeal = trained(outer);
            let mut left = bytes.clone();
            for place in [5, 0, 3] {
                let sources = vec![order.sources[place].clone()];
                let ahead = MixOrder { sources, ..order.clone() };
                let (now, later) = left.into_iter().partition(|((shard, _), _)| shard.0 as usize == place);
                left = later;
                piecemeal.mix_ahead(&ahead, now);
            }
            assert_eq!(report(&mut piecemeal, &order, &left), expected);
            assert_eq!(piecemeal.agreed, at_once.agreed);
        }
    }

    #[test]
    fn what_was_mixed_ahead_for_a_step_given_up_leaves_no_trace() {
        let (order, bytes) = pulled();
        let mut worker = trained((0.0, 1.0));
        let expected = report(&mut trained((0.0, 1.0)), &order, &bytes);
        let sources = vec![order.sources[2].clone()];
        worker.mix_ahead(&MixOrder { sources, ..order.clone() }, bytes.clone());
        worker.train(lesson(STEP, Codec::F16, 0)).unwrap();
        assert_eq!(report(&mut worker, &order, &bytes), expected);
    }
}
