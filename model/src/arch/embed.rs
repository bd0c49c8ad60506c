//! BERT's embedding: token, place and segment tables, summed and normalised.

use std::ops::Range;

use crate::arch::config::EncoderConfig;
use crate::arch::input::Packed;
use crate::arch::masks::{Site, StepDropout};
use crate::arch::slot::{Init, Slots};
use crate::ops::embedding::{Scatter, gather};
use crate::ops::norm::{Norm, NormGradient};
use crate::ops::vector::{add_slice, scratch};

/// The embedding's parameters and what it keeps between forward and backward.
#[derive(Debug)]
pub struct Embedding {
    width: usize,
    epsilon: f32,
    words: Range<usize>,
    positions: Range<usize>,
    kinds: Range<usize>,
    gain: Range<usize>,
    shift: Range<usize>,
    normalized: Vec<f32>,
    deviations: Vec<f32>,
    keep: Vec<u8>,
    scatter: Scatter,
}

impl Embedding {
    /// Adds the tables to the slots under Hugging Face names.
    pub fn new(config: &EncoderConfig, slots: &mut Slots) -> Self {
        let width = config.hidden_size;
        let table = Init::Normal(0.02);
        let name = |part: &str| format!("bert.embeddings.{part}");
        Self {
            width,
            epsilon: config.layer_norm_eps as f32,
            words: slots.add(name("word_embeddings.weight"), &[config.vocab_size, width], table),
            positions: slots.add(
                name("position_embeddings.weight"),
                &[config.max_position_embeddings, width],
                table,
            ),
            kinds: slots.add(name("token_type_embeddings.weight"), &[config.type_vocab_size, width], table),
            gain: slots.add(name("LayerNorm.weight"), &[width], Init::Ones),
            shift: slots.add(name("LayerNorm.bias"), &[width], Init::Zeros),
            normalized: Vec::new(),
            deviations: Vec::new(),
            keep: Vec::new(),
            scatter: Scatter::default(),
        }
    }

    fn norm<'a>(&self, weights: &'a [f32]) -> Norm<'a> {
        Norm { gain: &weights[self.gain.clone()], shift: &weights[self.shift.clone()], epsilon: self.epsilon }
    }

    /// Writes the embedded tokens `(rows, width)` into `y`.
    pub fn forward(&mut self, weights: &[f32], packed: &Packed, dropout: Option<StepDropout>, y: &mut [f32]) {
        let rows = packed.ids.len();
        let normalized = scratch(&mut self.normalized, rows * self.width);
        let deviations = scratch(&mut self.deviations, rows);
        let kind = &weights[self.kinds.start..self.kinds.start + self.width];
        let (words, positions) = (&weights[self.words.clone()], &weights[self.positions.clone()]);
        gather(words, &packed.ids, positions, &packed.places, kind, normalized);
        let (gain, shift) = (&weights[self.gain.clone()], &weights[self.shift.clone()]);
        Norm { gain, shift, epsilon: self.epsilon }.forward(normalized, &[], &[], y, deviations);
        if let Some(step) = dropout {
            step.fill(Site::Embedding, rows * self.width, &mut self.keep);
            step.dropout.apply(y, &self.keep);
        }
    }

    /// Writes the tables' gradients; `dy` `(rows, width)` is used up.
    pub fn backward(
        &mut self,
        weights: &[f32],
        gradient: &mut [f32],
        packed: &Packed,
        dropout: Option<StepDropout>,
        dy: &mut [f32],
        partial: &mut Vec<f32>,
    ) {
        if let Some(step) = dropout {
            step.dropout.apply(dy, &self.keep);
        }
        let rows = packed.ids.len();
        // The segment of every token is 0, so its gradient is the column sum the normalisation makes anyway.
        let kind = self.kinds.start..self.kinds.start + self.width;
        let [gain, shift, kind] = gradient
            .get_disjoint_mut([self.gain.clone(), self.shift.clone(), kind])
            .expect("slots do not overlap");
        let norm = self.norm(weights);
        let parts = NormGradient { gain, shift, bias: kind };
        norm.backward(dy, &self.normalized[..rows * self.width], &self.deviations[..rows], parts, partial);
        self.scatter.backward(dy, &packed.ids, self.width, &mut gradient[self.words.clone()]);
        let positions = &mut gradient[self.positions.clone()];
        positions.fill(0.0);
        for (dy, place) in dy.chunks_exact(self.width).zip(&packed.places) {
            let place = *place as usize * self.width;
            add_slice(&mut positions[place..place + self.width], dy);
        }
    }
}
