//! Which parts of a student come from which parts of its teacher, family by family.
//!
//! A family is described by its tensors: what each axis of a tensor runs over (all features, the heads of one block, the
//! inner features of one block, something that is kept whole), and which tensor of the teacher a tensor of the student is
//! cut from. Ranking and copying then need to know nothing of the family.

use crate::arch::config::{ArchConfig, EncoderConfig, Head, MlpConfig};
use crate::arch::decoder_config::DecoderConfig;
use crate::arch::graph_config::GraphConfig;
use crate::arch::network::Network;
use crate::arch::patch_config::PatchConfig;
use crate::distill::plan::{Depth, spread};
use crate::error::{Error, Result};

/// Things that are kept or dropped together, wherever in the model they occur: a head, a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// How many the teacher has.
    pub units: usize,
    /// How many the student keeps.
    pub keep: usize,
}

/// What an axis of a tensor runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// An index into [`Anatomy::groups`].
    pub group: usize,
    /// Places that one unit of the group takes here.
    pub span: usize,
}

/// One tensor of the student and where it is cut from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorCut {
    /// Its name.
    pub name: String,
    /// The teacher's tensor.
    pub from: String,
    /// By axis, what it runs over; nothing where it is kept whole.
    pub axes: Vec<Option<Axis>>,
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
            ArchConfig::Decoder(config) => decoder(config, head, depth, width),
            ArchConfig::Patch(config) => patch(config, head, depth, width),
            ArchConfig::Mlp(config) => mlp(config, head, depth, width),
            ArchConfig::Graph(config) => graph(config, head, depth, width),
            ArchConfig::Multimodal(_) => Err(Error::config(
                "students",
                "expected an architecture with one tower to cut students out of, found several towers; give the \
                 student's architecture as a .json file",
            )),
        }
    }
}

/// Sizes that the blocks of a transformer have.
struct Blocks {
    /// Blocks of the teacher that are kept.
    kept: Vec<usize>,
    /// Heads, those that share keys and values counted once.
    heads: Group,
    /// Features of one head.
    size: usize,
    /// Query heads that share keys and values.
    shared: usize,
    /// Features between the two linear layers of a block.
    inner: Group,
}

/// An axis of all features between blocks: group 0, chosen once for the whole model.
const HIDDEN: Option<Axis> = Some(Axis { group: 0, span: 1 });

impl Blocks {
    fn new(
        blocks: usize,
        depth: Depth,
        width: f64,
        heads: (usize, usize),
        hidden: usize,
        inner: usize,
    ) -> Result<Self> {
        let (heads, groups) = heads;
        Ok(Self {
            kept: spread(blocks, depth.of(blocks)?),
            heads: Group { units: groups, keep: share(groups, width) },
            size: hidden / heads,
            shared: heads / groups,
            inner: Group { units: inner, keep: share(inner, width) },
        })
    }

    /// Features between blocks; as many are kept as the kept heads have together.
    fn hidden(&self) -> Group {
        let of = |heads: usize| heads * self.shared * self.size;
        Group { units: of(self.heads.units), keep: of(self.heads.keep) }
    }

    /// Heads and inner features are chosen in each block.
    fn groups(&self) -> Vec<Group> {
        let mut groups = vec![self.hidden()];
        self.kept.iter().for_each(|_| groups.extend([self.heads, self.inner]));
        groups
    }

    /// Query heads kept.
    fn query_heads(&self) -> usize {
        self.heads.keep * self.shared
    }

    /// The teacher's block and the rest of the name, where a tensor of the student lies in a block.
    fn place<'a>(&self, name: &'a str, prefix: &str) -> Option<(usize, usize, &'a str)> {
        let (number, part) = name.strip_prefix(prefix)?.split_once('.')?;
        let number: usize = number.parse().ok()?;
        Some((number, *self.kept.get(number)?, part))
    }

    /// Axes over queries, over keys and values, over inner features, of a block of the student.
    fn axes(&self, number: usize) -> [Option<Axis>; 3] {
        let heads = 1 + 2 * number;
        [
            Some(Axis { group: heads, span: self.shared * self.size }),
            Some(Axis { group: heads, span: self.size }),
            Some(Axis { group: heads + 1, span: 1 }),
        ]
    }
}

fn encoder(config: &EncoderConfig, head: &Head, depth: Depth, width: f64) -> Result<Anatomy> {
    let heads = (config.num_attention_heads, config.num_attention_heads);
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let blocks = Blocks::new(config.num_hidden_layers, depth, width, heads, hidden, inner)?;
    let arch = ArchConfig::Encoder(EncoderConfig {
        num_hidden_layers: blocks.kept.len(),
        num_attention_heads: blocks.query_heads(),
        hidden_size: blocks.hidden().keep,
        intermediate_size: blocks.inner.keep,
        ..config.clone()
    });
    let cut = |name: &str, shape: &[usize]| -> TensorCut {
        let Some((number, old, part)) = blocks.place(name, "bert.encoder.layer.") else {
            // Embeddings and classifier end in the features, pooler matrices have them on both axes.
            let axes = if name == "bert.pooler.dense.weight" {
                vec![HIDDEN; 2]
            } else {
                last(shape, name != "classifier.bias")
            };
            return TensorCut { name: name.to_owned(), from: name.to_owned(), axes };
        };
        let [heads, _, inner] = blocks.axes(number);
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
        let from = format!("bert.encoder.layer.{old}.{part}");
        TensorCut { name: name.to_owned(), from, axes }
    };
    finish(arch, head, blocks.groups(), cut)
}

/// Query heads that share keys and values stay together.
fn decoder(config: &DecoderConfig, head: &Head, depth: Depth, width: f64) -> Result<Anatomy> {
    let heads = (config.num_attention_heads, config.num_key_value_heads);
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let blocks = Blocks::new(config.num_hidden_layers, depth, width, heads, hidden, inner)?;
    let arch = ArchConfig::Decoder(DecoderConfig {
        num_hidden_layers: blocks.kept.len(),
        num_attention_heads: blocks.query_heads(),
        num_key_value_heads: blocks.heads.keep,
        hidden_size: blocks.hidden().keep,
        intermediate_size: blocks.inner.keep,
        ..config.clone()
    });
    let cut = |name: &str, shape: &[usize]| -> TensorCut {
        let Some((number, old, part)) = blocks.place(name, "model.layers.") else {
            return TensorCut { name: name.to_owned(), from: name.to_owned(), axes: last(shape, true) };
        };
        let [queries, keys, inner] = blocks.axes(number);
        let axes = match part {
            "self_attn.q_proj.weight" => vec![queries, HIDDEN],
            "self_attn.k_proj.weight" | "self_attn.v_proj.weight" => vec![keys, HIDDEN],
            "self_attn.o_proj.weight" => vec![HIDDEN, queries],
            "mlp.gate_proj.weight" | "mlp.up_proj.weight" => vec![inner, HIDDEN],
            "mlp.down_proj.weight" => vec![HIDDEN, inner],
            _ => vec![HIDDEN], // normalisations
        };
        TensorCut { name: name.to_owned(), from: format!("model.layers.{old}.{part}"), axes }
    };
    finish(arch, head, blocks.groups(), cut)
}

fn patch(config: &PatchConfig, head: &Head, depth: Depth, width: f64) -> Result<Anatomy> {
    let heads = (config.num_attention_heads, config.num_attention_heads);
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let blocks = Blocks::new(config.num_hidden_layers, depth, width, heads, hidden, inner)?;
    let arch = ArchConfig::Patch(PatchConfig {
        num_hidden_layers: blocks.kept.len(),
        num_attention_heads: blocks.query_heads(),
        hidden_size: blocks.hidden().keep,
        intermediate_size: blocks.inner.keep,
        ..config.clone()
    });
    let cut = |name: &str, shape: &[usize]| -> TensorCut {
        let Some((number, old, part)) = blocks.place(name, "vit.encoder.layer.") else {
            let axes = if name == "vit.embeddings.patch_embeddings.projection.weight" {
                // A kernel makes features of pixels: (features, channels, rows, columns).
                vec![HIDDEN, None, None, None]
            } else {
                last(shape, name != "classifier.bias")
            };
            return TensorCut { name: name.to_owned(), from: name.to_owned(), axes };
        };
        let [heads, _, inner] = blocks.axes(number);
        let axes = match part {
            "attention.output.dense.weight" => vec![HIDDEN, heads],
            "intermediate.dense.weight" => vec![inner, HIDDEN],
            "intermediate.dense.bias" => vec![inner],
            "output.dense.weight" => vec![HIDDEN, inner],
            part if part.starts_with("attention.attention.") && shape.len() == 2 => vec![heads, HIDDEN],
            part if part.starts_with("attention.attention.") => vec![heads],
            _ => vec![HIDDEN], // biases and normalisations of the features between blocks
        };
        TensorCut { name: name.to_owned(), from: format!("vit.encoder.layer.{old}.{part}"), axes }
    };
    finish(arch, head, blocks.groups(), cut)
}

/// Axes of which the last runs over the features between blocks, or none does.
fn last(shape: &[usize], has_features: bool) -> Vec<Option<Axis>> {
    let mut axes = vec![None; shape.len()];
    if let Some(last) = axes.last_mut().filter(|_| has_features) {
        *last = HIDDEN;
    }
    axes
}

fn mlp(config: &MlpConfig, head: &Head, depth: Depth, width: f64) -> Result<Anatomy> {
    let kept = layers(&config.layers, depth)?;
    let groups = sizes(&config.layers, &kept, width);
    let mut layers = vec![config.layers[0]];
    layers.extend(groups.iter().map(|group| group.keep));
    layers.extend(config.layers.last());
    let arch = ArchConfig::Mlp(MlpConfig { layers });
    let count = groups.len();
    let cut = |name: &str, _: &[usize]| -> TensorCut {
        let (number, part) = layer_of(name);
        let [before, behind] = around(number, count);
        let axes = if part == "matrix" { vec![behind, before] } else { vec![behind] };
        TensorCut { name: name.to_owned(), from: format!("layers.{:02}.{part}", kept[number]), axes }
    };
    finish(arch, head, groups, cut)
}

/// A layer is a hop: a student of fewer layers also looks less far.
fn graph(config: &GraphConfig, head: &Head, depth: Depth, width: f64) -> Result<Anatomy> {
    let mut all = vec![config.features];
    all.extend(std::iter::repeat_n(config.hidden_size, config.num_layers.saturating_sub(1)));
    all.push(head.labels());
    let kept = layers(&all, depth)?;
    let groups = sizes(&all, &kept, width);
    let arch = ArchConfig::Graph(GraphConfig {
        hidden_size: groups.first().map_or(config.hidden_size, |group| group.keep),
        num_layers: kept.len(),
        ..config.clone()
    });
    let count = groups.len();
    let cut = |name: &str, _: &[usize]| -> TensorCut {
        let (number, part) = layer_of(name);
        let [before, behind] = around(number, count);
        let axes = match (part, number) {
            ("bias", _) => vec![behind],
            // The first layer is looked up by feature, so it lies by feature.
            (_, 0) => vec![before, behind],
            _ => vec![behind, before],
        };
        TensorCut { name: name.to_owned(), from: format!("layers.{:02}.{part}", kept[number]), axes }
    };
    finish(arch, head, groups, cut)
}

/// Which layers of a stack are kept, by the sizes around them: a block is a layer between two hidden layers of one size;
/// others cannot be left out.
fn layers(sizes: &[usize], depth: Depth) -> Result<Vec<usize>> {
    let count = sizes.len() - 1;
    let is_block = |k: usize| k > 0 && k + 1 < count && sizes[k] == sizes[k + 1];
    let blocks: Vec<usize> = (0..count).filter(|k| is_block(*k)).collect();
    match depth {
        Depth::Whole => Ok((0..count).collect()),
        _ if blocks.is_empty() => {
            let reason = format!(
                "layers of sizes {sizes:?} have no two hidden ones of one size in a row, so that none can be left out; \
                 take a width, as in width0.5"
            );
            Err(Error::config("students", reason))
        }
        depth => {
            let chosen = spread(blocks.len(), depth.of(blocks.len())?);
            let stays = |k: &usize| !is_block(*k) || chosen.iter().any(|number| blocks[*number] == *k);
            Ok((0..count).filter(stays).collect())
        }
    }
}

/// Group k is the size behind kept layer k; there is none for the outputs.
fn sizes(sizes: &[usize], kept: &[usize], width: f64) -> Vec<Group> {
    let behind = kept.iter().take(kept.len() - 1).map(|k| sizes[k + 1]);
    behind.map(|size| Group { units: size, keep: share(size, width) }).collect()
}

/// The number of the layer that a tensor of a stack belongs to, and the rest of its name.
fn layer_of(name: &str) -> (usize, &str) {
    let parts = name.strip_prefix("layers.").and_then(|rest| rest.split_once('.'));
    let (number, part) = parts.expect("a stack has only tensors of its layers");
    (number.parse().expect("layers are numbered"), part)
}

/// Axes before and behind a layer of a stack; inputs and outputs are kept whole.
fn around(number: usize, groups: usize) -> [Option<Axis>; 2] {
    let axis = |group| Axis { group, span: 1 };
    [number.checked_sub(1).map(axis), (number < groups).then_some(axis(number))]
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
