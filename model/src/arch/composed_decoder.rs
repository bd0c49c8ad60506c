//! The decoder as differentiable candle operations, on padded rows.
//!
//! candle's own rotary embedding and RMS normalisation have no backward pass, so both are written out here.

use candle_core::{D, Device, Result, Tensor};
use candle_nn::ops::softmax;

use crate::arch::decoder_config::DecoderConfig;
use crate::arch::weights::{Weights, get};

/// A batch on its way through the network.
pub(super) struct Pass<'a> {
    pub(super) config: &'a DecoderConfig,
    pub(super) weights: &'a Weights,
    pub(super) device: &'a Device,
    pub(super) lengths: &'a [u32],
    pub(super) width: usize,
}

impl Pass<'_> {
    /// `logits (tokens, vocabulary)` from ids `(rows * width)`, already checked.
    pub(super) fn logits(&self, ids: &[u32]) -> Result<Tensor> {
        let is_token = |k: usize| (k % self.width) < self.lengths[k / self.width] as usize;
        let places = self.lengths.len() * self.width;
        // Ids at padding are not checked, so they are not looked up.
        let ids: Vec<u32> = (0..places).map(|k| if is_token(k) { ids[k] } else { 0 }).collect();
        let table = get(self.weights, "model.embed_tokens.weight")?;
        let mut x = table.index_select(&Tensor::new(ids, self.device)?, 0)?; // (rows * width, hidden)
        let mask = self.causal_mask()?;
        let turns = self.turns()?;
        for layer in 0..self.config.num_hidden_layers {
            x = self.block(&x, layer, &mask, &turns)?;
        }
        // Padding stands behind the tokens, so no token looks at it; its own rows are left out here.
        let tokens: Vec<u32> = (0..places).filter(|k| is_token(*k)).map(|k| k as u32).collect();
        let read = self.norm(&x.index_select(&Tensor::new(tokens, self.device)?, 0)?, "model.norm.weight")?;
        let output =
            if self.config.tie_word_embeddings { table } else { get(self.weights, "lm_head.weight")? };
        read.matmul(&output.t()?)
    }

    fn block(&self, x: &Tensor, layer: usize, mask: &Tensor, turns: &(Tensor, Tensor)) -> Result<Tensor> {
        let heads = self.config.heads();
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        let linear = |x: &Tensor, part: &str| x.matmul(&get(self.weights, &name(part))?.t()?);
        let rows = self.lengths.len();
        let normal = self.norm(x, &name("input_layernorm"))?;
        let split = |part: &str, count: usize| {
            linear(&normal, part)?
                .reshape((rows, self.width, count, heads.size))?
                .transpose(1, 2)?
                .contiguous()
        };
        let query = turned(&split("self_attn.q_proj", heads.heads)?, turns)?;
        let repeat = heads.heads / heads.groups;
        let key = repeated(&turned(&split("self_attn.k_proj", heads.groups)?, turns)?, repeat)?;
        let value = repeated(&split("self_attn.v_proj", heads.groups)?, repeat)?;
        let scores = (query.matmul(&key.transpose(2, 3)?.contiguous()?)? / (heads.size as f64).sqrt())?;
        let probabilities = softmax(&scores.broadcast_add(mask)?, D::Minus1)?;
        let context =
            probabilities.matmul(&value)?.transpose(1, 2)?.reshape((rows * self.width, heads.width()))?;
        let attended = (x + linear(&context, "self_attn.o_proj")?)?;
        let normal = self.norm(&attended, &name("post_attention_layernorm"))?;
        let gated = (linear(&normal, "mlp.gate_proj")?.silu()? * linear(&normal, "mlp.up_proj")?)?;
        attended + linear(&gated, "mlp.down_proj")?
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let mean = (x.sqr()?.sum_keepdim(D::Minus1)? / self.config.hidden_size as f64)?;
        x.broadcast_div(&(mean + self.config.rms_norm_eps)?.sqrt()?)?.broadcast_mul(get(self.weights, name)?)
    }

    /// 0 on and below the diagonal, a large negative number above, `(1, 1, width, width)`.
    fn causal_mask(&self) -> Result<Tensor> {
        let width = self.width;
        let mask: Vec<f32> =
            (0..width * width).map(|k| if k % width <= k / width { 0.0 } else { -1e30 }).collect();
        Tensor::from_vec(mask, (1, 1, width, width), self.device)
    }

    /// Cosines and sines, `(1, 1, width, size / 2)`.
    fn turns(&self) -> Result<(Tensor, Tensor)> {
        let size = self.config.heads().size;
        let angle = |k: usize| {
            let (place, pair) = (k / (size / 2), k % (size / 2));
            place as f64 * self.config.rope_theta.powf(-2.0 * pair as f64 / size as f64)
        };
        let table = |of: fn(f64) -> f64| {
            let values: Vec<f32> = (0..self.width * size / 2).map(|k| of(angle(k)) as f32).collect();
            Tensor::from_vec(values, (1, 1, self.width, size / 2), self.device)
        };
        Ok((table(f64::cos)?, table(f64::sin)?))
    }
}

/// Turns heads `(rows, heads, width, size)`.
fn turned(x: &Tensor, (cosines, sines): &(Tensor, Tensor)) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let (first, second) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let turned_first = (first.broadcast_mul(cosines)? - second.broadcast_mul(sines)?)?;
    let turned_second = (second.broadcast_mul(cosines)? + first.broadcast_mul(sines)?)?;
    Tensor::cat(&[&turned_first, &turned_second], D::Minus1)
}

/// Each head `(rows, heads, width, size)` so many times, one behind the other.
fn repeated(x: &Tensor, times: usize) -> Result<Tensor> {
    let (rows, heads, width, size) = x.dims4()?;
    x.unsqueeze(2)?.broadcast_as((rows, heads, times, width, size))?.contiguous()?.reshape((
        rows,
        heads * times,
        width,
        size,
    ))
}
