//! Which parts of a student come from which parts of its teacher, family by family.
//!
//! A family is described by its tensors: what each axis of a tensor runs over (all features, the heads of one block, the
//! inner features of one block, something that is kept whole), and which tensor of the teacher a tensor of the student is
//! cut from. Ranking and copying then need to know nothing of the family.

use crate::arch::config::{ArchConfig, EncoderConfig, Head, MlpConfig};
use crate::arch::network::Network;
use crate::distill::plan::{Depth, spread};
use crate::error::{Error, Result};

/// Things that are kept or dropped together, wherever in the model they occur: a head, a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// How many the teacher has.
    pub units: usize,
    /// Places of an axis that one of them takes.
    pub span: usize,
    /// How many the student keeps.
    pub keep: usize,
}

/// One tensor of the student and where it is cut from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorCut {
    /// Its name.
    pub name: String,
    /// The teacher's tensor.
    pub from: String,
    /// By axis, the group it runs over, an index into [`Anatomy::groups`]; nothing where it is kept whole.
    pub axes: Vec<Option<usize>>,
}

/// A student as parts of its teacher.
#[derive(Debug, Clone, PartialEq)]
pub struct Anatomy {
    /// The student's architecture.
    pub arch: ArchConfig,
    /// What is kept and dropped together.
    pub groups: Vec<Group>,
    /// All tensors of the student.
    pub tensors: Vec<TensorCut>,
}

impl Anatomy {
    /// Describes a student that keeps some blocks and a share of every block's width.
    ///
    /// # Errors
    /// The family cannot be cut so, or the student's architecture does not hold.
    pub fn new(teacher: &ArchConfig, head: &Head, depth: Depth, width: f64) -> Result<Self> {
        match teacher {
            ArchConfig::Encoder(config) => encoder(config, head, depth, width),
            ArchConfig::Mlp(config) => mlp(config, head, depth, width),
            ArchConfig::Decoder(_)
            | ArchConfig::Graph(_)
            | ArchConfig::Patch(_)
            | ArchConfig::Multimodal(_) => Err(Error::config(
                "students",
                "expected an encoder or an mlp to cut students out of, found another architecture; give the student's \
                 architecture as a .json file",
            )),
        }
    }
}

/// Heads and inner features are chosen in each block, the features between blocks once for the whole model.
fn encoder(config: &EncoderConfig, head: &Head, depth: Depth, width: f64) -> Result<Anatomy> {
    let kept = spread(config.num_hidden_layers, depth.of(config.num_hidden_layers)?);
    let span = config.hidden_size / config.num_attention_heads;
    let heads =
        Group { units: config.num_attention_heads, span, keep: share(config.num_attention_heads, width) };
    let hidden = Group { units: config.hidden_size, span: 1, keep: heads.keep * span };
    let inner =
        Group { units: config.intermediate_size, span: 1, keep: share(config.intermediate_size, width) };
    let mut groups = vec![hidden];
    kept.iter().for_each(|_| groups.extend([heads, inner]));
    let arch = ArchConfig::Encoder(EncoderConfig {
        num_hidden_layers: kept.len(),
        num_attention_heads: heads.keep,
        hidden_size: hidden.keep,
        intermediate_size: inner.keep,
        ..config.clone()
    });
    const HIDDEN: Option<usize> = Some(0);
    let cut = |name: &str, shape: &[usize]| -> TensorCut {
        let block = name.strip_prefix("bert.encoder.layer.").and_then(|rest| rest.split_once('.'));
        let block = block.and_then(|(number, part)| Some((number.parse::<usize>().ok()?, part)));
        let Some((number, part)) = block else {
            // Embeddings and classifier end in the features, pooler matrices have them on both axes.
            let mut axes = vec![None; shape.len()];
            let is_square = name == "bert.pooler.dense.weight";
            let ends_in_features = name != "classifier.bias";
            axes.iter_mut().for_each(|axis| *axis = is_square.then_some(0));
            if let Some(last) = axes.last_mut().filter(|_| ends_in_features) {
                *last = HIDDEN;
            }
            return TensorCut { name: name.to_owned(), from: name.to_owned(), axes };
        };
        let (heads, inner) = (Some(1 + 2 * number), Some(2 + 2 * number));
        let axes = match part {
            "attention.self.query.weight" | "attention.self.key.weight" | "attention.self.value.weight" => {
                vec![heads, HIDDEN]
            }
            "attention.self.query.bias" | "attention.self.key.bias" | "attention.self.value.bias" => {
                vec![heads]
            }
            "attention.output.dense.weight" => vec![HIDDEN, heads],
            "intermediate.dense.weight" => vec![inner, HIDDEN],
            "intermediate.dense.bias" => vec![inner],
            "output.dense.weight" => vec![HIDDEN, inner],
            _ => vec![HIDDEN], // biases and normalisations of the features between blocks
        };
        let from = format!("bert.encoder.layer.{}.{part}", kept[number]);
        TensorCut { name: name.to_owned(), from, axes }
    };
    finish(arch, head, groups, cut)
}

/// A block is a layer between two hidden layers of one size; others cannot be left out.
fn mlp(config: &MlpConfig, head: &Head, depth: Depth, width: f64) -> Result<Anatomy> {
    let matrices = config.layers.len() - 1;
    let is_block = |k: usize| k > 0 && k + 1 < matrices && config.layers[k] == config.layers[k + 1];
    let blocks: Vec<usize> = (0..matrices).filter(|k| is_block(*k)).collect();
    let kept: Vec<usize> = match depth {
        Depth::Whole => (0..matrices).collect(),
        _ if blocks.is_empty() => {
            let reason = format!(
                "an mlp of layers {:?} has no two hidden layers of one size in a row, so that none can be left out; \
                 take a width, as in width0.5",
                config.layers
            );
            return Err(Error::config("students", reason));
        }
        depth => {
            let chosen = spread(blocks.len(), depth.of(blocks.len())?);
            (0..matrices)
                .filter(|k| !is_block(*k) || chosen.iter().any(|number| blocks[*number] == *k))
                .collect()
        }
    };
    // Group k is the size behind kept matrix k; there is none for the outputs.
    let sizes: Vec<usize> = kept.iter().map(|k| config.layers[k + 1]).collect();
    let groups: Vec<Group> = sizes[..sizes.len() - 1]
        .iter()
        .map(|size| Group { units: *size, span: 1, keep: share(*size, width) })
        .collect();
    let mut layers = vec![config.layers[0]];
    layers.extend(groups.iter().map(|group| group.keep));
    layers.extend(config.layers.last());
    let arch = ArchConfig::Mlp(MlpConfig { layers });
    let count = groups.len();
    let cut = |name: &str, _: &[usize]| -> TensorCut {
        let part = name.strip_prefix("layers.").and_then(|rest| rest.split_once('.'));
        let (number, part) = part.expect("an mlp has only tensors of its layers");
        let number: usize = number.parse().expect("layers are numbered");
        let out = (number < count).then_some(number);
        let axes = if part == "matrix" { vec![out, number.checked_sub(1)] } else { vec![out] };
        TensorCut { name: name.to_owned(), from: format!("layers.{:02}.{part}", kept[number]), axes }
    };
    finish(arch, head, groups, cut)
}

fn finish(
    arch: ArchConfig,
    head: &Head,
    groups: Vec<Group>,
    cut: impl Fn(&str, &[usize]) -> TensorCut,
) -> Result<Anatomy> {
    let (_, slots) = Network::new(&arch, head)?;
    let tensors = slots.by_name().map(|slot| cut(&slot.name, &slot.shape)).collect();
    Ok(Anatomy { arch, groups, tensors })
}

/// A share of a number, at least one.
fn share(units: usize, share: f64) -> usize {
    ((units as f64 * share).round() as usize).clamp(1, units)
}
