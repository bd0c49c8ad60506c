//! The processor engine: explicit kernels over flat buffers.

use crate::arch::cache::Cache;
use crate::arch::config::{ArchConfig, Head};
use crate::arch::input::Input;
use crate::arch::network::Network;
use crate::arch::slot::Slots;
use crate::error::Result;
use crate::ops::loss::{CrossEntropy, cross_entropy};
use crate::ops::optimizer::{AdamW, DecayRun, Sgd};
use crate::ops::vector::square_sum;
use crate::seed::Seed;
use crate::train::engine::Engine;
use crate::train::optimizer::{OptimizerConfig, OptimizerState};

/// Parameters, gradient and optimizer state as four flat buffers in storage order.
#[derive(Debug)]
pub struct ExplicitEngine {
    network: Network,
    slots: Slots,
    labels: usize,
    runs: Vec<DecayRun>,
    parameters: Vec<f32>,
    gradient: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    step: u64,
    logits: Vec<f32>,
}

impl ExplicitEngine {
    /// Builds the engine with all parameters 0; the caller writes them.
    pub fn new(arch: &ArchConfig, head: &Head) -> Result<Self> {
        let (network, slots) = Network::new(arch, head)?;
        let mut runs: Vec<DecayRun> = Vec::new();
        for slot in slots.iter() {
            match runs.last_mut() {
                Some(run) if run.decays == slot.decays => run.end = slot.range.end,
                _ => runs.push(DecayRun { end: slot.range.end, decays: slot.decays }),
            }
        }
        let total = slots.total();
        Ok(Self {
            network,
            labels: head.labels(),
            runs,
            parameters: vec![0.0; total],
            gradient: Vec::new(),
            first: Vec::new(),
            second: Vec::new(),
            step: 0,
            logits: Vec::new(),
            slots,
        })
    }

    fn in_flat_order(&self, storage: &[f32]) -> Vec<f32> {
        if storage.is_empty() {
            return Vec::new();
        }
        let mut flat = vec![0.0; storage.len()];
        self.slots.to_flat(storage, &mut flat);
        flat
    }
}

impl Engine for ExplicitEngine {
    fn slots(&self) -> &Slots {
        &self.slots
    }

    fn read(&self, flat: &mut [f32]) -> Result<()> {
        self.slots.to_flat(&self.parameters, flat);
        Ok(())
    }

    fn write(&mut self, flat: &[f32]) -> Result<()> {
        self.slots.from_flat(flat, &mut self.parameters);
        Ok(())
    }

    fn gradient(&mut self, input: Input<'_>, targets: &[i32], seed: &Seed) -> Result<CrossEntropy> {
        let labels = self.labels;
        self.gradient_of(input, seed, &mut |logits| cross_entropy(logits, labels, targets))
    }

    fn gradient_of(
        &mut self,
        input: Input<'_>,
        seed: &Seed,
        loss: &mut dyn FnMut(&mut [f32]) -> CrossEntropy,
    ) -> Result<CrossEntropy> {
        // Prediction needs no gradient buffer, so it is made by the first training step.
        self.gradient.resize(self.parameters.len(), 0.0);
        let outputs = self.network.forward(&self.parameters, input, Some(seed), &mut self.logits)?;
        let logits = &mut self.logits[..outputs * self.labels];
        let found = loss(logits);
        self.network.backward(&self.parameters, &mut self.gradient, logits);
        Ok(found)
    }

    fn gradient_norm(&self) -> Result<f64> {
        Ok(square_sum(&self.gradient).sqrt())
    }

    fn read_gradient(&self, flat: &mut [f32]) -> Result<()> {
        self.slots.to_flat(&self.gradient, flat);
        Ok(())
    }

    fn apply(&mut self, config: &OptimizerConfig, rate: f64, scale: f32) -> Result<()> {
        let total = self.parameters.len();
        let vectors = config.state_vectors();
        self.first.resize(if vectors > 0 { total } else { 0 }, 0.0);
        self.second.resize(if vectors > 1 { total } else { 0 }, 0.0);
        self.step += 1;
        let (parameters, gradient) = (&mut self.parameters, &self.gradient);
        match *config {
            OptimizerConfig::Adamw { beta1, beta2, epsilon, weight_decay } => {
                let rule = AdamW {
                    rate,
                    beta1,
                    beta2,
                    epsilon,
                    decay: weight_decay,
                    step: self.step,
                    gradient_scale: scale,
                };
                rule.apply(parameters, gradient, &mut self.first, &mut self.second, &self.runs);
            }
            OptimizerConfig::Sgd { momentum, nesterov, weight_decay } => {
                let rule = Sgd { rate, momentum, nesterov, decay: weight_decay, gradient_scale: scale };
                rule.apply(parameters, gradient, &mut self.first, &self.runs);
            }
        }
        Ok(())
    }

    fn logits(&mut self, input: Input<'_>, logits: &mut Vec<f32>) -> Result<usize> {
        self.network.forward(&self.parameters, input, None, logits)
    }

    fn extend(&mut self, ids: &[u32], cache: &mut Cache, logits: &mut Vec<f32>) -> Result<()> {
        self.network.extend(&self.parameters, ids, cache, logits)
    }

    fn optimizer_state(&self) -> Result<OptimizerState> {
        Ok(OptimizerState {
            step: self.step,
            first: self.in_flat_order(&self.first),
            second: self.in_flat_order(&self.second),
        })
    }

    fn restore_optimizer(&mut self, state: &OptimizerState) -> Result<()> {
        self.step = state.step;
        for (own, other) in [(&mut self.first, &state.first), (&mut self.second, &state.second)] {
            own.resize(other.len(), 0.0);
            if !other.is_empty() {
                self.slots.from_flat(other, own);
            }
        }
        Ok(())
    }
}
