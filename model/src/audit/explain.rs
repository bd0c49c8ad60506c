//! Why a model says what it says of one input: integrated gradients (Sundararajan, Taly and Yan 2017).
//!
//! The input is led in a straight line from a baseline that says nothing to what it is; each part gets its share of what
//! happens to the answer on the way: to the log-probability of a label, or to a quantity. The shares sum to the whole change
//! (completeness), up to the steps taken. Steps are added until they miss it by little; how far they still do is part of
//! the answer.

use candle_core::{D, Tensor, Var};
use candle_nn::ops::log_softmax;

use crate::arch::composed_parts::{Parts, logits_of_parts, parts};
use crate::arch::config::{ArchConfig, Head};
use crate::arch::input::Input;
use crate::arch::modality::Modality;
use crate::arch::weights::Weights;
use crate::error::{Error, Result};

/// Steps on the way at first. They are trebled until the gap is small: every midpoint of a step is then the midpoint of one
/// of its thirds, and no point is asked twice.
pub const STEPS_FIRST: usize = 16;
/// Steps at most; a model that turns on a shorter part of the way keeps its [`Explanation::gap`].
pub const STEPS_MAX: usize = STEPS_FIRST * 81;
/// The gap that is small enough, as a share of the change that is explained.
pub const GAP_SHARE: f64 = 0.01;
/// A change below this is as good as none: single precision would not bring its gap down.
const CHANGE_MIN: f64 = 0.01;
/// Points asked at once.
const ROWS: usize = 64;

/// What the outputs of a model mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// One label of several: the log-probability of a softmax is explained.
    Choice,
    /// Labels that hold or not: the log-probability of a sigmoid is explained.
    Marks,
    /// A quantity: the output itself is explained.
    Quantity,
}

/// What is to be explained.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// One row.
    pub input: Input<'a>,
    /// The baseline: of the same kind and size.
    pub baseline: Input<'a>,
    /// Which output of the row: a token when tagging, else 0.
    pub output: usize,
    /// The answer to be explained.
    pub label: u32,
    /// What it means.
    pub meaning: Meaning,
}

/// Shares of the parts of one input.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// For each kind of input the share of each part: of a token, a patch, a pixel, a number of a table.
    pub shares: Vec<(Modality, Vec<f64>)>,
    /// The log-probability of the answer, or the quantity.
    pub with: f64,
    /// The same at the baseline.
    pub without: f64,
    /// Steps taken.
    pub steps: usize,
}

impl Explanation {
    /// How far the shares miss the change they explain.
    pub fn gap(&self) -> f64 {
        let all = self.shares.iter().flat_map(|(_, shares)| shares);
        all.sum::<f64>() - (self.with - self.without)
    }

    fn is_close(&self) -> bool {
        self.gap().abs() <= GAP_SHARE * (self.with - self.without).abs().max(CHANGE_MIN)
    }
}

/// Explains one answer of a model with these tensors.
///
/// # Errors
/// The architecture cannot be explained, or input and baseline do not fit it.
pub fn explain(
    arch: &ArchConfig,
    head: &Head,
    weights: &Weights,
    question: &Question<'_>,
) -> Result<Explanation> {
    let outputs = match question.input {
        Input::Tokens { ids, lengths: [_], .. } if head.is_per_token() => ids.len(),
        Input::Tokens { lengths: [_], .. } => 1,
        Input::Dense { values, width } if values.len() == width => 1,
        Input::Records(records) if records.rows == 1 => 1,
        _ => return Err(Error::shape("input to explain", "one row without padding", "another number")),
    };
    if question.output >= outputs || question.label as usize >= head.labels() {
        return Err(Error::shape("output to explain", format!("below {outputs}"), question.output));
    }
    let path = Path::new(arch, weights, question)?;
    let asked = Asked { arch, head, weights, question, outputs };
    let (with, without) = (asked.value(&path.at(&[1.0])?)?, asked.value(&path.at(&[0.0])?)?);
    let mut steps = STEPS_FIRST;
    let mut points: Vec<f64> = (0..steps).map(|step| (step as f64 + 0.5) / steps as f64).collect();
    let mut slopes: Vec<Tensor> =
        path.ways.iter().map(|way| way.tensor.zeros_like().map_err(wrong())).collect::<Result<_>>()?;
    loop {
        for points in points.chunks(ROWS) {
            let found = asked.slopes(path.at(points)?, points.len())?;
            for (sum, slope) in slopes.iter_mut().zip(found) {
                *sum = (&*sum + slope).map_err(wrong())?;
            }
        }
        let shares = path.shares(&slopes, steps).map_err(wrong())?;
        let found = Explanation { shares, with, without, steps };
        if found.is_close() || steps >= STEPS_MAX {
            return Ok(found);
        }
        steps *= 3;
        // The middle third of every step has been asked.
        let new = (0..steps).filter(|step| step % 3 != 1);
        points = new.map(|step| (step as f64 + 0.5) / steps as f64).collect();
    }
}

fn wrong() -> impl FnOnce(candle_core::Error) -> Error {
    Error::tensor("explain an answer")
}

/// The straight line from the baseline to the input.
struct Path {
    baseline: Vec<Parts>,
    ways: Vec<Parts>,
}

impl Path {
    fn new(arch: &ArchConfig, weights: &Weights, question: &Question<'_>) -> Result<Self> {
        let input = parts(arch, weights, question.input)?;
        let baseline = parts(arch, weights, question.baseline)?;
        let shapes = |all: &[Parts]| -> Vec<(Modality, Vec<usize>)> {
            all.iter().map(|parts| (parts.modality, parts.tensor.dims().to_vec())).collect()
        };
        if shapes(&input) != shapes(&baseline) {
            let [found, expected] = [&baseline, &input].map(|all| format!("{:?}", shapes(all)));
            return Err(Error::shape("baseline of an explanation", expected, found));
        }
        if input.is_empty() {
            return Err(Error::shape("input to explain", "a text, an image or columns", "none"));
        }
        let way = |(input, baseline): (&Parts, &Parts)| -> Result<Parts> {
            let tensor = (&input.tensor - &baseline.tensor).map_err(wrong())?;
            Ok(Parts { tensor, ..input.clone() })
        };
        let ways = input.iter().zip(&baseline).map(way).collect::<Result<_>>()?;
        Ok(Self { baseline, ways })
    }

    /// The inputs at these places, one behind the other.
    fn at(&self, points: &[f64]) -> Result<Vec<Parts>> {
        let all = self.baseline.iter().zip(&self.ways);
        all.map(|(baseline, way)| {
            let at = |point: &f64| &baseline.tensor + (&way.tensor * *point)?;
            let rows = points.iter().map(at).collect::<candle_core::Result<Vec<_>>>();
            let tensor = rows.and_then(|rows| Tensor::cat(&rows, 0)).map_err(wrong())?;
            Ok(Parts { tensor, ..way.clone() })
        })
        .collect()
    }

    /// Mean slope times way, summed over the numbers of a part.
    fn shares(&self, slopes: &[Tensor], steps: usize) -> candle_core::Result<Vec<(Modality, Vec<f64>)>> {
        let shares = |(way, slope): (&Parts, &Tensor)| {
            let product = (slope / steps as f64)?.mul(&way.tensor)?;
            let parts = if way.are_rows { product.sum(1)? } else { product.flatten_all()? };
            let parts = parts.to_vec1::<f32>()?.into_iter().map(f64::from).collect();
            Ok((way.modality, parts))
        };
        self.ways.iter().zip(slopes).map(shares).collect()
    }
}

/// A model and what it is asked.
struct Asked<'a> {
    arch: &'a ArchConfig,
    head: &'a Head,
    weights: &'a Weights,
    question: &'a Question<'a>,
    outputs: usize,
}

impl Asked<'_> {
    /// What is explained, of every row, `(rows, 1)`.
    fn score(&self, all: &[Parts], rows: usize) -> Result<Tensor> {
        let Question { input, output, label, meaning, .. } = *self.question;
        let logits = logits_of_parts(self.arch, self.head, self.weights, all, input, rows)?;
        let places: Vec<u32> = (0..rows).map(|row| (row * self.outputs + output) as u32).collect();
        let chosen = Tensor::new(places, logits.device())
            .and_then(|places| logits.index_select(&places, 0))
            .and_then(|logits| match meaning {
                Meaning::Choice => log_softmax(&logits, D::Minus1)?.narrow(1, label as usize, 1),
                // ln sigmoid(x) = min(x, 0) - ln(1 + e^-|x|)
                Meaning::Marks => {
                    let own = logits.narrow(1, label as usize, 1)?;
                    let soft = (own.abs()?.neg()?.exp()? + 1.0)?.log()?;
                    own.neg()?.relu()?.neg()? - soft
                }
                Meaning::Quantity => logits.narrow(1, label as usize, 1),
            });
        chosen.map_err(wrong())
    }

    fn value(&self, all: &[Parts]) -> Result<f64> {
        let score = self.score(all, 1)?.flatten_all().and_then(|all| all.to_vec1::<f32>());
        Ok(f64::from(score.map_err(wrong())?[0]))
    }

    /// The sum over all rows of the slope by every part.
    fn slopes(&self, all: Vec<Parts>, rows: usize) -> Result<Vec<Tensor>> {
        let mut variables = Vec::with_capacity(all.len());
        let mut asked = Vec::with_capacity(all.len());
        for parts in all {
            let variable = Var::from_tensor(&parts.tensor).map_err(wrong())?;
            asked.push(Parts { tensor: variable.as_tensor().clone(), ..parts });
            variables.push(variable);
        }
        let store = self.score(&asked, rows)?.sum_all().and_then(|sum| sum.backward()).map_err(wrong())?;
        let slope = |variable: &Var| {
            let slope = store.get(variable.as_tensor());
            let slope = slope.ok_or_else(|| Error::shape("slope of an input", "one", "none"))?;
            let (places, width) = slope.dims2().map_err(wrong())?;
            slope.reshape((rows, places / rows, width)).and_then(|slope| slope.sum(0)).map_err(wrong())
        };
        variables.iter().map(slope).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::config::{EncoderConfig, MlpConfig, MultimodalConfig, TableConfig};
    use crate::arch::graph_config::GraphConfig;
    use crate::arch::join::Join;
    use crate::arch::neighbourhood::Neighbourhood;
    use crate::arch::patch_config::PatchConfig;
    use crate::arch::records::{Nodes, Numbers, Records, Texts};
    use crate::device::DeviceChoice;
    use crate::ops::activation::Activation;
    use crate::ops::bag::Lists;
    use crate::seed::Seed;
    use crate::session::Session;

    fn tensors(arch: &ArchConfig, head: &Head) -> Weights {
        let mut session = Session::new(arch, head, &DeviceChoice::Cpu, Seed::from_u64(3)).unwrap();
        let mut flat = vec![0.0; session.parameter_count()];
        session.read(&mut flat).unwrap();
        // Large enough that the way from the baseline bends; towers behind cross-attention start so.
        let is_cross = matches!(arch, ArchConfig::Multimodal(of) if of.join == Join::CrossAttention);
        let factor = if is_cross { 1.0 } else { 4.0 };
        flat.iter_mut().enumerate().for_each(|(k, value)| *value = *value * factor + (k % 7) as f32 * 0.02);
        session.write(&flat).unwrap();
        session.tensors().unwrap()
    }

    fn check(arch: &ArchConfig, head: Head, question: &Question<'_>, parts: usize) -> Explanation {
        let found = explain(arch, &head, &tensors(arch, &head), question).unwrap();
        assert_eq!(found.shares.iter().map(|(_, shares)| shares.len()).sum::<usize>(), parts);
        let change = (found.with - found.without).abs();
        assert!(change > 1e-3, "a way on which nothing happens proves nothing: {change}");
        assert!(found.gap().abs() <= GAP_SHARE * change.max(CHANGE_MIN), "gap {} of {change}", found.gap());
        found
    }

    /// Four patches of 2 x 2 pixels.
    fn patches() -> PatchConfig {
        PatchConfig {
            image_size: 4,
            patch_size: 2,
            num_channels: 1,
            hidden_size: 8,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            intermediate_size: 12,
            layer_norm_eps: 1e-6,
            hidden_act: Activation::Gelu,
        }
    }

    fn encoder() -> ArchConfig {
        ArchConfig::Encoder(EncoderConfig {
            hidden_size: 8,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            intermediate_size: 12,
            ..EncoderConfig::small(20)
        })
    }

    #[test]
    fn shares_sum_to_the_change_of_the_answer_for_texts_images_and_values() {
        let (ids, blank) = ([2, 7, 11, 5, 3], [2, 0, 0, 0, 3]);
        let text = |ids| Input::Tokens { ids, lengths: &[5], width: 5 };
        let of_text = Question {
            input: text(&ids),
            baseline: text(&blank),
            output: 0,
            label: 1,
            meaning: Meaning::Choice,
        };
        let found = check(&encoder(), Head::Classification { labels: 3 }, &of_text, 5);
        let own = &found.shares[0].1;
        assert_eq!((own[0], own[4]), (0.0, 0.0), "equal parts have no share");
        check(&encoder(), Head::Tagging { labels: 3 }, &Question { output: 2, ..of_text }, 5);

        let (values, zeros): (Vec<f32>, Vec<f32>) =
            ((0..16).map(|k| k as f32 / 9.0).collect(), vec![0.0; 16]);
        let dense = |values| Input::Dense { values, width: 16 };
        let of_values = Question {
            input: dense(&values),
            baseline: dense(&zeros),
            output: 0,
            label: 0,
            meaning: Meaning::Choice,
        };
        let mlp = ArchConfig::Mlp(MlpConfig { layers: vec![16, 6, 2] });
        check(&mlp, Head::Classification { labels: 2 }, &of_values, 16);
        let patch = ArchConfig::Patch(patches());
        check(&patch, Head::Classification { labels: 2 }, &of_values, 4);
        for meaning in [Meaning::Marks, Meaning::Quantity] {
            let question = Question { meaning, ..of_values };
            check(&mlp, Head::Classification { labels: 2 }, &question, 16);
            check(&encoder(), Head::Classification { labels: 3 }, &Question { meaning, ..of_text }, 5);
        }
    }

    #[test]
    fn every_kind_of_input_of_a_record_has_its_part_and_relations_stay() {
        let graph = GraphConfig { features: 4, hidden_size: 6, num_layers: 1, fan_out: 4, dropout: 0.0 };
        let image = patches();
        let ArchConfig::Encoder(text) = encoder() else { unreachable!() };
        let arch = |join| {
            ArchConfig::Multimodal(Box::new(MultimodalConfig {
                width: 6,
                hidden_size: 8,
                join,
                num_attention_heads: (join == Join::CrossAttention).then_some(2),
                text: Some(text.clone()),
                image: Some(image.clone()),
                table: Some(TableConfig { columns: 2, hidden_size: 5 }),
                graph: Some(graph.clone()),
            }))
        };
        let pixels: Vec<f32> = (0..16).map(|k| k as f32 / 9.0).collect();
        let black = vec![0.0; 16];
        let lists = |starts, entries| Lists { starts, entries };
        let nodes = Neighbourhood {
            hops: &[1, 2],
            neighbours: lists(&[0, 1], &[1]),
            features: lists(&[0, 1, 2], &[0, 3]),
        };
        let record = |ids, values, table| {
            Input::Records(Records {
                rows: 1,
                text: Some(Texts { rows: &[0], ids, lengths: &[4], width: 4 }),
                image: Some(Numbers { rows: &[0], values, width: 16 }),
                table: Some(Numbers { rows: &[0], values: table, width: 4 }),
                graph: Some(Nodes { rows: &[0], nodes }),
            })
        };
        let question = Question {
            input: record(&[2, 7, 11, 3], &pixels, &[1.5, 0.0, 0.0, 1.0]),
            baseline: record(&[2, 0, 0, 3], &black, &[0.0, 1.0, 0.0, 1.0]),
            output: 0,
            label: 1,
            meaning: Meaning::Choice,
        };
        for join in [Join::GatedSum, Join::CrossAttention] {
            let found = check(&arch(join), Head::Classification { labels: 3 }, &question, 4 + 4 + 4);
            let kinds: Vec<Modality> = found.shares.iter().map(|(modality, _)| *modality).collect();
            assert_eq!(kinds, [Modality::Text, Modality::Image, Modality::Table]);
            for (modality, shares) in &found.shares {
                assert!(shares.iter().any(|share| share.abs() > 1e-4), "{modality:?} {shares:?}");
            }
            assert_eq!(found.shares[2].1[2..], [0.0, 0.0], "a column that is missing has no share");
        }
    }

    #[test]
    fn a_way_that_bends_sharply_gets_more_steps() {
        // One unit that switches within a hundredth of the way: 16 steps cannot see where.
        let arch = ArchConfig::Mlp(MlpConfig { layers: vec![1, 2, 1] });
        let head = Head::Classification { labels: 1 };
        let tensor = |values: &[f32], shape: &[usize]| {
            Tensor::from_slice(values, shape, &candle_core::Device::Cpu).unwrap()
        };
        let weights: Weights = [
            ("layers.00.matrix", tensor(&[300.0, 300.0], &[2, 1])),
            ("layers.00.offset", tensor(&[-100.0, -103.0], &[2])),
            ("layers.01.matrix", tensor(&[1.0, -1.0], &[1, 2])),
            ("layers.01.offset", tensor(&[0.0], &[1])),
        ]
        .into_iter()
        .map(|(name, tensor)| (name.to_owned(), tensor))
        .collect();
        let dense = |values| Input::Dense { values, width: 1 };
        let question = Question {
            input: dense(&[1.0]),
            baseline: dense(&[0.0]),
            output: 0,
            label: 0,
            meaning: Meaning::Quantity,
        };
        let found = explain(&arch, &head, &weights, &question).unwrap();
        assert!((found.with - 3.0).abs() < 1e-4 && found.without == 0.0, "{found:?}");
        assert!(found.steps > STEPS_FIRST && found.gap().abs() < 0.3, "{found:?}");
    }

    #[test]
    fn what_cannot_be_explained_is_refused() {
        let head = Head::Classification { labels: 3 };
        let weights = tensors(&encoder(), &head);
        let text = |ids| Input::Tokens { ids, lengths: &[3], width: 3 };
        let good = Question {
            input: text(&[2, 7, 3]),
            baseline: text(&[2, 0, 3]),
            output: 0,
            label: 1,
            meaning: Meaning::Choice,
        };
        assert!(explain(&encoder(), &head, &weights, &good).is_ok());
        assert!(explain(&encoder(), &head, &weights, &Question { label: 3, ..good }).is_err());
        assert!(explain(&encoder(), &head, &weights, &Question { output: 1, ..good }).is_err());
        let dense = Input::Dense { values: &[0.0], width: 1 };
        assert!(explain(&encoder(), &head, &weights, &Question { baseline: dense, ..good }).is_err());
    }
}
