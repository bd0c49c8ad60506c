//! One explicit network of any architecture.

use crate::arch::config::{ArchConfig, Head};
use crate::arch::encoder::Encoder;
use crate::arch::input::Input;
use crate::arch::mlp::Mlp;
use crate::arch::slot::Slots;
use crate::error::{Error, Result};
use crate::seed::Seed;

/// A network that computes logits and gradients over flat buffers in storage order.
#[derive(Debug)]
pub enum Network {
    /// A transformer encoder.
    Encoder(Box<Encoder>),
    /// A multilayer perceptron.
    Mlp(Mlp),
}

impl Network {
    /// Builds a network and the places of its parameters.
    pub fn new(arch: &ArchConfig, head: &Head) -> Result<(Self, Slots)> {
        arch.validate(head)?;
        let mut slots = Slots::default();
        let network = match arch {
            ArchConfig::Encoder(config) => Self::Encoder(Box::new(Encoder::new(config, head, &mut slots))),
            ArchConfig::Mlp(config) => Self::Mlp(Mlp::new(config, &mut slots)),
        };
        slots.seal();
        Ok((network, slots))
    }

    /// Computes the logits, `(outputs, labels)` at the start of `logits`, and returns the number of outputs.
    ///
    /// An output is a token before padding when tagging, else a row. `training` is the step's seed; without it nothing
    /// is dropped and nothing is kept for a backward pass.
    pub fn forward(
        &mut self,
        weights: &[f32],
        input: Input<'_>,
        training: Option<&Seed>,
        logits: &mut Vec<f32>,
    ) -> Result<usize> {
        match (self, input) {
            (Self::Encoder(network), Input::Tokens { ids, lengths, width }) => {
                network.forward(weights, ids, lengths, width, training, logits)?;
                Ok(network.outputs())
            }
            (Self::Mlp(network), Input::Dense { values, width }) => {
                network.forward(weights, values, width, logits)?;
                Ok(network.outputs())
            }
            (Self::Encoder(_), Input::Dense { .. }) => {
                Err(Error::shape("input of an encoder", "tokens", "features"))
            }
            (Self::Mlp(_), Input::Tokens { .. }) => {
                Err(Error::shape("input of an mlp", "features", "tokens"))
            }
        }
    }

    /// Writes the gradient of every parameter from the gradient of the logits `(outputs, labels)` of the last forward
    /// pass, which must have been one for training.
    pub fn backward(&mut self, weights: &[f32], gradient: &mut [f32], dlogits: &[f32]) {
        match self {
            Self::Encoder(network) => network.backward(weights, gradient, dlogits),
            Self::Mlp(network) => network.backward(weights, gradient, dlogits),
        }
    }
}
