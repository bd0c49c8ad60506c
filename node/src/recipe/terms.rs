//! A recipe as it is written: data, task, model and every number of the charter but keys and dates.

use protocol::wire::charter::{AuditTerms, ExchangeTerms, MixingTerms, ScheduleTerms, TrainTerms};
use serde::Deserialize;
use thiserror::Error;

const BUILT_IN: &[(&str, &str)] = &[
    ("ner", include_str!("../../recipes/ner.toml")),
    ("mixed", include_str!("../../recipes/mixed.toml")),
    ("ner-zh", include_str!("../../recipes/ner-zh.toml")),
    ("intents", include_str!("../../recipes/intents.toml")),
    ("sentiment", include_str!("../../recipes/sentiment.toml")),
    ("tickets", include_str!("../../recipes/tickets.toml")),
    ("stars", include_str!("../../recipes/stars.toml")),
    ("news-zh", include_str!("../../recipes/news-zh.toml")),
    ("language", include_str!("../../recipes/language.toml")),
    ("citations", include_str!("../../recipes/citations.toml")),
    ("community", include_str!("../../recipes/community.toml")),
    ("recommend", include_str!("../../recipes/recommend.toml")),
    ("digits", include_str!("../../recipes/digits.toml")),
    ("medical", include_str!("../../recipes/medical.toml")),
    ("judge", include_str!("../../recipes/judge.toml")),
];

/// Names of the built-in recipes.
pub fn built_in() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// A recipe.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// The data.
    pub data: DataTerms,
    /// The task.
    pub task: TaskPlan,
    /// The model.
    pub model: ModelPlan,
    /// Inner training.
    pub train: TrainTerms,
    /// What may leave a node.
    pub exchange: ExchangeTerms,
    /// How a peer mixes.
    pub mixing: MixingTerms,
    /// How long, how often.
    pub schedule: ScheduleTerms,
    /// What is recorded.
    pub audit: AuditTerms,
    /// How members learn from each other's predictions, where those travel in place of parameters.
    #[serde(default)]
    pub codistillation: Option<CodistillationPlan>,
}

/// How members of unlike architectures learn from each other.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodistillationPlan {
    /// Rows of the probe set that the built-in generator makes, where no other is given.
    pub probe: usize,
    /// Rows of it in a batch.
    pub batch: u32,
    /// Weight of the mix in the loss (α).
    pub alpha: f32,
    /// Temperature (T).
    pub temperature: f32,
    /// Architectures besides the model's own.
    pub variants: Vec<VariantPlan>,
}

/// One more architecture.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantPlan {
    /// Its name.
    pub name: String,
    /// The architecture; the vocabulary size is filled in.
    pub architecture: toml::Table,
}

/// Where the data of a testnet comes from.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataTerms {
    /// The built-in generator.
    pub generator: String,
    /// The nodes of a testnet.
    pub nodes: Vec<NodePlan>,
    /// Training examples of all nodes together.
    pub train: usize,
    /// Test examples.
    pub test: usize,
    /// Concentration of the Dirichlet split over subjects.
    pub dirichlet: f64,
    /// How examples are shared; where subjects do not recur, contiguous runs of documents in any case.
    #[serde(default)]
    pub sharing: Sharing,
    /// Share of every node's training texts the tokenizer is made from when there are no public ones; at 0 it is made
    /// from all texts of the first node.
    #[serde(default)]
    pub vocabulary_share: f64,
}

/// How a testnet shares examples among its nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// Dirichlet shares of every subject.
    #[default]
    Dirichlet,
    /// Whole subjects to nodes.
    Subjects,
    /// Equal random shares.
    Even,
    /// Equal runs in file order.
    Contiguous,
}

/// One node of a testnet.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodePlan {
    /// Its name.
    pub name: String,
    /// Who runs it.
    pub organization: String,
    /// Its architecture, where the recipe has several; the primary one when absent.
    #[serde(default)]
    pub variant: Option<String>,
}

/// The task of a recipe; labels come from the data.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskPlan {
    /// `tagging`, `classify`, `language`, `nodes`, `pairs`, `records`.
    pub kind: String,
    /// The headline metric.
    pub metric: String,
    /// Longest input in tokens.
    pub tokens_max: u32,
}

/// The model of a recipe; a base checkpoint replaces both.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPlan {
    /// Entries of the tokenizer that is trained on the genesis corpus.
    pub vocabulary: usize,
    /// The architecture; the vocabulary size is filled in.
    pub architecture: toml::Table,
    /// Rank of low-rank corrections of the matrices, which are then all that is trained and traded besides the head;
    /// every parameter where absent. Meant for a trained base.
    #[serde(default)]
    pub adapter_rank: Option<usize>,
}

/// A recipe that cannot be used.
#[derive(Debug, Error)]
pub enum RecipeError {
    /// No such recipe.
    #[error("expected a recipe ({known}) or a path to a .toml file, found {found:?}")]
    Unknown {
        /// Built-in recipes.
        known: String,
        /// What was asked for.
        found: String,
    },
    /// The file cannot be read.
    #[error("could not read the recipe {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not a recipe.
    #[error("the recipe {name} is not valid: {why}")]
    Malformed {
        /// Which.
        name: String,
        /// Why.
        why: String,
    },
}

/// What a recipe is used with, which changes some of its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Files of one's own.
    pub with_data: bool,
    /// A base checkpoint.
    pub with_base: bool,
    /// Low-rank corrections of the base in place of all its parameters.
    pub with_adapters: bool,
}

impl Recipe {
    /// Finds a recipe by name, or reads it from a `.toml` file.
    pub fn find(name: &str, used: Use) -> Result<Self, RecipeError> {
        let own = BUILT_IN.iter().find(|(n, _)| *n == name).map(|(_, text)| (*text).to_owned());
        let is_file = std::path::Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case("toml"));
        let text = match own {
            Some(text) => text,
            None if is_file => std::fs::read_to_string(name)
                .map_err(|source| RecipeError::Io { path: name.to_owned(), source })?,
            None => {
                let known: Vec<_> = built_in().collect();
                return Err(RecipeError::Unknown { known: known.join(", "), found: name.to_owned() });
            }
        };
        Self::read(name, &text, used)
    }

    fn read(name: &str, text: &str, used: Use) -> Result<Self, RecipeError> {
        let malformed = |why: String| RecipeError::Malformed { name: name.to_owned(), why };
        let mut table: toml::Table = text.parse().map_err(|e: toml::de::Error| malformed(e.to_string()))?;
        let uses = [
            ("with_data", used.with_data),
            ("with_base", used.with_base),
            ("with_adapters", used.with_adapters),
        ];
        for (key, applies) in uses {
            match table.remove(key) {
                Some(toml::Value::Table(changes)) if applies => merge(&mut table, changes),
                Some(toml::Value::Table(_)) | None => {}
                Some(_) => return Err(malformed(format!("expected a table under {key}"))),
            }
        }
        table.try_into().map_err(|e: toml::de::Error| malformed(e.to_string()))
    }
}

/// Replaces what `changes` names and keeps the rest.
fn merge(table: &mut toml::Table, changes: toml::Table) {
    for (key, change) in changes {
        match (table.get_mut(&key), change) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => merge(old, new),
            (_, change) => {
                table.insert(key, change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_recipes_read_in_every_use() {
        for (name, _) in BUILT_IN {
            for (with_data, with_base) in [(false, false), (true, false), (true, true), (false, true)] {
                for with_adapters in [false, with_base] {
                    let recipe = Recipe::find(name, Use { with_data, with_base, with_adapters }).unwrap();
                    assert_eq!(recipe.name, *name);
                }
            }
        }
        let plain = Recipe::find("ner", Use::default()).unwrap();
        let used = Use { with_data: true, with_base: true, with_adapters: false };
        let based = Recipe::find("ner", used).unwrap();
        assert_ne!(plain.train.rate, based.train.rate);
        assert_eq!(plain.train.batch, based.train.batch);
        let adapted = Recipe::find("ner", Use { with_adapters: true, ..used }).unwrap();
        assert!(adapted.train.rate > based.train.rate && adapted.schedule == based.schedule);
    }

    #[test]
    fn an_unknown_recipe_is_answered_with_those_there_are() {
        let error = Recipe::find("nre", Use::default()).unwrap_err().to_string();
        assert!(error.contains("ner") && error.contains("nre"), "{error}");
    }
}
