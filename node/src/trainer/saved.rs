//! A saved model, opened to be used.

use std::path::Path;

use model::data::dataset::Dataset;
use model::data::examples::Examples;
use model::data::labels::LabelSet;
use model::data::scale::Scale;
use model::data::schema::TaskKind;
use model::data::tokenize::tokenizer::Tokenizer;
use model::device::DeviceChoice;
use model::error::{Error, Result};
use model::eval::separation::OutOfScope;
use model::seed::Seed;
use model::session::{Session, TrainingConfig};
use model::task::classify::{encode_texts, predict};

use crate::trainer::material::Material;
use crate::trainer::model_card::{Facts, LINEAGE};
use crate::trainer::score::Scored;
use crate::trainer::translate::{TranslateError, labels, unreadable};

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
    /// The scale, for models of a quantity.
    pub scale: Option<Scale>,
    /// The tokenizer, for models of text.
    pub tokenizer: Option<Tokenizer>,
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
        let kind = TaskKind::named(&facts.task)
            .ok_or_else(|| bad(format!("expected the task {}, found {:?}", TaskKind::names(), facts.task)))?;
        let device: DeviceChoice = device.parse()?;
        let mut session = Session::load(dir, &device, Seed::from_u64(0))?;
        session.configure(TrainingConfig { threads, ..TrainingConfig::default() })?;
        let labels = labels(kind, &facts.labels)?;
        if kind != TaskKind::Language && labels.len() != session.head().labels() {
            let reason = format!(
                "expected {} labels as the model has, found {}",
                session.head().labels(),
                labels.len()
            );
            return Err(bad(reason).into());
        }
        let tokenizer = if session.arch().reads_text() { Some(Tokenizer::load(dir)?) } else { None };
        let scale = if kind == TaskKind::Regression { Some(Scale::of(&labels)?) } else { None };
        Ok(Self { session, kind, labels, scale, tokenizer, facts })
    }

    /// Reads the examples of a file or folder that a score is computed on.
    pub fn scored(&self, data: &Path) -> Result<Scored, TranslateError> {
        self.material().to_score(data).map_err(unreadable)
    }

    /// Reads the same examples as they are.
    pub fn examples(&self, data: &Path) -> Result<Examples, TranslateError> {
        self.material().to_look_at(data).map_err(unreadable)
    }

    /// Makes examples ready for the model.
    pub fn rows(&self, examples: &Examples) -> Result<Dataset> {
        self.material().rows(examples)
    }

    fn material(&self) -> Material<'_> {
        Material {
            kind: self.kind,
            labels: &self.labels,
            tokens_max: self.facts.tokens_max as usize,
            arch: self.session.arch(),
            tokenizer: self.tokenizer.as_ref(),
        }
    }

    /// How well the model's doubt tells texts that belong to no class from scored ones; nothing where there are none.
    pub fn out_of_scope(&mut self, scored: &Scored, strangers: &[String]) -> Result<Option<OutOfScope>> {
        let Scored::Classes { rows, .. } = scored else { return Ok(None) };
        if strangers.is_empty() || rows.is_empty() {
            return Ok(None);
        }
        let outside = encode_texts(strangers, self.tokenizer()?, self.facts.tokens_max as usize)?;
        let mut sure = |rows: &Dataset| -> Result<Vec<f64>> {
            let said = predict(&mut self.session, rows)?;
            Ok(said.iter().map(|choice| f64::from(choice.probability)).collect())
        };
        OutOfScope::judge(&sure(rows)?, &sure(&outside)?).map(Some)
    }

    /// The tokenizer of a model of text.
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        let reason = "expected a model of text, found one of another kind; `starling eval` scores it on data";
        self.tokenizer.as_ref().ok_or_else(|| Error::config("model", reason))
    }

    /// Tags sentences of words.
    pub fn tag(&mut self, sentences: &[Vec<String>]) -> Result<Vec<Vec<model::task::tagging::WordTag>>> {
        let tokenizer = self.tokenizer()?.clone();
        let tokens_max = self.facts.tokens_max as usize;
        model::task::tagging::predict(&mut self.session, sentences, &tokenizer, tokens_max)
    }
}
