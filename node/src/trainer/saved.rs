//! A saved model, opened to be used.

use std::path::Path;

use model::data::labels::LabelSet;
use model::data::load::{load_tagging_parts, load_text_parts};
use model::data::schema::{Schema, TaskKind};
use model::data::tokenize::tokenizer::Tokenizer;
use model::device::DeviceChoice;
use model::error::{Error, Result};
use model::seed::Seed;
use model::session::{Session, TrainingConfig};
use model::task::classify;

use crate::trainer::model_card::{Facts, LINEAGE};
use crate::trainer::score::Scored;
use crate::trainer::translate::{TranslateError, labels, scored_tagging, unreadable};

/// A model with everything it needs.
pub struct Saved {
    /// The model.
    pub session: Session,
    /// Where it comes from and what it is for.
    pub facts: Facts,
    /// The task.
    pub kind: TaskKind,
    /// The labels.
    pub labels: LabelSet,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
}

impl Saved {
    /// Opens a model folder that Starling wrote.
    pub fn open(dir: &Path, device: &str, threads: usize) -> Result<Self, TranslateError> {
        let path = dir.join(LINEAGE);
        let bad = |reason: String| Error::Checkpoint { file: path.display().to_string(), reason };
        let text = std::fs::read_to_string(&path).map_err(|e| {
            bad(format!("{e}; expected a model folder as `starling run` or `starling train` writes it"))
        })?;
        let facts: Facts = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
        let kind = match facts.task.as_str() {
            "tagging" => TaskKind::Tagging,
            "classify" => TaskKind::Classify,
            other => {
                return Err(bad(format!("expected the task tagging or classify, found {other:?}")).into());
            }
        };
        let device: DeviceChoice = device.parse()?;
        let mut session = Session::load(dir, &device, Seed::from_u64(0))?;
        session.configure(TrainingConfig { threads, ..TrainingConfig::default() })?;
        let labels = labels(kind, &facts.labels)?;
        if labels.len() != session.head().labels() {
            let reason = format!(
                "expected {} labels as the model has, found {}",
                session.head().labels(),
                labels.len()
            );
            return Err(bad(reason).into());
        }
        Ok(Self { session, kind, labels, tokenizer: Tokenizer::load(dir)?, facts })
    }

    /// Reads the examples of a file or folder that a score is computed on.
    pub fn scored(&self, data: &Path) -> Result<Scored, TranslateError> {
        let schema = Schema::new(self.kind).with_labels(&self.labels);
        let tokens_max = self.facts.tokens_max as usize;
        match self.kind {
            TaskKind::Tagging => {
                let parts = load_tagging_parts(data, &schema).map_err(unreadable)?;
                let sentences = pick(parts.train, parts.dev, parts.test);
                scored_tagging(sentences, &self.labels, &self.tokenizer, tokens_max)
            }
            TaskKind::Classify => {
                let parts = load_text_parts(data, &schema).map_err(unreadable)?;
                let texts = pick(parts.train, parts.dev, parts.test);
                let truth = texts.iter().map(|t| t.label).collect();
                let rows = classify::encode(&texts, &self.tokenizer, tokens_max)?;
                Ok(Scored::Classes { rows, truth, labels: self.labels.clone() })
            }
        }
    }

    /// Tags sentences of words.
    pub fn tag(&mut self, sentences: &[Vec<String>]) -> Result<Vec<Vec<model::task::tagging::WordTag>>> {
        model::task::tagging::predict(
            &mut self.session,
            sentences,
            &self.tokenizer,
            self.facts.tokens_max as usize,
        )
    }
}

/// The test part where there is one, else the development part, else the only part there is.
fn pick<T>(train: Vec<T>, dev: Vec<T>, test: Vec<T>) -> Vec<T> {
    [test, dev, train].into_iter().find(|part| !part.is_empty()).unwrap_or_default()
}
