//! Sizes of a graph network.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Sizes of GraphSAGE with mean aggregation (Hamilton, Ying and Leskovec 2017).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphConfig {
    /// Features a node may have.
    pub features: usize,
    /// Numbers per node between two layers.
    pub hidden_size: usize,
    /// Layers: how many hops away a node can be and still matter.
    #[serde(default = "default_layers")]
    pub num_layers: usize,
    /// Neighbours drawn for each node at each hop while training; evaluation reads all of them.
    #[serde(default = "default_fan_out")]
    pub fan_out: usize,
    /// Probability of dropping a feature or a hidden number while training; 0 drops nothing.
    #[serde(default)]
    pub dropout: f64,
}

fn default_layers() -> usize {
    2
}

fn default_fan_out() -> usize {
    10
}

impl GraphConfig {
    /// Checks what the caller's ranges do not.
    pub(super) fn validate(&self) -> Result<()> {
        if !(0.0..=0.9).contains(&self.dropout) {
            let reason = format!("expected a number from 0 to 0.9, found {}", self.dropout);
            return Err(Error::config("dropout", reason));
        }
        Ok(())
    }

    /// Elements of the matrices, about the number of parameters.
    pub(super) fn matrices(&self) -> u64 {
        let hidden = self.hidden_size as u64;
        2 * hidden * (self.features as u64 + hidden * self.num_layers as u64)
    }
}
