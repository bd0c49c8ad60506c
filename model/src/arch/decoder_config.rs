//! Sizes of a Llama-compatible decoder; the names are those of a Hugging Face `config.json`.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ops::causal::Heads;

/// Sizes of a decoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderConfig {
    /// Entries of the token table.
    pub vocab_size: usize,
    /// Features per token.
    pub hidden_size: usize,
    /// Transformer blocks.
    pub num_hidden_layers: usize,
    /// Query heads; divides `hidden_size` into heads of an even size.
    pub num_attention_heads: usize,
    /// Heads of keys and values; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Features of the gated unit of a block.
    pub intermediate_size: usize,
    /// Longest sequence.
    #[serde(default = "default_positions")]
    pub max_position_embeddings: usize,
    /// ε of the normalisations.
    #[serde(default = "default_epsilon")]
    pub rms_norm_eps: f64,
    /// Base of the rotary angles.
    #[serde(default = "default_theta")]
    pub rope_theta: f64,
    /// Whether the output reads the token table instead of a matrix of its own.
    #[serde(default)]
    pub tie_word_embeddings: bool,
}

fn default_positions() -> usize {
    2048
}

fn default_epsilon() -> f64 {
    1e-6
}

fn default_theta() -> f64 {
    10_000.0
}

impl DecoderConfig {
    /// Sizes of the attention heads.
    pub fn heads(&self) -> Heads {
        Heads {
            heads: self.num_attention_heads,
            groups: self.num_key_value_heads,
            size: self.hidden_size / self.num_attention_heads,
        }
    }

    /// Checks what the sizes say about one another; ranges are checked by the caller.
    pub(super) fn validate(&self) -> Result<()> {
        let (hidden, heads, groups) = (self.hidden_size, self.num_attention_heads, self.num_key_value_heads);
        if !hidden.is_multiple_of(heads) || !(hidden / heads).is_multiple_of(2) {
            let reason = format!("expected a divisor of hidden_size {hidden} into even heads, found {heads}");
            return Err(Error::config("num_attention_heads", reason));
        }
        if groups == 0 || !heads.is_multiple_of(groups) {
            let reason = format!("expected a divisor of num_attention_heads {heads}, found {groups}");
            return Err(Error::config("num_key_value_heads", reason));
        }
        if !(self.rms_norm_eps > 0.0 && self.rms_norm_eps < 1.0) {
            let reason = format!("expected a number between 0 and 1, found {}", self.rms_norm_eps);
            return Err(Error::config("rms_norm_eps", reason));
        }
        if !(self.rope_theta > 1.0 && self.rope_theta < 1e12) {
            let reason = format!("expected a number above 1 and below 1e12, found {}", self.rope_theta);
            return Err(Error::config("rope_theta", reason));
        }
        Ok(())
    }

    /// Elements of the matrices, about the number of parameters.
    pub(super) fn matrices(&self) -> u64 {
        let (hidden, inner) = (self.hidden_size as u64, self.intermediate_size as u64);
        let kept = self.heads().stride() as u64;
        let block = hidden * kept + hidden * hidden + 3 * hidden * inner;
        let tables = if self.tie_word_embeddings { 1 } else { 2 } * self.vocab_size as u64 * hidden;
        block * self.num_hidden_layers as u64 + tables
    }
}
