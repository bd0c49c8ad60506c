//! GraphSAGE with mean aggregation on the kernels of `ops`.
//!
//! ```text
//! h₁ = relu(bag(x) S₀ + mean over neighbours of bag(x) N₀ + b₀)        logits = h S + mean(h) N + b
//! ```
//!
//! The first layer reads lists of features, each row scaled to sum 1, and so is a bag of table rows; the mean is taken
//! after the product, which is the same and costs less. It knows nodes by their features only, so it works on nodes and
//! graphs it never saw.

use std::ops::Range;

use crate::arch::graph_config::GraphConfig;
use crate::arch::masks::{Site, StepDropout};
use crate::arch::neighbourhood::Neighbourhood;
use crate::arch::slot::{Init, Slots};
use crate::error::Result;
use crate::ops::activation::{self, Activation};
use crate::ops::bag::{Lists, bag, bag_backward, mean, mean_backward};
use crate::ops::dropout::Dropout;
use crate::ops::gemm::Into;
use crate::ops::linear::Linear;
use crate::ops::vector::{add, column_sums, scratch};
use crate::seed::Seed;

/// The network and its buffers.
#[derive(Debug)]
pub struct GraphSage {
    config: GraphConfig,
    layers: Vec<Layer>,
    dropout: Option<Dropout>,
    /// Copies of the last batch, for the backward pass.
    hops: Vec<u32>,
    neighbour_starts: Vec<u32>,
    neighbours: Vec<u32>,
    feature_starts: Vec<u32>,
    features: Vec<u32>,
    weights: Vec<f32>, // of every feature entry: 1 / number of the node's features, dropped ones 0
    step: Option<StepDropout>,
    keep: Vec<u8>,
    mixed: Vec<f32>,
    back: [Vec<f32>; 3],
    partial: Vec<f32>,
}

#[derive(Debug)]
struct Layer {
    inputs: usize,
    outputs: usize,
    own: Range<usize>,
    around: Range<usize>,
    bias: Range<usize>,
    input: Vec<f32>,      // (nodes of the hop before, inputs), none for the first layer
    mean: Vec<f32>,       // (nodes, inputs), none for the first layer
    derivative: Vec<f32>, // (nodes, outputs), of the ReLU
    keep: Vec<u8>,
}

impl GraphSage {
    /// Builds the network and adds its tensors to the slots.
    pub fn new(config: &GraphConfig, labels: usize, slots: &mut Slots) -> Self {
        let layers = (0..config.num_layers)
            .map(|number| {
                let inputs = if number == 0 { config.features } else { config.hidden_size };
                let outputs = if number + 1 == config.num_layers { labels } else { config.hidden_size };
                // The first layer is looked up by feature, so it lies by feature; the others as PyTorch has them.
                let shape = if number == 0 { [inputs, outputs] } else { [outputs, inputs] };
                let matrix = Init::Uniform((6.0 / (inputs + outputs) as f64).sqrt());
                let name = |part: &str| format!("layers.{number:02}.{part}");
                Layer {
                    inputs,
                    outputs,
                    own: slots.add(name("own.weight"), &shape, matrix),
                    around: slots.add(name("neighbours.weight"), &shape, matrix),
                    bias: slots.add(name("bias"), &[outputs], Init::Zeros),
                    input: Vec::new(),
                    mean: Vec::new(),
                    derivative: Vec::new(),
                    keep: Vec::new(),
                }
            })
            .collect();
        Self {
            layers,
            dropout: Dropout::new(config.dropout),
            config: config.clone(),
            hops: Vec::new(),
            neighbour_starts: Vec::new(),
            neighbours: Vec::new(),
            feature_starts: Vec::new(),
            features: Vec::new(),
            weights: Vec::new(),
            step: None,
            keep: Vec::new(),
            mixed: Vec::new(),
            back: [Vec::new(), Vec::new(), Vec::new()],
            partial: Vec::new(),
        }
    }

    /// Outputs of the last forward pass: nodes whose class was asked for.
    pub fn outputs(&self) -> usize {
        self.hops.first().map_or(0, |targets| *targets as usize)
    }

    /// Computes `logits (targets, labels)`.
    pub fn forward(
        &mut self,
        parameters: &[f32],
        batch: Neighbourhood<'_>,
        training: Option<&Seed>,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        batch.check(self.config.num_layers, self.config.features)?;
        self.step = match (self.dropout, training) {
            (Some(dropout), Some(seed)) => Some(StepDropout { dropout, seed: *seed }),
            _ => None,
        };
        copy(&mut self.hops, batch.hops);
        copy(&mut self.neighbour_starts, batch.neighbours.starts);
        copy(&mut self.neighbours, batch.neighbours.entries);
        copy(&mut self.feature_starts, batch.features.starts);
        copy(&mut self.features, batch.features.entries);
        feature_weights(batch.features, self.step, &mut self.keep, &mut self.weights);
        for number in 0..self.layers.len() {
            let (rows, is_last) = (batch.computed(number), number + 1 == self.layers.len());
            let layer = &mut self.layers[number];
            let length = rows * layer.outputs;
            let around = batch.neighbours.first(rows);
            let bias = &parameters[layer.bias.clone()];
            let own = &parameters[layer.own.clone()];
            let of_neighbours = &parameters[layer.around.clone()];
            let sum = if is_last { scratch(logits, length) } else { scratch(&mut layer.derivative, length) };
            if number == 0 {
                let all = batch.features.rows();
                let mixed = scratch(&mut self.mixed, all * layer.outputs);
                bag(batch.features, &self.weights, of_neighbours, layer.outputs, mixed);
                mean(around, mixed, layer.outputs, sum);
                let mixed = scratch(&mut self.mixed, length);
                bag(batch.features.first(rows), &self.weights, own, layer.outputs, mixed);
                add(sum, mixed);
            } else {
                let linear = Linear { inputs: layer.inputs, outputs: layer.outputs };
                let input = &layer.input;
                let average = scratch(&mut layer.mean, rows * layer.inputs);
                mean(around, input, layer.inputs, average);
                linear.forward(of_neighbours, average, sum);
                let mixed = scratch(&mut self.mixed, length);
                linear.forward(own, &input[..rows * layer.inputs], mixed);
                add(sum, mixed);
            }
            if is_last {
                for row in sum.chunks_exact_mut(bias.len()) {
                    for (value, bias) in row.iter_mut().zip(bias) {
                        *value += bias;
                    }
                }
                continue;
            }
            let (done, rest) = self.layers.split_at_mut(number + 1);
            let (layer, output) = (&mut done[number], &mut rest[0].input);
            output.resize(length, 0.0);
            Activation::Relu.forward(&mut layer.derivative[..length], bias, output);
            if let Some(step) = self.step {
                step.fill(Site::Output(number), length, &mut layer.keep);
                step.dropout.apply(output, &layer.keep);
            }
        }
        Ok(())
    }

    /// Writes the gradient of every parameter from the gradient of the logits.
    pub fn backward(&mut self, parameters: &[f32], gradient: &mut [f32], dlogits: &[f32]) {
        let neighbours = Lists { starts: &self.neighbour_starts, entries: &self.neighbours };
        let features = Lists { starts: &self.feature_starts, entries: &self.features };
        let [current, next, other] = &mut self.back;
        current.clear();
        current.extend_from_slice(dlogits);
        for number in (0..self.layers.len()).rev() {
            let layer = &self.layers[number];
            let rows = self.hops[self.hops.len() - 2 - number] as usize;
            let around = neighbours.first(rows);
            if number + 1 == self.layers.len() {
                let bias = &mut gradient[layer.bias.clone()];
                column_sums(current, layer.outputs, bias, &mut self.partial);
            } else {
                if let Some(step) = self.step {
                    step.dropout.apply(current, &layer.keep);
                }
                let derivative = &layer.derivative[..rows * layer.outputs];
                let bias = &mut gradient[layer.bias.clone()];
                activation::backward(current, derivative, layer.outputs, bias, &mut self.partial);
            }
            if number == 0 {
                let own = &mut gradient[layer.own.clone()];
                own.fill(0.0);
                bag_backward(features.first(rows), &self.weights, current, layer.outputs, own);
                let all = features.rows();
                let dmixed = scratch(next, all * layer.outputs);
                dmixed.fill(0.0);
                mean_backward(around, current, layer.outputs, dmixed);
                let table = &mut gradient[layer.around.clone()];
                table.fill(0.0);
                bag_backward(features, &self.weights, dmixed, layer.outputs, table);
                continue;
            }
            let linear = Linear { inputs: layer.inputs, outputs: layer.outputs };
            let width = layer.inputs;
            let average = &layer.mean[..rows * width];
            linear.backward_weight(&layer.input[..rows * width], current, &mut gradient[layer.own.clone()]);
            linear.backward_weight(average, current, &mut gradient[layer.around.clone()]);
            let dmean = scratch(other, rows * width);
            linear.backward_input(&parameters[layer.around.clone()], current, dmean, Into::Replace);
            next.clear();
            next.resize(layer.input.len(), 0.0);
            linear.backward_input(
                &parameters[layer.own.clone()],
                current,
                &mut next[..rows * width],
                Into::Replace,
            );
            mean_backward(around, dmean, width, next);
            std::mem::swap(current, next);
        }
    }
}

fn copy(to: &mut Vec<u32>, from: &[u32]) {
    to.clear();
    to.extend_from_slice(from);
}

/// The weight of every feature entry: 1 over the number of its node's features, times the dropout.
pub(super) fn feature_weights(
    features: Lists<'_>,
    step: Option<StepDropout>,
    keep: &mut Vec<u8>,
    weights: &mut Vec<f32>,
) {
    weights.clear();
    for row in 0..features.rows() {
        let length = features.range(row).len();
        weights.extend(std::iter::repeat_n(1.0 / length.max(1) as f32, length));
    }
    if let Some(step) = step {
        step.fill(Site::Embedding, weights.len(), keep);
        step.dropout.apply(weights, keep);
    }
}
