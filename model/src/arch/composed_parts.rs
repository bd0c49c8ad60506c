//! What a network reads of one row, as differentiable tensors of parts, and its answers to many versions of them at once.
//!
//! For whoever takes derivatives by the input: word vectors of a text, patches or pixels of an image, columns of a table.
//! Relations are no part: they stay as they are while the others change.

use candle_core::{Device, Tensor};

use crate::arch::composed::{Pass, join, logits, mlp, tower_weights};
use crate::arch::composed_multimodal::Said;
use crate::arch::composed_patch;
use crate::arch::config::{ArchConfig, Head, MultimodalConfig};
use crate::arch::input::{Input, Packed};
use crate::arch::modality::Modality;
use crate::arch::records::Records;
use crate::arch::weights::Weights;
use crate::error::{Error, Result};

/// One tensor of parts.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What kind of input it is of.
    pub modality: Modality,
    /// Whether every row is a part, as of word vectors and patches, not every number.
    pub are_rows: bool,
    /// `(tokens, hidden)`, `(patches, values)` or `(1, values)`.
    pub tensor: Tensor,
}

fn wrong() -> impl FnOnce(candle_core::Error) -> Error {
    Error::tensor("parts of an input")
}

/// The tensors of one row, in the order of [`Modality::ALL`].
///
/// # Errors
/// The architecture has none, or the input is not one row of its own kind.
pub fn parts(arch: &ArchConfig, weights: &Weights, input: Input<'_>) -> Result<Vec<Parts>> {
    let device = &Device::Cpu;
    let one = |modality, are_rows, tensor| vec![Parts { modality, are_rows, tensor }];
    match (arch, input) {
        (ArchConfig::Encoder(config), Input::Tokens { ids, lengths, width }) => {
            let mut packed = Packed::default();
            packed.set(ids, lengths, width, config.vocab_size, config.max_position_embeddings)?;
            let pass = Pass { config, weights, device, lengths, width, step: None };
            Ok(one(Modality::Text, true, pass.words(ids).map_err(wrong())?))
        }
        (ArchConfig::Mlp(config), Input::Dense { values, width }) if width == config.layers[0] => {
            let tensor = Tensor::from_slice(values, (values.len() / width, width), device);
            Ok(one(Modality::Table, false, tensor.map_err(wrong())?))
        }
        (ArchConfig::Patch(config), Input::Dense { values, width }) if width == config.image_values() => {
            let mut cut = Vec::new();
            config.cut(values, &mut cut);
            let shape = (cut.len() / config.patch_values(), config.patch_values());
            Ok(one(Modality::Image, true, Tensor::from_vec(cut, shape, device).map_err(wrong())?))
        }
        (ArchConfig::Multimodal(config), Input::Records(records)) if records.rows == 1 => {
            let mut all = Vec::new();
            for (modality, arch) in config.towers() {
                let Some((_, input)) = records.part(modality) else { continue };
                if modality != Modality::Graph {
                    let own = parts(&arch, &tower_weights(weights, modality), input)?;
                    all.extend(own.into_iter().map(|parts| Parts { modality, ..parts }));
                }
            }
            Ok(all)
        }
        (arch, input) => Err(Error::shape("input to explain", arch.reads(), input.kind())),
    }
}

/// `logits (outputs, labels)` of `rows` versions of an input, whose parts stand one behind the other in each tensor as
/// [`parts`] gives them; what has no parts is as in `input`.
///
/// # Errors
/// The architecture has no parts, or the tensor library fails.
pub fn logits_of_parts(
    arch: &ArchConfig,
    head: &Head,
    weights: &Weights,
    parts: &[Parts],
    input: Input<'_>,
    rows: usize,
) -> Result<Tensor> {
    let wrong = Error::tensor("forward pass of parts");
    match (arch, parts, input) {
        (ArchConfig::Multimodal(config), parts, Input::Records(records)) => {
            joined(config, weights, parts, records, rows)
        }
        (ArchConfig::Encoder(config), [words], Input::Tokens { width, .. }) => {
            let (lengths, device) = (vec![width as u32; rows], &Device::Cpu);
            let pass = Pass { config, weights, device, lengths: &lengths, width, step: None };
            pass.encoder(head, &words.tensor).map_err(wrong)
        }
        (ArchConfig::Mlp(config), [values], _) => mlp(config, weights, &values.tensor).map_err(wrong),
        (ArchConfig::Patch(config), [cut], _) => {
            composed_patch::logits(config, head, weights, &cut.tensor).map_err(wrong)
        }
        (arch, ..) => Err(Error::shape("input to explain", arch.reads(), "another")),
    }
}

fn joined(
    config: &MultimodalConfig,
    weights: &Weights,
    parts: &[Parts],
    records: Records<'_>,
    rows: usize,
) -> Result<Tensor> {
    let mut said = Vec::new();
    for (modality, arch) in config.towers() {
        let Some((_, input)) = records.part(modality) else { continue };
        let own = tower_weights(weights, modality);
        let head = config.tower_head(modality);
        let states = match parts.iter().find(|parts| parts.modality == modality) {
            Some(parts) => logits_of_parts(&arch, &head, &own, std::slice::from_ref(parts), input, rows)?,
            None => {
                let states = logits(&arch, &head, &own, input, &Device::Cpu, None)?;
                states.repeat((rows, 1)).map_err(wrong())?
            }
        };
        let tokens = states.dim(0).map_err(wrong())?;
        let lengths = vec![(tokens / rows) as u32; rows];
        said.push(Said { modality, rows: (0..rows as u32).collect(), lengths, states });
    }
    join(config, weights, &said, rows, &Device::Cpu)
}
