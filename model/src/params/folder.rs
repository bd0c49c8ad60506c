//! A model as a folder: `config.json` and `model.safetensors`, as Hugging Face lays them out.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::arch::config::{ArchConfig, EncoderConfig, Head, MlpConfig};
use crate::arch::slot::Slots;
use crate::error::{Error, Result};
use crate::params::checkpoint::{self, Checkpoint, Found};
use crate::params::names::{candidates, is_head};
use crate::params::{llama, vit};

/// Longest `config.json` accepted, bytes.
const CONFIG_BYTES_MAX: u64 = 4 << 20;

/// The `model_type` of our multilayer perceptron, which Hugging Face does not know.
const MLP: &str = "starling-mlp";

/// The `model_type` of our graph network, likewise.
const GRAPH: &str = "starling-graph";

/// The `model_type` of our joined towers, likewise.
const MULTIMODAL: &str = "starling-multimodal";

/// The architecture of a folder: BERT, Llama, ViT, or one of our own.
pub fn read_arch(dir: &Path) -> Result<ArchConfig> {
    let (path, config) = read_config(dir)?;
    let refuse = |reason: String| Error::Checkpoint { file: path.display().to_string(), reason };
    match config.get("model_type").and_then(Value::as_str) {
        Some(MLP) => {
            let layers = config.get("layers").cloned().unwrap_or(Value::Null);
            let layers =
                serde_json::from_value(layers).map_err(|error| refuse(format!("`layers`: {error}")))?;
            Ok(ArchConfig::Mlp(MlpConfig { layers }))
        }
        Some(GRAPH) => {
            let sizes = config.get("sizes").cloned().unwrap_or(Value::Null);
            let sizes = serde_json::from_value(sizes).map_err(|error| refuse(format!("`sizes`: {error}")))?;
            Ok(ArchConfig::Graph(sizes))
        }
        Some(MULTIMODAL) => {
            let sizes = config.get("sizes").cloned().unwrap_or(Value::Null);
            let sizes = serde_json::from_value(sizes).map_err(|error| refuse(format!("`sizes`: {error}")))?;
            Ok(ArchConfig::Multimodal(Box::new(sizes)))
        }
        Some("vit") => Ok(ArchConfig::Patch(vit::read(&config).map_err(refuse)?)),
        Some("llama") => Ok(ArchConfig::Decoder(llama::read(&config).map_err(refuse)?)),
        Some("bert") => Ok(ArchConfig::Encoder(encoder(&config).map_err(refuse)?)),
        Some(other) => Err(refuse(format!(
            "expected model_type `bert`, `llama`, `vit`, `{MLP}`, `{GRAPH}` or `{MULTIMODAL}`, found `{other}`"
        ))),
        None => Err(refuse("expected the key `model_type`, found none".into())),
    }
}

/// The head a folder was saved with, from `architectures` and the classifier's shape.
pub fn read_head(dir: &Path) -> Result<Head> {
    let (path, config) = read_config(dir)?;
    let refuse = |reason: &str| Error::Checkpoint { file: path.display().to_string(), reason: reason.into() };
    match read_arch(dir)? {
        ArchConfig::Mlp(mlp) => {
            let labels = mlp.layers.last().copied().ok_or_else(|| refuse("`layers` is empty"))?;
            return Ok(Head::Classification { labels });
        }
        ArchConfig::Graph(graph) => {
            let name = format!("layers.{:02}.bias", graph.num_layers.saturating_sub(1));
            let checkpoint = Checkpoint::open(&weights(dir)?)?;
            if let Some(labels) = length(&checkpoint, "pair.bias") {
                return Ok(Head::Pair { labels });
            }
            return length(&checkpoint, &name)
                .map(|labels| Head::Classification { labels })
                .ok_or_else(|| refuse("the checkpoint has no bias of the last layer"));
        }
        ArchConfig::Multimodal(_) => {
            return length(&Checkpoint::open(&weights(dir)?)?, "join.outer.bias")
                .map(|labels| Head::Classification { labels })
                .ok_or_else(|| refuse("the checkpoint has no `join.outer.bias`"));
        }
        ArchConfig::Decoder(decoder) => return Ok(Head::Language { labels: decoder.vocab_size }),
        ArchConfig::Encoder(_) | ArchConfig::Patch(_) => {}
    }
    let architecture = config.get("architectures").and_then(|list| list.get(0)).and_then(Value::as_str);
    let checkpoint = Checkpoint::open(&weights(dir)?)?;
    let labels = match checkpoint.entry(&candidates("classifier.bias")) {
        Some((_, entry)) if entry.shape.len() == 1 => entry.shape[0] as usize,
        _ => return Err(refuse("the checkpoint has no `classifier.bias`: say which head you want")),
    };
    match architecture {
        Some("BertForTokenClassification") => Ok(Head::Tagging { labels }),
        Some("BertForSequenceClassification" | "ViTForImageClassification") => {
            Ok(Head::Classification { labels })
        }
        _ => Err(refuse(
            "expected `architectures` to name BertForTokenClassification, BertForSequenceClassification or ViTForImageClassification",
        )),
    }
}

/// Elements of a vector in a checkpoint.
fn length(checkpoint: &Checkpoint, name: &str) -> Option<usize> {
    let (_, entry) = checkpoint.entry(&[name.to_owned()])?;
    (entry.shape.len() == 1).then(|| entry.shape[0] as usize)
}

/// Fills `flat` from the folder's checkpoint. Tensors of the head that are missing or of another shape keep what `flat`
/// holds; any other such tensor is an error that names it.
pub fn read_parameters(dir: &Path, slots: &Slots, flat: &mut [f32]) -> Result<()> {
    let mut checkpoint = Checkpoint::open(&weights(dir)?)?;
    // A classifier of another task must not keep its pooler half: the head is taken whole or started fresh.
    let fits = |checkpoint: &Checkpoint| {
        slots.by_name().filter(|slot| slot.name.starts_with("classifier.")).all(|slot| {
            checkpoint.entry(&candidates(&slot.name)).is_some_and(|(_, entry)| {
                entry.shape.iter().copied().eq(slot.shape.iter().map(|size| *size as u64))
            })
        })
    };
    let has_head = fits(&checkpoint);
    let mut values = Vec::new();
    for slot in slots.by_name() {
        if slot.name.starts_with("classifier.") && !has_head {
            continue;
        }
        values.resize(slot.range.len(), 0.0);
        match checkpoint.read(&slot.name, &slot.shape, &mut values)? {
            Found::Yes => flat[slot.flat..slot.flat + slot.range.len()].copy_from_slice(&values),
            Found::Absent | Found::OtherShape if is_head(&slot.name) => {}
            Found::Absent => {
                return Err(checkpoint.refuse(format!("expected the tensor `{}`, found none", slot.name)));
            }
            Found::OtherShape => {
                let reason =
                    format!("expected the tensor `{}` of shape {:?}, found another", slot.name, slot.shape);
                return Err(checkpoint.refuse(reason));
            }
        }
    }
    Ok(())
}

/// Writes the folder; `extra` (an object or null) is merged into `config.json`.
pub fn write(
    dir: &Path,
    arch: &ArchConfig,
    head: &Head,
    slots: &Slots,
    flat: &[f32],
    extra: &Value,
) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|source| Error::io("write", dir, source))?;
    let mut config = describe(arch, head);
    match extra {
        Value::Object(extra) => config.extend(extra.clone()),
        Value::Null => {}
        _ => {
            return Err(Error::config(
                "extra",
                "expected an object to merge into config.json, found another value",
            ));
        }
    }
    // The weights first: a folder with a new config and old weights would load as something it is not.
    checkpoint::write(&dir.join("model.safetensors"), slots, flat)?;
    let text =
        serde_json::to_string_pretty(&Value::Object(config)).expect("a JSON value is always printable");
    checkpoint::replace(&dir.join("config.json"), |out| out.write_all(text.as_bytes()))
}

fn describe(arch: &ArchConfig, head: &Head) -> Map<String, Value> {
    let value = match arch {
        ArchConfig::Mlp(config) => json!({ "model_type": MLP, "layers": config.layers }),
        ArchConfig::Graph(config) => json!({ "model_type": GRAPH, "sizes": config }),
        ArchConfig::Multimodal(config) => json!({ "model_type": MULTIMODAL, "sizes": config }),
        ArchConfig::Patch(config) => vit::describe(config, head.labels()),
        ArchConfig::Decoder(config) => llama::describe(config),
        ArchConfig::Encoder(config) => json!({
            "model_type": "bert",
            "architectures": [match head {
                Head::Tagging { .. } | Head::Language { .. } | Head::Pair { .. } => {
                    "BertForTokenClassification"
                }
                Head::Classification { .. } => "BertForSequenceClassification",
            }],
            "vocab_size": config.vocab_size,
            "hidden_size": config.hidden_size,
            "num_hidden_layers": config.num_hidden_layers,
            "num_attention_heads": config.num_attention_heads,
            "intermediate_size": config.intermediate_size,
            "max_position_embeddings": config.max_position_embeddings,
            "type_vocab_size": config.type_vocab_size,
            "layer_norm_eps": config.layer_norm_eps,
            "hidden_act": config.hidden_act,
            "hidden_dropout_prob": config.dropout,
            "attention_probs_dropout_prob": config.dropout,
            "pad_token_id": 0,
            "torch_dtype": "float32",
            "id2label": (0..head.labels()).map(|k| (k.to_string(), format!("LABEL_{k}").into())).collect::<Map<_, _>>(),
            "label2id": (0..head.labels()).map(|k| (format!("LABEL_{k}"), k.into())).collect::<Map<_, _>>(),
        }),
    };
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Hugging Face configurations hold many keys of no meaning here, so only those needed are read; what would change the
/// mathematics is checked. Dropout starts at 0: set it in the charter if it is wanted.
fn encoder(config: &Map<String, Value>) -> std::result::Result<EncoderConfig, String> {
    for (key, expected) in [("position_embedding_type", "absolute")] {
        if let Some(found) = config.get(key).and_then(Value::as_str).filter(|found| *found != expected) {
            return Err(format!("expected {key} `{expected}`, found `{found}`"));
        }
    }
    if config.get("is_decoder").and_then(Value::as_bool) == Some(true) {
        return Err("expected an encoder, found is_decoder true".into());
    }
    let keys = [
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
        "type_vocab_size",
        "layer_norm_eps",
        "hidden_act",
    ];
    let known = keys.iter().filter_map(|key| config.get_key_value(*key)).map(|(k, v)| (k.clone(), v.clone()));
    serde_json::from_value(Value::Object(known.collect())).map_err(|error| error.to_string())
}

fn read_config(dir: &Path) -> Result<(PathBuf, Map<String, Value>)> {
    let path = dir.join("config.json");
    let io = |source| Error::io("read", &path, source);
    let refuse = |reason: String| Error::Checkpoint { file: path.display().to_string(), reason };
    let kind = std::fs::metadata(&path).map_err(io)?;
    if !kind.is_file() || kind.len() > CONFIG_BYTES_MAX {
        return Err(refuse(format!("expected a regular file of at most {CONFIG_BYTES_MAX} bytes")));
    }
    let mut bytes = Vec::new();
    // `take`: the file may grow while it is read.
    std::fs::File::open(&path)
        .and_then(|file| file.take(CONFIG_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(io)?;
    let config = serde_json::from_slice(&bytes).map_err(|error| refuse(format!("malformed: {error}")))?;
    Ok((path, config))
}

fn weights(dir: &Path) -> Result<PathBuf> {
    let path = dir.join("model.safetensors");
    if path.exists() {
        return Ok(path);
    }
    for pickle in ["pytorch_model.bin", "model.bin", "model.pt"] {
        let pickle = dir.join(pickle);
        if pickle.exists() {
            // Opening it gives the error that says why such files are refused and what to do.
            return Checkpoint::open(&pickle).map(|_| pickle);
        }
    }
    let reason = "expected the file model.safetensors, found none".to_owned();
    Err(Error::Checkpoint { file: dir.display().to_string(), reason })
}
