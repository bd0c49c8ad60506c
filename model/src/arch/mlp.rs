//! A multilayer perceptron with ReLU on the kernels of `ops`.

use std::ops::Range;

use crate::arch::config::MlpConfig;
use crate::arch::slot::{Init, Slots};
use crate::error::{Error, Result};
use crate::ops::activation::{self, Activation};
use crate::ops::gemm::Into;
use crate::ops::linear::Linear;
use crate::ops::vector::{column_sums, scratch};

/// The network and its buffers.
#[derive(Debug)]
pub struct Mlp {
    layers: Vec<Layer>,
    input: Vec<f32>,
    rows: usize,
    back: [Vec<f32>; 2],
    partial: Vec<f32>,
}

#[derive(Debug)]
struct Layer {
    linear: Linear,
    weight: Range<usize>,
    bias: Range<usize>,
    derivative: Vec<f32>, // (rows, out), of the ReLU
    output: Vec<f32>,     // (rows, out)
}

impl Mlp {
    /// Builds the network and adds its tensors to the slots.
    ///
    /// `matrix` sorts before `offset`, so the flat order is W1, b1, W2, b2 and so on.
    pub fn new(config: &MlpConfig, slots: &mut Slots) -> Self {
        let layers = config
            .layers
            .windows(2)
            .enumerate()
            .map(|(index, pair)| {
                let (inputs, outputs) = (pair[0], pair[1]);
                // He and others 2015: variance 2 / inputs keeps the scale through ReLU.
                let matrix = Init::Uniform((6.0 / inputs as f64).sqrt());
                Layer {
                    linear: Linear { inputs, outputs },
                    weight: slots.add(format!("layers.{index:02}.matrix"), &[outputs, inputs], matrix),
                    bias: slots.add(format!("layers.{index:02}.offset"), &[outputs], Init::Zeros),
                    derivative: Vec::new(),
                    output: Vec::new(),
                }
            })
            .collect();
        Self { layers, input: Vec::new(), rows: 0, back: [Vec::new(), Vec::new()], partial: Vec::new() }
    }

    /// Rows of the last forward pass.
    pub fn outputs(&self) -> usize {
        self.rows
    }

    /// Computes `logits (rows, classes)` from `values (rows, width)`.
    pub fn forward(
        &mut self,
        weights: &[f32],
        values: &[f32],
        width: usize,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        let inputs = self.layers[0].linear.inputs;
        if width != inputs {
            return Err(Error::shape("features per row", inputs, width));
        }
        if values.is_empty() || !values.len().is_multiple_of(width) {
            return Err(Error::shape("values in a batch", format!("a multiple of {width}"), values.len()));
        }
        self.rows = values.len() / width;
        self.input.clear();
        self.input.extend_from_slice(values);
        let last = self.layers.len() - 1;
        for index in 0..=last {
            let (before, rest) = self.layers.split_at_mut(index);
            let layer = &mut rest[0];
            let length = self.rows * layer.linear.outputs;
            let x = before
                .last()
                .map_or(&self.input[..], |layer| &layer.output[..self.rows * layer.linear.outputs]);
            let (weight, bias) = (&weights[layer.weight.clone()], &weights[layer.bias.clone()]);
            if index == last {
                layer.linear.forward_bias(weight, bias, x, scratch(logits, length));
            } else {
                let derivative = scratch(&mut layer.derivative, length);
                layer.linear.forward(weight, x, derivative);
                Activation::Relu.forward(derivative, bias, scratch(&mut layer.output, length));
            }
        }
        Ok(())
    }

    /// Writes the gradient of every parameter from the gradient of the logits.
    pub fn backward(&mut self, weights: &[f32], gradient: &mut [f32], dlogits: &[f32]) {
        let last = self.layers.len() - 1;
        let [mut current, mut next] = std::mem::take(&mut self.back);
        current.clear();
        current.extend_from_slice(dlogits);
        for index in (0..=last).rev() {
            let layer = &self.layers[index];
            let outputs = layer.linear.outputs;
            let bias_gradient = &mut gradient[layer.bias.clone()];
            if index == last {
                column_sums(&current, outputs, bias_gradient, &mut self.partial);
            } else {
                let derivative = &layer.derivative[..self.rows * outputs];
                activation::backward(&mut current, derivative, outputs, bias_gradient, &mut self.partial);
            }
            let x = match index {
                0 => &self.input[..],
                _ => &self.layers[index - 1].output[..self.rows * layer.linear.inputs],
            };
            layer.linear.backward_weight(x, &current, &mut gradient[layer.weight.clone()]);
            if index > 0 {
                next.resize(self.rows * layer.linear.inputs, 0.0);
                let weight = &weights[layer.weight.clone()];
                layer.linear.backward_input(weight, &current, &mut next, Into::Replace);
                std::mem::swap(&mut current, &mut next);
            }
        }
        self.back = [current, next];
    }
}
