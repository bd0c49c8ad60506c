//! Sizes of a ViT-compatible patch encoder; the names are those of a Hugging Face `config.json`.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ops::activation::Activation;

/// Sizes of a patch encoder for square images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchConfig {
    /// Pixels on each side of an image.
    pub image_size: usize,
    /// Pixels on each side of a patch; divides `image_size`.
    pub patch_size: usize,
    /// Values of a pixel.
    #[serde(default = "one")]
    pub num_channels: usize,
    /// Features per patch.
    pub hidden_size: usize,
    /// Transformer blocks.
    pub num_hidden_layers: usize,
    /// Attention heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Features between the two linear layers of a block.
    pub intermediate_size: usize,
    /// ε of the layer normalisations.
    #[serde(default = "default_epsilon")]
    pub layer_norm_eps: f64,
    /// Activation between the two linear layers of a block.
    #[serde(default = "default_activation")]
    pub hidden_act: Activation,
}

fn one() -> usize {
    1
}

fn default_epsilon() -> f64 {
    1e-12
}

fn default_activation() -> Activation {
    Activation::Gelu
}

impl PatchConfig {
    /// Patches of an image.
    pub fn patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }

    /// Values of a patch.
    pub fn patch_values(&self) -> usize {
        self.num_channels * self.patch_size * self.patch_size
    }

    /// Values of an image.
    pub fn image_values(&self) -> usize {
        self.num_channels * self.image_size * self.image_size
    }

    /// Checks what the sizes say about one another; ranges are checked by the caller.
    pub(super) fn validate(&self) -> Result<()> {
        if !self.image_size.is_multiple_of(self.patch_size) {
            let reason =
                format!("expected a divisor of image_size {}, found {}", self.image_size, self.patch_size);
            return Err(Error::config("patch_size", reason));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let (hidden, heads) = (self.hidden_size, self.num_attention_heads);
            let reason = format!("expected a divisor of hidden_size {hidden}, found {heads}");
            return Err(Error::config("num_attention_heads", reason));
        }
        if !(self.layer_norm_eps > 0.0 && self.layer_norm_eps < 1.0) {
            let reason = format!("expected a number between 0 and 1, found {}", self.layer_norm_eps);
            return Err(Error::config("layer_norm_eps", reason));
        }
        Ok(())
    }

    /// Elements of the matrices, about the number of parameters.
    pub(super) fn matrices(&self) -> u64 {
        let (hidden, inner) = (self.hidden_size as u64, self.intermediate_size as u64);
        let block = 4 * hidden * hidden + 2 * hidden * inner;
        block * self.num_hidden_layers as u64 + hidden * (self.patch_values() + self.patches() + 2) as u64
    }

    /// Cuts images into patches, `(images * patches, channels * side * side)`, as a convolution of this stride reads them.
    pub(super) fn cut(&self, images: &[f32], patches: &mut Vec<f32>) {
        let (size, side) = (self.image_size, self.patch_size);
        patches.clear();
        for image in images.chunks_exact(self.image_values()) {
            for top in (0..size).step_by(side) {
                for left in (0..size).step_by(side) {
                    for channel in image.chunks_exact(size * size) {
                        for row in top..top + side {
                            patches.extend_from_slice(&channel[row * size + left..row * size + left + side]);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_cut_row_by_row_with_their_channels_one_behind_the_other() {
        let config = PatchConfig {
            image_size: 4,
            patch_size: 2,
            num_channels: 2,
            hidden_size: 4,
            num_hidden_layers: 1,
            num_attention_heads: 1,
            intermediate_size: 4,
            layer_norm_eps: 1e-6,
            hidden_act: Activation::Gelu,
        };
        let image: Vec<f32> = (0..32).map(|k| k as f32).collect();
        let mut patches = Vec::new();
        config.cut(&image, &mut patches);
        assert_eq!((config.patches(), patches.len()), (4, 32));
        assert_eq!(patches[8..16], [2.0, 3.0, 6.0, 7.0, 18.0, 19.0, 22.0, 23.0]);
    }
}
