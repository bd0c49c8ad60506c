//! Towers joined by a gated sum (after Arevalo and others 2017), explicitly.
//!
//! ```text
//! hₘ = tanh(towerₘ(x))     α = softmax over the modalities a row has of (gₘ · hₘ + cₘ)     z = Σ αₘ hₘ
//! ```
//!
//! What a row lacks has no gate and no part in the sum; the others share its weight.

use std::ops::Range;

use crate::arch::member::Member;
use crate::arch::slot::{Init, Slots};
use crate::ops::vector::{dot, scratch};

/// The gates and their buffers.
#[derive(Debug, Default)]
pub struct GatedSum {
    width: usize,
    gates: Vec<(Range<usize>, Range<usize>)>,
    shares: Vec<f32>, // (rows, towers): α, 0 where a row lacks the modality
    dshares: Vec<f32>,
}

impl GatedSum {
    /// No gates yet, for vectors of `width`.
    pub fn new(width: usize) -> Self {
        Self { width, ..Self::default() }
    }

    /// Adds the tensors of the next tower's gate to the slots.
    pub fn add_tower(&mut self, name: &str, slots: &mut Slots) {
        self.gates.push((
            slots.add(format!("join.{name}.weight"), &[1, self.width], Init::Normal(0.02)),
            slots.add(format!("join.{name}.bias"), &[1], Init::Zeros),
        ));
    }

    /// Writes `joined (rows, width)`; what the towers said becomes its hyperbolic tangent.
    pub fn forward(&mut self, weights: &[f32], towers: &mut [Member], rows: usize, joined: &mut [f32]) {
        let (width, count) = (self.width, towers.len());
        let shares = scratch(&mut self.shares, rows * count);
        shares.fill(f32::NEG_INFINITY);
        for (place, (tower, gate)) in towers.iter_mut().zip(&self.gates).enumerate() {
            let bias = weights[gate.1.start];
            tower.states_mut().iter_mut().for_each(|value| *value = value.tanh());
            for (row, state) in tower.rows().iter().zip(tower.states().chunks_exact(width)) {
                shares[*row as usize * count + place] = dot(&weights[gate.0.clone()], state) + bias;
            }
        }
        for row in shares.chunks_exact_mut(count) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter_mut().for_each(|score| *score = (*score - largest).exp());
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|share| *share /= sum);
        }
        joined.fill(0.0);
        for (place, tower) in towers.iter().enumerate() {
            for (row, state) in tower.rows().iter().zip(tower.states().chunks_exact(width)) {
                let row = *row as usize;
                let share = shares[row * count + place];
                for (to, value) in joined[row * width..(row + 1) * width].iter_mut().zip(state) {
                    *to += share * value;
                }
            }
        }
    }

    /// Adds the gradient of the gates to `gradient` and leaves that of what the towers said with them, from
    /// `djoined (rows, width)`.
    pub fn backward(
        &mut self,
        weights: &[f32],
        gradient: &mut [f32],
        towers: &mut [Member],
        djoined: &[f32],
    ) {
        // Through the softmax: dscore = α (dα - Σ α dα), with dα = dz · h.
        let (width, count) = (self.width, towers.len());
        let dshares = scratch(&mut self.dshares, djoined.len() / width * count);
        dshares.fill(0.0);
        for (place, tower) in towers.iter().enumerate() {
            for (row, state) in tower.rows().iter().zip(tower.states().chunks_exact(width)) {
                let row = *row as usize;
                dshares[row * count + place] = dot(&djoined[row * width..(row + 1) * width], state);
            }
        }
        for (dshares, shares) in dshares.chunks_exact_mut(count).zip(self.shares.chunks_exact(count)) {
            let mean: f32 = dshares.iter().zip(shares).map(|(d, share)| d * share).sum();
            dshares.iter_mut().zip(shares).for_each(|(d, share)| *d = share * (*d - mean));
        }
        for (place, (tower, own)) in towers.iter_mut().zip(&self.gates).enumerate() {
            let gate = &weights[own.0.clone()];
            let (rows, states, dstates) = tower.with_gradient();
            let states = states.chunks_exact(width);
            for ((row, state), dstate) in rows.iter().zip(states).zip(dstates.chunks_exact_mut(width)) {
                let row = *row as usize;
                let (share, dscore) = (self.shares[row * count + place], dshares[row * count + place]);
                let djoined = &djoined[row * width..(row + 1) * width];
                for (k, value) in state.iter().enumerate() {
                    gradient[own.0.start + k] += dscore * value;
                    let dstate_k = share * djoined[k] + dscore * gate[k];
                    dstate[k] = dstate_k * (1.0 - value * value);
                }
                gradient[own.1.start] += dscore;
            }
        }
    }
}
