//! Scores of pairs of nodes: both through one graph tower, then products and sums of what it says.
//!
//! ```text
//! logits = W (u ∘ v, u, v) + c
//! ```
//!
//! The product says what goes together, the sums what is liked by everybody and who likes everything. With one layer
//! whose nodes are described by what they chose, the tower is the implicit and the social part of TrustSVD (Guo, Zhang and
//! Yorke-Smith 2015).

use std::ops::Range;

use crate::arch::graph::GraphSage;
use crate::arch::graph_config::GraphConfig;
use crate::arch::neighbourhood::Neighbourhood;
use crate::arch::slot::{Init, Slots};
use crate::error::{Error, Result};
use crate::ops::gemm::Into;
use crate::ops::linear::Linear;
use crate::ops::vector::{column_sums, scratch};
use crate::seed::Seed;

/// The network and its buffers.
#[derive(Debug)]
pub struct PairScorer {
    tower: GraphSage,
    width: usize,
    labels: usize,
    weight: Range<usize>,
    bias: Range<usize>,
    states: Vec<f32>, // (2 pairs, width): first sides, then second sides
    read: Vec<f32>,   // (pairs, 3 width)
    dread: Vec<f32>,
    dstates: Vec<f32>,
    partial: Vec<f32>,
}

impl PairScorer {
    /// Builds the network and adds its tensors to the slots.
    pub fn new(config: &GraphConfig, labels: usize, slots: &mut Slots) -> Self {
        let width = config.hidden_size;
        let tower = GraphSage::new(config, width, slots);
        let matrix = Init::Uniform((6.0 / (3 * width + labels) as f64).sqrt());
        Self {
            tower,
            width,
            labels,
            weight: slots.add("pair.weight", &[labels, 3 * width], matrix),
            bias: slots.add("pair.bias", &[labels], Init::Zeros),
            states: Vec::new(),
            read: Vec::new(),
            dread: Vec::new(),
            dstates: Vec::new(),
            partial: Vec::new(),
        }
    }

    fn head(&self) -> Linear {
        Linear { inputs: 3 * self.width, outputs: self.labels }
    }

    /// Outputs of the last forward pass: pairs.
    pub fn outputs(&self) -> usize {
        self.tower.outputs() / 2
    }

    /// Computes `logits (pairs, labels)`; the first half of the batch's nodes are the first sides of the pairs, the other
    /// half the second sides.
    pub fn forward(
        &mut self,
        weights: &[f32],
        batch: Neighbourhood<'_>,
        training: Option<&Seed>,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        self.tower.forward(weights, batch, training, &mut self.states)?;
        let (targets, width) = (self.tower.outputs(), self.width);
        if !targets.is_multiple_of(2) {
            return Err(Error::shape("nodes of a batch of pairs", "two for each pair", targets));
        }
        let pairs = targets / 2;
        let (first, second) = self.states[..targets * width].split_at(pairs * width);
        let read = scratch(&mut self.read, pairs * 3 * width);
        for ((read, u), v) in
            read.chunks_exact_mut(3 * width).zip(first.chunks_exact(width)).zip(second.chunks_exact(width))
        {
            let (product, sides) = read.split_at_mut(width);
            for ((product, u), v) in product.iter_mut().zip(u).zip(v) {
                *product = u * v;
            }
            sides[..width].copy_from_slice(u);
            sides[width..].copy_from_slice(v);
        }
        let head = Linear { inputs: 3 * width, outputs: self.labels };
        let (weight, bias) = (&weights[self.weight.clone()], &weights[self.bias.clone()]);
        head.forward_bias(weight, bias, read, scratch(logits, pairs * self.labels));
        Ok(())
    }

    /// Writes the gradient of every parameter from the gradient of the logits.
    pub fn backward(&mut self, weights: &[f32], gradient: &mut [f32], dlogits: &[f32]) {
        let (head, width, pairs) = (self.head(), self.width, self.outputs());
        let read = &self.read[..pairs * 3 * width];
        head.backward_weight(read, dlogits, &mut gradient[self.weight.clone()]);
        column_sums(dlogits, self.labels, &mut gradient[self.bias.clone()], &mut self.partial);
        let dread = scratch(&mut self.dread, pairs * 3 * width);
        head.backward_input(&weights[self.weight.clone()], dlogits, dread, Into::Replace);
        let dstates = scratch(&mut self.dstates, 2 * pairs * width);
        let (dfirst, dsecond) = dstates.split_at_mut(pairs * width);
        let sides = dfirst.chunks_exact_mut(width).zip(dsecond.chunks_exact_mut(width));
        for ((du, dv), (dread, read)) in
            sides.zip(dread.chunks_exact(3 * width).zip(read.chunks_exact(3 * width)))
        {
            let (dproduct, dsides) = dread.split_at(width);
            let (u, v) = read[width..].split_at(width);
            for (k, dproduct) in dproduct.iter().enumerate() {
                du[k] = dproduct * v[k] + dsides[k];
                dv[k] = dproduct * u[k] + dsides[width + k];
            }
        }
        self.tower.backward(weights, gradient, dstates);
    }
}
