//! Several towers joined by a gated sum (after Arevalo and others 2017): text, image, table, graph.
//!
//! ```text
//! hₘ = tanh(towerₘ(x))     α = softmax over the modalities a row has of (gₘ · hₘ + cₘ)
//! z = Σ αₘ hₘ              logits = W₂ relu(W₁ z + b₁) + b₂
//! ```
//!
//! What a row lacks has no gate and no part in the sum; the others share its weight. Each tower is an architecture of
//! its own with its own tensor names behind a prefix.

use std::ops::Range;

use crate::arch::config::MultimodalConfig;
use crate::arch::modality::Modality;
use crate::arch::records::Records;
use crate::arch::slot::{Init, Slots};
use crate::arch::tower::Tower;
use crate::error::Result;
use crate::ops::activation::{self, Activation};
use crate::ops::gemm::Into;
use crate::ops::linear::Linear;
use crate::ops::vector::{column_sums, dot, scratch};
use crate::seed::Seed;

/// The network and its buffers.
#[derive(Debug)]
pub struct Multimodal {
    width: usize,
    hidden: usize,
    labels: usize,
    towers: Vec<Gated>,
    inner: (Range<usize>, Range<usize>),
    outer: (Range<usize>, Range<usize>),
    rows: usize,
    shares: Vec<f32>, // (rows, towers): α, 0 where a row lacks the modality
    joined: Vec<f32>, // (rows, width)
    derivative: Vec<f32>,
    read: Vec<f32>, // (rows, hidden)
    dread: Vec<f32>,
    djoined: Vec<f32>,
    dshares: Vec<f32>,
    partial: Vec<f32>,
}

/// A tower with its gate.
#[derive(Debug)]
struct Gated {
    modality: Modality,
    network: Tower,
    gate: (Range<usize>, Range<usize>),
    /// All its tensors, the gate included.
    range: Range<usize>,
    rows: Vec<u32>,
    states: Vec<f32>, // (rows that have it, width)
    dstates: Vec<f32>,
}

impl Multimodal {
    /// Builds the network and adds its tensors to the slots.
    pub fn new(config: &MultimodalConfig, labels: usize, slots: &mut Slots) -> Self {
        let (width, hidden) = (config.width, config.hidden_size);
        let towers = config
            .towers()
            .into_iter()
            .map(|(modality, arch)| {
                let start = slots.total();
                let name = modality.name();
                let prefix = format!("{name}.");
                let network = slots
                    .within(&prefix, |slots| Tower::new(&arch, &config.tower_head(), slots))
                    .expect("a configuration names towers only");
                let gate = (
                    slots.add(format!("join.{name}.weight"), &[1, width], Init::Normal(0.02)),
                    slots.add(format!("join.{name}.bias"), &[1], Init::Zeros),
                );
                Gated {
                    modality,
                    network,
                    gate,
                    range: start..slots.total(),
                    rows: Vec::new(),
                    states: Vec::new(),
                    dstates: Vec::new(),
                }
            })
            .collect();
        let inner = Init::Uniform((6.0 / width as f64).sqrt());
        let outer = Init::Uniform((6.0 / (hidden + labels) as f64).sqrt());
        Self {
            width,
            hidden,
            labels,
            towers,
            inner: (
                slots.add("join.inner.weight", &[hidden, width], inner),
                slots.add("join.inner.bias", &[hidden], Init::Zeros),
            ),
            outer: (
                slots.add("join.outer.weight", &[labels, hidden], outer),
                slots.add("join.outer.bias", &[labels], Init::Zeros),
            ),
            rows: 0,
            shares: Vec::new(),
            joined: Vec::new(),
            derivative: Vec::new(),
            read: Vec::new(),
            dread: Vec::new(),
            djoined: Vec::new(),
            dshares: Vec::new(),
            partial: Vec::new(),
        }
    }

    /// Rows of the last forward pass.
    pub fn outputs(&self) -> usize {
        self.rows
    }

    /// Computes `logits (rows, labels)`.
    pub fn forward(
        &mut self,
        weights: &[f32],
        records: Records<'_>,
        training: Option<&Seed>,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        let modalities: Vec<Modality> = self.towers.iter().map(|tower| tower.modality).collect();
        records.check(&modalities)?;
        self.rows = records.rows;
        let (rows, width, count) = (self.rows, self.width, self.towers.len());
        let shares = scratch(&mut self.shares, rows * count);
        shares.fill(f32::NEG_INFINITY);
        for (place, tower) in self.towers.iter_mut().enumerate() {
            tower.rows.clear();
            let Some((rows, input)) = records.part(tower.modality) else { continue };
            // A seed of its own: equal places of two towers do not drop alike.
            let seed = training.map(|seed| seed.fork(tower.modality.name()));
            tower.network.forward(weights, input, seed.as_ref(), &mut tower.states)?;
            tower.rows.extend_from_slice(rows);
            let bias = weights[tower.gate.1.start];
            for (row, state) in rows.iter().zip(tower.states.chunks_exact_mut(width)) {
                state.iter_mut().for_each(|value| *value = value.tanh());
                shares[*row as usize * count + place] = dot(&weights[tower.gate.0.clone()], state) + bias;
            }
        }
        for row in shares.chunks_exact_mut(count) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter_mut().for_each(|score| *score = (*score - largest).exp());
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|share| *share /= sum);
        }
        let joined = scratch(&mut self.joined, rows * width);
        joined.fill(0.0);
        for (place, tower) in self.towers.iter().enumerate() {
            for (row, state) in tower.rows.iter().zip(tower.states.chunks_exact(width)) {
                let row = *row as usize;
                let share = shares[row * count + place];
                for (to, value) in joined[row * width..(row + 1) * width].iter_mut().zip(state) {
                    *to += share * value;
                }
            }
        }
        let (inner, outer) = (self.inner_layer(), self.outer_layer());
        let derivative = scratch(&mut self.derivative, rows * self.hidden);
        inner.forward(&weights[self.inner.0.clone()], &self.joined[..rows * width], derivative);
        let read = scratch(&mut self.read, rows * self.hidden);
        Activation::Relu.forward(derivative, &weights[self.inner.1.clone()], read);
        let (weight, bias) = (&weights[self.outer.0.clone()], &weights[self.outer.1.clone()]);
        outer.forward_bias(weight, bias, read, scratch(logits, rows * self.labels));
        Ok(())
    }

    fn inner_layer(&self) -> Linear {
        Linear { inputs: self.width, outputs: self.hidden }
    }

    fn outer_layer(&self) -> Linear {
        Linear { inputs: self.hidden, outputs: self.labels }
    }

    /// Writes the gradient of every parameter from the gradient of the logits of the last training forward pass.
    pub fn backward(&mut self, weights: &[f32], gradient: &mut [f32], dlogits: &[f32]) {
        let (inner, outer) = (self.inner_layer(), self.outer_layer());
        let (rows, width, count) = (self.rows, self.width, self.towers.len());
        let read = &self.read[..rows * self.hidden];
        outer.backward_weight(read, dlogits, &mut gradient[self.outer.0.clone()]);
        column_sums(dlogits, self.labels, &mut gradient[self.outer.1.clone()], &mut self.partial);
        let dread = scratch(&mut self.dread, rows * self.hidden);
        outer.backward_input(&weights[self.outer.0.clone()], dlogits, dread, Into::Replace);
        let derivative = &self.derivative[..rows * self.hidden];
        let bias = &mut gradient[self.inner.1.clone()];
        activation::backward(dread, derivative, self.hidden, bias, &mut self.partial);
        inner.backward_weight(&self.joined[..rows * width], dread, &mut gradient[self.inner.0.clone()]);
        let djoined = scratch(&mut self.djoined, rows * width);
        inner.backward_input(&weights[self.inner.0.clone()], dread, djoined, Into::Replace);

        // Through the softmax: dscore = α (dα - Σ α dα), with dα = dz · h.
        let dshares = scratch(&mut self.dshares, rows * count);
        dshares.fill(0.0);
        for (place, tower) in self.towers.iter().enumerate() {
            for (row, state) in tower.rows.iter().zip(tower.states.chunks_exact(width)) {
                let row = *row as usize;
                dshares[row * count + place] = dot(&djoined[row * width..(row + 1) * width], state);
            }
        }
        for (dshares, shares) in dshares.chunks_exact_mut(count).zip(self.shares.chunks_exact(count)) {
            let mean: f32 = dshares.iter().zip(shares).map(|(d, share)| d * share).sum();
            dshares.iter_mut().zip(shares).for_each(|(d, share)| *d = share * (*d - mean));
        }
        for (place, tower) in self.towers.iter_mut().enumerate() {
            gradient[tower.range.clone()].fill(0.0);
            if tower.rows.is_empty() {
                continue;
            }
            let length = tower.rows.len() * width;
            let dstates = scratch(&mut tower.dstates, length);
            let states = tower.states[..length].chunks_exact(width);
            let gate = &weights[tower.gate.0.clone()];
            for ((row, state), dstate) in tower.rows.iter().zip(states).zip(dstates.chunks_exact_mut(width)) {
                let row = *row as usize;
                let (share, dscore) = (self.shares[row * count + place], dshares[row * count + place]);
                let djoined = &djoined[row * width..(row + 1) * width];
                for (k, value) in state.iter().enumerate() {
                    gradient[tower.gate.0.start + k] += dscore * value;
                    let dstate_k = share * djoined[k] + dscore * gate[k];
                    dstate[k] = dstate_k * (1.0 - value * value);
                }
                gradient[tower.gate.1.start] += dscore;
            }
            tower.network.backward(weights, gradient, dstates);
        }
    }
}
