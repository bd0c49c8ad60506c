//! The processor engine: explicit kernels over flat buffers.

use crate::arch::cache::Cache;
use crate::arch::config::{ArchConfig, Head};
use crate::arch::input::Input;
use crate::arch::network::Network;
use crate::arch::slot::Slots;
use crate::error::Result;
use crate::ops::loss::CrossEntropy;
use crate::ops::vector::square_sum;
use crate::ops::wanted::Wanted;
use crate::seed::Seed;
use crate::train::engine::Engine;
use crate::train::memory::Memory;
use crate::train::optimizer::{OptimizerConfig, OptimizerState};

/// Parameters, gradient and optimizer state as four flat buffers in storage order.
#[derive(Debug)]
pub struct ExplicitEngine {
    network: Network,
    slots: Slots,
    labels: usize,
    memory: Memory,
    parameters: Vec<f32>,
    gradient: Vec<f32>,
    logits: Vec<f32>,
}

impl ExplicitEngine {
    /// Builds the engine with all parameters 0; the caller writes them.
    pub fn new(arch: &ArchConfig, head: &Head) -> Result<Self> {
        let (network, slots) = Network::new(arch, head)?;
        let memory = Memory::new(&slots);
        let total = slots.total();
        Ok(Self {
            network,
            labels: head.labels(),
            memory,
            parameters: vec![0.0; total],
            gradient: Vec::new(),
            logits: Vec::new(),
            slots,
        })
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

    fn gradient(&mut self, input: Input<'_>, wanted: Wanted<'_>, seed: &Seed) -> Result<CrossEntropy> {
        let labels = self.labels;
        self.gradient_of(input, seed, &mut |logits| wanted.loss(logits, labels))
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

    fn write_gradient(&mut self, flat: &[f32]) -> Result<()> {
        self.gradient.resize(self.parameters.len(), 0.0);
        self.slots.from_flat(flat, &mut self.gradient);
        Ok(())
    }

    fn apply(&mut self, config: &OptimizerConfig, rate: f64, scale: f32) -> Result<()> {
        self.memory.apply(config, rate, scale, &mut self.parameters, &self.gradient);
        Ok(())
    }

    fn logits(&mut self, input: Input<'_>, logits: &mut Vec<f32>) -> Result<usize> {
        self.network.forward(&self.parameters, input, None, logits)
    }

    fn extend(&mut self, ids: &[u32], cache: &mut Cache, logits: &mut Vec<f32>) -> Result<()> {
        self.network.extend(&self.parameters, ids, cache, logits)
    }

    fn optimizer_state(&self) -> Result<OptimizerState> {
        Ok(self.memory.state(&self.slots))
    }

    fn restore_optimizer(&mut self, state: &OptimizerState) -> Result<()> {
        self.memory.restore(&self.slots, state);
        Ok(())
    }
}
