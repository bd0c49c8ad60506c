//! The output of an encoder: one label per token, or one per sequence through BERT's pooler.

use std::ops::Range;

use crate::arch::config::Head;
use crate::arch::masks::{Site, StepDropout};
use crate::arch::slot::{Init, Slots};
use crate::ops::attention::Spans;
use crate::ops::gemm::Into;
use crate::ops::linear::Linear;
use crate::ops::vector::{column_sums, scratch};

/// A linear classifier over token states, or over the pooled first token of each sequence.
#[derive(Debug)]
pub struct Classifier {
    width: usize,
    labels: usize,
    pooler: Option<(Range<usize>, Range<usize>)>,
    weight: Range<usize>,
    bias: Range<usize>,
    first: Vec<f32>,  // (sequences, width): states of the first tokens, classification only
    pooled: Vec<f32>, // (sequences, width): tanh of the pooler
    read: Vec<f32>,   // what the classifier reads if it is neither the states nor `pooled`
    keep: Vec<u8>,
    back: Vec<f32>,
    rows: usize,
}

impl Classifier {
    /// Adds the head's tensors to the slots under Hugging Face names.
    pub fn new(head: &Head, width: usize, slots: &mut Slots) -> Self {
        let matrix = Init::Normal(0.02);
        let pooler = match head {
            Head::Tagging { .. } | Head::Language { .. } | Head::Pair { .. } => None,
            Head::Classification { .. } => Some((
                slots.add("bert.pooler.dense.weight", &[width, width], matrix),
                slots.add("bert.pooler.dense.bias", &[width], Init::Zeros),
            )),
        };
        let labels = head.labels();
        Self {
            width,
            labels,
            pooler,
            weight: slots.add("classifier.weight", &[labels, width], matrix),
            bias: slots.add("classifier.bias", &[labels], Init::Zeros),
            first: Vec::new(),
            pooled: Vec::new(),
            read: Vec::new(),
            keep: Vec::new(),
            back: Vec::new(),
            rows: 0,
        }
    }

    fn classifier(&self) -> Linear {
        Linear { inputs: self.width, outputs: self.labels }
    }

    fn square(&self) -> Linear {
        Linear { inputs: self.width, outputs: self.width }
    }

    /// Outputs of the last forward pass: tokens when tagging, sequences when classifying.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// `logits (outputs, labels)` from the last states `(rows, width)`.
    pub fn forward(
        &mut self,
        weights: &[f32],
        spans: &Spans,
        states: &[f32],
        dropout: Option<StepDropout>,
        logits: &mut Vec<f32>,
    ) {
        let layer = self.classifier();
        let square = self.square();
        self.rows = if self.pooler.is_some() { spans.sequences() } else { spans.total_rows() };
        let length = self.rows * self.width;
        let mut input = states;
        if let Some((weight, bias)) = &self.pooler {
            let first = scratch(&mut self.first, length);
            for (first, start) in first.chunks_exact_mut(self.width).zip(spans.starts()) {
                first.copy_from_slice(&states[start * self.width..][..self.width]);
            }
            let pooled = scratch(&mut self.pooled, length);
            square.forward_bias(&weights[weight.clone()], &weights[bias.clone()], first, pooled);
            for value in pooled.iter_mut() {
                *value = value.tanh();
            }
            input = pooled;
        }
        if let Some(step) = dropout {
            let read = scratch(&mut self.read, length);
            read.copy_from_slice(input);
            step.fill(Site::Classifier, length, &mut self.keep);
            step.dropout.apply(read, &self.keep);
            input = read;
        }
        let logits = scratch(logits, self.rows * self.labels);
        layer.forward_bias(&weights[self.weight.clone()], &weights[self.bias.clone()], input, logits);
    }

    /// Writes the head's gradients and `dstates (rows, width)` from the gradient of the logits.
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &mut self,
        weights: &[f32],
        gradient: &mut [f32],
        spans: &Spans,
        states: &[f32],
        dlogits: &[f32],
        dropout: Option<StepDropout>,
        dstates: &mut [f32],
        partial: &mut Vec<f32>,
    ) {
        let (layer, square) = (self.classifier(), self.square());
        let length = self.rows * self.width;
        let input = match (dropout, &self.pooler) {
            (Some(_), _) => &self.read[..length],
            (None, Some(_)) => &self.pooled[..length],
            (None, None) => states,
        };
        layer.backward_weight(input, dlogits, &mut gradient[self.weight.clone()]);
        column_sums(dlogits, self.labels, &mut gradient[self.bias.clone()], partial);
        let weight = &weights[self.weight.clone()];
        let Some((pooler_weight, pooler_bias)) = &self.pooler else {
            layer.backward_input(weight, dlogits, dstates, Into::Replace);
            if let Some(step) = dropout {
                step.dropout.apply(dstates, &self.keep);
            }
            return;
        };
        let back = scratch(&mut self.back, 2 * length);
        let (dpooled, dfirst) = back.split_at_mut(length);
        layer.backward_input(weight, dlogits, dpooled, Into::Replace);
        if let Some(step) = dropout {
            step.dropout.apply(dpooled, &self.keep);
        }
        for (d, pooled) in dpooled.iter_mut().zip(&self.pooled) {
            *d *= 1.0 - pooled * pooled;
        }
        square.backward_weight(&self.first[..length], dpooled, &mut gradient[pooler_weight.clone()]);
        column_sums(dpooled, self.width, &mut gradient[pooler_bias.clone()], partial);
        square.backward_input(&weights[pooler_weight.clone()], dpooled, dfirst, Into::Replace);
        dstates.fill(0.0);
        for (dfirst, start) in dfirst.chunks_exact(self.width).zip(spans.starts()) {
            dstates[start * self.width..][..self.width].copy_from_slice(dfirst);
        }
    }
}
