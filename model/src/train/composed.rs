//! The candle engine: the composed architectures on any candle device.
//!
//! Parameters are one variable per tensor; the optimizer works on the concatenation of all of them, so that a step
//! costs a few large kernels instead of a dozen small ones per tensor.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};

use crate::arch::composed::{logits, loss_of, loss_value};
use crate::arch::config::{ArchConfig, Head};
use crate::arch::input::Input;
use crate::arch::network::Network;
use crate::arch::slot::Slots;
use crate::arch::weights::Weights;
use crate::error::{Error, Result};
use crate::ops::loss::CrossEntropy;
use crate::ops::wanted::Wanted;
use crate::seed::Seed;
use crate::train::engine::Engine;
use crate::train::optimizer::{OptimizerConfig, OptimizerState};

/// Parameters as candle variables, gradient and optimizer state as flat tensors in flat order.
#[derive(Debug)]
pub struct ComposedEngine {
    arch: ArchConfig,
    head: Head,
    device: Device,
    slots: Slots,
    variables: Vec<Var>,
    weights: Weights,
    gradient: Option<Tensor>,
    decays: Option<Tensor>,
    first: Option<Tensor>,
    second: Option<Tensor>,
    step: u64,
}

impl ComposedEngine {
    /// Builds the engine with all parameters 0; the caller writes them.
    pub fn new(arch: &ArchConfig, head: &Head, device: Device) -> Result<Self> {
        let (_, slots) = Network::new(arch, head)?;
        let mut variables = Vec::new();
        let mut weights = Weights::new();
        for slot in slots.by_name() {
            let variable = Var::zeros(slot.shape.as_slice(), DType::F32, &device)
                .map_err(Error::tensor("allocate parameters"))?;
            weights.insert(slot.name.clone(), variable.as_tensor().clone());
            variables.push(variable);
        }
        Ok(Self {
            arch: arch.clone(),
            head: *head,
            device,
            slots,
            variables,
            weights,
            gradient: None,
            decays: None,
            first: None,
            second: None,
            step: 0,
        })
    }

    /// All parameters as one tensor in flat order.
    fn flat(&self) -> candle_core::Result<Tensor> {
        let parts: Vec<Tensor> = self
            .variables
            .iter()
            .map(|v| v.as_detached_tensor().flatten_all())
            .collect::<candle_core::Result<_>>()?;
        Tensor::cat(&parts, 0)
    }

    fn set(&self, flat: &Tensor) -> candle_core::Result<()> {
        for (variable, slot) in self.variables.iter().zip(self.slots.by_name()) {
            variable.set(&flat.narrow(0, slot.flat, slot.range.len())?.reshape(slot.shape.as_slice())?)?;
        }
        Ok(())
    }

    /// The gradient in flat order; a tensor that no gradient reached counts as zeros, which the session's check of the
    /// first step finds.
    fn collect(&self, store: &GradStore) -> candle_core::Result<Tensor> {
        let mut parts = Vec::with_capacity(self.variables.len());
        for variable in &self.variables {
            parts.push(match store.get(variable) {
                Some(gradient) => gradient.flatten_all()?,
                None => Tensor::zeros(variable.elem_count(), DType::F32, &self.device)?,
            });
        }
        Tensor::cat(&parts, 0)
    }

    /// 1 where weight decay applies, 0 elsewhere, in flat order.
    fn decay_mask(&self) -> candle_core::Result<Tensor> {
        let mut mask = vec![0.0_f32; self.slots.total()];
        for slot in self.slots.by_name().filter(|slot| slot.decays) {
            mask[slot.flat..slot.flat + slot.range.len()].fill(1.0);
        }
        Tensor::new(mask, &self.device)
    }

    fn apply_inner(&mut self, config: &OptimizerConfig, rate: f64, scale: f32) -> candle_core::Result<()> {
        let Some(gradient) = &self.gradient else { return Ok(()) };
        let gradient = (gradient * f64::from(scale))?;
        let parameters = self.flat()?;
        let decays = match self.decays.take() {
            Some(decays) => decays,
            None => self.decay_mask()?,
        };
        let state = |kept: &Option<Tensor>| match kept {
            Some(kept) => Ok(kept.clone()),
            None => parameters.zeros_like(),
        };
        let step = i32::try_from(self.step + 1).unwrap_or(i32::MAX);
        let (new, first, second) = match *config {
            OptimizerConfig::Adamw { beta1, beta2, epsilon, weight_decay } => {
                let first = ((state(&self.first)? * beta1)? + (&gradient * (1.0 - beta1))?)?;
                let second = ((state(&self.second)? * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
                let root = ((second.sqrt()? / (1.0 - beta2.powi(step)).sqrt())? + epsilon)?;
                let moved = ((&first / root)? * (rate / (1.0 - beta1.powi(step))))?;
                let shrunk = (&parameters - (&parameters * (&decays * (rate * weight_decay))?)?)?;
                ((shrunk - moved)?, Some(first), Some(second))
            }
            OptimizerConfig::Sgd { momentum, nesterov, weight_decay } => {
                let gradient = (&gradient + (&parameters * (&decays * weight_decay)?)?)?;
                if momentum == 0.0 {
                    ((&parameters - (gradient * rate)?)?, None, None)
                } else {
                    let velocity = ((state(&self.first)? * momentum)? + &gradient)?;
                    let direction =
                        if nesterov { (&gradient + (&velocity * momentum)?)? } else { velocity.clone() };
                    ((&parameters - (direction * rate)?)?, Some(velocity), None)
                }
            }
        };
        self.set(&new)?;
        self.decays = Some(decays);
        self.first = first.map(|tensor| tensor.detach());
        self.second = second.map(|tensor| tensor.detach());
        self.step += 1;
        Ok(())
    }
}

fn copy_out(tensor: &Tensor, flat: &mut [f32]) -> Result<()> {
    let values = tensor.to_vec1::<f32>().map_err(Error::tensor("copy from the device"))?;
    flat.copy_from_slice(&values);
    Ok(())
}

impl Engine for ComposedEngine {
    fn slots(&self) -> &Slots {
        &self.slots
    }

    fn read(&self, flat: &mut [f32]) -> Result<()> {
        copy_out(&self.flat().map_err(Error::tensor("read parameters"))?, flat)
    }

    fn write(&mut self, flat: &[f32]) -> Result<()> {
        Tensor::new(flat, &self.device)
            .and_then(|flat| self.set(&flat))
            .map_err(Error::tensor("write parameters"))
    }

    fn gradient(&mut self, input: Input<'_>, wanted: Wanted<'_>, seed: &Seed) -> Result<CrossEntropy> {
        let output = logits(&self.arch, &self.head, &self.weights, input, &self.device, Some(seed))?;
        let loss = loss_of(&output, wanted).map_err(Error::tensor("loss"))?;
        let gradient = match &loss {
            None => Tensor::zeros(self.slots.total(), DType::F32, &self.device),
            Some((loss, _)) => loss.backward().and_then(|store| self.collect(&store)),
        };
        self.gradient = Some(gradient.map_err(Error::tensor("backward pass"))?);
        loss_value(loss.as_ref()).map_err(Error::tensor("loss"))
    }

    fn gradient_of(
        &mut self,
        input: Input<'_>,
        seed: &Seed,
        loss: &mut dyn FnMut(&mut [f32]) -> CrossEntropy,
    ) -> Result<CrossEntropy> {
        let output = logits(&self.arch, &self.head, &self.weights, input, &self.device, Some(seed))?;
        let mut values = output
            .flatten_all()
            .and_then(|values| values.to_vec1::<f32>())
            .map_err(Error::tensor("copy logits from the device"))?;
        let found = loss(&mut values);
        // The derivative of Σ slope · logits with the slope held fixed is the chain rule for any loss.
        let gradient = Tensor::from_vec(values, output.shape(), &self.device)
            .and_then(|slope| (output * slope)?.sum_all()?.backward())
            .and_then(|store| self.collect(&store));
        self.gradient = Some(gradient.map_err(Error::tensor("backward pass"))?);
        Ok(found)
    }

    fn gradient_norm(&self) -> Result<f64> {
        let Some(gradient) = &self.gradient else { return Ok(0.0) };
        let norm = gradient.sqr().and_then(|square| square.sum_all()).and_then(|sum| sum.to_scalar::<f32>());
        Ok(f64::from(norm.map_err(Error::tensor("gradient norm"))?).sqrt())
    }

    fn read_gradient(&self, flat: &mut [f32]) -> Result<()> {
        let Some(gradient) = &self.gradient else {
            flat.fill(0.0);
            return Ok(());
        };
        copy_out(gradient, flat)
    }

    fn write_gradient(&mut self, flat: &[f32]) -> Result<()> {
        let gradient = Tensor::new(flat, &self.device).map_err(Error::tensor("copy a gradient"))?;
        self.gradient = Some(gradient);
        Ok(())
    }

    fn apply(&mut self, config: &OptimizerConfig, rate: f64, scale: f32) -> Result<()> {
        self.apply_inner(config, rate, scale).map_err(Error::tensor("optimizer step"))
    }

    fn logits(&mut self, input: Input<'_>, out: &mut Vec<f32>) -> Result<usize> {
        let output = logits(&self.arch, &self.head, &self.weights, input, &self.device, None)?;
        let values = output
            .flatten_all()
            .and_then(|values| values.to_vec1::<f32>())
            .map_err(Error::tensor("copy logits from the device"))?;
        out.clear();
        out.extend_from_slice(&values);
        Ok(values.len() / self.head.labels())
    }

    fn optimizer_state(&self) -> Result<OptimizerState> {
        let copy = |tensor: &Option<Tensor>| match tensor {
            None => Ok(Vec::new()),
            Some(tensor) => tensor.to_vec1::<f32>().map_err(Error::tensor("copy optimizer state")),
        };
        Ok(OptimizerState { step: self.step, first: copy(&self.first)?, second: copy(&self.second)? })
    }

    fn restore_optimizer(&mut self, state: &OptimizerState) -> Result<()> {
        let make = |values: &Vec<f32>| {
            if values.is_empty() {
                return Ok(None);
            }
            Tensor::new(values.as_slice(), &self.device).map(Some).map_err(Error::tensor("restore optimizer"))
        };
        (self.first, self.second) = (make(&state.first)?, make(&state.second)?);
        self.step = state.step;
        Ok(())
    }
}
