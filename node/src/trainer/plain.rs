//! A model trained from scratch on labels, without a charter: for teachers, members and comparisons.

use std::path::Path;

use model::arch::config::{ArchConfig, Head};
use model::data::idx;
use model::data::labels::LabelSet;
use model::data::load::{load_tagging_parts, load_text_parts};
use model::data::schema::{Schema, TaskKind};
use model::data::tokenize::train::{TrainOptions, train_wordpiece};
use model::device::DeviceChoice;
use model::error::Result;
use model::seed::Seed;
use model::session::{Session, TrainingConfig};
use model::train::optimizer::OptimizerConfig;

use crate::trainer::answerer::{Answerer, Reads};
use crate::trainer::model_card::Facts;
use crate::trainer::translate::{TranslateError, unreadable};

/// Weight decay, as in the built-in recipes.
const DECAY: f64 = 0.01;

/// What to make.
#[derive(Clone, Debug)]
pub struct Plain<'a> {
    /// The architecture; of an encoder the vocabulary is replaced by that of the tokenizer made here.
    pub arch: &'a ArchConfig,
    /// The task; of a perceptron the classes of images.
    pub kind: TaskKind,
    /// The data.
    pub data: &'a Path,
    /// Tokens of the tokenizer.
    pub vocabulary: usize,
    /// Longest input in tokens.
    pub tokens_max: usize,
    /// The device.
    pub device: &'a str,
    /// Seed of the fresh parameters.
    pub seed: Seed,
}

impl Plain<'_> {
    /// The model before training, with labels, and for text a tokenizer, from the training part of the data.
    pub fn make(&self) -> Result<Answerer, TranslateError> {
        if let ArchConfig::Mlp(_) | ArchConfig::Patch(_) = self.arch {
            let parts = idx::load_parts(self.data).map_err(unreadable)?;
            let labels = parts.train.labels()?;
            return self.finish(self.arch.clone(), labels, Reads::Images);
        }
        let schema = Schema::new(self.kind);
        let (labels, corpus): (LabelSet, Vec<String>) = if self.kind == TaskKind::Tagging {
            let parts = load_tagging_parts(self.data, &schema).map_err(unreadable)?;
            (parts.labels, parts.train.iter().map(|sentence| sentence.tokens.join(" ")).collect())
        } else {
            let parts = load_text_parts(self.data, &schema).map_err(unreadable)?;
            (parts.labels, parts.train.into_iter().map(|text| text.text).collect())
        };
        let options = TrainOptions { vocabulary: self.vocabulary, ..TrainOptions::default() };
        let tokenizer = train_wordpiece(corpus.iter().map(String::as_str), &options)?;
        let mut arch = self.arch.clone();
        if let ArchConfig::Encoder(config) = &mut arch {
            config.vocab_size = tokenizer.vocabulary();
        }
        self.finish(arch, labels, Reads::Text { tokenizer: Box::new(tokenizer), tokens_max: self.tokens_max })
    }

    fn finish(&self, arch: ArchConfig, labels: LabelSet, reads: Reads) -> Result<Answerer, TranslateError> {
        let count = labels.len();
        let (head, task) = if self.kind == TaskKind::Tagging {
            (Head::Tagging { labels: count }, "tagging")
        } else {
            (Head::Classification { labels: count }, "classify")
        };
        let device: DeviceChoice = self.device.parse()?;
        let mut session = Session::new(&arch, &head, &device, self.seed)?;
        let optimizer =
            OptimizerConfig::Adamw { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: DECAY };
        session.configure(TrainingConfig { optimizer, ..TrainingConfig::default() })?;
        let tokens_max = if matches!(reads, Reads::Images) { 0 } else { self.tokens_max as u32 };
        let facts = Facts {
            run_name: format!("trained on {}", self.data.display()),
            run: String::new(),
            purpose: "Trained on one machine's labels, outside of a run.".to_owned(),
            outer_step: 0,
            task: task.to_owned(),
            labels: labels.names().to_vec(),
            tokens_max,
            peer_id: String::new(),
            privacy: None,
        };
        Ok(Answerer::new(session, facts, self.kind, labels, reads))
    }
}
