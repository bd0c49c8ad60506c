//! A model being trained: the one door through which the rest of the system trains, predicts, saves and mixes.
//!
//! A session belongs to one thread at a time and can be sent to another. Parameters cross its border as one flat `f32`
//! vector sorted by tensor name. A step either succeeds as a whole or changes nothing: a loss or gradient that is not
//! finite drops the step, and the first step is refused if some parameter would never learn.

use std::path::Path;
use std::sync::Arc;

use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::{Deserialize, Serialize};

use crate::arch::cache::Cache;
use crate::arch::config::{ArchConfig, Head};
use crate::arch::input::Input;
use crate::arch::neighbourhood::Neighbourhood;
use crate::data::batch::{Batch, IGNORE, Inputs, NodeBatch, Targets};
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::ops::bag::Lists;
use crate::ops::loss::{CrossEntropy, cross_entropy};
use crate::ops::vector::all_finite;
use crate::params::folder;
use crate::seed::Seed;
use crate::task::logits::{Continues, Logits};
use crate::train::adapter::{AdapterConfig, AdapterEngine, FIRST_FACTOR};
use crate::train::composed::ComposedEngine;
use crate::train::engine::Engine;
use crate::train::explicit::ExplicitEngine;
use crate::train::optimizer::{OptimizerConfig, OptimizerState};

/// How a session trains.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// The inner optimizer.
    pub optimizer: OptimizerConfig,
    /// Largest gradient norm; a longer gradient is shortened to it. 0 clips nothing.
    pub clip_norm: f64,
    /// Threads; 0 takes `RAYON_NUM_THREADS` or all cores.
    pub threads: usize,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self { optimizer: OptimizerConfig::default(), clip_norm: 1.0, threads: 0 }
    }
}

/// What one training step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Mean cross-entropy over the counted targets, before the step; not finite only if the step was dropped.
    pub loss: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Training examples that contributed; 0 if the step was dropped.
    pub samples: u32,
    /// Whether the parameters were left as they were, because nothing counted or something was not finite.
    pub dropped: bool,
}

/// A model, its optimizer state and the device it lives on.
pub struct Session {
    engine: Box<dyn Engine>,
    arch: ArchConfig,
    head: Head,
    config: TrainingConfig,
    pool: Option<Arc<ThreadPool>>,
    dropout: Seed,
    steps: u64,
    dropped: u64,
    is_checked: bool,
    targets: Vec<i32>,
    logits: Vec<f32>,
}

impl Session {
    /// A model with fresh parameters, a pure function of the seed, the architecture and the head.
    pub fn new(arch: &ArchConfig, head: &Head, device: &DeviceChoice, seed: Seed) -> Result<Self> {
        let engine = open(arch, head, *device)?;
        let initial = engine.slots().initial(&seed);
        let mut session = Self::around(engine, arch, head, seed);
        session.engine.write(&initial)?;
        Ok(session)
    }

    /// A model from a Hugging Face folder (`config.json`, `model.safetensors`) with the head asked for. A head the
    /// checkpoint lacks, or has with another number of labels, starts fresh from the seed.
    pub fn from_folder(dir: &Path, head: &Head, device: &DeviceChoice, seed: Seed) -> Result<Self> {
        let arch = folder::read_arch(dir)?;
        let mut session = Self::new(&arch, head, device, seed)?;
        session.load_parameters(dir)?;
        Ok(session)
    }

    /// Replaces the parameters by those of a folder of the same architecture, and keeps settings and optimizer state:
    /// for a charter that names a base checkpoint and its own dropout. A head the checkpoint lacks stays as it is.
    pub fn load_parameters(&mut self, dir: &Path) -> Result<()> {
        let mut flat = vec![0.0; self.parameter_count()];
        self.engine.read(&mut flat)?;
        folder::read_parameters(dir, self.engine.slots(), &mut flat)?;
        self.write(&flat)
    }

    /// A model from a folder that [`Session::save`] wrote, with the head it was saved with.
    pub fn load(dir: &Path, device: &DeviceChoice, seed: Seed) -> Result<Self> {
        let head = folder::read_head(dir)?;
        Self::from_folder(dir, &head, device, seed)
    }

    /// Writes `config.json` and `model.safetensors` as Hugging Face reads them; `extra` (an object, for example
    /// `id2label`) is merged into `config.json`. Each file appears whole or not at all.
    pub fn save(&self, dir: &Path, extra: &serde_json::Value) -> Result<()> {
        let slots = self.engine.whole_slots();
        let mut flat = vec![0.0; slots.total()];
        self.engine.read_whole(&mut flat)?;
        folder::write(dir, &self.arch, &self.head, slots, &flat, extra)
    }

    /// Keeps the present parameters and trains low-rank corrections of them, and the head, instead: from here on the
    /// flat vector holds these alone. A saved model is merged and needs no adapter.
    ///
    /// # Errors
    /// The sizes mean nothing, or there is no matrix to adapt.
    pub fn adapted(self, adapter: &AdapterConfig, seed: &Seed) -> Result<Self> {
        let slots = self.engine.slots().clone();
        let mut before = vec![0.0; slots.total()];
        self.engine.read(&mut before)?;
        let mut engine = AdapterEngine::new(self.engine, adapter)?;
        let mut flat = engine.slots().initial(&seed.fork("adapter"));
        // The head keeps what it has; only the corrections begin anew.
        for own in engine.slots().by_name() {
            if let Some(slot) = slots.by_name().find(|slot| slot.name == own.name) {
                flat[own.flat..own.flat + own.range.len()]
                    .copy_from_slice(&before[slot.flat..slot.flat + slot.range.len()]);
            }
        }
        engine.write(&flat)?;
        Ok(Self { engine: Box::new(engine), ..self })
    }

    fn around(engine: Box<dyn Engine>, arch: &ArchConfig, head: &Head, seed: Seed) -> Self {
        Self {
            engine,
            arch: arch.clone(),
            head: *head,
            config: TrainingConfig::default(),
            pool: None,
            dropout: seed.fork("dropout"),
            steps: 0,
            dropped: 0,
            is_checked: false,
            targets: Vec::new(),
            logits: Vec::new(),
        }
    }

    /// Sets optimizer, clipping and threads. Another kind of optimizer starts with an empty state.
    pub fn configure(&mut self, config: TrainingConfig) -> Result<()> {
        config.optimizer.validate()?;
        if !(config.clip_norm >= 0.0 && config.clip_norm.is_finite()) {
            let reason = format!("expected 0 (off) or a positive number, found {}", config.clip_norm);
            return Err(Error::config("clip_norm", reason));
        }
        if config.threads > 1024 {
            return Err(Error::config("threads", format!("expected at most 1024, found {}", config.threads)));
        }
        if config.threads != self.config.threads {
            self.pool = match config.threads {
                0 => None,
                threads => {
                    let pool = ThreadPoolBuilder::new().num_threads(threads).build().map_err(|source| {
                        Error::config(
                            "threads",
                            format!("could not start {threads} threads ({source}); use fewer"),
                        )
                    })?;
                    Some(Arc::new(pool))
                }
            };
        }
        if config.optimizer.state_vectors() != self.config.optimizer.state_vectors() {
            self.engine.restore_optimizer(&empty_state(&config.optimizer, self.parameter_count()))?;
        }
        self.config = config;
        Ok(())
    }

    /// The architecture.
    pub fn arch(&self) -> &ArchConfig {
        &self.arch
    }

    /// The head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// How the session trains.
    pub fn config(&self) -> &TrainingConfig {
        &self.config
    }

    /// Names and shapes of all tensors in the order of the flat vector.
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        self.engine.slots().shapes()
    }

    /// Elements of the flat vector.
    pub fn parameter_count(&self) -> usize {
        self.engine.slots().total()
    }

    /// Copies the parameters into `flat`, which has [`Session::parameter_count`] elements.
    pub fn read(&self, flat: &mut [f32]) -> Result<()> {
        self.check_length(flat.len())?;
        self.engine.read(flat)
    }

    /// Replaces the parameters; refuses a wrong length or a number that is not finite. Optimizer state stays.
    pub fn write(&mut self, flat: &[f32]) -> Result<()> {
        self.check_length(flat.len())?;
        if !all_finite(flat) {
            return Err(Error::NotFinite {
                what: "a parameter to be written".into(),
                remedy: "the parameters were left as they were; drop the update it came from".into(),
            });
        }
        self.engine.write(flat)
    }

    fn check_length(&self, found: usize) -> Result<()> {
        let expected = self.parameter_count();
        if found == expected { Ok(()) } else { Err(Error::shape("flat parameters", expected, found)) }
    }

    /// Takes one optimizer step at the given learning rate.
    ///
    /// A step without counted targets, or with a loss or gradient that is not finite, is dropped: reported, counted,
    /// and the parameters stay. An error also leaves them as they were.
    pub fn train_step(&mut self, batch: &Batch, rate: f64) -> Result<StepReport> {
        check_rate(rate)?;
        self.on_pool(|session| session.step(batch, rate))
    }

    /// Takes one optimizer step on a loss of the caller's. `loss` is given the logits `(outputs, labels)` without padding
    /// (an output is a token of a row, in order, when tagging, else a row), replaces them by its gradient and answers its
    /// value and how many outputs counted. The batch needs no targets. Dropped steps and errors: as [`Session::train_step`].
    pub fn step_on(
        &mut self,
        batch: &Batch,
        rate: f64,
        loss: &mut (dyn FnMut(&mut [f32]) -> CrossEntropy + Send),
    ) -> Result<StepReport> {
        check_rate(rate)?;
        self.on_pool(|session| {
            let input = input_of(batch)?;
            let seed = session.next_dropout();
            let found = session.engine.gradient_of(input, &seed, loss)?;
            session.apply(batch, rate, found)
        })
    }

    fn step(&mut self, batch: &Batch, rate: f64) -> Result<StepReport> {
        let input = input_of(batch)?;
        self.set_targets(batch)?;
        let seed = self.next_dropout();
        let found = self.engine.gradient(input, &self.targets, &seed)?;
        self.apply(batch, rate, found)
    }

    /// Computes the gradient of a batch without a step, for [`Session::read_gradient`]; the parameters stay.
    pub fn measure_gradient(&mut self, batch: &Batch) -> Result<CrossEntropy> {
        self.on_pool(|session| {
            let input = input_of(batch)?;
            session.set_targets(batch)?;
            let seed = session.dropout.fork_index(session.steps);
            session.engine.gradient(input, &session.targets, &seed)
        })
    }

    fn next_dropout(&mut self) -> Seed {
        let seed = self.dropout.fork_index(self.steps);
        self.steps += 1;
        seed
    }

    /// Takes the optimizer's step with the gradient the engine holds, unless something is not finite or nothing counted.
    fn apply(&mut self, batch: &Batch, rate: f64, found: CrossEntropy) -> Result<StepReport> {
        let CrossEntropy { loss, counted } = found;
        let gradient_norm = self.engine.gradient_norm()?;
        if counted == 0 || !loss.is_finite() || !gradient_norm.is_finite() {
            self.dropped += 1;
            return Ok(StepReport { loss, gradient_norm, samples: 0, dropped: true });
        }
        if !self.is_checked && has_context(batch) {
            self.check_gradient()?;
            self.is_checked = true;
        }
        let clip = self.config.clip_norm;
        // PyTorch's clip_grad_norm_ adds the same small number, so that losses can be compared.
        let scale = if clip > 0.0 { (clip / (gradient_norm + 1e-6)).min(1.0) } else { 1.0 };
        self.engine.apply(&self.config.optimizer, rate, scale as f32)?;
        Ok(StepReport { loss, gradient_norm, samples: batch.samples, dropped: false })
    }

    /// Refuses to train when some tensor got no gradient at all.
    ///
    /// The bias of attention keys is exempt: it adds the same number to all scores of a query, which the softmax
    /// removes, so its true gradient is zero.
    fn check_gradient(&self) -> Result<()> {
        let mut flat = vec![0.0; self.parameter_count()];
        self.engine.read_gradient(&mut flat)?;
        let names: Vec<String> = self
            .engine
            .slots()
            .by_name()
            .filter(|slot| !slot.name.ends_with("key.bias"))
            // Before the first step the second factor of a correction is 0, and so is the gradient of the first.
            .filter(|slot| !slot.name.ends_with(FIRST_FACTOR))
            .filter(|slot| flat[slot.flat..slot.flat + slot.range.len()].iter().all(|value| *value == 0.0))
            .map(|slot| slot.name.clone())
            .collect();
        if names.is_empty() { Ok(()) } else { Err(Error::Gradient { names }) }
    }

    /// Steps dropped since the session began.
    pub fn dropped_steps(&self) -> u64 {
        self.dropped
    }

    /// The gradient of the last step, in flat order, before clipping. For tests and audits.
    pub fn read_gradient(&self, flat: &mut [f32]) -> Result<()> {
        self.check_length(flat.len())?;
        self.engine.read_gradient(flat)
    }

    /// The logits of a batch: `(rows, width, labels)` with zeros at padding when there is a label per token, `(rows,
    /// labels)` when classifying.
    pub fn logits(&mut self, batch: &Batch) -> Result<Vec<f32>> {
        self.on_pool(|session| {
            let outputs = session.engine.logits(input_of(batch)?, &mut session.logits)?;
            let labels = session.head.labels();
            let packed = &session.logits[..outputs * labels];
            let (true, Inputs::Tokens { lengths, .. }) = (session.head.is_per_token(), &batch.inputs) else {
                return Ok(packed.to_vec());
            };
            let mut padded = vec![0.0; batch.rows * batch.width * labels];
            let mut start = 0;
            for (row, length) in padded.chunks_exact_mut(batch.width * labels).zip(lengths) {
                let length = *length as usize * labels;
                row[..length].copy_from_slice(&packed[start..start + length]);
                start += length;
            }
            Ok(padded)
        })
    }

    /// Reads new tokens of one text behind those of the cache; answers the logits `(vocabulary)` behind the last.
    ///
    /// # Errors
    /// The model is no decoder, a token is not in its vocabulary, or the text gets longer than it can read. The cache is
    /// then as before.
    pub fn extend(&mut self, ids: &[u32], cache: &mut Cache) -> Result<Vec<f32>> {
        if !matches!(self.arch, ArchConfig::Decoder(_)) {
            let reason = "expected a decoder to continue a text, found another architecture";
            return Err(Error::config("arch", reason));
        }
        self.on_pool(|session| {
            session.engine.extend(ids, cache, &mut session.logits)?;
            Ok(session.logits.clone())
        })
    }

    /// Loss and counted targets of a batch, without training.
    pub fn evaluate_loss(&mut self, batch: &Batch) -> Result<CrossEntropy> {
        self.on_pool(|session| {
            let input = input_of(batch)?;
            session.set_targets(batch)?;
            let outputs = session.engine.logits(input, &mut session.logits)?;
            let labels = session.head.labels();
            Ok(cross_entropy(&mut session.logits[..outputs * labels], labels, &session.targets))
        })
    }

    /// The optimizer's memory, for a checkpoint.
    pub fn optimizer_state(&self) -> Result<OptimizerState> {
        let mut state = self.engine.optimizer_state()?;
        if state.step == 0 {
            let empty = empty_state(&self.config.optimizer, self.parameter_count());
            (state.first, state.second) = (empty.first, empty.second);
        }
        Ok(state)
    }

    /// Restores the optimizer's memory; refuses one that does not fit.
    pub fn restore_optimizer(&mut self, state: &OptimizerState) -> Result<()> {
        state.validate(&self.config.optimizer, self.parameter_count())?;
        self.engine.restore_optimizer(state)
    }

    /// Forgets everything the optimizer remembers.
    pub fn reset_optimizer(&mut self) -> Result<()> {
        self.engine.restore_optimizer(&empty_state(&self.config.optimizer, self.parameter_count()))
    }

    /// Steps begun, dropped ones included: the position of the dropout streams.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Restores the position of the dropout streams.
    pub fn resume_at(&mut self, steps: u64) {
        self.steps = steps;
    }

    fn on_pool<T: Send>(&mut self, work: impl FnOnce(&mut Self) -> Result<T> + Send) -> Result<T> {
        match self.pool.clone() {
            Some(pool) => pool.install(|| work(self)),
            None => work(self),
        }
    }

    /// Checks the targets of a batch whose inputs were checked, and lays them out as one per output.
    fn set_targets(&mut self, batch: &Batch) -> Result<()> {
        let labels = self.head.labels();
        let check = |target: i32| {
            if target == IGNORE || usize::try_from(target).is_ok_and(|target| target < labels) {
                return Ok(());
            }
            Err(Error::shape("target label", format!("{IGNORE} or 0 to {}", labels - 1), target))
        };
        self.targets.clear();
        match (&self.head, &batch.targets, &batch.inputs) {
            (
                Head::Tagging { .. } | Head::Language { .. },
                Targets::Tags(tags),
                Inputs::Tokens { lengths, .. },
            ) => {
                if tags.len() != batch.rows * batch.width || lengths.len() != batch.rows {
                    return Err(Error::shape("tags in a batch", batch.rows * batch.width, tags.len()));
                }
                for (row, length) in tags.chunks_exact(batch.width.max(1)).zip(lengths) {
                    let (tokens, padding) = row.split_at((*length as usize).min(row.len()));
                    tokens.iter().try_for_each(|tag| check(*tag))?;
                    if padding.iter().any(|tag| *tag != IGNORE) {
                        return Err(Error::shape("target at padding", IGNORE, "a label"));
                    }
                    self.targets.extend_from_slice(tokens);
                }
            }
            (Head::Classification { .. }, Targets::Classes(classes), _) => {
                if classes.len() != batch.rows {
                    return Err(Error::shape("classes in a batch", batch.rows, classes.len()));
                }
                classes.iter().try_for_each(|class| check(*class))?;
                self.targets.extend_from_slice(classes);
            }
            (_, Targets::None, _) => return Err(Error::shape("targets in a batch", "labels", "none")),
            (Head::Tagging { .. } | Head::Language { .. }, ..) => {
                return Err(Error::shape("targets of a head with a label per token", "tags", "classes"));
            }
            (Head::Classification { .. }, ..) => {
                return Err(Error::shape("targets of a classification head", "classes", "tags"));
            }
        }
        Ok(())
    }
}

impl Logits for Session {
    fn labels(&self) -> usize {
        self.head.labels()
    }

    fn logits(&mut self, batch: &Batch) -> Result<Vec<f32>> {
        Self::logits(self, batch)
    }
}

impl Continues for Session {
    fn tokens_max(&self) -> usize {
        match &self.arch {
            ArchConfig::Decoder(config) => config.max_position_embeddings,
            _ => 0,
        }
    }

    fn extend(&mut self, ids: &[u32], cache: &mut Cache) -> Result<Vec<f32>> {
        Self::extend(self, ids, cache)
    }
}

fn open(arch: &ArchConfig, head: &Head, device: DeviceChoice) -> Result<Box<dyn Engine>> {
    arch.validate(head)?;
    let device = device.open()?;
    if device.is_cpu() {
        return Ok(Box::new(ExplicitEngine::new(arch, head)?));
    }
    Ok(Box::new(ComposedEngine::new(arch, head, device)?))
}

fn check_rate(rate: f64) -> Result<()> {
    if rate >= 0.0 && rate.is_finite() {
        return Ok(());
    }
    Err(Error::config("learning rate", format!("expected a number from 0, found {rate}")))
}

fn empty_state(config: &OptimizerConfig, parameters: usize) -> OptimizerState {
    let vectors = config.state_vectors();
    let vector = |kept: bool| if kept { vec![0.0; parameters] } else { Vec::new() };
    OptimizerState { step: 0, first: vector(vectors > 0), second: vector(vectors > 1) }
}

fn input_of(batch: &Batch) -> Result<Input<'_>> {
    let (found, input) = match &batch.inputs {
        Inputs::Tokens { ids, lengths } => {
            if lengths.len() != batch.rows {
                return Err(Error::shape("sequences in a batch", batch.rows, lengths.len()));
            }
            (ids.len(), Input::Tokens { ids, lengths, width: batch.width })
        }
        Inputs::Dense { values } => (values.len(), Input::Dense { values, width: batch.width }),
        Inputs::Nodes(nodes) => return nodes_of(nodes, batch.rows),
    };
    let expected = batch.rows.checked_mul(batch.width);
    if expected == Some(found) && found > 0 {
        return Ok(input);
    }
    let expected =
        expected.map_or_else(|| "a size that fits memory".into(), |size| format!("{size}, at least 1"));
    Err(Error::shape("inputs in a batch", expected, found))
}

/// The nodes of a batch; the architecture checks that their lists fit together.
fn nodes_of(nodes: &NodeBatch, rows: usize) -> Result<Input<'_>> {
    if nodes.hops.first().copied() != Some(rows as u32) {
        return Err(Error::shape("nodes in a batch", rows, nodes.hops.first().copied().unwrap_or(0)));
    }
    let lists = |starts, entries| Lists { starts, entries };
    Ok(Input::Nodes(Neighbourhood {
        hops: &nodes.hops,
        neighbours: lists(&nodes.neighbour_starts, &nodes.neighbours),
        features: lists(&nodes.feature_starts, &nodes.features),
    }))
}

/// Whether attention has anything to choose from: sequences of one token give queries and keys no gradient.
fn has_context(batch: &Batch) -> bool {
    match &batch.inputs {
        Inputs::Tokens { lengths, .. } => lengths.iter().any(|length| *length > 1),
        Inputs::Dense { .. } => true,
        // Nodes without features or neighbours give some tensors no gradient; a batch like that proves nothing.
        Inputs::Nodes(nodes) => !nodes.features.is_empty() && !nodes.neighbours.is_empty(),
    }
}
