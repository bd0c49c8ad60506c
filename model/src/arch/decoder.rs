//! A Llama-compatible decoder on the kernels of `ops`: token table, blocks, last normalisation, output matrix.

use std::ops::Range;

use crate::arch::cache::Cache;
use crate::arch::decoder_block::{DecoderBlock, Places, Saved, Shared};
use crate::arch::decoder_config::DecoderConfig;
use crate::arch::input::Packed;
use crate::arch::slot::{Init, Slots};
use crate::error::{Error, Result};
use crate::ops::attention::Spans;
use crate::ops::embedding::Scatter;
use crate::ops::gemm::Into;
use crate::ops::linear::Linear;
use crate::ops::rms::Rms;
use crate::ops::rope::Rotation;
use crate::ops::vector::{add_slice, scratch};

/// The network and its buffers, which only grow.
#[derive(Debug)]
pub struct Decoder {
    config: DecoderConfig,
    table: Range<usize>,
    blocks: Vec<DecoderBlock>,
    gain: Range<usize>,
    /// The output matrix; none when it is the token table.
    output: Option<Range<usize>>,
    rotation: Rotation,
    packed: Packed,
    spans: Spans,
    states: Vec<Vec<f32>>, // input of each block and output of the last, (rows, width)
    saved: Vec<Saved>,
    shared: Shared,
    inverses: Vec<f32>,
    normalized: Vec<f32>,
    dstates: Vec<f32>,
    scatter: Scatter,
}

impl Decoder {
    /// Builds the network and adds its tensors to the slots under Hugging Face names.
    pub fn new(config: &DecoderConfig, slots: &mut Slots) -> Self {
        let (width, matrix) = (config.hidden_size, Init::Normal(0.02));
        let table = slots.add("model.embed_tokens.weight", &[config.vocab_size, width], matrix);
        let blocks: Vec<DecoderBlock> =
            (0..config.num_hidden_layers).map(|layer| DecoderBlock::new(config, layer, slots)).collect();
        let gain = slots.add("model.norm.weight", &[width], Init::Ones);
        let output = (!config.tie_word_embeddings)
            .then(|| slots.add("lm_head.weight", &[config.vocab_size, width], matrix));
        Self {
            table,
            gain,
            output,
            rotation: Rotation::new(
                config.max_position_embeddings,
                width / config.num_attention_heads,
                config.rope_theta,
            ),
            packed: Packed::default(),
            spans: Spans::default(),
            states: vec![Vec::new(); blocks.len() + 1],
            saved: blocks.iter().map(|_| Saved::default()).collect(),
            shared: Shared::default(),
            inverses: Vec::new(),
            normalized: Vec::new(),
            dstates: Vec::new(),
            scatter: Scatter::default(),
            blocks,
            config: config.clone(),
        }
    }

    fn head(&self) -> Linear {
        Linear { inputs: self.config.hidden_size, outputs: self.config.vocab_size }
    }

    /// Outputs of the last forward pass: tokens.
    pub fn outputs(&self) -> usize {
        self.spans.total_rows()
    }

    /// Computes `logits (tokens, vocabulary)`: what the model expects behind each token.
    pub fn forward(
        &mut self,
        weights: &[f32],
        ids: &[u32],
        lengths: &[u32],
        width: usize,
        is_training: bool,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        let config = &self.config;
        self.packed.set(ids, lengths, width, config.vocab_size, config.max_position_embeddings)?;
        self.spans.set(&self.packed.lengths, config.num_attention_heads);
        let length = self.spans.total_rows() * config.hidden_size;
        let table = &weights[self.table.clone()];
        look_up(table, &self.packed.ids, config.hidden_size, scratch(&mut self.states[0], length));
        let at = Places { spans: &self.spans, places: &self.packed.places, rotation: &self.rotation };
        for (layer, block) in self.blocks.iter().enumerate() {
            let (from, to, keep) =
                if is_training { (layer, layer + 1, layer) } else { (layer % 2, (layer + 1) % 2, 0) };
            let [x, y] = self.states.get_disjoint_mut([from, to]).expect("two different states");
            block.forward(weights, at, &x[..length], scratch(y, length), &mut self.saved[keep]);
        }
        let last = if is_training { self.blocks.len() } else { self.blocks.len() % 2 };
        self.finish(weights, last, length, logits);
        Ok(())
    }

    /// Logits of the states that lie in `self.states[last]`.
    fn finish(&mut self, weights: &[f32], last: usize, length: usize, logits: &mut Vec<f32>) {
        let head = self.head();
        let rows = length / self.config.hidden_size;
        let norm = Rms { gain: &weights[self.gain.clone()], epsilon: self.config.rms_norm_eps as f32 };
        let normalized = scratch(&mut self.normalized, length);
        norm.forward(&self.states[last][..length], normalized, scratch(&mut self.inverses, rows));
        let output = self.output.as_ref().unwrap_or(&self.table);
        head.forward(&weights[output.clone()], normalized, scratch(logits, rows * self.config.vocab_size));
    }

    /// Reads new tokens of one sequence behind those of the cache; writes `logits (vocabulary)` behind the last.
    ///
    /// # Errors
    /// There is no new token, one is not in the vocabulary, or the sequence gets longer than the model can read.
    pub fn extend(
        &mut self,
        weights: &[f32],
        ids: &[u32],
        cache: &mut Cache,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        let (before, config) = (cache.ids.len(), &self.config);
        let total = before + ids.len();
        if ids.is_empty() || total > config.max_position_embeddings {
            let expected = format!("at least 1 new and at most {} in all", config.max_position_embeddings);
            return Err(Error::shape("tokens in a sequence", expected, total));
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= config.vocab_size) {
            return Err(Error::shape("token id", format!("below {}", config.vocab_size), id));
        }
        cache.rows.resize(self.blocks.len(), Vec::new());
        let length = ids.len() * config.hidden_size;
        let table = &weights[self.table.clone()];
        look_up(table, ids, config.hidden_size, scratch(&mut self.states[0], length));
        let places: Vec<u32> = (before as u32..total as u32).collect();
        let at = Places { spans: &self.spans, places: &places, rotation: &self.rotation };
        for (layer, block) in self.blocks.iter().enumerate() {
            let both = [layer % 2, (layer + 1) % 2];
            let [x, y] = self.states.get_disjoint_mut(both).expect("two different states");
            let (x, y) = (&x[..length], scratch(y, length));
            block.extend(weights, at, x, y, &mut cache.rows[layer], &mut self.saved[0], &mut self.shared);
        }
        cache.ids.extend_from_slice(ids);
        let last = self.blocks.len() % 2;
        // Only the last row is wanted.
        let width = self.config.hidden_size;
        self.states[last].copy_within(length - width..length, 0);
        self.finish(weights, last, width, logits);
        logits.truncate(self.config.vocab_size);
        Ok(())
    }

    /// Writes the gradient of every parameter from the gradient of the logits of the last training forward pass.
    pub fn backward(&mut self, weights: &[f32], gradient: &mut [f32], dlogits: &[f32]) {
        let width = self.config.hidden_size;
        let length = self.spans.total_rows() * width;
        let rows = self.spans.total_rows();
        let head = self.head();
        let output = self.output.clone().unwrap_or(self.table.clone());
        let normalized = scratch(&mut self.normalized, length);
        head.backward_weight(normalized, dlogits, &mut gradient[output.clone()]);
        // The normalised states are used up: their buffer takes their gradient.
        head.backward_input(&weights[output], dlogits, normalized, Into::Replace);
        let dstates = scratch(&mut self.dstates, length);
        dstates.fill(0.0);
        let norm = Rms { gain: &weights[self.gain.clone()], epsilon: self.config.rms_norm_eps as f32 };
        norm.backward(
            &self.states[self.blocks.len()][..length],
            &self.inverses[..rows],
            normalized,
            dstates,
            &mut gradient[self.gain.clone()],
            &mut self.shared.partial,
        );
        let at = Places { spans: &self.spans, places: &self.packed.places, rotation: &self.rotation };
        for (layer, block) in self.blocks.iter().enumerate().rev() {
            let x = &self.states[layer][..length];
            let saved = &mut self.saved[layer];
            block.backward(weights, gradient, at, x, dstates, saved, &mut self.shared);
        }
        let table = &mut gradient[self.table.clone()];
        if self.output.is_some() {
            self.scatter.backward(dstates, &self.packed.ids, width, table);
        } else {
            // The output's gradient stands there already.
            for (dy, id) in dstates.chunks_exact(width).zip(&self.packed.ids) {
                let id = *id as usize * width;
                add_slice(&mut table[id..id + width], dy);
            }
        }
    }
}

fn look_up(table: &[f32], ids: &[u32], width: usize, y: &mut [f32]) {
    for (y, id) in y.chunks_exact_mut(width).zip(ids) {
        let id = *id as usize * width;
        y.copy_from_slice(&table[id..id + width]);
    }
}
