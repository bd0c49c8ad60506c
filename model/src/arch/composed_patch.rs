//! The patch encoder as differentiable candle operations.

use candle_core::{D, Result, Tensor};
use candle_nn::ops::softmax;

use crate::arch::config::Head;
use crate::arch::patch_config::PatchConfig;
use crate::arch::weights::{Weights, get, linear};
use crate::ops::activation::Activation;

/// `logits (images, labels)` from images cut into patches, `(images * patches, patch values)`; of a head for tokens one
/// row for the class token and for every patch behind it, `(images * (patches + 1), labels)`.
pub(super) fn logits(config: &PatchConfig, head: &Head, weights: &Weights, cut: &Tensor) -> Result<Tensor> {
    let (hidden, patches, device) = (config.hidden_size, config.patches(), cut.device());
    let images = cut.dim(0)? / patches;
    let kernel = get(weights, "vit.embeddings.patch_embeddings.projection.weight")?;
    let projected = cut
        .matmul(&kernel.reshape((hidden, config.patch_values()))?.t()?)?
        .broadcast_add(get(weights, "vit.embeddings.patch_embeddings.projection.bias")?)?
        .reshape((images, patches, hidden))?;
    let first = get(weights, "vit.embeddings.cls_token")?.broadcast_as((images, 1, hidden))?.contiguous()?;
    let mut x = Tensor::cat(&[&first, &projected], 1)?
        .broadcast_add(get(weights, "vit.embeddings.position_embeddings")?)?
        .reshape((images * (patches + 1), hidden))?;
    for layer in 0..config.num_hidden_layers {
        x = block(config, weights, &x, images, &format!("vit.encoder.layer.{layer}"))?;
    }
    if !head.is_per_token() {
        let firsts: Vec<u32> = (0..images).map(|image| (image * (patches + 1)) as u32).collect();
        x = x.index_select(&Tensor::new(firsts, device)?, 0)?;
    }
    let read = norm(config, weights, &x, "vit.layernorm")?;
    linear(weights, &read, "classifier")
}

fn block(config: &PatchConfig, weights: &Weights, x: &Tensor, images: usize, name: &str) -> Result<Tensor> {
    let (heads, length) = (config.num_attention_heads, config.patches() + 1);
    let size = config.hidden_size / heads;
    let read = norm(config, weights, x, &format!("{name}.layernorm_before"))?;
    let split = |part: &str| {
        linear(weights, &read, &format!("{name}.attention.attention.{part}"))?
            .reshape((images, length, heads, size))?
            .transpose(1, 2)?
            .contiguous()
    };
    let (query, key, value) = (split("query")?, split("key")?, split("value")?);
    let scores = (query.matmul(&key.transpose(2, 3)?.contiguous()?)? / (size as f64).sqrt())?;
    let context = softmax(&scores, D::Minus1)?
        .matmul(&value)?
        .transpose(1, 2)?
        .reshape((images * length, config.hidden_size))?;
    let attended = (x + linear(weights, &context, &format!("{name}.attention.output.dense"))?)?;
    let read = norm(config, weights, &attended, &format!("{name}.layernorm_after"))?;
    let up = linear(weights, &read, &format!("{name}.intermediate.dense"))?;
    let activated = match config.hidden_act {
        Activation::Gelu => up.gelu_erf()?,
        Activation::GeluTanh => up.gelu()?,
        Activation::Relu => up.relu()?,
    };
    &attended + linear(weights, &activated, &format!("{name}.output.dense"))?
}

fn norm(config: &PatchConfig, weights: &Weights, x: &Tensor, name: &str) -> Result<Tensor> {
    let width = config.hidden_size as f64;
    let centred = x.broadcast_sub(&(x.sum_keepdim(D::Minus1)? / width)?)?;
    let variance = (centred.sqr()?.sum_keepdim(D::Minus1)? / width)?;
    centred
        .broadcast_div(&(variance + config.layer_norm_eps)?.sqrt()?)?
        .broadcast_mul(get(weights, &format!("{name}.weight"))?)?
        .broadcast_add(get(weights, &format!("{name}.bias"))?)
}
