//! Why a model says what it says of one input: integrated gradients (Sundararajan, Taly and Yan 2017).
//!
//! The input is led in a straight line from a baseline that says nothing to what it is; each part gets its share of what
//! happens to the log-probability of the answer on the way. The shares sum to the whole change (completeness), up to the
//! steps taken; how far they miss it is part of the answer.

use candle_core::{D, Tensor, Var};
use candle_nn::ops::log_softmax;

use crate::arch::composed::{logits_of_parts, parts};
use crate::arch::config::{ArchConfig, Head};
use crate::arch::input::Input;
use crate::arch::weights::Weights;
use crate::error::{Error, Result};

/// Steps on the way; the midpoint rule misses completeness by about the square of their distance. A model that turns from
/// one answer to another on a shorter part of the way is missed by more; see [`Explanation::gap`].
pub const STEPS: usize = 64;

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
}

/// Shares of the parts of one input.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The share of each part: a token, a value, or a patch.
    pub shares: Vec<f64>,
    /// Log-probability of the answer.
    pub with: f64,
    /// The same at the baseline.
    pub without: f64,
}

impl Explanation {
    /// How far the shares miss the change they explain.
    pub fn gap(&self) -> f64 {
        self.shares.iter().sum::<f64>() - (self.with - self.without)
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
    let tokens = match question.input {
        Input::Tokens { ids, lengths: [_], .. } => ids.len(),
        Input::Dense { values, width } if values.len() == width => 0,
        _ => return Err(Error::shape("input to explain", "one row without padding", "another number")),
    };
    let input = parts(arch, weights, question.input)?;
    let baseline = parts(arch, weights, question.baseline)?;
    if input.dims() != baseline.dims() {
        let [found, expected] = [&baseline, &input].map(|tensor| format!("{:?}", tensor.dims()));
        return Err(Error::shape("baseline of an explanation", expected, found));
    }
    let outputs = if head.is_per_token() { tokens } else { 1 };
    if question.output >= outputs || question.label as usize >= head.labels() {
        return Err(Error::shape("output to explain", format!("below {outputs}"), question.output));
    }
    let score = |all: &Tensor, rows: usize| -> Result<Tensor> {
        let logits = logits_of_parts(arch, head, weights, all, tokens)?;
        let places: Vec<u32> = (0..rows).map(|row| (row * outputs + question.output) as u32).collect();
        let chosen = Tensor::new(places, logits.device())
            .and_then(|places| logits.index_select(&places, 0))
            .and_then(|logits| log_softmax(&logits, D::Minus1)?.narrow(1, question.label as usize, 1));
        chosen.map_err(wrong())
    };
    let value = |tensor: &Tensor| -> Result<f64> {
        let score = score(tensor, 1)?.flatten_all().and_then(|all| all.to_vec1::<f32>()).map_err(wrong())?;
        Ok(f64::from(score[0]))
    };
    let way = (&input - &baseline).map_err(wrong())?;
    let all = Var::from_tensor(&along(&baseline, &way).map_err(wrong())?).map_err(wrong())?;
    let slopes = score(all.as_tensor(), STEPS)?.sum_all().and_then(|sum| sum.backward()).map_err(wrong())?;
    let slope =
        slopes.get(all.as_tensor()).ok_or_else(|| Error::shape("slope of an input", "one", "none"))?;
    let shares = shares(slope, &way).map_err(wrong())?;
    Ok(Explanation { shares, with: value(&input)?, without: value(&baseline)? })
}

fn wrong() -> impl FnOnce(candle_core::Error) -> Error {
    Error::tensor("explain an answer")
}

/// The inputs in the middle of every step, one behind the other.
fn along(baseline: &Tensor, way: &Tensor) -> candle_core::Result<Tensor> {
    let at = |step: usize| baseline + (way * ((step as f64 + 0.5) / STEPS as f64))?;
    Tensor::cat(&(0..STEPS).map(at).collect::<candle_core::Result<Vec<_>>>()?, 0)
}

/// Mean slope times way, summed over the numbers of a part.
fn shares(slope: &Tensor, way: &Tensor) -> candle_core::Result<Vec<f64>> {
    let (rows, width) = way.dims2()?;
    let mean = (slope.reshape((STEPS, rows, width))?.sum(0)? / STEPS as f64)?;
    let product = mean.mul(way)?;
    // A single row of values has a part in every value; rows of tokens or patches are parts themselves.
    let parts = if rows == 1 { product.flatten_all()? } else { product.sum(1)? };
    Ok(parts.to_vec1::<f32>()?.into_iter().map(f64::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::config::{EncoderConfig, MlpConfig};
    use crate::arch::patch_config::PatchConfig;
    use crate::device::DeviceChoice;
    use crate::ops::activation::Activation;
    use crate::seed::Seed;
    use crate::session::Session;

    fn tensors(arch: &ArchConfig, head: &Head) -> Weights {
        let mut session = Session::new(arch, head, &DeviceChoice::Cpu, Seed::from_u64(3)).unwrap();
        let mut flat = vec![0.0; session.parameter_count()];
        session.read(&mut flat).unwrap();
        // Large enough that the way from the baseline bends.
        flat.iter_mut().enumerate().for_each(|(k, value)| *value = *value * 4.0 + (k % 7) as f32 * 0.02);
        session.write(&flat).unwrap();
        session.tensors().unwrap()
    }

    fn check(arch: &ArchConfig, head: Head, question: &Question<'_>, parts: usize) -> Explanation {
        let found = explain(arch, &head, &tensors(arch, &head), question).unwrap();
        assert_eq!(found.shares.len(), parts);
        let change = (found.with - found.without).abs();
        assert!(change > 1e-3, "a way on which nothing happens proves nothing: {change}");
        assert!(found.gap().abs() < 0.02 * change.max(0.05), "gap {} of {change}", found.gap());
        found
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
        let of_text = Question { input: text(&ids), baseline: text(&blank), output: 0, label: 1 };
        let found = check(&encoder(), Head::Classification { labels: 3 }, &of_text, 5);
        assert_eq!((found.shares[0], found.shares[4]), (0.0, 0.0), "equal parts have no share");
        check(&encoder(), Head::Tagging { labels: 3 }, &Question { output: 2, ..of_text }, 5);

        let (values, zeros): (Vec<f32>, Vec<f32>) =
            ((0..16).map(|k| k as f32 / 9.0).collect(), vec![0.0; 16]);
        let dense = |values| Input::Dense { values, width: 16 };
        let of_values = Question { input: dense(&values), baseline: dense(&zeros), output: 0, label: 0 };
        let mlp = ArchConfig::Mlp(MlpConfig { layers: vec![16, 6, 2] });
        check(&mlp, Head::Classification { labels: 2 }, &of_values, 16);
        let patch = ArchConfig::Patch(PatchConfig {
            image_size: 4,
            patch_size: 2,
            num_channels: 1,
            hidden_size: 8,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            intermediate_size: 12,
            layer_norm_eps: 1e-6,
            hidden_act: Activation::Gelu,
        });
        check(&patch, Head::Classification { labels: 2 }, &of_values, 4);
    }

    #[test]
    fn what_cannot_be_explained_is_refused() {
        let head = Head::Classification { labels: 3 };
        let weights = tensors(&encoder(), &head);
        let text = |ids| Input::Tokens { ids, lengths: &[3], width: 3 };
        let good = Question { input: text(&[2, 7, 3]), baseline: text(&[2, 0, 3]), output: 0, label: 1 };
        assert!(explain(&encoder(), &head, &weights, &good).is_ok());
        assert!(explain(&encoder(), &head, &weights, &Question { label: 3, ..good }).is_err());
        assert!(explain(&encoder(), &head, &weights, &Question { output: 1, ..good }).is_err());
        let dense = Input::Dense { values: &[0.0], width: 1 };
        assert!(explain(&encoder(), &head, &weights, &Question { baseline: dense, ..good }).is_err());
    }
}
