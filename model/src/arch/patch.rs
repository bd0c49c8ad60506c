//! A ViT-compatible patch encoder on the kernels of `ops`: patches, places, blocks, one class per image.
//!
//! As a part of a larger network it can answer for the class token and for every patch instead.

use std::ops::Range;

use crate::arch::config::Head;
use crate::arch::patch_block::{PatchBlock, Saved, Shared};
use crate::arch::patch_config::PatchConfig;
use crate::arch::slot::{Init, Slots};
use crate::error::{Error, Result};
use crate::ops::attention::Spans;
use crate::ops::gemm::Into;
use crate::ops::linear::Linear;
use crate::ops::norm::{Norm, NormGradient};
use crate::ops::vector::{add_slice, column_sums, scratch};

/// The network and its buffers, which only grow.
#[derive(Debug)]
pub struct PatchEncoder {
    config: PatchConfig,
    labels: usize,
    /// Tokens of an image that are answered for: the class token, or all.
    answered: usize,
    first: Range<usize>,
    places: Range<usize>,
    projection: (Range<usize>, Range<usize>),
    blocks: Vec<PatchBlock>,
    norm: (Range<usize>, Range<usize>),
    classifier: (Range<usize>, Range<usize>),
    images: usize,
    spans: Spans,
    patches: Vec<f32>,
    projected: Vec<f32>,
    states: Vec<Vec<f32>>,
    saved: Vec<Saved>,
    shared: Shared,
    normalized: Vec<f32>, // (outputs, width)
    deviations: Vec<f32>,
    read: Vec<f32>,
    dread: Vec<f32>,
    dstates: Vec<f32>,
}

impl PatchEncoder {
    /// Builds the network and adds its tensors to the slots under Hugging Face names. A head for tokens is one for the
    /// class token and for every patch behind it.
    pub fn new(config: &PatchConfig, head: &Head, slots: &mut Slots) -> Self {
        let labels = head.labels();
        let (width, matrix) = (config.hidden_size, Init::Normal(0.02));
        let side = config.patch_size;
        let name = |part: &str| format!("vit.embeddings.{part}");
        let first = slots.add(name("cls_token"), &[1, 1, width], matrix);
        let places = slots.add(name("position_embeddings"), &[1, config.patches() + 1, width], matrix);
        let kernel = [width, config.num_channels, side, side];
        let projection = (
            slots.add(name("patch_embeddings.projection.weight"), &kernel, matrix),
            slots.add(name("patch_embeddings.projection.bias"), &[width], Init::Zeros),
        );
        let blocks: Vec<PatchBlock> =
            (0..config.num_hidden_layers).map(|layer| PatchBlock::new(config, layer, slots)).collect();
        Self {
            first,
            places,
            projection,
            norm: (
                slots.add("vit.layernorm.weight", &[width], Init::Ones),
                slots.add("vit.layernorm.bias", &[width], Init::Zeros),
            ),
            classifier: (
                slots.add("classifier.weight", &[labels, width], matrix),
                slots.add("classifier.bias", &[labels], Init::Zeros),
            ),
            labels,
            answered: if head.is_per_token() { config.patches() + 1 } else { 1 },
            images: 0,
            spans: Spans::default(),
            patches: Vec::new(),
            projected: Vec::new(),
            states: vec![Vec::new(); blocks.len() + 1],
            saved: blocks.iter().map(|_| Saved::default()).collect(),
            shared: Shared::default(),
            normalized: Vec::new(),
            deviations: Vec::new(),
            read: Vec::new(),
            dread: Vec::new(),
            dstates: Vec::new(),
            blocks,
            config: config.clone(),
        }
    }

    /// Outputs of the last forward pass: images, or the tokens of all images.
    pub fn outputs(&self) -> usize {
        self.images * self.answered
    }

    fn embed(&self) -> Linear {
        Linear { inputs: self.config.patch_values(), outputs: self.config.hidden_size }
    }

    fn head(&self) -> Linear {
        Linear { inputs: self.config.hidden_size, outputs: self.labels }
    }

    /// Computes `logits (outputs, labels)` from `values (images, channels * side * side)`.
    pub fn forward(
        &mut self,
        weights: &[f32],
        values: &[f32],
        width: usize,
        is_training: bool,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        let expected = self.config.image_values();
        if width != expected || values.is_empty() || !values.len().is_multiple_of(width) {
            return Err(Error::shape("values of an image", expected, width));
        }
        self.images = values.len() / width;
        let (hidden, patches) = (self.config.hidden_size, self.config.patches());
        let length = self.images * (patches + 1) * hidden;
        self.spans.set(&vec![patches as u32 + 1; self.images], self.config.num_attention_heads);
        self.config.cut(values, &mut self.patches);
        let projected = scratch(&mut self.projected, self.images * patches * hidden);
        let (weight, bias) = (&weights[self.projection.0.clone()], &weights[self.projection.1.clone()]);
        Linear { inputs: self.config.patch_values(), outputs: hidden }.forward_bias(
            weight,
            bias,
            &self.patches,
            projected,
        );
        let state = scratch(&mut self.states[0], length);
        let per_image = (patches + 1) * hidden;
        let (first, places) = (&weights[self.first.clone()], &weights[self.places.clone()]);
        for (state, patches) in
            state.chunks_exact_mut(per_image).zip(projected.chunks_exact(patches * hidden))
        {
            state[..hidden].copy_from_slice(first);
            state[hidden..].copy_from_slice(patches);
            add_slice(state, places);
        }
        for (layer, block) in self.blocks.iter().enumerate() {
            let (from, to, keep) =
                if is_training { (layer, layer + 1, layer) } else { (layer % 2, (layer + 1) % 2, 0) };
            let [x, y] = self.states.get_disjoint_mut([from, to]).expect("two different states");
            block.forward(weights, &self.spans, &x[..length], scratch(y, length), &mut self.saved[keep]);
        }
        let last = if is_training { self.blocks.len() } else { self.blocks.len() % 2 };
        // Only the first rows of an image are read, and a normalisation goes row by row.
        let (outputs, answered) = (self.outputs(), self.answered * hidden);
        let normalized = scratch(&mut self.normalized, outputs * hidden);
        let state = &self.states[last][..length];
        for (rows, state) in normalized.chunks_exact_mut(answered).zip(state.chunks_exact(per_image)) {
            rows.copy_from_slice(&state[..answered]);
        }
        let (gain, shift) = (&weights[self.norm.0.clone()], &weights[self.norm.1.clone()]);
        let norm = Norm { gain, shift, epsilon: self.config.layer_norm_eps as f32 };
        let read = scratch(&mut self.read, outputs * hidden);
        norm.forward(normalized, &[], &[], read, scratch(&mut self.deviations, outputs));
        let (weight, bias) = (&weights[self.classifier.0.clone()], &weights[self.classifier.1.clone()]);
        let head = Linear { inputs: hidden, outputs: self.labels };
        head.forward_bias(weight, bias, read, scratch(logits, outputs * self.labels));
        Ok(())
    }

    /// Writes the gradient of every parameter from the gradient of the logits of the last training forward pass.
    pub fn backward(&mut self, weights: &[f32], gradient: &mut [f32], dlogits: &[f32]) {
        let (hidden, patches) = (self.config.hidden_size, self.config.patches());
        let (embed, head) = (self.embed(), self.head());
        let per_image = (patches + 1) * hidden;
        let (outputs, answered) = (self.outputs(), self.answered * hidden);
        let partial = &mut self.shared.partial;
        let read = &self.read[..outputs * hidden];
        head.backward_weight(read, dlogits, &mut gradient[self.classifier.0.clone()]);
        column_sums(dlogits, self.labels, &mut gradient[self.classifier.1.clone()], partial);
        let dread = scratch(&mut self.dread, outputs * hidden);
        head.backward_input(&weights[self.classifier.0.clone()], dlogits, dread, Into::Replace);
        let (gain, shift) = (&weights[self.norm.0.clone()], &weights[self.norm.1.clone()]);
        let norm = Norm { gain, shift, epsilon: self.config.layer_norm_eps as f32 };
        let [gain, shift] = gradient
            .get_disjoint_mut([self.norm.0.clone(), self.norm.1.clone()])
            .expect("slots do not overlap");
        let parts = NormGradient { gain, shift, bias: &mut [] };
        let normalized = &self.normalized[..outputs * hidden];
        norm.backward(dread, normalized, &self.deviations[..outputs], parts, partial);
        let dstates = scratch(&mut self.dstates, self.images * per_image);
        dstates.fill(0.0);
        for (dstate, dread) in dstates.chunks_exact_mut(per_image).zip(dread.chunks_exact(answered)) {
            dstate[..answered].copy_from_slice(dread);
        }
        for (block, saved) in self.blocks.iter().zip(&self.saved).rev() {
            block.backward(weights, gradient, &self.spans, dstates, saved, &mut self.shared);
        }
        let places = &mut gradient[self.places.clone()];
        places.fill(0.0);
        let dprojected = scratch(&mut self.projected, self.images * patches * hidden);
        for (dstate, dpatches) in
            dstates.chunks_exact(per_image).zip(dprojected.chunks_exact_mut(patches * hidden))
        {
            add_slice(places, dstate);
            dpatches.copy_from_slice(&dstate[hidden..]);
        }
        // The first row is the class token plus the first place.
        let first: Vec<f32> = places[..hidden].to_vec();
        gradient[self.first.clone()].copy_from_slice(&first);
        embed.backward_weight(&self.patches, dprojected, &mut gradient[self.projection.0.clone()]);
        let bias = &mut gradient[self.projection.1.clone()];
        column_sums(dprojected, hidden, bias, &mut self.shared.partial);
    }
}
