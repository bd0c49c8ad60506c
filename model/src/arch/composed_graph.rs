//! GraphSAGE as differentiable candle operations.

use candle_core::{Device, Result, Tensor};

use crate::arch::graph::feature_weights;
use crate::arch::graph_config::GraphConfig;
use crate::arch::masks::{Site, StepDropout};
use crate::arch::neighbourhood::Neighbourhood;
use crate::arch::weights::{Weights, get};
use crate::ops::bag::Lists;

/// `logits (targets, labels)` of a batch that was checked.
pub(super) fn logits(
    config: &GraphConfig,
    weights: &Weights,
    batch: Neighbourhood<'_>,
    step: Option<StepDropout>,
    device: &Device,
) -> Result<Tensor> {
    let tensor = |name: &str, layer: usize| get(weights, &format!("layers.{layer:02}.{name}"));
    let mut of_features = Vec::new();
    feature_weights(batch.features, step, &mut Vec::new(), &mut of_features);
    let mut x: Option<Tensor> = None;
    for layer in 0..config.num_layers {
        let rows = batch.computed(layer);
        let around = batch.neighbours.first(rows);
        let (own, of_neighbours) = (tensor("own.weight", layer)?, tensor("neighbours.weight", layer)?);
        let sum = match &x {
            None => {
                let mixed = pooled(of_neighbours, batch.features, &of_features, device)?;
                let mine = pooled(own, batch.features.first(rows), &of_features, device)?;
                (mean(&mixed, around, device)? + mine)?
            }
            Some(x) => {
                let mine = x.narrow(0, 0, rows)?.matmul(&own.t()?)?;
                (mean(x, around, device)?.matmul(&of_neighbours.t()?)? + mine)?
            }
        };
        let sum = sum.broadcast_add(tensor("bias", layer)?)?;
        if layer + 1 == config.num_layers {
            return Ok(sum);
        }
        let mut output = sum.relu()?;
        if let Some(step) = step {
            let (rows, width) = output.dims2()?;
            let mut keep = Vec::new();
            step.fill(Site::Output(layer), rows * width, &mut keep);
            let mask: Vec<f32> = keep.iter().map(|keep| f32::from(*keep) * step.dropout.scale()).collect();
            output = output.mul(&Tensor::from_vec(mask, (rows, width), device)?)?;
        }
        x = Some(output);
    }
    Err(candle_core::Error::Msg("a graph network has at least one layer".into()))
}

/// Weighted sums of table rows, `(rows, width)`.
fn pooled(table: &Tensor, lists: Lists<'_>, weights: &[f32], device: &Device) -> Result<Tensor> {
    let ends = lists.starts.last().copied().unwrap_or(0) as usize;
    sum(table, lists, &weights[..ends], device)
}

/// Means over lists of rows, `(rows, width)`.
fn mean(x: &Tensor, lists: Lists<'_>, device: &Device) -> Result<Tensor> {
    let weights: Vec<f32> = (0..lists.rows())
        .flat_map(|row| {
            std::iter::repeat_n(1.0 / lists.range(row).len().max(1) as f32, lists.range(row).len())
        })
        .collect();
    sum(x, lists, &weights, device)
}

fn sum(x: &Tensor, lists: Lists<'_>, weights: &[f32], device: &Device) -> Result<Tensor> {
    let width = x.dim(1)?;
    let zeros = Tensor::zeros((lists.rows(), width), x.dtype(), device)?;
    if weights.is_empty() {
        return Ok(zeros);
    }
    let entries = Tensor::new(&lists.entries[..weights.len()], device)?;
    let rows: Vec<u32> =
        (0..lists.rows()).flat_map(|row| std::iter::repeat_n(row as u32, lists.range(row).len())).collect();
    let weights = Tensor::from_slice(weights, (weights.len(), 1), device)?;
    let chosen = x.index_select(&entries, 0)?.broadcast_mul(&weights)?;
    zeros.index_add(&Tensor::new(rows, device)?, &chosen, 0)
}
