//! A saved model that answers: probabilities for words, texts or images, whatever it reads them with.
//!
//! It exists so that distillation and fusion need not know whether a member cuts words into pieces or looks at pixels.
//! Opening, answering, making rows to train on, saving a changed copy: nothing here decides anything.

use std::path::Path;

use model::arch::config::ArchConfig;
use model::data::labels::LabelSet;
use model::data::schema::TaskKind;
use model::data::tokenize::tokenizer::Tokenizer;
use model::device::DeviceChoice;
use model::distill::cache::Fingerprint;
use model::distill::run::Lessons;
use model::error::{Error, Result};
use model::params::folder;
use model::seed::Seed;
use model::session::{Session, TrainingConfig};
use model::task::answers::Answers;
use model::task::{classify, tagging};
use protocol::id::OuterStep;

use crate::trainer::examples::{Examples, Inputs, Modality};
use crate::trainer::model_card::{Card, Facts, LINEAGE};
use crate::trainer::saved::Saved;
use crate::trainer::translate::TranslateError;

/// A model with all it needs to answer.
pub struct Answerer {
    /// The model.
    pub session: Session,
    /// Where it comes from and what it is for.
    pub facts: Facts,
    /// The task.
    pub kind: TaskKind,
    /// The labels.
    pub labels: LabelSet,
    reads: Reads,
}

/// How inputs become numbers.
pub enum Reads {
    /// Texts and words, cut into pieces.
    Text {
        /// Cuts them.
        tokenizer: Box<Tokenizer>,
        /// Longest input in tokens.
        tokens_max: usize,
    },
    /// Grey values of images.
    Images,
}

impl Answerer {
    /// Puts a model together with what it needs.
    pub fn new(session: Session, facts: Facts, kind: TaskKind, labels: LabelSet, reads: Reads) -> Self {
        Self { session, facts, kind, labels, reads }
    }

    /// Opens a model folder that Starling wrote.
    pub fn open(dir: &Path, device: &str, threads: usize) -> Result<Self, TranslateError> {
        if let Ok(ArchConfig::Mlp(_) | ArchConfig::Patch(_)) = folder::read_arch(dir) {
            return Self::open_images(dir, device, threads);
        }
        let saved = Saved::open(dir, device, threads)?;
        if !matches!(saved.kind, TaskKind::Tagging | TaskKind::Classify) {
            let reason =
                format!("expected a model that tags or classifies, found one for {}", saved.facts.task);
            return Err(Error::Checkpoint { file: dir.display().to_string(), reason }.into());
        }
        let tokenizer = saved.tokenizer()?.clone();
        let Saved { session, facts, kind, labels, .. } = saved;
        let reads = Reads::Text { tokenizer: Box::new(tokenizer), tokens_max: facts.tokens_max as usize };
        Ok(Self { session, facts, kind, labels, reads })
    }

    /// A model of images has no tokenizer: it reads grey values.
    fn open_images(dir: &Path, device: &str, threads: usize) -> Result<Self, TranslateError> {
        let path = dir.join(LINEAGE);
        let bad = |reason: String| Error::Checkpoint { file: path.display().to_string(), reason };
        let text = std::fs::read_to_string(&path)
            .map_err(|e| bad(format!("{e}; expected a model folder as `starling distill` writes it")))?;
        let facts: Facts = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
        if TaskKind::named(&facts.task).is_some_and(TaskKind::is_valued) {
            let reason = format!("expected a model that tags or classifies, found one for {}", facts.task);
            return Err(Error::Checkpoint { file: dir.display().to_string(), reason }.into());
        }
        let labels = LabelSet::classes(facts.labels.iter().cloned())?;
        let device: DeviceChoice = device.parse()?;
        let mut session = Session::load(dir, &device, Seed::from_u64(0))?;
        session.configure(TrainingConfig { threads, ..TrainingConfig::default() })?;
        if labels.len() != session.head().labels() {
            let expected = session.head().labels();
            let reason = format!("expected {expected} labels as the model has, found {}", labels.len());
            return Err(bad(reason).into());
        }
        Ok(Self { session, facts, kind: TaskKind::Classify, labels, reads: Reads::Images })
    }

    /// What it reads.
    pub fn modality(&self) -> Modality {
        match self.reads {
            Reads::Text { .. } => Modality::Text,
            Reads::Images => Modality::Images,
        }
    }

    /// The tokenizer, for models of text.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        match &self.reads {
            Reads::Text { tokenizer, .. } => Some(tokenizer),
            Reads::Images => None,
        }
    }

    /// The probabilities of every label for every word, text or image.
    pub fn answer(&mut self, inputs: &Inputs) -> Result<Answers> {
        match (inputs, &self.reads) {
            (Inputs::Sentences(sentences), Reads::Text { tokenizer, tokens_max }) => {
                tagging::answer(&mut self.session, sentences, tokenizer, *tokens_max)
            }
            (Inputs::Texts(texts), Reads::Text { tokenizer, tokens_max }) => {
                let rows = classify::encode_texts(texts, tokenizer, *tokens_max)?;
                classify::answer(&mut self.session, &rows)
            }
            (Inputs::Images(images), Reads::Images) => {
                if let ArchConfig::Mlp(config) = self.session.arch()
                    && config.layers.first() != Some(&images.features())
                    && !images.is_empty()
                {
                    return Err(Error::shape("pixels of an image", config.layers[0], images.features()));
                }
                classify::answer(&mut self.session, &images.unlabelled())
            }
            (Inputs::Images(_), Reads::Text { .. }) => {
                Err(Error::shape("inputs of the model", "text", "images"))
            }
            (_, Reads::Images) => Err(Error::shape("inputs of the model", "images", "text")),
        }
    }

    /// Rows of labelled examples to train this model on, with the answers of its teachers.
    pub fn lessons(&self, examples: &Examples, answers: Option<Answers>) -> Result<Lessons> {
        match (&examples.inputs, &self.reads) {
            (Inputs::Sentences(_), Reads::Text { tokenizer, tokens_max }) => {
                let sentences = examples.sentences().unwrap_or_default();
                let (rows, units) = tagging::encode_units(&sentences, tokenizer, *tokens_max)?;
                Ok(Lessons { rows, units, answers })
            }
            (Inputs::Texts(texts), Reads::Text { tokenizer, tokens_max }) => {
                let texts: Vec<_> = texts
                    .iter()
                    .zip(&examples.truth)
                    .map(|(text, label)| model::data::example::LabelledText {
                        text: text.clone(),
                        label: *label,
                        group: None,
                    })
                    .collect();
                Ok(Lessons::of_rows(classify::encode(&texts, tokenizer, *tokens_max)?, answers))
            }
            (Inputs::Images(images), Reads::Images) => {
                Ok(Lessons::of_rows(images.rows(&self.labels)?, answers))
            }
            (_, Reads::Text { .. }) => Err(Error::shape("inputs of the model", "text", "images")),
            (_, Reads::Images) => Err(Error::shape("inputs of the model", "images", "text")),
        }
    }

    /// A model of another size that reads and answers as this one does.
    pub fn sibling(&self, session: Session, facts: Facts) -> Self {
        let reads = match &self.reads {
            Reads::Text { tokenizer, tokens_max } => {
                Reads::Text { tokenizer: tokenizer.clone(), tokens_max: *tokens_max }
            }
            Reads::Images => Reads::Images,
        };
        Self { session, facts, kind: self.kind, labels: self.labels.clone(), reads }
    }

    /// Writes the model as a folder.
    ///
    /// # Errors
    /// The reason, where a file cannot be written.
    pub fn save(&self, dir: &Path) -> std::result::Result<(), String> {
        let metric = metric(self.kind).to_owned();
        let tokenizer = self.tokenizer().map(|tokenizer| Box::new(tokenizer.clone()));
        let card = Card { facts: self.facts.clone(), metric, tokenizer };
        card.save(&self.session, dir, OuterStep(self.facts.outer_step))
    }

    /// What its answers to some inputs depend on.
    pub fn fingerprint(&self, inputs: &Inputs) -> Result<Fingerprint> {
        let mut fingerprint = Fingerprint::default();
        let mut flat = vec![0.0; self.session.parameter_count()];
        self.session.read(&mut flat)?;
        let arch = serde_json::to_vec(self.session.arch()).expect("an architecture can be written");
        fingerprint.add(&arch).add_numbers(&flat);
        if let Reads::Text { tokenizer, tokens_max } = &self.reads {
            fingerprint.add(&tokenizer.hash()).add(&(*tokens_max as u64).to_le_bytes());
        }
        match inputs {
            Inputs::Sentences(sentences) => {
                for words in sentences {
                    fingerprint.add(&(words.len() as u64).to_le_bytes());
                    words.iter().for_each(|word| {
                        fingerprint.add(word.as_bytes());
                    });
                }
            }
            Inputs::Texts(texts) => texts.iter().for_each(|text| {
                fingerprint.add(text.as_bytes());
            }),
            Inputs::Images(images) => {
                fingerprint.add(&(images.features() as u64).to_le_bytes()).add(&images.pixels);
            }
        }
        Ok(fingerprint)
    }
}

/// The name of a task's headline score.
pub fn metric(kind: TaskKind) -> &'static str {
    if kind == TaskKind::Tagging { "f1" } else { "accuracy" }
}
