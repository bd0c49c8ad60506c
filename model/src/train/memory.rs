//! What an optimizer remembers of parameters that lie in one buffer, in storage order.

use crate::arch::slot::Slots;
use crate::ops::optimizer::{AdamW, DecayRun, Sgd};
use crate::train::optimizer::{OptimizerConfig, OptimizerState};

/// The memory of an optimizer, and where weight decay applies.
#[derive(Debug)]
pub struct Memory {
    runs: Vec<DecayRun>,
    first: Vec<f32>,
    second: Vec<f32>,
    step: u64,
}

impl Memory {
    /// Nothing yet, for the tensors of `slots`.
    pub fn new(slots: &Slots) -> Self {
        let mut runs: Vec<DecayRun> = Vec::new();
        for slot in slots.iter() {
            match runs.last_mut() {
                Some(run) if run.decays == slot.decays => run.end = slot.range.end,
                _ => runs.push(DecayRun { end: slot.range.end, decays: slot.decays }),
            }
        }
        Self { runs, first: Vec::new(), second: Vec::new(), step: 0 }
    }

    /// Takes one step with a gradient that is multiplied by `scale`.
    pub fn apply(
        &mut self,
        config: &OptimizerConfig,
        rate: f64,
        scale: f32,
        parameters: &mut [f32],
        gradient: &[f32],
    ) {
        let (total, vectors) = (parameters.len(), config.state_vectors());
        self.first.resize(if vectors > 0 { total } else { 0 }, 0.0);
        self.second.resize(if vectors > 1 { total } else { 0 }, 0.0);
        self.step += 1;
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
    }

    /// The memory in flat order.
    pub fn state(&self, slots: &Slots) -> OptimizerState {
        let flat = |storage: &[f32]| {
            let mut flat = vec![0.0; storage.len()];
            if !storage.is_empty() {
                slots.to_flat(storage, &mut flat);
            }
            flat
        };
        OptimizerState { step: self.step, first: flat(&self.first), second: flat(&self.second) }
    }

    /// Replaces the memory by one that was checked to fit.
    pub fn restore(&mut self, slots: &Slots, state: &OptimizerState) {
        self.step = state.step;
        for (own, other) in [(&mut self.first, &state.first), (&mut self.second, &state.second)] {
            own.resize(other.len(), 0.0);
            if !other.is_empty() {
                slots.from_flat(other, own);
            }
        }
    }
}
