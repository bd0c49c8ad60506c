//! Three public tasks in one shape, for examples that measure distillation and fusion.
//!
//! `tagging` reads a folder with CoNLL-2003 (`eng.train`, scored on `eng.testa`), `texts` a folder with CLINC150
//! (`data_full.json`, without the texts out of scope), `images` a folder with MNIST's ten thousand test images, of which
//! the last two thousand of a seeded shuffle are scored on.

#![allow(dead_code, reason = "every example uses a part of it")]

use std::collections::BTreeSet;
use std::path::Path;

use model::arch::config::{ArchConfig, EncoderConfig, Head, MlpConfig};
use model::data::example::{LabelledText, TaggedSentence};
use model::data::idx::{self, Images};
use model::data::labels::LabelSet;
use model::data::load::load_tagging_parts;
use model::data::schema::{Schema, TaskKind};
use model::data::tokenize::tokenizer::Tokenizer;
use model::data::tokenize::train::{TrainOptions, train_wordpiece};
use model::device::DeviceChoice;
use model::distill::run::Lessons;
use model::fuse::tally::{plain_tallies, total};
use model::seed::{Seed, shuffle};
use model::session::{Session, TrainingConfig};
use model::task::answers::Answers;
use model::task::{classify, tagging};
use model::train::optimizer::OptimizerConfig;

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Longest input, tokens.
const TOKENS_MAX: usize = 96;

/// Images scored on.
const IMAGES_SCORED: usize = 2_000;

/// Examples of one part.
pub(crate) enum Part {
    Sentences(Vec<TaggedSentence>),
    Texts(Vec<LabelledText>),
    Images(Images),
}

/// A task with its data.
pub(crate) struct Corpus {
    pub(crate) kind: TaskKind,
    pub(crate) labels: LabelSet,
    pub(crate) tokenizer: Option<Tokenizer>,
    pub(crate) train: Part,
    /// For calibration; a part of nothing else.
    pub(crate) dev: Part,
    pub(crate) test: Part,
}

impl Corpus {
    /// Reads a task; `vocabulary` is the size of its tokenizer, made from the training part.
    pub(crate) fn load(task: &str, data: &Path, vocabulary: usize) -> Outcome<Self> {
        match task {
            "tagging" => Self::sentences(data, vocabulary),
            "texts" => Self::texts(data, vocabulary),
            "images" => Self::images(data),
            other => Err(format!("expected tagging, texts or images, found {other}").into()),
        }
    }

    /// The last tenth of the training sentences is the calibration part: the corpus has no third one here.
    fn sentences(data: &Path, vocabulary: usize) -> Outcome<Self> {
        let parts = load_tagging_parts(data, &Schema::new(TaskKind::Tagging))?;
        let mut train = parts.train;
        let dev = train.split_off(train.len() * 9 / 10);
        let corpus: Vec<String> = train.iter().map(|sentence| sentence.tokens.join(" ")).collect();
        Ok(Self {
            kind: TaskKind::Tagging,
            labels: parts.labels,
            tokenizer: Some(tokenizer(&corpus, vocabulary)?),
            train: Part::Sentences(train),
            dev: Part::Sentences(dev),
            test: Part::Sentences(if parts.dev.is_empty() { parts.test } else { parts.dev }),
        })
    }

    fn texts(data: &Path, vocabulary: usize) -> Outcome<Self> {
        let file = std::fs::read(data.join("data_full.json"))?;
        let root: serde_json::Value = serde_json::from_slice(&file)?;
        let pairs = |part: &str| -> Outcome<Vec<(String, String)>> {
            Ok(serde_json::from_value(root[part].clone())?)
        };
        let (train, dev, test) = (pairs("train")?, pairs("val")?, pairs("test")?);
        let names: BTreeSet<&String> = train.iter().map(|(_, class)| class).collect();
        let labels = LabelSet::classes(names)?;
        let part = |pairs: &[(String, String)]| -> Outcome<Part> {
            let mut texts = Vec::new();
            for (text, class) in pairs {
                let label = labels.id(class).ok_or_else(|| format!("class {class} is not in train"))?;
                texts.push(LabelledText { text: text.clone(), label, group: None });
            }
            Ok(Part::Texts(texts))
        };
        let corpus: Vec<String> = train.iter().map(|(text, _)| text.clone()).collect();
        Ok(Self {
            kind: TaskKind::Classify,
            tokenizer: Some(tokenizer(&corpus, vocabulary)?),
            train: part(&train)?,
            dev: part(&dev)?,
            test: part(&test)?,
            labels,
        })
    }

    fn images(data: &Path) -> Outcome<Self> {
        let parts = idx::load_parts(data)?;
        let all = if parts.train.is_empty() { parts.test } else { parts.train };
        let mut places: Vec<usize> = (0..all.len()).collect();
        shuffle(&mut Seed::from_u64(0).fork("images").rng(), &mut places);
        let (rest, test) = places.split_at(all.len().saturating_sub(IMAGES_SCORED));
        let (train, dev) = rest.split_at(rest.len() * 9 / 10);
        Ok(Self {
            kind: TaskKind::Classify,
            labels: all.labels()?,
            tokenizer: None,
            train: Part::Images(all.chosen(train)),
            dev: Part::Images(all.chosen(dev)),
            test: Part::Images(all.chosen(test)),
        })
    }

    /// The head this task needs.
    pub(crate) fn head(&self) -> Head {
        let labels = self.labels.len();
        if self.kind == TaskKind::Tagging {
            Head::Tagging { labels }
        } else {
            Head::Classification { labels }
        }
    }

    /// An encoder of the given blocks and width, or a perceptron of so many hidden layers of that width.
    pub(crate) fn arch(&self, blocks: usize, width: usize) -> ArchConfig {
        let Some(tokenizer) = &self.tokenizer else {
            let mut layers = vec![784];
            layers.extend(std::iter::repeat_n(width, blocks));
            layers.push(self.labels.len());
            return ArchConfig::Mlp(MlpConfig { layers });
        };
        ArchConfig::Encoder(EncoderConfig {
            hidden_size: width,
            num_hidden_layers: blocks,
            num_attention_heads: (width / 32).max(1),
            intermediate_size: 4 * width,
            max_position_embeddings: TOKENS_MAX,
            dropout: 0.1,
            ..EncoderConfig::small(tokenizer.vocabulary())
        })
    }

    /// Rows to train on, with a teacher's answers or without.
    pub(crate) fn lessons(&self, part: &Part, answers: Option<Answers>) -> Outcome<Lessons> {
        Ok(match (part, &self.tokenizer) {
            (Part::Sentences(sentences), Some(tokenizer)) => {
                let (rows, units) = tagging::encode_units(sentences, tokenizer, TOKENS_MAX)?;
                Lessons { rows, units, answers }
            }
            (Part::Texts(texts), Some(tokenizer)) => {
                Lessons::of_rows(classify::encode(texts, tokenizer, TOKENS_MAX)?, answers)
            }
            (Part::Images(images), _) => Lessons::of_rows(images.rows(&self.labels)?, answers),
            _ => return Err("texts need a tokenizer".into()),
        })
    }

    /// What a model says of every word, text or image.
    pub(crate) fn answer(&self, session: &mut Session, part: &Part) -> Outcome<Answers> {
        Ok(match (part, &self.tokenizer) {
            (Part::Sentences(sentences), Some(tokenizer)) => {
                let words: Vec<Vec<String>> = sentences.iter().map(|s| s.tokens.clone()).collect();
                tagging::answer(session, &words, tokenizer, TOKENS_MAX)?
            }
            (Part::Texts(texts), Some(tokenizer)) => {
                let texts: Vec<&str> = texts.iter().map(|text| text.text.as_str()).collect();
                classify::answer(session, &classify::encode_texts(&texts, tokenizer, TOKENS_MAX)?)?
            }
            (Part::Images(images), _) => classify::answer(session, &images.unlabelled())?,
            _ => return Err("texts need a tokenizer".into()),
        })
    }

    /// The right answers, a label for every word, text or image.
    pub(crate) fn truth(&self, part: &Part) -> Outcome<Vec<u32>> {
        Ok(match part {
            Part::Sentences(sentences) => sentences.iter().flat_map(|s| s.tags.clone()).collect(),
            Part::Texts(texts) => texts.iter().map(|text| text.label).collect(),
            Part::Images(images) => images.class_labels(&self.labels)?,
        })
    }

    /// F1 or accuracy of a model, each word, text or image by itself.
    pub(crate) fn score(&self, session: &mut Session, part: &Part) -> Outcome<f64> {
        let answers = self.answer(session, part)?;
        Ok(total(&plain_tallies(&answers, &self.truth(part)?, self.kind, &self.labels)))
    }

    /// A model with fresh parameters, or with those given, ready to train.
    pub(crate) fn session(&self, arch: &ArchConfig, seed: &Seed, flat: Option<&[f32]>) -> Outcome<Session> {
        let mut session = Session::new(arch, &self.head(), &DeviceChoice::Cpu, *seed)?;
        if let Some(flat) = flat {
            session.write(flat)?;
        }
        let optimizer =
            OptimizerConfig::Adamw { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 };
        session.configure(TrainingConfig { optimizer, ..TrainingConfig::default() })?;
        Ok(session)
    }
}

fn tokenizer(corpus: &[String], vocabulary: usize) -> Outcome<Tokenizer> {
    let options = TrainOptions { vocabulary, ..TrainOptions::default() };
    Ok(train_wordpiece(corpus.iter().map(String::as_str), &options)?)
}
