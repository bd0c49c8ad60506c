//! Towers joined by cross-attention, as differentiable candle operations.
//!
//! Rows are padded to the longest and padding is masked, unlike in the explicit engine, which packs them.

use candle_core::{D, Device, Result, Tensor};
use candle_nn::ops::softmax;

use crate::arch::composed_multimodal::Said;
use crate::arch::cross::EPSILON;
use crate::arch::weights::{Weights, get, linear};

/// `z (rows, width)` from what the towers said of `rows` rows.
pub(super) fn attend(
    heads: usize,
    weights: &Weights,
    said: &[Said],
    rows: usize,
    device: &Device,
) -> Result<Tensor> {
    let mut states = Vec::new();
    for tower in said {
        let kind = get(weights, &format!("join.{}.embedding", tower.modality.name()))?;
        states.push(tower.states.broadcast_add(kind)?);
    }
    let tokens = norm(weights, &Tensor::cat(&states, 0)?, "join.norm")?;
    let (count, width) = tokens.dims2()?;
    let size = width / heads;
    let (places, parts) = lay_out(said, rows, count);
    let longest = places.iter().map(Vec::len).max().unwrap_or(0);
    let means = Tensor::from_vec(parts, (rows, count), device)?.matmul(&tokens)?;
    let query = means.broadcast_add(get(weights, "join.query")?)?;

    let (mut chosen, mut mask) = (Vec::new(), Vec::new());
    for own in &places {
        let padding = longest - own.len();
        chosen.extend(own.iter().copied().chain(std::iter::repeat_n(0_u32, padding)));
        mask.extend(std::iter::repeat_n(0.0_f32, own.len()).chain(std::iter::repeat_n(-1e30, padding)));
    }
    let chosen = Tensor::new(chosen, device)?;
    let mask = Tensor::from_vec(mask, (rows, 1, 1, longest), device)?;
    let split = |part: &str| {
        linear(weights, &tokens, &format!("join.attention.{part}"))?
            .index_select(&chosen, 0)?
            .reshape((rows, longest, heads, size))?
            .transpose(1, 2)?
            .contiguous()
    };
    let asked = linear(weights, &query, "join.attention.query")?.reshape((rows, heads, 1, size))?;
    let scores = (asked.matmul(&split("key")?.transpose(2, 3)?.contiguous()?)? / (size as f64).sqrt())?;
    let context = softmax(&scores.broadcast_add(&mask)?, D::Minus1)? // (row, head, 1, token)
        .matmul(&split("value")?)?
        .reshape((rows, width))?;
    let out = linear(weights, &context, "join.attention.output")?;
    let attended = norm(weights, &(query + out)?, "join.attention.norm")?;
    let up = linear(weights, &attended, "join.feed.up")?.gelu_erf()?;
    let down = linear(weights, &up, "join.feed.down")?;
    norm(weights, &(attended + down)?, "join.feed.norm")
}

/// The tokens of each row among all, and what of each token is in each row's query, `(rows, count)`.
fn lay_out(said: &[Said], rows: usize, count: usize) -> (Vec<Vec<u32>>, Vec<f32>) {
    let (mut places, mut given) = (vec![Vec::new(); rows], vec![0_usize; rows]);
    let sequences = || said.iter().flat_map(|tower| tower.rows.iter().zip(&tower.lengths));
    sequences().for_each(|(row, _)| given[*row as usize] += 1);
    let (mut parts, mut token) = (vec![0.0; rows * count], 0);
    for (row, length) in sequences() {
        let row = *row as usize;
        for _ in 0..*length {
            places[row].push(token);
            parts[row * count + token as usize] = 1.0 / (given[row] * *length as usize) as f32;
            token += 1;
        }
    }
    (places, parts)
}

fn norm(weights: &Weights, x: &Tensor, name: &str) -> Result<Tensor> {
    let width = x.dim(D::Minus1)? as f64;
    let centred = x.broadcast_sub(&(x.sum_keepdim(D::Minus1)? / width)?)?;
    let variance = (centred.sqr()?.sum_keepdim(D::Minus1)? / width)?;
    centred
        .broadcast_div(&(variance + f64::from(EPSILON))?.sqrt()?)?
        .broadcast_mul(get(weights, &format!("{name}.weight"))?)?
        .broadcast_add(get(weights, &format!("{name}.bias"))?)
}
