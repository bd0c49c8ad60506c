//! The same architectures as differentiable candle operations.
//!
//! Slower than the explicit engine on a processor, but it runs wherever candle runs and its gradients come from
//! candle's own automatic differentiation, which makes it both the CUDA and Metal path and the reference for tests.
//! Every operation used here has a backward pass; candle's fused normalisation and softmax have none.

use candle_core::{D, Device, Result, Tensor};
use candle_nn::ops::{log_softmax, softmax};

use crate::arch::composed_multimodal::Said;
use crate::arch::config::{ArchConfig, EncoderConfig, Head, MlpConfig, MultimodalConfig};
use crate::arch::input::{Input, Packed};
use crate::arch::join::Join;
use crate::arch::masks::{Site, StepDropout};
use crate::arch::member::lengths;
use crate::arch::modality::Modality;
use crate::arch::records::Records;
use crate::arch::weights::{Weights, get, linear};
use crate::arch::{composed_cross, composed_decoder, composed_graph, composed_multimodal, composed_patch};
use crate::error::Error;
use crate::ops::activation::Activation;
use crate::ops::dropout::Dropout;
use crate::ops::loss::{CrossEntropy, IGNORE};
use crate::ops::wanted::Wanted;
use crate::seed::Seed;

/// `logits (outputs, labels)`; an output is a token before padding when tagging, else a row.
pub fn logits(
    arch: &ArchConfig,
    head: &Head,
    weights: &Weights,
    input: Input<'_>,
    device: &Device,
    training: Option<&Seed>,
) -> std::result::Result<Tensor, Error> {
    match (arch, input) {
        (ArchConfig::Encoder(config), Input::Tokens { ids, lengths, width }) => {
            let mut packed = Packed::default();
            packed.set(ids, lengths, width, config.vocab_size, config.max_position_embeddings)?;
            let step = step_dropout(config.dropout, training);
            let pass = Pass { config, weights, device, lengths, width, step };
            let words = pass.words(ids);
            let logits = words.and_then(|words| pass.encoder(head, &words));
            logits.map_err(Error::tensor("forward pass of an encoder"))
        }
        (ArchConfig::Mlp(config), Input::Dense { values, width }) => {
            let inputs = config.layers[0];
            if width != inputs || values.is_empty() || !values.len().is_multiple_of(width) {
                return Err(Error::shape("features per row", inputs, width));
            }
            Tensor::from_slice(values, (values.len() / inputs, inputs), device)
                .and_then(|values| mlp(config, weights, &values))
                .map_err(Error::tensor("forward pass of an mlp"))
        }
        (ArchConfig::Decoder(config), Input::Tokens { ids, lengths, width }) => {
            let mut packed = Packed::default();
            packed.set(ids, lengths, width, config.vocab_size, config.max_position_embeddings)?;
            let pass = composed_decoder::Pass { config, weights, device, lengths, width };
            pass.logits(ids).map_err(Error::tensor("forward pass of a decoder"))
        }
        (ArchConfig::Patch(config), Input::Dense { values, width }) => {
            if width != config.image_values() || values.is_empty() || !values.len().is_multiple_of(width) {
                return Err(Error::shape("values of an image", config.image_values(), width));
            }
            let mut cut = Vec::new();
            config.cut(values, &mut cut);
            let shape = (values.len() / width * config.patches(), config.patch_values());
            Tensor::from_vec(cut, shape, device)
                .and_then(|patches| composed_patch::logits(config, head, weights, &patches))
                .map_err(Error::tensor("forward pass of a patch encoder"))
        }
        (ArchConfig::Graph(config), Input::Nodes(batch)) => {
            batch.check(config.num_layers, config.features)?;
            let step = step_dropout(config.dropout, training);
            let states = composed_graph::logits(config, weights, batch, step, device);
            let logits = match head {
                Head::Pair { .. } if !batch.targets().is_multiple_of(2) => {
                    return Err(Error::shape(
                        "nodes of a batch of pairs",
                        "two for each pair",
                        batch.targets(),
                    ));
                }
                Head::Pair { .. } => states.and_then(|states| composed_multimodal::pairs(weights, &states)),
                _ => states,
            };
            logits.map_err(Error::tensor("forward pass of a graph network"))
        }
        (ArchConfig::Multimodal(config), Input::Records(records)) => {
            joined(config, weights, records, device, training)
        }
        (arch, input) => Err(Error::shape("input of the model", arch.reads(), input.kind())),
    }
}

fn joined(
    config: &MultimodalConfig,
    weights: &Weights,
    records: Records<'_>,
    device: &Device,
    training: Option<&Seed>,
) -> std::result::Result<Tensor, Error> {
    let towers = config.towers();
    records.check(&towers.iter().map(|(modality, _)| *modality).collect::<Vec<Modality>>())?;
    let mut said = Vec::new();
    for (modality, arch) in towers {
        let Some((rows, input)) = records.part(modality) else { continue };
        let own = tower_weights(weights, modality);
        let seed = training.map(|seed| seed.fork(modality.name()));
        let head = config.tower_head(modality);
        let states = logits(&arch, &head, &own, input, device, seed.as_ref())?;
        let lengths = lengths(&arch, &head, input, rows.len());
        said.push(Said { modality, rows: rows.to_vec(), lengths, states });
    }
    join(config, weights, &said, records.rows, device)
}

/// `logits (rows, labels)` from what the towers said of `rows` rows.
pub(super) fn join(
    config: &MultimodalConfig,
    weights: &Weights,
    said: &[Said],
    rows: usize,
    device: &Device,
) -> std::result::Result<Tensor, Error> {
    let joined = match config.join {
        Join::GatedSum => composed_multimodal::gated_sum(weights, said, rows, device),
        Join::CrossAttention => {
            let heads = config.num_attention_heads.unwrap_or(1);
            composed_cross::attend(heads, weights, said, rows, device)
        }
    };
    joined
        .and_then(|joined| composed_multimodal::head(weights, &joined))
        .map_err(Error::tensor("forward pass of joined towers"))
}

/// The tensors of one tower, under the names they have in an architecture of its own.
pub(super) fn tower_weights(weights: &Weights, modality: Modality) -> Weights {
    let prefix = format!("{}.", modality.name());
    weights
        .iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix(&prefix)?.to_owned(), tensor.clone())))
        .collect()
}

fn step_dropout(probability: f64, training: Option<&Seed>) -> Option<StepDropout> {
    Some(StepDropout { dropout: Dropout::new(probability)?, seed: *training? })
}

/// The mean loss over counted targets as a scalar tensor, and how many outputs counted; `None` if none does.
pub fn loss_of(logits: &Tensor, wanted: Wanted<'_>) -> Result<Option<(Tensor, usize)>> {
    let numbers = |values: &[f32]| Tensor::from_slice(values, logits.dims(), logits.device());
    let outputs = logits.dim(0)?;
    match wanted {
        Wanted::Classes(targets) => cross_entropy(logits, targets),
        Wanted::Marks(marks) => {
            // max(x, 0) - x y + ln(1 + e^-|x|): the logarithm of the sigmoid without an overflow.
            let soft = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
            let loss = ((logits.relu()? - logits.mul(&numbers(marks)?)?)? + soft)?.mean_all()?;
            Ok(Some((loss, outputs)))
        }
        Wanted::Numbers(values) => Ok(Some(((logits - numbers(values)?)?.sqr()?.mean_all()?, outputs))),
    }
}

/// The mean cross-entropy over counted targets as a scalar tensor, and how many counted; `None` if none does.
fn cross_entropy(logits: &Tensor, targets: &[i32]) -> Result<Option<(Tensor, usize)>> {
    let (rows, classes): (Vec<u32>, Vec<u32>) = targets
        .iter()
        .enumerate()
        .filter(|(_, target)| **target != IGNORE)
        .map(|(row, target)| (row as u32, *target as u32))
        .unzip();
    let counted = rows.len();
    if counted == 0 {
        return Ok(None);
    }
    let device = logits.device();
    let rows = Tensor::from_vec(rows, counted, device)?;
    let classes = Tensor::from_vec(classes, (counted, 1), device)?;
    let chosen = log_softmax(&logits.index_select(&rows, 0)?, D::Minus1)?.gather(&classes, 1)?;
    Ok(Some(((chosen.sum_all()?.neg()? / counted as f64)?, counted)))
}

/// The value of [`loss_of`].
pub fn loss_value(loss: Option<&(Tensor, usize)>) -> Result<CrossEntropy> {
    Ok(match loss {
        None => CrossEntropy { loss: f64::NAN, counted: 0 },
        Some((loss, counted)) => {
            CrossEntropy { loss: f64::from(loss.to_scalar::<f32>()?), counted: *counted }
        }
    })
}

pub(super) struct Pass<'a> {
    pub(super) config: &'a EncoderConfig,
    pub(super) weights: &'a Weights,
    pub(super) device: &'a Device,
    pub(super) lengths: &'a [u32],
    pub(super) width: usize,
    pub(super) step: Option<StepDropout>,
}

impl Pass<'_> {
    pub(super) fn encoder(&self, head: &Head, words: &Tensor) -> Result<Tensor> {
        let mut x = self.embed(words)?; // (rows * width, hidden)
        let mask = self.padding_mask()?;
        for layer in 0..self.config.num_hidden_layers {
            x = self.block(&x, layer, &mask)?;
        }
        let mut read = match head {
            Head::Tagging { .. } | Head::Language { .. } | Head::Pair { .. } => {
                x.index_select(&self.token_rows()?, 0)?
            }
            Head::Classification { .. } => {
                let firsts: Vec<u32> = (0..self.lengths.len()).map(|row| (row * self.width) as u32).collect();
                let firsts = Tensor::new(firsts, self.device)?;
                linear(self.weights, &x.index_select(&firsts, 0)?, "bert.pooler.dense")?.tanh()?
            }
        };
        if let Some(step) = self.step {
            let (rows, width) = read.dims2()?;
            let mask = keep_mask(step, Site::Classifier, rows * width);
            read = read.mul(&Tensor::from_vec(mask, (rows, width), self.device)?)?;
        }
        linear(self.weights, &read, "classifier")
    }

    /// Word vectors `(rows * width, hidden)`.
    pub(super) fn words(&self, ids: &[u32]) -> Result<Tensor> {
        // Ids at padding are not checked, so they are not looked up.
        let ids: Vec<u32> =
            ids.iter().enumerate().map(|(k, id)| if self.is_token(k) { *id } else { 0 }).collect();
        let table = get(self.weights, "bert.embeddings.word_embeddings.weight")?;
        table.index_select(&Tensor::new(ids, self.device)?, 0)
    }

    fn embed(&self, words: &Tensor) -> Result<Tensor> {
        let rows = self.lengths.len();
        let table = |part: &str| get(self.weights, &format!("bert.embeddings.{part}"));
        let places: Vec<u32> = (0..rows * self.width).map(|k| (k % self.width) as u32).collect();
        let places = Tensor::new(places, self.device)?;
        let positions = table("position_embeddings.weight")?.index_select(&places, 0)?;
        let kinds = table("token_type_embeddings.weight")?.narrow(0, 0, 1)?;
        let sum = (words + positions)?.broadcast_add(&kinds)?;
        self.dropped(self.norm(&sum, "bert.embeddings.LayerNorm")?, Site::Embedding)
    }

    fn block(&self, x: &Tensor, layer: usize, mask: &Tensor) -> Result<Tensor> {
        let name = |part: &str| format!("bert.encoder.layer.{layer}.{part}");
        let (rows, heads) = (self.lengths.len(), self.config.num_attention_heads);
        let size = self.config.hidden_size / heads;
        let split = |part: &str| {
            linear(self.weights, x, &name(part))?
                .reshape((rows, self.width, heads, size))?
                .transpose(1, 2)?
                .contiguous()
        };
        let (query, key, value) =
            (split("attention.self.query")?, split("attention.self.key")?, split("attention.self.value")?);
        let scores = (query.matmul(&key.transpose(2, 3)?.contiguous()?)? / (size as f64).sqrt())?;
        let mut probabilities = softmax(&scores.broadcast_add(mask)?, D::Minus1)?; // (row, head, token, token)
        if let Some(step) = self.step {
            probabilities = probabilities.mul(&self.probability_mask(step, layer)?)?;
        }
        let context = probabilities
            .matmul(&value)?
            .transpose(1, 2)?
            .reshape((rows * self.width, self.config.hidden_size))?;
        let out = linear(self.weights, &context, &name("attention.output.dense"))?;
        let out = self.dropped(out, Site::Attention(layer))?;
        let attended = self.norm(&(x + out)?, &name("attention.output.LayerNorm"))?;
        let up = linear(self.weights, &attended, &name("intermediate.dense"))?;
        let activated = match self.config.hidden_act {
            Activation::Gelu => up.gelu_erf()?,
            Activation::GeluTanh => up.gelu()?,
            Activation::Relu => up.relu()?,
        };
        let down = linear(self.weights, &activated, &name("output.dense"))?;
        let down = self.dropped(down, Site::Output(layer))?;
        self.norm(&(attended + down)?, &name("output.LayerNorm"))
    }

    fn norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let width = self.config.hidden_size as f64;
        let centred = x.broadcast_sub(&(x.sum_keepdim(D::Minus1)? / width)?)?;
        let variance = (centred.sqr()?.sum_keepdim(D::Minus1)? / width)?;
        centred
            .broadcast_div(&(variance + self.config.layer_norm_eps)?.sqrt()?)?
            .broadcast_mul(get(self.weights, &format!("{name}.weight"))?)?
            .broadcast_add(get(self.weights, &format!("{name}.bias"))?)
    }

    /// Whether place `k` of the padded batch holds a token.
    fn is_token(&self, k: usize) -> bool {
        (k % self.width) < self.lengths[k / self.width] as usize
    }

    /// The padded places that hold tokens.
    fn token_rows(&self) -> Result<Tensor> {
        let places = self.lengths.len() * self.width;
        let rows: Vec<u32> = (0..places).filter(|k| self.is_token(*k)).map(|k| k as u32).collect();
        Tensor::new(rows, self.device)
    }

    /// 0 for keys that are tokens and a large negative number for padding, `(rows, 1, 1, width)`.
    fn padding_mask(&self) -> Result<Tensor> {
        let places = self.lengths.len() * self.width;
        let mask: Vec<f32> = (0..places).map(|k| if self.is_token(k) { 0.0 } else { -1e30 }).collect();
        Tensor::from_vec(mask, (self.lengths.len(), 1, 1, self.width), self.device)
    }

    /// Applies the mask of a place whose values are `(rows * width, hidden)`.
    fn dropped(&self, x: Tensor, site: Site) -> Result<Tensor> {
        let Some(step) = self.step else { return Ok(x) };
        let (places, hidden) = x.dims2()?;
        let tokens: usize = self.lengths.iter().map(|length| *length as usize).sum();
        let packed = keep_mask(step, site, tokens * hidden);
        let mut packed = packed.chunks_exact(hidden);
        let mut mask = vec![0.0; places * hidden];
        for (place, row) in mask.chunks_exact_mut(hidden).enumerate() {
            if self.is_token(place)
                && let Some(values) = packed.next()
            {
                row.copy_from_slice(values);
            }
        }
        x.mul(&Tensor::from_vec(mask, (places, hidden), self.device)?)
    }

    /// The mask of a block's attention probabilities, `(rows, heads, width, width)`.
    fn probability_mask(&self, step: StepDropout, layer: usize) -> Result<Tensor> {
        let (rows, heads, width) = (self.lengths.len(), self.config.num_attention_heads, self.width);
        let squares: usize = self.lengths.iter().map(|length| (*length as usize).pow(2)).sum();
        let packed = keep_mask(step, Site::Probabilities(layer), heads * squares);
        let mut mask = vec![0.0; rows * heads * width * width];
        let mut from = 0;
        for (row, length) in self.lengths.iter().map(|length| *length as usize).enumerate() {
            for head in 0..heads {
                for query in 0..length {
                    let to = ((row * heads + head) * width + query) * width;
                    mask[to..to + length].copy_from_slice(&packed[from..from + length]);
                    from += length;
                }
            }
        }
        Tensor::from_vec(mask, (rows, heads, width, width), self.device)
    }
}

fn keep_mask(step: StepDropout, site: Site, length: usize) -> Vec<f32> {
    let mut keep = Vec::new();
    step.fill(site, length, &mut keep);
    keep.iter().map(|keep| f32::from(*keep) * step.dropout.scale()).collect()
}

pub(super) fn mlp(config: &MlpConfig, weights: &Weights, values: &Tensor) -> Result<Tensor> {
    let layers = config.layers.len() - 1;
    let mut x = values.clone();
    for layer in 0..layers {
        let weight = get(weights, &format!("layers.{layer:02}.matrix"))?;
        x = x.matmul(&weight.t()?)?.broadcast_add(get(weights, &format!("layers.{layer:02}.offset"))?)?;
        if layer + 1 < layers {
            x = x.relu()?;
        }
    }
    Ok(x)
}
