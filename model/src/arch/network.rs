//! One explicit network of any architecture.

use crate::arch::cache::Cache;
use crate::arch::config::{ArchConfig, Head};
use crate::arch::decoder::Decoder;
use crate::arch::input::Input;
use crate::arch::multimodal::Multimodal;
use crate::arch::pairs::PairScorer;
use crate::arch::slot::Slots;
use crate::arch::tower::Tower;
use crate::error::{Error, Result};
use crate::seed::Seed;

/// A network that computes logits and gradients over flat buffers in storage order.
#[derive(Debug)]
pub enum Network {
    /// One that stands by itself.
    Tower(Tower),
    /// A transformer decoder.
    Decoder(Box<Decoder>),
    /// A graph network that answers for pairs of nodes.
    Pairs(Box<PairScorer>),
    /// Towers, joined.
    Multimodal(Box<Multimodal>),
}

impl Network {
    /// Builds a network and the places of its parameters.
    pub fn new(arch: &ArchConfig, head: &Head) -> Result<(Self, Slots)> {
        arch.validate(head)?;
        let mut slots = Slots::default();
        let network = match (arch, head) {
            (ArchConfig::Decoder(config), _) => Self::Decoder(Box::new(Decoder::new(config, &mut slots))),
            (ArchConfig::Graph(config), Head::Pair { labels }) => {
                Self::Pairs(Box::new(PairScorer::new(config, *labels, &mut slots)))
            }
            (ArchConfig::Multimodal(config), _) => {
                Self::Multimodal(Box::new(Multimodal::new(config, head.labels(), &mut slots)))
            }
            _ => Self::Tower(Tower::new(arch, head, &mut slots).expect("all others are towers")),
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
            (Self::Tower(network), input) => network.forward(weights, input, training, logits),
            (Self::Decoder(network), Input::Tokens { ids, lengths, width }) => {
                network.forward(weights, ids, lengths, width, training.is_some(), logits)?;
                Ok(network.outputs())
            }
            (Self::Pairs(network), Input::Nodes(batch)) => {
                network.forward(weights, batch, training, logits)?;
                Ok(network.outputs())
            }
            (Self::Multimodal(network), Input::Records(records)) => {
                network.forward(weights, records, training, logits)?;
                Ok(network.outputs())
            }
            (Self::Decoder(_), input) => Err(Error::shape("input of the model", "tokens", input.kind())),
            (Self::Pairs(_), input) => {
                Err(Error::shape("input of the model", "pairs of nodes", input.kind()))
            }
            (Self::Multimodal(_), input) => Err(Error::shape("input of the model", "records", input.kind())),
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
            Self::Tower(_) | Self::Pairs(_) | Self::Multimodal(_) => Err(Error::config(
                "arch",
                "expected a decoder to continue a text, found another architecture",
            )),
        }
    }

    /// Writes the gradient of every parameter from the gradient of the logits `(outputs, labels)` of the last forward
    /// pass, which must have been one for training.
    pub fn backward(&mut self, weights: &[f32], gradient: &mut [f32], dlogits: &[f32]) {
        match self {
            Self::Tower(network) => network.backward(weights, gradient, dlogits),
            Self::Decoder(network) => network.backward(weights, gradient, dlogits),
            Self::Pairs(network) => network.backward(weights, gradient, dlogits),
            Self::Multimodal(network) => network.backward(weights, gradient, dlogits),
        }
    }
}
