//! Parameter tensors of the composed engine, by name.

use std::collections::BTreeMap;

use candle_core::{Error, Result, Tensor};

/// Parameter tensors by name.
pub type Weights = BTreeMap<String, Tensor>;

/// The tensor of a name.
///
/// # Errors
/// There is none: the caller asked for another architecture's.
pub fn get<'a>(weights: &'a Weights, name: &str) -> Result<&'a Tensor> {
    weights.get(name).ok_or_else(|| Error::Msg(format!("no parameter tensor named {name}")))
}

/// `x W^T + b` of the layer of a name.
///
/// # Errors
/// There is no such layer, or the sizes do not fit.
pub fn linear(weights: &Weights, x: &Tensor, name: &str) -> Result<Tensor> {
    let weight = get(weights, &format!("{name}.weight"))?;
    x.matmul(&weight.t()?)?.broadcast_add(get(weights, &format!("{name}.bias"))?)
}
