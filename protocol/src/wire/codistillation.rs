//! Terms of a run in which predictions travel in place of parameters, so that members' architectures may differ.
//!
//! The vector that is published, pulled and mixed is then the matrix of probabilities over the probe set, outputs ×
//! labels, as one tensor; its genesis is the uniform distribution. Every member learns from the mix in its own way.

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::id::Hash;
use crate::limits::{PREDICTION_ELEMENTS_MAX, TEXT_BYTES_MAX, VARIANTS_MAX};
use crate::wire::field::{BadField, need};
use crate::wire::text::{BadText, check_name, check_text};

/// Name of the architecture that stands under `model`.
pub const PRIMARY: &str = "primary";
/// Name of the one tensor of such a run.
pub const TENSOR: &str = "probe.probabilities";

/// How members learn from each other's predictions.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodistillationTerms {
    /// Outputs of the probe set: words when tagging, else rows.
    pub outputs: u32,
    /// Rows of the probe set in a batch.
    pub batch: u32,
    /// Weight of the mix in the loss (α).
    pub alpha: f32,
    /// Temperature at which mix and model are compared (T).
    pub temperature: f32,
    /// Architectures a member may choose besides the primary one, by falling number of parameters.
    pub variants: Vec<Variant>,
}

/// One more architecture for the same task, labels and tokenizer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Its name, as settings give it.
    pub name: String,
    /// Architecture, as canonical JSON that the `model` crate reads.
    pub architecture: String,
    /// Hash of its parameter layout.
    pub layout: Hash,
    /// Its number of parameters.
    pub parameters: u64,
}

/// Terms that do not hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BadTerms {
    /// A text.
    Text(BadText),
    /// A number or relation.
    Field(BadField),
}

impl From<BadText> for BadTerms {
    fn from(bad: BadText) -> Self {
        Self::Text(bad)
    }
}

impl From<BadField> for BadTerms {
    fn from(bad: BadField) -> Self {
        Self::Field(bad)
    }
}

impl CodistillationTerms {
    /// Checks every field; `labels` is the number of the task's labels.
    pub(crate) fn check(&self, labels: usize) -> Result<(), BadTerms> {
        need(labels >= 2, "task.labels", "2 or more where predictions travel", labels)?;
        let elements = u64::from(self.outputs) * labels as u64;
        need(
            (1..=PREDICTION_ELEMENTS_MAX).contains(&elements),
            "codistillation.outputs",
            &format!("outputs times labels from 1 to {PREDICTION_ELEMENTS_MAX}"),
            elements,
        )?;
        need((1..=4096).contains(&self.batch), "codistillation.batch", "1 to 4096", self.batch)?;
        need(
            self.alpha > 0.0 && self.alpha <= 100.0,
            "codistillation.alpha",
            "above 0, at most 100",
            self.alpha,
        )?;
        need(
            (1.0..=20.0).contains(&self.temperature),
            "codistillation.temperature",
            "1 to 20",
            self.temperature,
        )?;
        need(
            self.variants.len() <= VARIANTS_MAX,
            "codistillation.variants",
            &format!("at most {VARIANTS_MAX}"),
            self.variants.len(),
        )?;
        for variant in &self.variants {
            check_name("codistillation.variants.name", &variant.name)?;
            check_text("codistillation.variants.architecture", &variant.architecture, TEXT_BYTES_MAX)?;
            let field = "codistillation.variants.parameters";
            need(variant.parameters >= 1, field, "1 or more", variant.parameters)?;
        }
        let mut names: Vec<&str> = self.variants.iter().map(|v| v.name.as_str()).chain([PRIMARY]).collect();
        names.sort_unstable();
        names.dedup();
        need(
            names.len() == self.variants.len() + 1,
            "codistillation.variants.name",
            &format!("distinct names other than {PRIMARY}"),
            "a name twice",
        )?;
        need(
            self.variants.is_sorted_by(|a, b| a.parameters >= b.parameters),
            "codistillation.variants",
            "variants by falling number of parameters",
            "another order",
        )
        .map_err(Into::into)
    }
}
