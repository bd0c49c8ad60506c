//! One transformer block of ViT: normalise, attend, add; normalise, feed forward, add.
//!
//! ```text
//! a = x + attention(norm1(x)) Wo + bo        y = a + f(norm2(a) W1 + b1) W2 + b2
//! ```
//!
//! The residual runs past the normalisations, so its gradient is one buffer that both parts add to.

use std::ops::Range;

use crate::arch::patch_config::PatchConfig;
use crate::arch::slot::{Init, Slots};
use crate::ops::activation::{self, Activation};
use crate::ops::attention::{self, Spans};
use crate::ops::gemm::Into;
use crate::ops::linear::Linear;
use crate::ops::norm::{Norm, NormGradient};
use crate::ops::vector::{add, add_slice, column_sums, scratch};

/// A linear layer's weight and bias.
type Pair = (Range<usize>, Range<usize>);

/// A block's sizes and places of its parameters.
#[derive(Debug, Clone)]
pub struct PatchBlock {
    width: usize,
    inner: usize,
    epsilon: f32,
    activation: Activation,
    norm1: Pair,
    packed: Pair,
    out: Pair,
    norm2: Pair,
    up: Pair,
    down: Pair,
}

/// What a block keeps from forward to backward; buffers only grow.
#[derive(Debug, Default)]
pub struct Saved {
    normalized1: Vec<f32>,   // (rows, width): before gain and shift
    deviations1: Vec<f32>,   // (rows)
    read1: Vec<f32>,         // (rows, width)
    packed: Vec<f32>,        // (rows, 3 width)
    probabilities: Vec<f32>, // (image, head, length, length)
    context: Vec<f32>,       // (rows, width)
    attended: Vec<f32>,      // (rows, width)
    normalized2: Vec<f32>,   // (rows, width): before gain and shift
    deviations2: Vec<f32>,   // (rows)
    read2: Vec<f32>,         // (rows, width)
    derivative: Vec<f32>,    // (rows, inner)
    activated: Vec<f32>,     // (rows, inner)
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
}

impl PatchBlock {
    /// Adds a block's tensors to the slots under Hugging Face names.
    pub fn new(config: &PatchConfig, layer: usize, slots: &mut Slots) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let matrix = Init::Normal(0.02);
        let mut add = |part: &str, shape: &[usize], init| {
            slots.add(format!("vit.encoder.layer.{layer}.{part}"), shape, init)
        };
        let norm1 = (
            add("layernorm_before.weight", &[width], Init::Ones),
            add("layernorm_before.bias", &[width], Init::Zeros),
        );
        let query = add("attention.attention.query.weight", &[width, width], matrix);
        let _key = add("attention.attention.key.weight", &[width, width], matrix);
        let value = add("attention.attention.value.weight", &[width, width], matrix);
        let query_bias = add("attention.attention.query.bias", &[width], Init::Zeros);
        let _key_bias = add("attention.attention.key.bias", &[width], Init::Zeros);
        let value_bias = add("attention.attention.value.bias", &[width], Init::Zeros);
        Self {
            width,
            inner,
            epsilon: config.layer_norm_eps as f32,
            activation: config.hidden_act,
            norm1,
            // Three matrices side by side are one matrix (3 width, width).
            packed: (query.start..value.end, query_bias.start..value_bias.end),
            out: (
                add("attention.output.dense.weight", &[width, width], matrix),
                add("attention.output.dense.bias", &[width], Init::Zeros),
            ),
            norm2: (
                add("layernorm_after.weight", &[width], Init::Ones),
                add("layernorm_after.bias", &[width], Init::Zeros),
            ),
            up: (
                add("intermediate.dense.weight", &[inner, width], matrix),
                add("intermediate.dense.bias", &[inner], Init::Zeros),
            ),
            down: (
                add("output.dense.weight", &[width, inner], matrix),
                add("output.dense.bias", &[width], Init::Zeros),
            ),
        }
    }

    fn norm<'a>(&self, (gain, shift): &Pair, weights: &'a [f32]) -> Norm<'a> {
        Norm { gain: &weights[gain.clone()], shift: &weights[shift.clone()], epsilon: self.epsilon }
    }

    fn square(&self) -> Linear {
        Linear { inputs: self.width, outputs: self.width }
    }

    /// `y (rows, width)` from `x (rows, width)`.
    pub fn forward(&self, weights: &[f32], spans: &Spans, x: &[f32], y: &mut [f32], saved: &mut Saved) {
        let rows = spans.total_rows();
        let (narrow, wide) = (rows * self.width, rows * self.inner);
        let weight = |range: &Range<usize>| &weights[range.clone()];

        let normalized = scratch(&mut saved.normalized1, narrow);
        normalized.copy_from_slice(x);
        let read = scratch(&mut saved.read1, narrow);
        let deviations = scratch(&mut saved.deviations1, rows);
        self.norm(&self.norm1, weights).forward(normalized, &[], &[], read, deviations);
        let packed = scratch(&mut saved.packed, 3 * narrow);
        let three = Linear { inputs: self.width, outputs: 3 * self.width };
        three.forward_bias(weight(&self.packed.0), weight(&self.packed.1), read, packed);
        let probabilities = scratch(&mut saved.probabilities, spans.total_probabilities());
        let context = scratch(&mut saved.context, narrow);
        attention::forward(spans, self.width, packed, probabilities, context, None, &mut []);
        let attended = scratch(&mut saved.attended, narrow);
        self.square().forward_bias(weight(&self.out.0), weight(&self.out.1), context, attended);
        add(attended, x);

        let normalized = scratch(&mut saved.normalized2, narrow);
        normalized.copy_from_slice(attended);
        let read = scratch(&mut saved.read2, narrow);
        let deviations = scratch(&mut saved.deviations2, rows);
        self.norm(&self.norm2, weights).forward(normalized, &[], &[], read, deviations);
        let derivative = scratch(&mut saved.derivative, wide);
        let activated = scratch(&mut saved.activated, wide);
        let up = Linear { inputs: self.width, outputs: self.inner };
        up.forward(weight(&self.up.0), read, derivative);
        self.activation.forward(derivative, weight(&self.up.1), activated);
        let down = Linear { inputs: self.inner, outputs: self.width };
        down.forward_bias(weight(&self.down.0), weight(&self.down.1), activated, y);
        add(y, attended);
    }

    /// Writes the weight gradients; `dy (rows, width)` becomes the gradient of `x`.
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        weights: &[f32],
        gradient: &mut [f32],
        spans: &Spans,
        dy: &mut [f32],
        saved: &Saved,
        shared: &mut Shared,
    ) {
        let rows = spans.total_rows();
        let (narrow, wide) = (rows * self.width, rows * self.inner);
        let weight = |range: &Range<usize>| &weights[range.clone()];
        let Shared { partial, wide: wide_buffer, narrow: narrow_buffer, packed, probabilities } = shared;

        let down = Linear { inputs: self.inner, outputs: self.width };
        column_sums(dy, self.width, &mut gradient[self.down.1.clone()], partial);
        down.backward_weight(&saved.activated[..wide], dy, &mut gradient[self.down.0.clone()]);
        let dwide = scratch(wide_buffer, wide);
        down.backward_input(weight(&self.down.0), dy, dwide, Into::Replace);
        let derivative = &saved.derivative[..wide];
        activation::backward(dwide, derivative, self.inner, &mut gradient[self.up.1.clone()], partial);
        let up = Linear { inputs: self.width, outputs: self.inner };
        up.backward_weight(&saved.read2[..narrow], dwide, &mut gradient[self.up.0.clone()]);
        let dread = scratch(narrow_buffer, narrow);
        up.backward_input(weight(&self.up.0), dwide, dread, Into::Replace);
        let kept = (&saved.normalized2[..narrow], &saved.deviations2[..rows]);
        self.norm_backward(&self.norm2, weights, gradient, dread, kept, partial);
        add_slice(dy, dread);

        column_sums(dy, self.width, &mut gradient[self.out.1.clone()], partial);
        let square = self.square();
        square.backward_weight(&saved.context[..narrow], dy, &mut gradient[self.out.0.clone()]);
        let dcontext = scratch(narrow_buffer, narrow);
        square.backward_input(weight(&self.out.0), dy, dcontext, Into::Replace);
        let dpacked = scratch(packed, 3 * narrow);
        let total = spans.total_probabilities();
        attention::backward(
            spans,
            self.width,
            &saved.packed[..3 * narrow],
            &saved.probabilities[..total],
            dcontext,
            dpacked,
            None,
            scratch(probabilities, total),
        );
        column_sums(dpacked, 3 * self.width, &mut gradient[self.packed.1.clone()], partial);
        let three = Linear { inputs: self.width, outputs: 3 * self.width };
        three.backward_weight(&saved.read1[..narrow], dpacked, &mut gradient[self.packed.0.clone()]);
        let dread = scratch(narrow_buffer, narrow);
        three.backward_input(weight(&self.packed.0), dpacked, dread, Into::Replace);
        let kept = (&saved.normalized1[..narrow], &saved.deviations1[..rows]);
        self.norm_backward(&self.norm1, weights, gradient, dread, kept, partial);
        add_slice(dy, dread);
    }

    /// `dread` becomes the gradient of what was normalised.
    fn norm_backward(
        &self,
        pair: &Pair,
        weights: &[f32],
        gradient: &mut [f32],
        dread: &mut [f32],
        (normalized, deviations): (&[f32], &[f32]),
        partial: &mut Vec<f32>,
    ) {
        let [gain, shift] =
            gradient.get_disjoint_mut([pair.0.clone(), pair.1.clone()]).expect("slots do not overlap");
        let parts = NormGradient { gain, shift, bias: &mut [] };
        self.norm(pair, weights).backward(dread, normalized, deviations, parts, partial);
    }
}
