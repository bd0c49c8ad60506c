//! One transformer block of BERT: attention and feed-forward, each with residual sum and normalisation behind it.
//!
//! ```text
//! a = norm1(x + attention(x) Wo + bo)        y = norm2(a + f(a W1 + b1) W2 + b2)
//! ```
//!
//! One unit with an explicit backward pass: residual gradients are added where they arise, weight gradients go
//! straight into the flat buffer, and nothing is allocated after the first step of a size.

use std::ops::Range;

use crate::arch::config::EncoderConfig;
use crate::arch::masks::{Site, StepDropout};
use crate::arch::slot::{Init, Slots};
use crate::ops::activation::{self, Activation};
use crate::ops::attention::{self, ProbabilityDropout, Spans};
use crate::ops::gemm::Into;
use crate::ops::linear::Linear;
use crate::ops::norm::{Norm, NormGradient};
use crate::ops::vector::{column_sums, scratch};

/// A block's sizes and places of its parameters.
#[derive(Debug, Clone)]
pub struct Block {
    layer: usize,
    width: usize,
    inner: usize,
    epsilon: f32,
    activation: Activation,
    packed_weight: Range<usize>,
    packed_bias: Range<usize>,
    out_weight: Range<usize>,
    out_bias: Range<usize>,
    gain1: Range<usize>,
    shift1: Range<usize>,
    up_weight: Range<usize>,
    up_bias: Range<usize>,
    down_weight: Range<usize>,
    down_bias: Range<usize>,
    gain2: Range<usize>,
    shift2: Range<usize>,
}

/// What a block keeps from forward to backward; buffers only grow.
#[derive(Debug, Default)]
pub struct Saved {
    packed: Vec<f32>,        // (rows, 3 width): queries, keys, values
    probabilities: Vec<f32>, // (sequence, head, length, length)
    context: Vec<f32>,       // (rows, width)
    normalized1: Vec<f32>,   // (rows, width)
    deviations1: Vec<f32>,   // (rows)
    attended: Vec<f32>,      // (rows, width)
    derivative: Vec<f32>,    // (rows, inner)
    activated: Vec<f32>,     // (rows, inner)
    normalized2: Vec<f32>,   // (rows, width)
    deviations2: Vec<f32>,   // (rows)
    keep_probabilities: Vec<u8>,
    keep_attention: Vec<u8>,
    keep_output: Vec<u8>,
}

/// Buffers that all blocks of a network share, because only one block works at a time.
#[derive(Debug, Default)]
pub struct Shared {
    /// Partial column sums.
    pub partial: Vec<f32>,
    probabilities: Vec<f32>,
    wide: Vec<f32>,
    packed: Vec<f32>,
    narrow: Vec<f32>,
    branch: Vec<f32>,
}

impl Block {
    /// Adds a block's tensors to the slots under Hugging Face names.
    pub fn new(config: &EncoderConfig, layer: usize, slots: &mut Slots) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let matrix = Init::Normal(0.02);
        let name = |part: &str| format!("bert.encoder.layer.{layer}.{part}");
        let mut add = |part: &str, shape: &[usize], init| slots.add(name(part), shape, init);
        let query = add("attention.self.query.weight", &[width, width], matrix);
        let _key = add("attention.self.key.weight", &[width, width], matrix);
        let value = add("attention.self.value.weight", &[width, width], matrix);
        let query_bias = add("attention.self.query.bias", &[width], Init::Zeros);
        let _key_bias = add("attention.self.key.bias", &[width], Init::Zeros);
        let value_bias = add("attention.self.value.bias", &[width], Init::Zeros);
        Self {
            layer,
            width,
            inner,
            epsilon: config.layer_norm_eps as f32,
            activation: config.hidden_act,
            // Three matrices side by side are one matrix (3 width, width).
            packed_weight: query.start..value.end,
            packed_bias: query_bias.start..value_bias.end,
            out_weight: add("attention.output.dense.weight", &[width, width], matrix),
            out_bias: add("attention.output.dense.bias", &[width], Init::Zeros),
            gain1: add("attention.output.LayerNorm.weight", &[width], Init::Ones),
            shift1: add("attention.output.LayerNorm.bias", &[width], Init::Zeros),
            up_weight: add("intermediate.dense.weight", &[inner, width], matrix),
            up_bias: add("intermediate.dense.bias", &[inner], Init::Zeros),
            down_weight: add("output.dense.weight", &[width, inner], matrix),
            down_bias: add("output.dense.bias", &[width], Init::Zeros),
            gain2: add("output.LayerNorm.weight", &[width], Init::Ones),
            shift2: add("output.LayerNorm.bias", &[width], Init::Zeros),
        }
    }

    fn packed(&self) -> Linear {
        Linear { inputs: self.width, outputs: 3 * self.width }
    }

    fn out(&self) -> Linear {
        Linear { inputs: self.width, outputs: self.width }
    }

    fn up(&self) -> Linear {
        Linear { inputs: self.width, outputs: self.inner }
    }

    fn down(&self) -> Linear {
        Linear { inputs: self.inner, outputs: self.width }
    }

    fn norm1<'a>(&self, weights: &'a [f32]) -> Norm<'a> {
        Norm {
            gain: &weights[self.gain1.clone()],
            shift: &weights[self.shift1.clone()],
            epsilon: self.epsilon,
        }
    }

    fn norm2<'a>(&self, weights: &'a [f32]) -> Norm<'a> {
        Norm {
            gain: &weights[self.gain2.clone()],
            shift: &weights[self.shift2.clone()],
            epsilon: self.epsilon,
        }
    }

    /// `y (rows, width)` from `x (rows, width)`.
    #[allow(clippy::too_many_arguments)]
    pub fn forward(
        &self,
        weights: &[f32],
        spans: &Spans,
        x: &[f32],
        y: &mut [f32],
        saved: &mut Saved,
        shared: &mut Shared,
        dropout: Option<StepDropout>,
    ) {
        let rows = spans.total_rows();
        let (narrow, wide) = (rows * self.width, rows * self.inner);
        let weight = |range: &Range<usize>| &weights[range.clone()];

        let packed = scratch(&mut saved.packed, 3 * narrow);
        self.packed().forward_bias(weight(&self.packed_weight), weight(&self.packed_bias), x, packed);
        let probabilities = scratch(&mut saved.probabilities, spans.total_probabilities());
        let context = scratch(&mut saved.context, narrow);
        let mut attention_scratch: &mut [f32] = &mut [];
        let mut mask = None;
        if let Some(step) = dropout {
            step.fill(Site::Probabilities(self.layer), probabilities.len(), &mut saved.keep_probabilities);
            mask = Some(ProbabilityDropout { dropout: step.dropout, keep: &saved.keep_probabilities });
            attention_scratch = scratch(&mut shared.probabilities, probabilities.len());
        }
        attention::forward(spans, self.width, packed, probabilities, context, mask, attention_scratch);

        let normalized1 = scratch(&mut saved.normalized1, narrow);
        let attended = scratch(&mut saved.attended, narrow);
        let deviations1 = scratch(&mut saved.deviations1, rows);
        self.out().forward(weight(&self.out_weight), context, normalized1);
        let mut bias = weight(&self.out_bias);
        if let Some(step) = dropout {
            step.fill(Site::Attention(self.layer), narrow, &mut saved.keep_attention);
            step.dropout.apply_bias(normalized1, bias, &saved.keep_attention);
            bias = &[];
        }
        self.norm1(weights).forward(normalized1, bias, x, attended, deviations1);

        let derivative = scratch(&mut saved.derivative, wide);
        let activated = scratch(&mut saved.activated, wide);
        self.up().forward(weight(&self.up_weight), attended, derivative);
        self.activation.forward(derivative, weight(&self.up_bias), activated);

        let normalized2 = scratch(&mut saved.normalized2, narrow);
        let deviations2 = scratch(&mut saved.deviations2, rows);
        self.down().forward(weight(&self.down_weight), activated, normalized2);
        let mut bias = weight(&self.down_bias);
        if let Some(step) = dropout {
            step.fill(Site::Output(self.layer), narrow, &mut saved.keep_output);
            step.dropout.apply_bias(normalized2, bias, &saved.keep_output);
            bias = &[];
        }
        self.norm2(weights).forward(normalized2, bias, attended, y, deviations2);
    }

    /// Writes the weight gradients; `dy (rows, width)` becomes the gradient of `x`.
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        weights: &[f32],
        gradient: &mut [f32],
        spans: &Spans,
        x: &[f32],
        dy: &mut [f32],
        saved: &Saved,
        shared: &mut Shared,
        dropout: Option<StepDropout>,
    ) {
        let rows = spans.total_rows();
        let (narrow, wide) = (rows * self.width, rows * self.inner);
        let weight = |range: &Range<usize>| &weights[range.clone()];
        let Shared { partial, probabilities, wide: wide_buffer, packed, narrow: narrow_buffer, branch } =
            shared;

        // y = norm2(a + drop(f W2 + b2)): dy becomes the gradient of the sum, for both of its terms.
        let parts = [self.gain2.clone(), self.shift2.clone(), self.down_bias.clone()];
        let [gain, shift, bias] = gradient.get_disjoint_mut(parts).expect("slots do not overlap");
        let parts = NormGradient { gain, shift, bias };
        self.norm2(weights).backward(
            dy,
            &saved.normalized2[..narrow],
            &saved.deviations2[..rows],
            parts,
            partial,
        );
        let own = &mut gradient[self.down_bias.clone()];
        let branch_gradient = undrop(dy, dropout, &saved.keep_output, branch, own, partial);
        let activated = &saved.activated[..wide];
        self.down().backward_weight(activated, branch_gradient, &mut gradient[self.down_weight.clone()]);
        let dwide = scratch(wide_buffer, wide);
        self.down().backward_input(weight(&self.down_weight), branch_gradient, dwide, Into::Replace);

        let derivative = &saved.derivative[..wide];
        activation::backward(dwide, derivative, self.inner, &mut gradient[self.up_bias.clone()], partial);
        self.up().backward_weight(&saved.attended[..narrow], dwide, &mut gradient[self.up_weight.clone()]);
        self.up().backward_input(weight(&self.up_weight), dwide, dy, Into::Add);

        // a = norm1(x + drop(context Wo + bo)).
        let parts = [self.gain1.clone(), self.shift1.clone(), self.out_bias.clone()];
        let [gain, shift, bias] = gradient.get_disjoint_mut(parts).expect("slots do not overlap");
        let parts = NormGradient { gain, shift, bias };
        self.norm1(weights).backward(
            dy,
            &saved.normalized1[..narrow],
            &saved.deviations1[..rows],
            parts,
            partial,
        );
        let own = &mut gradient[self.out_bias.clone()];
        let branch_gradient = undrop(dy, dropout, &saved.keep_attention, branch, own, partial);
        let context = &saved.context[..narrow];
        self.out().backward_weight(context, branch_gradient, &mut gradient[self.out_weight.clone()]);
        let dcontext = scratch(narrow_buffer, narrow);
        self.out().backward_input(weight(&self.out_weight), branch_gradient, dcontext, Into::Replace);

        let mask =
            dropout.map(|step| ProbabilityDropout { dropout: step.dropout, keep: &saved.keep_probabilities });
        let copies = if mask.is_some() { 2 } else { 1 };
        let total = spans.total_probabilities();
        let dpacked = scratch(packed, 3 * narrow);
        attention::backward(
            spans,
            self.width,
            &saved.packed[..3 * narrow],
            &saved.probabilities[..total],
            dcontext,
            dpacked,
            mask,
            scratch(probabilities, copies * total),
        );
        column_sums(dpacked, 3 * self.width, &mut gradient[self.packed_bias.clone()], partial);
        self.packed().backward_weight(x, dpacked, &mut gradient[self.packed_weight.clone()]);
        self.packed().backward_input(weight(&self.packed_weight), dpacked, dy, Into::Add);
    }
}

/// The gradient in front of a dropped branch. Without dropout that is `dy` itself and the bias gradient is right
/// already; with it, a masked copy whose column sums replace the bias gradient.
fn undrop<'a>(
    dy: &'a [f32],
    dropout: Option<StepDropout>,
    keep: &[u8],
    branch: &'a mut Vec<f32>,
    bias_gradient: &mut [f32],
    partial: &mut Vec<f32>,
) -> &'a [f32] {
    let Some(step) = dropout else { return dy };
    let copy = scratch(branch, dy.len());
    copy.copy_from_slice(dy);
    step.dropout.apply(copy, keep);
    column_sums(copy, bias_gradient.len(), bias_gradient, partial);
    copy
}
