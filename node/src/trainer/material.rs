//! A node's data made ready for its model: rows to train on, examples to score on.
//!
//! One place for all tasks, so that training, scoring and predicting read data alike. It knows no charter and no network.

use std::path::Path;
use std::sync::Arc;

use model::arch::config::ArchConfig;
use model::data::dataset::Dataset;
use model::data::examples::{Examples, NodePart};
use model::data::graph::Graph;
use model::data::labels::LabelSet;
use model::data::neighbourhoods::Surroundings;
use model::data::pairs::PairPart;
use model::data::part_files::parts;
use model::data::schema::{Schema, TaskKind};
use model::data::tokenize::tokenizer::Tokenizer;
use model::data::valued::Values;
use model::error::{Error, Result};
use model::task::{classify, language, records, tagging, valued};

use crate::trainer::score::Scored;

/// What decides how data becomes rows.
pub struct Material<'a> {
    /// The task.
    pub kind: TaskKind,
    /// Its labels.
    pub labels: &'a LabelSet,
    /// Longest input in tokens.
    pub tokens_max: usize,
    /// The model that reads the rows.
    pub arch: &'a ArchConfig,
    /// The tokenizer, for tasks on text.
    pub tokenizer: Option<&'a Tokenizer>,
}

impl Material<'_> {
    /// Rows of the training part, and what a node scores itself on while training: its development part, else its test
    /// part, else nothing.
    pub fn to_train_on(&self, data: &Path) -> Result<(Dataset, Scored)> {
        let [train, dev, test] = parts(data, &self.schema())?;
        let train = match train {
            Some(train) => self.rows(&train)?,
            None => {
                return Err(Error::file(
                    data,
                    "expected examples to train on, found none; a folder needs a file named like train.conll",
                ));
            }
        };
        let scored = match dev.or(test) {
            Some(examples) => self.scored(examples)?,
            None => Scored::Nothing,
        };
        Ok((train, scored))
    }

    /// What a score is computed on, ready for it; an empty file gives nothing.
    pub fn to_score(&self, data: &Path) -> Result<Scored> {
        match self.scored_part(data)? {
            Some(examples) => self.scored(examples),
            None => Ok(Scored::Nothing),
        }
    }

    /// The same examples as they are.
    pub fn to_look_at(&self, data: &Path) -> Result<Examples> {
        self.scored_part(data)?.ok_or_else(|| Error::file(data, "expected examples, found none"))
    }

    /// The test part, else the development part, else the only part there is.
    fn scored_part(&self, data: &Path) -> Result<Option<Examples>> {
        let [train, dev, test] = parts(data, &self.schema())?;
        Ok(test.or(dev).or(train))
    }

    fn schema(&self) -> Schema {
        // A language model's only label says nothing about a file.
        Schema::new(self.kind).with_labels(self.labels)
    }

    fn tokenizer(&self) -> Result<&Tokenizer> {
        let reason = "expected a tokenizer beside the model, found none; it belongs to a task on text";
        self.tokenizer.ok_or_else(|| Error::config("tokenizer", reason))
    }

    /// Rows with targets.
    pub fn rows(&self, examples: &Examples) -> Result<Dataset> {
        match examples {
            Examples::Tagged(all) => tagging::encode(all, self.tokenizer()?, self.tokens_max),
            Examples::Texts(all) => classify::encode(all, self.tokenizer()?, self.tokens_max),
            Examples::Valued(all) => {
                valued::encode(all, &Values::meant(self.labels), self.tokenizer()?, self.tokens_max)
            }
            Examples::Plain(all) => Ok(language::encode(all, self.tokenizer()?, self.tokens_max)?.rows),
            Examples::Nodes(part) => nodes(part, self.arch),
            Examples::Pairs(part) => pairs(part, self.arch),
            Examples::Records(part) => {
                let rows = records::encode(part, self.arch, self.tokenizer, self.tokens_max)?;
                if !self.kind.is_valued() {
                    return Ok(rows);
                }
                let numbers = part.iter().map(|record| record.values.as_slice());
                valued::aimed(rows, &Values::meant(self.labels), numbers)
            }
        }
    }

    fn scored(&self, examples: Examples) -> Result<Scored> {
        let rows = self.rows(&examples)?;
        let labels = self.labels.clone();
        Ok(match examples {
            Examples::Tagged(sentences) => {
                let tokenizer = Box::new(self.tokenizer()?.clone());
                Scored::Tagging { sentences, rows, labels, tokenizer, tokens_max: self.tokens_max }
            }
            Examples::Texts(texts) => {
                Scored::Classes { rows, truth: texts.iter().map(|text| text.label).collect(), labels }
            }
            Examples::Valued(all) => {
                let truth = all.iter().flat_map(|text| &text.values).copied().collect();
                Scored::Values { rows, truth, values: Values::meant(&labels) }
            }
            Examples::Plain(all) => {
                Scored::Language(language::encode(&all, self.tokenizer()?, self.tokens_max)?)
            }
            Examples::Nodes(part) => {
                let class = |node: &u32| part.graph.labels[*node as usize] as u32;
                Scored::Classes { rows, truth: part.nodes.iter().map(class).collect(), labels }
            }
            Examples::Pairs(part) => Scored::Pairs { rows, pairs: part.pairs, labels },
            Examples::Records(part) if self.kind.is_valued() => {
                let truth = part.iter().flat_map(|record| &record.values).copied().collect();
                Scored::Values { rows, truth, values: Values::meant(&labels) }
            }
            Examples::Records(part) => Scored::Classes {
                rows,
                truth: part.iter().filter_map(|record| record.label).collect(),
                labels,
            },
        })
    }
}

/// Nodes with what lies around them, as far as the model looks.
pub fn nodes(part: &NodePart, arch: &ArchConfig) -> Result<Dataset> {
    Dataset::nodes(Arc::new(surroundings(&part.graph, arch)?), part.nodes.clone())
}

/// Pairs of nodes with what lies around them, as far as the model looks.
pub fn pairs(part: &PairPart, arch: &ArchConfig) -> Result<Dataset> {
    Dataset::pairs(Arc::new(surroundings(&part.graph, arch)?), &part.pairs)
}

/// A graph, as far as the model looks.
pub fn surroundings(graph: &Graph, arch: &ArchConfig) -> Result<Surroundings> {
    match arch {
        ArchConfig::Graph(config) => Ok(Surroundings::new(graph.clone(), config.num_layers, config.fan_out)),
        _ => Err(Error::config("architecture", "expected a graph network for nodes, found another")),
    }
}
