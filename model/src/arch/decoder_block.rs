//! One transformer block of Llama: normalise, attend, add; normalise, gated feed-forward, add.
//!
//! ```text
//! a = x + attention(norm1(x)) Wo        y = a + gated(norm2(a) [Wg Wu]) Wd
//! ```
//!
//! Explicit like BERT's block, but the residual runs past the normalisations, so its gradient is one buffer that both
//! parts add to.

use std::ops::Range;

use crate::arch::decoder_config::DecoderConfig;
use crate::arch::slot::{Init, Slots};
use crate::ops::attention::Spans;
use crate::ops::causal::{self, Heads};
use crate::ops::gated;
use crate::ops::gemm::Into;
use crate::ops::linear::Linear;
use crate::ops::rms::Rms;
use crate::ops::rope::{Rotation, Turn};
use crate::ops::vector::{add, scratch};

/// A block's sizes and places of its parameters.
#[derive(Debug, Clone)]
pub struct DecoderBlock {
    width: usize,
    inner: usize,
    heads: Heads,
    epsilon: f32,
    gain1: Range<usize>,
    packed_weight: Range<usize>,
    out_weight: Range<usize>,
    gain2: Range<usize>,
    up_weight: Range<usize>,
    down_weight: Range<usize>,
}

/// What a block keeps from forward to backward; buffers only grow.
#[derive(Debug, Default)]
pub struct Saved {
    inverses1: Vec<f32>,     // (rows)
    normalized1: Vec<f32>,   // (rows, width)
    packed: Vec<f32>,        // (rows, stride): queries and keys turned
    probabilities: Vec<f32>, // (sequence, head, length, length)
    context: Vec<f32>,       // (rows, width)
    attended: Vec<f32>,      // (rows, width)
    inverses2: Vec<f32>,     // (rows)
    normalized2: Vec<f32>,   // (rows, width)
    gates: Vec<f32>,         // (rows, 2 inner)
    gated: Vec<f32>,         // (rows, inner)
}

/// Buffers that all blocks of a network share, because only one block works at a time.
#[derive(Debug, Default)]
pub struct Shared {
    /// Partial column sums.
    pub partial: Vec<f32>,
    wide: Vec<f32>,
    narrow: Vec<f32>,
    packed: Vec<f32>,
    probabilities: Vec<f32>,
    scores: Vec<f32>,
}

/// Where the rows of a batch lie and at which places of their sequences.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// Sequences.
    pub spans: &'a Spans,
    /// Place of each row in its sequence.
    pub places: &'a [u32],
    /// Turns by place.
    pub rotation: &'a Rotation,
}

impl DecoderBlock {
    /// Adds a block's tensors to the slots under Hugging Face names.
    pub fn new(config: &DecoderConfig, layer: usize, slots: &mut Slots) -> Self {
        let (width, inner, heads) = (config.hidden_size, config.intermediate_size, config.heads());
        let kept = heads.groups * heads.size;
        let matrix = Init::Normal(0.02);
        let mut add = |part: &str, shape: &[usize], init| {
            slots.add(format!("model.layers.{layer}.{part}.weight"), shape, init)
        };
        let gain1 = add("input_layernorm", &[width], Init::Ones);
        let query = add("self_attn.q_proj", &[width, width], matrix);
        let _key = add("self_attn.k_proj", &[kept, width], matrix);
        let value = add("self_attn.v_proj", &[kept, width], matrix);
        let out_weight = add("self_attn.o_proj", &[width, width], matrix);
        let gain2 = add("post_attention_layernorm", &[width], Init::Ones);
        let gate = add("mlp.gate_proj", &[inner, width], matrix);
        let up = add("mlp.up_proj", &[inner, width], matrix);
        Self {
            width,
            inner,
            heads,
            epsilon: config.rms_norm_eps as f32,
            gain1,
            // Matrices side by side are one matrix.
            packed_weight: query.start..value.end,
            out_weight,
            gain2,
            up_weight: gate.start..up.end,
            down_weight: add("mlp.down_proj", &[width, inner], matrix),
        }
    }

    fn packed(&self) -> Linear {
        Linear { inputs: self.width, outputs: self.heads.stride() }
    }

    fn out(&self) -> Linear {
        Linear { inputs: self.width, outputs: self.width }
    }

    fn up(&self) -> Linear {
        Linear { inputs: self.width, outputs: 2 * self.inner }
    }

    fn down(&self) -> Linear {
        Linear { inputs: self.inner, outputs: self.width }
    }

    fn norm1<'a>(&self, weights: &'a [f32]) -> Rms<'a> {
        Rms { gain: &weights[self.gain1.clone()], epsilon: self.epsilon }
    }

    fn norm2<'a>(&self, weights: &'a [f32]) -> Rms<'a> {
        Rms { gain: &weights[self.gain2.clone()], epsilon: self.epsilon }
    }

    /// Turns queries and keys, which stand first in a packed row.
    fn turn(&self, packed: &mut [f32], at: &Places<'_>, turn: Turn) {
        let heads = self.heads.heads + self.heads.groups;
        at.rotation.apply(packed, self.heads.stride(), heads, at.places, turn);
    }

    /// `y (rows, width)` from `x (rows, width)`.
    pub fn forward(&self, weights: &[f32], at: Places<'_>, x: &[f32], y: &mut [f32], saved: &mut Saved) {
        let rows = at.places.len();
        let packed = self.pack(weights, at, x, saved);
        let probabilities = scratch(&mut saved.probabilities, at.spans.total_probabilities());
        let context = scratch(&mut saved.context, rows * self.width);
        causal::forward(at.spans, self.heads, &saved.packed[..packed], probabilities, context);
        self.finish(weights, x, y, saved);
    }

    /// Packed rows of the normalised input; returns their length.
    fn pack(&self, weights: &[f32], at: Places<'_>, x: &[f32], saved: &mut Saved) -> usize {
        let rows = at.places.len();
        let normalized = scratch(&mut saved.normalized1, rows * self.width);
        self.norm1(weights).forward(x, normalized, scratch(&mut saved.inverses1, rows));
        let packed = scratch(&mut saved.packed, rows * self.heads.stride());
        self.packed().forward(&weights[self.packed_weight.clone()], normalized, packed);
        self.turn(packed, &at, Turn::Forth);
        packed.len()
    }

    /// From the context to the block's output.
    fn finish(&self, weights: &[f32], x: &[f32], y: &mut [f32], saved: &mut Saved) {
        let narrow = x.len();
        let rows = narrow / self.width;
        let weight = |range: &Range<usize>| &weights[range.clone()];
        let attended = scratch(&mut saved.attended, narrow);
        self.out().forward(weight(&self.out_weight), &saved.context[..narrow], attended);
        add(attended, x);
        let normalized = scratch(&mut saved.normalized2, narrow);
        self.norm2(weights).forward(attended, normalized, scratch(&mut saved.inverses2, rows));
        let gates = scratch(&mut saved.gates, rows * 2 * self.inner);
        self.up().forward(weight(&self.up_weight), normalized, gates);
        let gated = scratch(&mut saved.gated, rows * self.inner);
        gated::forward(gates, self.inner, gated);
        self.down().forward(weight(&self.down_weight), gated, y);
        add(y, attended);
    }

    /// The same for new tokens of one sequence, one after the other: their packed rows are added to `kept`.
    #[allow(clippy::too_many_arguments)]
    pub fn extend(
        &self,
        weights: &[f32],
        at: Places<'_>,
        x: &[f32],
        y: &mut [f32],
        kept: &mut Vec<f32>,
        saved: &mut Saved,
        shared: &mut Shared,
    ) {
        let packed = self.pack(weights, at, x, saved);
        let context = scratch(&mut saved.context, x.len());
        let stride = self.heads.stride();
        for (row, context) in
            saved.packed[..packed].chunks_exact(stride).zip(context.chunks_exact_mut(self.width))
        {
            kept.extend_from_slice(row);
            causal::last_row(self.heads, kept, &mut shared.scores, context);
        }
        self.finish(weights, x, y, saved);
    }

    /// Writes the weight gradients; `dy (rows, width)` becomes the gradient of `x`.
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        weights: &[f32],
        gradient: &mut [f32],
        at: Places<'_>,
        x: &[f32],
        dy: &mut [f32],
        saved: &mut Saved,
        shared: &mut Shared,
    ) {
        let rows = at.places.len();
        let (narrow, wide) = (rows * self.width, rows * self.inner);
        let weight = |range: &Range<usize>| &weights[range.clone()];
        let Shared { partial, wide: wide_buffer, narrow: narrow_buffer, packed, probabilities, .. } = shared;

        // y = a + gated(norm2(a) Wgu) Wd: the gradient of `a` is dy plus what comes back through the gated part.
        self.down().backward_weight(&saved.gated[..wide], dy, &mut gradient[self.down_weight.clone()]);
        let dgated = scratch(wide_buffer, wide);
        self.down().backward_input(weight(&self.down_weight), dy, dgated, Into::Replace);
        let gates = &mut saved.gates[..2 * wide];
        gated::backward(gates, self.inner, dgated);
        self.up().backward_weight(&saved.normalized2[..narrow], gates, &mut gradient[self.up_weight.clone()]);
        let dnormalized = scratch(narrow_buffer, narrow);
        self.up().backward_input(weight(&self.up_weight), gates, dnormalized, Into::Replace);
        self.norm2(weights).backward(
            &saved.attended[..narrow],
            &saved.inverses2[..rows],
            dnormalized,
            dy,
            &mut gradient[self.gain2.clone()],
            partial,
        );

        // a = x + attention(norm1(x)) Wo.
        self.out().backward_weight(&saved.context[..narrow], dy, &mut gradient[self.out_weight.clone()]);
        let dcontext = scratch(narrow_buffer, narrow);
        self.out().backward_input(weight(&self.out_weight), dy, dcontext, Into::Replace);
        let dpacked = scratch(packed, rows * self.heads.stride());
        let total = at.spans.total_probabilities();
        causal::backward(
            at.spans,
            self.heads,
            &saved.packed[..rows * self.heads.stride()],
            &saved.probabilities[..total],
            dcontext,
            dpacked,
            scratch(probabilities, total),
        );
        self.turn(dpacked, &at, Turn::Back);
        self.packed().backward_weight(
            &saved.normalized1[..narrow],
            dpacked,
            &mut gradient[self.packed_weight.clone()],
        );
        let dnormalized = scratch(narrow_buffer, narrow);
        self.packed().backward_input(weight(&self.packed_weight), dpacked, dnormalized, Into::Replace);
        self.norm1(weights).backward(
            x,
            &saved.inverses1[..rows],
            dnormalized,
            dy,
            &mut gradient[self.gain1.clone()],
            partial,
        );
    }
}
