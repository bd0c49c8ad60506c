//! A model being trained: the one door through which the rest of the system trains, predicts, saves and mixes.
//!
//! A session belongs to one thread at a time. Parameters cross its border as one flat `f32` vector sorted by tensor name.
//! A step succeeds as a whole or changes nothing; the first is refused if some parameter would never learn.

use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::{Deserialize, Serialize};

use crate::arch::cache::Cache;
use crate::arch::config::{ArchConfig, Head};
use crate::arch::weights::Weights;
use crate::data::batch::{Batch, Inputs};
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::ops::loss::CrossEntropy;
use crate::ops::vector::all_finite;
use crate::params::folder;
use crate::seed::Seed;
use crate::task::logits::{Continues, Logits};
use crate::train::adapter::{AdapterConfig, AdapterEngine, FIRST_FACTOR};
use crate::train::composed::ComposedEngine;
use crate::train::engine::Engine;
use crate::train::explicit::ExplicitEngine;
use crate::train::input::{has_context, input_of, targets_of};
use crate::train::noisy::{RowNoise, noisy_gradient};
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
    /// Mean loss over the counted targets, before the step; not finite only if the step was dropped.
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
            self.engine
                .restore_optimizer(&OptimizerState::empty(&config.optimizer, self.parameter_count()))?;
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

    /// What a saved model has, as tensors by name on the processor: for whoever takes derivatives by the input.
    ///
    /// # Errors
    /// The tensor library fails.
    pub fn tensors(&self) -> Result<Weights> {
        let slots = self.engine.whole_slots();
        let mut flat = vec![0.0; slots.total()];
        self.engine.read_whole(&mut flat)?;
        slots
            .by_name()
            .map(|slot| {
                let values = &flat[slot.flat..slot.flat + slot.range.len()];
                let tensor = Tensor::from_slice(values, slot.shape.as_slice(), &Device::Cpu);
                Ok((slot.name.clone(), tensor.map_err(Error::tensor("copy parameters"))?))
            })
            .collect()
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
        let seed = self.dropout.fork_index(self.steps);
        let wanted = targets_of(&self.head, batch, &mut self.targets)?;
        self.steps += 1;
        let found = self.engine.gradient(input, wanted, &seed)?;
        self.apply(batch, rate, found)
    }

    /// Takes one optimizer step that tells little about any row (see [`crate::train::privacy`]): the gradient of each batch
    /// of one row is shortened to `noise.clip`, their sum gets normal noise and is divided by the rows expected. No row at
    /// all is a step too.
    ///
    /// # Errors
    /// A batch does not fit the model; the parameters stay.
    pub fn private_step(&mut self, rows: &[Batch], rate: f64, noise: &RowNoise) -> Result<StepReport> {
        check_rate(rate)?;
        self.on_pool(|session| {
            let seed = session.next_dropout();
            let (engine, head) = (session.engine.as_mut(), &session.head);
            let found = noisy_gradient(engine, head, rows, noise, &seed)?;
            let gradient_norm = session.engine.gradient_norm()?;
            session.engine.apply(&session.config.optimizer, rate, 1.0)?;
            let samples = rows.len() as u32;
            Ok(StepReport { loss: found.loss, gradient_norm, samples, dropped: false })
        })
    }

    /// Computes the gradient of a batch without a step, for [`Session::read_gradient`]; the parameters stay.
    pub fn measure_gradient(&mut self, batch: &Batch) -> Result<CrossEntropy> {
        self.on_pool(|session| {
            let input = input_of(batch)?;
            let wanted = targets_of(&session.head, batch, &mut session.targets)?;
            let seed = session.dropout.fork_index(session.steps);
            session.engine.gradient(input, wanted, &seed)
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
            let wanted = targets_of(&session.head, batch, &mut session.targets)?;
            let outputs = session.engine.logits(input, &mut session.logits)?;
            let labels = session.head.labels();
            Ok(wanted.loss(&mut session.logits[..outputs * labels], labels))
        })
    }

    /// The optimizer's memory, for a checkpoint.
    pub fn optimizer_state(&self) -> Result<OptimizerState> {
        let mut state = self.engine.optimizer_state()?;
        if state.step == 0 {
            let empty = OptimizerState::empty(&self.config.optimizer, self.parameter_count());
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
        self.engine.restore_optimizer(&OptimizerState::empty(&self.config.optimizer, self.parameter_count()))
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
