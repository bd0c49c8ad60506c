//! Networks that answer once for a row, or for each of its tokens: alone, or as a part of a larger one.

use crate::arch::config::{ArchConfig, Head};
use crate::arch::encoder::Encoder;
use crate::arch::graph::GraphSage;
use crate::arch::input::Input;
use crate::arch::mlp::Mlp;
use crate::arch::patch::PatchEncoder;
use crate::arch::slot::Slots;
use crate::error::{Error, Result};
use crate::seed::Seed;

/// One of them.
#[derive(Debug)]
pub enum Tower {
    /// A transformer encoder.
    Encoder(Box<Encoder>),
    /// A multilayer perceptron.
    Mlp(Mlp),
    /// A graph network.
    Graph(Box<GraphSage>),
    /// A patch encoder.
    Patch(Box<PatchEncoder>),
}

impl Tower {
    /// Builds a network whose sizes were checked, and adds its tensors to the slots; nothing for an architecture that is
    /// none of these.
    pub fn new(arch: &ArchConfig, head: &Head, slots: &mut Slots) -> Option<Self> {
        let labels = head.labels();
        Some(match arch {
            ArchConfig::Encoder(config) => Self::Encoder(Box::new(Encoder::new(config, head, slots))),
            ArchConfig::Mlp(config) => Self::Mlp(Mlp::new(config, slots)),
            ArchConfig::Patch(config) => Self::Patch(Box::new(PatchEncoder::new(config, head, slots))),
            ArchConfig::Graph(config) => Self::Graph(Box::new(GraphSage::new(config, labels, slots))),
            ArchConfig::Decoder(_) | ArchConfig::Multimodal(_) => return None,
        })
    }

    /// Computes the logits, `(outputs, labels)` at the start of `logits`, and returns the number of outputs.
    ///
    /// # Errors
    /// It does not read this kind of input, or not in these sizes.
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
            Self::Encoder(_) => "tokens",
            Self::Mlp(_) | Self::Patch(_) => "features",
            Self::Graph(_) => "nodes of a graph",
        }
    }

    /// Writes the gradient of every parameter from the gradient of the logits of the last forward pass, which must have
    /// been one for training.
    pub fn backward(&mut self, weights: &[f32], gradient: &mut [f32], dlogits: &[f32]) {
        match self {
            Self::Encoder(network) => network.backward(weights, gradient, dlogits),
            Self::Mlp(network) => network.backward(weights, gradient, dlogits),
            Self::Graph(network) => network.backward(weights, gradient, dlogits),
            Self::Patch(network) => network.backward(weights, gradient, dlogits),
        }
    }
}
