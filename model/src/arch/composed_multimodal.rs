//! Joined towers, and pairs of nodes, as differentiable candle operations.

use candle_core::{D, Device, Result, Tensor};
use candle_nn::ops::softmax;

use crate::arch::modality::Modality;
use crate::arch::weights::{Weights, get, linear};

/// What a tower said of the rows that have something for it.
pub(super) struct Said {
    pub(super) modality: Modality,
    /// The rows, rising.
    pub(super) rows: Vec<u32>,
    /// Tokens of each of them.
    pub(super) lengths: Vec<u32>,
    /// `(tokens, width)`, those of a row one behind the other.
    pub(super) states: Tensor,
}

/// `z (rows, width)`, the gated sum of what the towers said of `rows` rows, one token of each.
pub(super) fn gated_sum(weights: &Weights, said: &[Said], rows: usize, device: &Device) -> Result<Tensor> {
    let (mut states, mut scores) = (Vec::new(), Vec::new());
    for tower in said {
        let (state, score) = gated(tower, weights, rows, device)?;
        states.push(state);
        scores.push(score);
    }
    let shares = softmax(&Tensor::cat(&scores, 1)?, D::Minus1)?;
    let mut joined: Option<Tensor> = None;
    for (place, state) in states.iter().enumerate() {
        let part = state.broadcast_mul(&shares.narrow(1, place, 1)?)?;
        joined = Some(match joined {
            Some(sum) => (sum + part)?,
            None => part,
        });
    }
    joined.ok_or_else(|| candle_core::Error::Msg("a record has at least one modality".into()))
}

/// What a tower says as `(all rows, width)` with zeros where a row lacks it, and its scores `(all rows, 1)`, there very
/// negative.
fn gated(tower: &Said, weights: &Weights, all: usize, device: &Device) -> Result<(Tensor, Tensor)> {
    let name = tower.modality.name();
    let said = tower.states.tanh()?;
    let weight = get(weights, &format!("join.{name}.weight"))?;
    let score = said.matmul(&weight.t()?)?.broadcast_add(get(weights, &format!("join.{name}.bias"))?)?;
    let places = Tensor::new(tower.rows.as_slice(), device)?;
    let spread = |x: &Tensor| Tensor::zeros((all, x.dim(1)?), x.dtype(), device)?.index_add(&places, x, 0);
    let mut absent = vec![-1e30_f32; all];
    tower.rows.iter().for_each(|row| absent[*row as usize] = 0.0);
    Ok((spread(&said)?, (spread(&score)? + Tensor::from_vec(absent, (all, 1), device)?)?))
}

/// `logits (rows, labels)` from the join `z (rows, width)`.
pub(super) fn head(weights: &Weights, joined: &Tensor) -> Result<Tensor> {
    let read = linear(weights, joined, "join.inner")?.relu()?;
    linear(weights, &read, "join.outer")
}

/// `logits (pairs, labels)` from the states `(2 pairs, width)` of both sides.
pub(super) fn pairs(weights: &Weights, states: &Tensor) -> Result<Tensor> {
    let pairs = states.dim(0)? / 2;
    let (first, second) = (states.narrow(0, 0, pairs)?, states.narrow(0, pairs, pairs)?);
    let read = Tensor::cat(&[&first.mul(&second)?, &first, &second], 1)?;
    linear(weights, &read, "pair")
}
