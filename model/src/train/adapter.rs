//! Low-rank adapters on any architecture: only a small correction of each matrix is trained and traded.
//!
//! `W = W₀ + (α / r) B A` with `A (r, in)` and `B (out, r)` (Hu and others 2021). The engine below computes with the whole
//! matrices, so nothing of it knows of adapters; the gradient of `A` and `B` follows from that of `W`. The head, which a
//! base does not have, is trained whole. Saved, a model is merged and needs no adapter.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::arch::cache::Cache;
use crate::arch::input::Input;
use crate::arch::slot::{Init, Slot, Slots};
use crate::error::{Error, Result};
use crate::ops::gemm::{Into, View, product};
use crate::ops::loss::CrossEntropy;
use crate::ops::vector::square_sum;
use crate::ops::wanted::Wanted;
use crate::params::names::is_head;
use crate::seed::Seed;
use crate::train::engine::Engine;
use crate::train::memory::Memory;
use crate::train::optimizer::{OptimizerConfig, OptimizerState};

/// What an adapter's first factor is called; its gradient is 0 as long as the second factor is.
pub const FIRST_FACTOR: &str = ".lora_A.weight";
const SECOND_FACTOR: &str = ".lora_B.weight";

/// The size of the adapters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterConfig {
    /// r: more follows the data more closely and costs more to send.
    pub rank: usize,
    /// α: how strongly the correction counts; 2 r is usual.
    pub alpha: f64,
}

impl AdapterConfig {
    /// Refuses sizes that mean nothing.
    ///
    /// # Errors
    /// Says which setting and what was expected.
    pub fn validate(&self) -> Result<()> {
        if !(1..=1024).contains(&self.rank) {
            return Err(Error::config("adapter.rank", format!("expected 1 to 1024, found {}", self.rank)));
        }
        if !(self.alpha > 0.0 && self.alpha.is_finite()) {
            let reason = format!("expected a positive number, found {}", self.alpha);
            return Err(Error::config("adapter.alpha", reason));
        }
        Ok(())
    }
}

/// One matrix with its correction.
#[derive(Debug)]
struct Adapted {
    whole: Range<usize>,
    outputs: usize,
    inputs: usize,
    first: Range<usize>,
    second: Range<usize>,
}

/// An engine that trains adapters on another.
pub struct AdapterEngine {
    inner: Box<dyn Engine>,
    slots: Slots,
    scale: f32,
    rank: usize,
    adapted: Vec<Adapted>,
    /// Tensors trained whole: their places in the inner flat order and here.
    kept: Vec<(Range<usize>, Range<usize>)>,
    memory: Memory,
    /// The inner parameters without any correction, flat order.
    base: Vec<f32>,
    whole: Vec<f32>,
    parameters: Vec<f32>,
    gradient: Vec<f32>,
}

impl AdapterEngine {
    /// Adapters for the matrices of an engine, which keeps its present parameters beneath them.
    ///
    /// # Errors
    /// The sizes mean nothing, or there is no matrix to adapt.
    pub fn new(inner: Box<dyn Engine>, config: &AdapterConfig) -> Result<Self> {
        config.validate()?;
        let mut slots = Slots::default();
        let (mut adapted, mut kept) = (Vec::new(), Vec::new());
        for slot in inner.slots().by_name() {
            let whole = slot.flat..slot.flat + slot.range.len();
            if is_head(&slot.name) {
                kept.push((whole, slots.add(slot.name.clone(), &slot.shape, slot.init)));
                continue;
            }
            let Some((stem, outputs, inputs)) = matrix(slot) else { continue };
            let rank = config.rank;
            // Bound of PyTorch's linear layers, as the reference implementation has it.
            let start = Init::Uniform(1.0 / (inputs as f64).sqrt());
            let first = slots.add(format!("{stem}{FIRST_FACTOR}"), &[rank, inputs], start);
            let second = slots.add(format!("{stem}{SECOND_FACTOR}"), &[outputs, rank], Init::Zeros);
            adapted.push(Adapted { whole, outputs, inputs, first, second });
        }
        if adapted.is_empty() {
            return Err(Error::config(
                "adapter",
                "expected an architecture with matrices to adapt, found none",
            ));
        }
        slots.seal();
        let memory = Memory::new(&slots);
        let mut base = vec![0.0; inner.slots().total()];
        inner.read(&mut base)?;
        let total = slots.total();
        Ok(Self {
            scale: (config.alpha / config.rank as f64) as f32,
            rank: config.rank,
            whole: base.clone(),
            parameters: vec![0.0; total],
            gradient: vec![0.0; total],
            inner,
            slots,
            adapted,
            kept,
            memory,
            base,
        })
    }

    /// Writes base plus corrections into the inner engine.
    fn merge(&mut self) -> Result<()> {
        self.whole.copy_from_slice(&self.base);
        for Adapted { whole, outputs, inputs, first, second } in &self.adapted {
            let b = View::new(&self.parameters[second.clone()], *outputs, self.rank);
            let a = View::new(&self.parameters[first.clone()], self.rank, *inputs);
            product(&mut self.whole[whole.clone()], Into::Add, self.scale, b, a);
        }
        for (whole, own) in &self.kept {
            self.whole[whole.clone()].copy_from_slice(&self.parameters[own.clone()]);
        }
        self.inner.write(&self.whole)
    }

    /// The gradient of the factors from that of the matrices: `dB = s dW Aᵀ`, `dA = s Bᵀ dW`.
    fn project(&mut self) -> Result<()> {
        let mut whole = std::mem::take(&mut self.whole);
        let read = self.inner.read_gradient(&mut whole);
        for Adapted { whole: place, outputs, inputs, first, second } in &self.adapted {
            let dw = View::new(&whole[place.clone()], *outputs, *inputs);
            let a = View::new(&self.parameters[first.clone()], self.rank, *inputs);
            let b = View::new(&self.parameters[second.clone()], *outputs, self.rank);
            product(&mut self.gradient[second.clone()], Into::Replace, self.scale, dw, a.transposed());
            product(&mut self.gradient[first.clone()], Into::Replace, self.scale, b.transposed(), dw);
        }
        for (place, own) in &self.kept {
            self.gradient[own.clone()].copy_from_slice(&whole[place.clone()]);
        }
        self.whole = whole;
        read
    }
}

/// Stem of the name and sizes of a matrix worth adapting: of a layer, not of a table of tokens, places or outputs.
fn matrix(slot: &Slot) -> Option<(&str, usize, usize)> {
    let stem = slot.name.strip_suffix(".weight")?;
    match slot.shape[..] {
        [outputs, inputs] if !stem.contains("embed") && !stem.contains("lm_head") => {
            Some((stem, outputs, inputs))
        }
        _ => None,
    }
}

impl Engine for AdapterEngine {
    fn slots(&self) -> &Slots {
        &self.slots
    }

    fn whole_slots(&self) -> &Slots {
        self.inner.slots()
    }

    fn read_whole(&self, flat: &mut [f32]) -> Result<()> {
        self.inner.read(flat)
    }

    fn read(&self, flat: &mut [f32]) -> Result<()> {
        self.slots.to_flat(&self.parameters, flat);
        Ok(())
    }

    fn write(&mut self, flat: &[f32]) -> Result<()> {
        self.slots.from_flat(flat, &mut self.parameters);
        self.merge()
    }

    fn gradient(&mut self, input: Input<'_>, wanted: Wanted<'_>, seed: &Seed) -> Result<CrossEntropy> {
        let loss = self.inner.gradient(input, wanted, seed)?;
        self.project()?;
        Ok(loss)
    }

    fn gradient_of(
        &mut self,
        input: Input<'_>,
        seed: &Seed,
        loss: &mut dyn FnMut(&mut [f32]) -> CrossEntropy,
    ) -> Result<CrossEntropy> {
        let found = self.inner.gradient_of(input, seed, loss)?;
        self.project()?;
        Ok(found)
    }

    fn gradient_norm(&self) -> Result<f64> {
        Ok(square_sum(&self.gradient).sqrt())
    }

    fn read_gradient(&self, flat: &mut [f32]) -> Result<()> {
        self.slots.to_flat(&self.gradient, flat);
        Ok(())
    }

    fn write_gradient(&mut self, flat: &[f32]) -> Result<()> {
        self.gradient.resize(self.parameters.len(), 0.0);
        self.slots.from_flat(flat, &mut self.gradient);
        Ok(())
    }

    fn apply(&mut self, config: &OptimizerConfig, rate: f64, scale: f32) -> Result<()> {
        self.memory.apply(config, rate, scale, &mut self.parameters, &self.gradient);
        self.merge()
    }

    fn logits(&mut self, input: Input<'_>, logits: &mut Vec<f32>) -> Result<usize> {
        self.inner.logits(input, logits)
    }

    fn extend(&mut self, ids: &[u32], cache: &mut Cache, logits: &mut Vec<f32>) -> Result<()> {
        self.inner.extend(ids, cache, logits)
    }

    fn optimizer_state(&self) -> Result<OptimizerState> {
        Ok(self.memory.state(&self.slots))
    }

    fn restore_optimizer(&mut self, state: &OptimizerState) -> Result<()> {
        self.memory.restore(&self.slots, state);
        Ok(())
    }
}
