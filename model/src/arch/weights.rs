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
