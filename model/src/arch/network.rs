//! One explicit network of any architecture.

use crate::arch::cache::Cache;
use crate::arch::config::{ArchConfig, Head};
use crate::arch::decoder::Decoder;
use crate::arch::encoder::Encoder;
use crate::arch::graph::GraphSage;
use crate::arch::input::Input;
use crate::arch::mlp::Mlp;
use crate::arch::patch::PatchEncoder;
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
    /// A transformer decoder.
    Decoder(Box<Decoder>),
    /// A graph network.
    Graph(Box<GraphSage>),
    /// A patch encoder.
    Patch(Box<PatchEncoder>),
}

impl Network {
    /// Builds a network and the places of its parameters.
    pub fn new(arch: &ArchConfig, head: &Head) -> Result<(Self, Slots)> {
        arch.validate(head)?;
        let mut slots = Slots::default();
        let network = match arch {
            ArchConfig::Encoder(config) => Self::Encoder(Box::new(Encoder::new(config, head, &mut slots))),
            ArchConfig::Mlp(config) => Self::Mlp(Mlp::new(config, &mut slots)),
            ArchConfig::Patch(config) => {
                Self::Patch(Box::new(PatchEncoder::new(config, head.labels(), &mut slots)))
            }
            ArchConfig::Graph(config) => {
                Self::Graph(Box::new(GraphSage::new(config, head.labels(), &mut slots)))
            }
            ArchConfig::Decoder(config) => Self::Decoder(Box::new(Decoder::new(config, &mut slots))),
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
            (Self::Decoder(network), Input::Tokens { ids, lengths, width }) => {
                network.forward(weights, ids, lengths, width, training.is_some(), logits)?;
                Ok(network.outputs())
            }
            (Self::Patch(network), Input::Dense { values, width }) => {
                network.forward(weights, values, width, training.is_some(), logits)?;
                Ok(network.outputs())
            }
            (Self::Graph(network), Input::Nodes(batch)) => {
                network.forward(weights, batch, training, logits)?;
                Ok(network.outputs())
            }
            (network, input) => Err(Error::shape("input of the model", network.reads(), input.kind())),
        }
    }

    /// What it reads, for a message.
    fn reads(&self) -> &'static str {
        match self {
            Self::Encoder(_) | Self::Decoder(_) => "tokens",
            Self::Mlp(_) | Self::Patch(_) => "features",
            Self::Graph(_) => "nodes of a graph",
        }
    }

    /// Reads new tokens behind those of the cache and writes the logits behind the last; decoders only.
    pub fn extend(
        &mut self,
        weights: &[f32],
        ids: &[u32],
        cache: &mut Cache,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        match self {
            Self::Decoder(network) => network.extend(weights, ids, cache, logits),
            Self::Encoder(_) | Self::Mlp(_) | Self::Graph(_) | Self::Patch(_) => Err(Error::config(
                "arch",
                "expected a decoder to continue a text, found another architecture",
            )),
        }
    }

    /// Writes the gradient of every parameter from the gradient of the logits `(outputs, labels)` of the last forward
    /// pass, which must have been one for training.
    pub fn backward(&mut self, weights: &[f32], gradient: &mut [f32], dlogits: &[f32]) {
        match self {
            Self::Encoder(network) => network.backward(weights, gradient, dlogits),
            Self::Mlp(network) => network.backward(weights, gradient, dlogits),
            Self::Decoder(network) => network.backward(weights, gradient, dlogits),
            Self::Graph(network) => network.backward(weights, gradient, dlogits),
            Self::Patch(network) => network.backward(weights, gradient, dlogits),
        }
    }
}
