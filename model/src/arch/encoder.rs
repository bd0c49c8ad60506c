//! A BERT-compatible encoder on the kernels of `ops`: embedding, blocks, head.

use crate::arch::block::{Block, Saved, Shared};
use crate::arch::config::{EncoderConfig, Head};
use crate::arch::embed::Embedding;
use crate::arch::head::Classifier;
use crate::arch::input::Packed;
use crate::arch::masks::StepDropout;
use crate::arch::slot::Slots;
use crate::error::Result;
use crate::ops::attention::Spans;
use crate::ops::dropout::Dropout;
use crate::ops::vector::scratch;
use crate::seed::Seed;

/// The network and its buffers, which only grow: a step of a size seen before allocates next to nothing.
#[derive(Debug)]
pub struct Encoder {
    config: EncoderConfig,
    embedding: Embedding,
    blocks: Vec<Block>,
    head: Classifier,
    dropout: Option<Dropout>,
    packed: Packed,
    spans: Spans,
    states: Vec<Vec<f32>>, // input of each block and output of the last, (rows, width)
    saved: Vec<Saved>,
    shared: Shared,
    dstates: Vec<f32>,
    step: Option<StepDropout>,
}

impl Encoder {
    /// Builds the network and adds its tensors to the slots.
    pub fn new(config: &EncoderConfig, head: &Head, slots: &mut Slots) -> Self {
        let embedding = Embedding::new(config, slots);
        let blocks: Vec<Block> =
            (0..config.num_hidden_layers).map(|layer| Block::new(config, layer, slots)).collect();
        Self {
            embedding,
            head: Classifier::new(head, config.hidden_size, slots),
            dropout: Dropout::new(config.dropout),
            packed: Packed::default(),
            spans: Spans::default(),
            states: vec![Vec::new(); blocks.len() + 1],
            saved: blocks.iter().map(|_| Saved::default()).collect(),
            shared: Shared::default(),
            dstates: Vec::new(),
            step: None,
            blocks,
            config: config.clone(),
        }
    }

    /// Outputs of the last forward pass.
    pub fn outputs(&self) -> usize {
        self.head.rows()
    }

    /// Computes `logits (outputs, labels)`. With a training seed every block keeps what its backward pass needs; without
    /// one all blocks share the buffers of the first.
    pub fn forward(
        &mut self,
        weights: &[f32],
        ids: &[u32],
        lengths: &[u32],
        width: usize,
        training: Option<&Seed>,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        let config = &self.config;
        self.packed.set(ids, lengths, width, config.vocab_size, config.max_position_embeddings)?;
        self.spans.set(&self.packed.lengths, config.num_attention_heads);
        self.step = match (self.dropout, training) {
            (Some(dropout), Some(seed)) => Some(StepDropout { dropout, seed: *seed }),
            _ => None,
        };
        let length = self.spans.total_rows() * config.hidden_size;
        self.embedding.forward(weights, &self.packed, self.step, scratch(&mut self.states[0], length));
        for (layer, block) in self.blocks.iter().enumerate() {
            let (from, to, keep) = match training {
                Some(_) => (layer, layer + 1, layer),
                None => (layer % 2, (layer + 1) % 2, 0),
            };
            let [x, y] = self.states.get_disjoint_mut([from, to]).expect("two different states");
            let (x, y) = (&x[..length], scratch(y, length));
            block.forward(weights, &self.spans, x, y, &mut self.saved[keep], &mut self.shared, self.step);
        }
        let last = if training.is_some() { self.blocks.len() } else { self.blocks.len() % 2 };
        self.head.forward(weights, &self.spans, &self.states[last][..length], self.step, logits);
        Ok(())
    }

    /// Writes the gradient of every parameter from the gradient of the logits of the last training forward pass.
    pub fn backward(&mut self, weights: &[f32], gradient: &mut [f32], dlogits: &[f32]) {
        let length = self.spans.total_rows() * self.config.hidden_size;
        let dstates = scratch(&mut self.dstates, length);
        let last = &self.states[self.blocks.len()][..length];
        let partial = &mut self.shared.partial;
        self.head.backward(weights, gradient, &self.spans, last, dlogits, self.step, dstates, partial);
        for (layer, block) in self.blocks.iter().enumerate().rev() {
            let x = &self.states[layer][..length];
            let saved = &self.saved[layer];
            block.backward(weights, gradient, &self.spans, x, dstates, saved, &mut self.shared, self.step);
        }
        let partial = &mut self.shared.partial;
        self.embedding.backward(weights, gradient, &self.packed, self.step, dstates, partial);
    }
}
