//! The one room that knows both crates: from a charter to a model session, its data and the layout of its shards.

use std::path::{Path, PathBuf};

use model::arch::config::{ArchConfig, Head};
use model::data::batcher::{Batcher, Order};
use model::data::dataset::Dataset;
use model::data::labels::LabelSet;
use model::data::schema::{Schema, TaskKind};
use model::data::tokenize::tokenizer::Tokenizer;
use model::device::DeviceChoice;
use model::seed::Seed;
use model::session::{Session, TrainingConfig};
use model::task::unlabelled::Unlabelled;
use model::train::adapter::AdapterConfig;
use model::train::optimizer::OptimizerConfig;
use protocol::id::{Hash, PeerId};
use protocol::shard::layout::Layout;
use protocol::wire::charter::{Charter, Genesis, SignedCharter, TrainTerms};
use protocol::wire::codistillation::PRIMARY;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::telemetry::process::machine_memory;
use crate::trainer::codistiller::Codistiller;
use crate::trainer::learner::{Learner, LearnerError};
use crate::trainer::material::Material;
use crate::trainer::model_card::{Card, Facts};
use crate::trainer::model_learner::ModelLearner;
use crate::trainer::private::Private;
use crate::trainer::probe::{self, ProbeError};
use crate::trainer::variant::{UnknownVariant, choose};

/// Where and with how many threads a model computes.
#[derive(Clone, Debug)]
pub struct Place {
    /// `auto`, `cpu`, `cuda[:N]`, `metal`.
    pub device: String,
    /// Threads; 0 for as many as the environment says.
    pub threads: usize,
    /// Which of the charter's architectures; `None`: by this machine's memory.
    pub variant: Option<String>,
}

/// Files a charter names, already checked against it.
#[derive(Clone, Debug)]
pub struct Files {
    /// The tokenizer.
    pub tokenizer: PathBuf,
    /// The base checkpoint in Hugging Face layout, where there is one.
    pub base: Option<PathBuf>,
    /// The probe set, where predictions travel.
    pub probe: Option<PathBuf>,
}

/// A charter that asks for something this program cannot do, or data that does not fit it.
#[derive(Debug, Error)]
pub enum TranslateError {
    /// The model crate refused.
    #[error(transparent)]
    Model(#[from] model::error::Error),
    /// The data cannot be read.
    #[error("{0}; name a data file, or a folder with one named like train.conll")]
    Data(model::error::Error),
    /// The charter names something unknown.
    #[error(
        "the charter's {field}: expected {expected}, found {found:?}; it may be meant for a newer version of this program"
    )]
    Unknown {
        /// Which field.
        field: &'static str,
        /// What is known.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// The model that follows from the charter is not the one its founders had.
    #[error(
        "expected the parameter layout {expected} of the charter, found {found}: the base or this program differs from the founders'"
    )]
    Layout {
        /// In the charter.
        expected: Hash,
        /// Of the model made here.
        found: Hash,
    },
    /// The charter has no architecture of the name in the settings.
    #[error(transparent)]
    Variant(#[from] UnknownVariant),
    /// The probe set cannot be used.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The learner cannot be put together.
    #[error(transparent)]
    Learner(#[from] LearnerError),
    /// There is nothing to train on.
    #[error("{0}: expected training examples, found none; a folder needs a file named like train.conll")]
    NoData(String),
}

impl TranslateError {
    /// Whether the data is at fault, not the settings.
    pub fn is_about_data(&self) -> bool {
        matches!(self, Self::NoData(_) | Self::Data(_) | Self::Model(model::error::Error::Data { .. }))
    }
}

/// An error of reading data: a file that is not there is the data's fault, as a bad row is.
pub fn unreadable(error: model::error::Error) -> TranslateError {
    match error {
        absent @ model::error::Error::Io { .. } => TranslateError::Data(absent),
        other => TranslateError::Model(other),
    }
}

type Result<T, E = TranslateError> = std::result::Result<T, E>;

/// The kind of task a charter names.
pub fn task_kind(charter: &Charter) -> Result<TaskKind> {
    task_named(&charter.task.kind)
}

/// The kind of task of a name.
pub fn task_named(name: &str) -> Result<TaskKind> {
    TaskKind::named(name).ok_or_else(|| TranslateError::Unknown {
        field: "task.kind",
        expected: TaskKind::names(),
        found: name.to_owned(),
    })
}

/// The labels a charter names.
pub fn labels(kind: TaskKind, names: &[String]) -> Result<LabelSet> {
    let schema = Schema { labels: names.to_vec(), ..Schema::new(kind) };
    let none = || model::error::Error::config("labels", "expected at least one, found none");
    Ok(schema.label_set()?.ok_or_else(none)?)
}

/// The head that a task needs on an architecture.
pub fn head(kind: TaskKind, labels: usize, arch: &ArchConfig) -> Head {
    match (kind, arch) {
        (TaskKind::Tagging, _) => Head::Tagging { labels },
        // What an output of these means, and with that the loss, is said by the targets of a batch.
        (
            TaskKind::Classify
            | TaskKind::Multilabel
            | TaskKind::Regression
            | TaskKind::Nodes
            | TaskKind::Records,
            _,
        ) => Head::Classification { labels },
        (TaskKind::Pairs, _) => Head::Pair { labels },
        // The outputs of a language model are the tokens, not the charter's labels.
        (TaskKind::Language, ArchConfig::Decoder(decoder)) => Head::Language { labels: decoder.vocab_size },
        (TaskKind::Language, _) => Head::Language { labels },
    }
}

/// The layout of a model's parameters, as the protocol names and hashes it.
pub fn layout(session: &Session) -> Layout {
    Layout::new(session.shapes()).expect("a session's tensors are named once and are not empty")
}

/// The model as a charter writes it: an architecture, or corrections of one of which only these are trained and traded.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Architecture {
    /// Low-rank corrections of a base.
    Adapted {
        /// Their size.
        adapter: AdapterConfig,
        /// What they correct.
        base: ArchConfig,
    },
    /// Every parameter is trained.
    Whole(ArchConfig),
}

impl Architecture {
    /// Reads what a charter holds.
    ///
    /// # Errors
    /// The text is none; the error says where.
    pub fn read(text: &str) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Adapted {
            adapter: AdapterConfig,
            base: ArchConfig,
        }
        let value: serde_json::Value = serde_json::from_str(text)?;
        if value.get("adapter").is_some() {
            let Adapted { adapter, base } = serde_json::from_value(value)?;
            return Ok(Self::Adapted { adapter, base });
        }
        serde_json::from_value(value).map(Self::Whole)
    }

    /// The network itself.
    pub fn network(&self) -> &ArchConfig {
        match self {
            Self::Adapted { base, .. } | Self::Whole(base) => base,
        }
    }

    /// Puts corrections on a session where the charter asks for them; they begin with the seed of the genesis.
    pub fn put_on(&self, session: Session, seed: Seed) -> Result<Session> {
        match self {
            Self::Adapted { adapter, .. } => Ok(session.adapted(adapter, &seed)?),
            Self::Whole(_) => Ok(session),
        }
    }
}

/// A session with the genesis parameters of a charter.
pub fn genesis(charter: &Charter, files: &Files, place: &Place) -> Result<Session> {
    let kind = task_kind(charter)?;
    let chosen = choose(charter, place.variant.as_deref(), machine_memory())?.architecture;
    let architecture = Architecture::read(chosen.text).map_err(|e| TranslateError::Unknown {
        field: "model.architecture",
        expected: "an architecture this program knows".to_owned(),
        found: e.to_string(),
    })?;
    let arch = architecture.network();
    let device: DeviceChoice = place.device.parse()?;
    let head = head(kind, charter.task.labels.len(), arch);
    let mut session = match (&charter.model.genesis, &files.base) {
        (Genesis::Checkpoint { seed, .. }, Some(base)) if chosen.name == PRIMARY => {
            Session::from_folder(base, &head, &device, Seed::from_u64(*seed))?
        }
        (Genesis::Seed(seed) | Genesis::Checkpoint { seed, .. }, _) => {
            Session::new(arch, &head, &device, Seed::from_u64(*seed))?
        }
    };
    let (Genesis::Seed(seed) | Genesis::Checkpoint { seed, .. }) = &charter.model.genesis;
    session = architecture.put_on(session, Seed::from_u64(*seed))?;
    let found = layout(&session).hash();
    if found != chosen.layout {
        return Err(TranslateError::Layout { expected: chosen.layout, found });
    }
    session.configure(TrainingConfig {
        optimizer: optimizer(&charter.train)?,
        clip_norm: f64::from(charter.train.clip),
        threads: place.threads,
    })?;
    Ok(session)
}

fn optimizer(terms: &TrainTerms) -> Result<OptimizerConfig> {
    let decay = f64::from(terms.weight_decay);
    match terms.optimizer.as_str() {
        "adamw" => {
            Ok(OptimizerConfig::Adamw { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: decay })
        }
        "sgd" => Ok(OptimizerConfig::Sgd { momentum: 0.0, nesterov: false, weight_decay: decay }),
        "nesterov" => Ok(OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: decay }),
        other => Err(TranslateError::Unknown {
            field: "train.optimizer",
            expected: "adamw, sgd or nesterov".to_owned(),
            found: other.to_owned(),
        }),
    }
}

/// A learner for a member of a run: the model at genesis, the private data, batches in an order of its own.
pub fn open_learner(
    charter: &SignedCharter,
    files: &Files,
    data: &Path,
    place: &Place,
    me: &PeerId,
) -> Result<ModelLearner> {
    open_with(charter.charter(), charter.run().to_string(), files, data, place, me)
}

/// The same under terms that nobody signed, for a search among them; `run` is what its card says of where it comes from.
pub fn open_with(
    terms: &Charter,
    run: String,
    files: &Files,
    data: &Path,
    place: &Place,
    me: &PeerId,
) -> Result<ModelLearner> {
    let kind = task_kind(terms)?;
    let session = genesis(terms, files, place)?;
    let tokenizer = if session.arch().reads_text() { Some(Tokenizer::load(&files.tokenizer)?) } else { None };
    let labels = labels(kind, &terms.task.labels)?;
    let material = Material {
        kind,
        labels: &labels,
        tokens_max: terms.task.tokens_max as usize,
        arch: session.arch(),
        tokenizer: tokenizer.as_ref(),
    };
    let (rows, scored) = material.to_train_on(data).map_err(unreadable)?;
    if rows.is_empty() {
        return Err(TranslateError::NoData(data.display().to_string()));
    }
    let card = Card {
        facts: Facts {
            run_name: terms.name.clone(),
            run,
            purpose: terms.purpose.clone(),
            outer_step: 0,
            task: terms.task.kind.clone(),
            labels: terms.task.labels.clone(),
            tokens_max: terms.task.tokens_max,
            peer_id: me.to_string(),
            privacy: None,
        },
        metric: terms.task.metric.clone(),
        tokenizer: tokenizer.map(Box::new),
    };
    let private = Private::new(terms, session.arch(), rows.len())?;
    let batches = batcher(rows, &terms.train, me)?;
    Ok(ModelLearner::new(session, batches, scored, terms.train.clone(), card).under(private))
}

/// What a member of a run gives its trainer: the model itself, or a model that learns from predictions where those
/// travel in place of parameters.
pub fn open_member(
    charter: &SignedCharter,
    files: &Files,
    data: &Path,
    place: &Place,
    me: &PeerId,
) -> Result<Box<dyn Learner>> {
    let own = open_learner(charter, files, data, place, me)?;
    let terms = charter.charter();
    let (Some(codistillation), Some(probe)) = (&terms.codistillation, &files.probe) else {
        return Ok(Box::new(own));
    };
    if own.is_private() {
        let why =
            "predictions on a probe set are not covered: leave exchange.epsilon_max out, or trade parameters";
        let what = "keep the charter's epsilon_max";
        return Err(LearnerError { what, why: why.to_owned() }.into());
    }
    answers_texts(terms)?;
    let tokenizer = Tokenizer::load(&files.tokenizer)?;
    let tokens_max = terms.task.tokens_max as usize;
    let rows = probe::read(probe, terms.is_tagging())?;
    let rows = unlabelled(&rows, terms.is_tagging(), &tokenizer, tokens_max)?;
    let order = own_seed(me).fork("probe");
    Ok(Box::new(Codistiller::new(own, rows, codistillation.clone(), order)?))
}

/// Refuses tasks whose predictions are not about words or texts.
fn answers_texts(terms: &Charter) -> Result<()> {
    match task_kind(terms)? {
        TaskKind::Tagging | TaskKind::Classify => Ok(()),
        TaskKind::Multilabel
        | TaskKind::Regression
        | TaskKind::Language
        | TaskKind::Nodes
        | TaskKind::Pairs
        | TaskKind::Records => Err(TranslateError::Unknown {
            field: "task.kind",
            expected: "tagging or classify where predictions leave a node".to_owned(),
            found: terms.task.kind.clone(),
        }),
    }
}

/// The model of a member at genesis, ready to be given newer parameters and asked.
pub fn open_answering(charter: &SignedCharter, files: &Files, place: &Place) -> Result<(Session, Tokenizer)> {
    answers_texts(charter.charter())?;
    Ok((genesis(charter.charter(), files, place)?, Tokenizer::load(&files.tokenizer)?))
}

/// Texts ready to be predicted on.
pub fn unlabelled(
    rows: &[Vec<String>],
    is_tagging: bool,
    tokenizer: &Tokenizer,
    tokens_max: usize,
) -> Result<Unlabelled> {
    if is_tagging {
        return Ok(Unlabelled::tagging(rows, tokenizer, tokens_max)?);
    }
    let texts: Vec<String> = rows.iter().map(|row| row.join(" ")).collect();
    Ok(Unlabelled::classify(&texts, tokenizer, tokens_max)?)
}

/// What decides the orders of this peer; not secret.
fn own_seed(me: &PeerId) -> Seed {
    Seed::from_u64(u64::from_le_bytes(me.0[..8].try_into().expect("a key has 32 bytes")))
}

/// Batches in an order that belongs to this peer; every start of the node goes through the same order.
pub fn batcher(rows: Dataset, terms: &TrainTerms, me: &PeerId) -> Result<Batcher> {
    let order = if terms.in_order { Order::File } else { Order::Shuffled };
    Ok(Batcher::new(rows, terms.batch as usize, order, own_seed(me).fork("batches"))?)
}
