//! Founding a run: from a recipe, labels and members to the folder that travels with the charter.

use std::path::{Path, PathBuf};

use model::arch::config::{ArchConfig, Head};
use model::data::labels::LabelSet;
use model::data::schema::TaskKind;
use model::data::sizes::Sizes;
use model::data::tokenize::tokenizer::Tokenizer;
use model::data::tokenize::train::{TrainOptions, train_bpe, train_wordpiece};
use model::device::DeviceChoice;
use model::params::folder::read_arch;
use model::seed::Seed;
use model::session::Session;
use model::train::adapter::AdapterConfig;
use protocol::crypto::keys::Keypair;
use protocol::id::{Hash, PeerId};
use protocol::time::UnixSeconds;
use protocol::wire::charter::{Admission, Charter, CharterError, Genesis, ModelTerms, TaskTerms};
use protocol::wire::codistillation::{CodistillationTerms, Variant};
use thiserror::Error;

use crate::config::charter_file::{CharterFile, CharterFileError};
use crate::recipe::bundle::{BASE, BASE_CONFIG, BASE_PARAMETERS, BundleError, CHARTER, PROBE, hash_file};
use crate::recipe::fit::fit;
use crate::recipe::terms::{CodistillationPlan, Recipe};
use crate::trainer::probe;
use crate::trainer::translate::{Architecture, TranslateError, head, layout, task_named};

/// What a run is founded from.
pub struct Founding<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// Labels of the task.
    pub labels: &'a LabelSet,
    /// Texts the tokenizer is trained on where there is no base; no node's private data belongs here.
    pub corpus: &'a [String],
    /// What follows from the data for the model.
    pub sizes: Sizes,
    /// Rows of the probe set, words when tagging, else one text each; empty where the recipe trades no predictions.
    pub probe: &'a [Vec<String>],
    /// A checkpoint to start from, in Hugging Face layout.
    pub base: Option<&'a Path>,
    /// Who may take part.
    pub admission: Admission,
    /// Who may sign.
    pub founders: Vec<PeerId>,
    /// How many of them must.
    pub threshold: u32,
    /// Seed of the genesis parameters.
    pub seed: u64,
    /// When it ends.
    pub expires: UnixSeconds,
}

/// A run that cannot be founded.
#[derive(Debug, Error)]
pub enum FoundError {
    /// The model or the tokenizer cannot be made.
    #[error(transparent)]
    Model(#[from] model::error::Error),
    /// The recipe does not fit this program.
    #[error(transparent)]
    Translate(#[from] TranslateError),
    /// The recipe's architecture is none.
    #[error("the recipe's architecture: {0}")]
    Architecture(String),
    /// The terms do not hold.
    #[error(transparent)]
    Terms(#[from] CharterError),
    /// The charter cannot be written.
    #[error(transparent)]
    File(#[from] CharterFileError),
    /// A file beside the charter cannot be read.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A file cannot be written.
    #[error("could not write {path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Writes the folder with an unsigned charter; answers the charter.
pub fn found(dir: &Path, founding: Founding<'_>) -> Result<Charter, FoundError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| FoundError::Io { path, source }
    };
    std::fs::create_dir_all(dir).map_err(io(dir))?;
    let recipe = founding.recipe;
    let kind = task_named(&recipe.task.kind)?;
    let head = |arch: &ArchConfig| head(kind, founding.labels.len(), arch);
    let seed = Seed::from_u64(founding.seed);
    let (tokenizer, session, base_hash) = match founding.base {
        _ if !founding.sizes.is_text_alone() => {
            let options = TrainOptions { vocabulary: recipe.model.vocabulary, ..TrainOptions::default() };
            let corpus = founding.corpus.iter().map(String::as_str);
            let tokenizer =
                if founding.sizes.has_text { Some(train_wordpiece(corpus, &options)?) } else { None };
            let vocabulary = tokenizer.as_ref().map_or(0, Tokenizer::vocabulary);
            let (table, labels) = (&recipe.model.architecture, founding.labels.len());
            let arch = fit(table, &founding.sizes, labels, vocabulary).map_err(FoundError::Architecture)?;
            (tokenizer, Session::new(&arch, &head(&arch), &DeviceChoice::Cpu, seed)?, None)
        }
        Some(base) => {
            let tokenizer = Tokenizer::load(base)?;
            // Parsing first: a bad checkpoint is refused before it is copied.
            let session = Session::from_folder(base, &head(&read_arch(base)?), &DeviceChoice::Cpu, seed)?;
            let to = dir.join(BASE);
            std::fs::create_dir_all(&to).map_err(io(&to))?;
            for (name, place) in [("model.safetensors", BASE_PARAMETERS), ("config.json", BASE_CONFIG)] {
                let from = base.join(name);
                std::fs::copy(&from, dir.join(place)).map_err(io(&from))?;
            }
            (Some(tokenizer), session, Some(hash_file(&dir.join(BASE_PARAMETERS))?))
        }
        None => {
            let options = TrainOptions { vocabulary: recipe.model.vocabulary, ..TrainOptions::default() };
            let corpus = founding.corpus.iter().map(String::as_str);
            let tokenizer = match kind {
                // What is written on must be readable back to the last letter.
                TaskKind::Language => train_bpe(corpus, &options)?,
                _ => train_wordpiece(corpus, &options)?,
            };
            let (table, labels) = (&recipe.model.architecture, founding.labels.len());
            let arch = fit(table, &founding.sizes, labels, tokenizer.vocabulary())
                .map_err(FoundError::Architecture)?;
            let session = Session::new(&arch, &head(&arch), &DeviceChoice::Cpu, seed)?;
            (Some(tokenizer), session, None)
        }
    };
    if let Some(tokenizer) = &tokenizer {
        tokenizer.save(dir)?;
    }
    let is_tagging = kind == TaskKind::Tagging;
    let mut exchange = recipe.exchange.clone();
    let codistillation = match (&recipe.codistillation, &tokenizer) {
        (Some(plan), Some(tokenizer)) => {
            let path = dir.join(PROBE);
            std::fs::write(&path, probe::to_text(founding.probe)).map_err(io(&path))?;
            exchange.probe = Some(hash_file(&path)?);
            Some(CodistillationTerms {
                outputs: probe::outputs(founding.probe, is_tagging) as u32,
                batch: plan.batch,
                alpha: plan.alpha,
                temperature: plan.temperature,
                variants: variants(plan, &founding, tokenizer.vocabulary(), &head)?,
            })
        }
        // Without texts there is no probe set; the check of the charter says what is missing.
        _ => None,
    };
    let arch = match founding.base {
        Some(base) => read_arch(base)?,
        None => session.arch().clone(),
    };
    let genesis = match base_hash {
        Some(hash) => Genesis::Checkpoint { hash, seed: founding.seed },
        None => Genesis::Seed(founding.seed),
    };
    let architecture = match recipe.model.adapter_rank {
        Some(rank) => {
            Architecture::Adapted { adapter: AdapterConfig { rank, alpha: 2.0 * rank as f64 }, base: arch }
        }
        None => Architecture::Whole(arch),
    };
    let session = architecture.put_on(session, seed)?;
    let layout = layout(&session);
    let charter = Charter {
        name: recipe.name.clone(),
        purpose: recipe.purpose.clone(),
        version: 1,
        run: None,
        expires: founding.expires,
        founders: founding.founders,
        threshold: founding.threshold,
        model: ModelTerms {
            architecture: serde_json::to_string(&architecture)
                .map_err(|e| FoundError::Architecture(e.to_string()))?,
            tokenizer: tokenizer.as_ref().map(|tokenizer| Hash(tokenizer.hash())),
            genesis,
            layout: layout.hash(),
            parameters: layout.len() as u64,
        },
        task: TaskTerms {
            kind: recipe.task.kind.clone(),
            labels: founding.labels.names().to_vec(),
            metric: recipe.task.metric.clone(),
            tokens_max: recipe.task.tokens_max,
        },
        train: recipe.train.clone(),
        exchange,
        mixing: recipe.mixing.clone(),
        schedule: recipe.schedule.clone(),
        admission: founding.admission,
        audit: recipe.audit.clone(),
        codistillation,
    };
    charter.check()?;
    let file = CharterFile::draft(&charter).map_err(FoundError::Architecture)?;
    file.write(&dir.join(CHARTER))?;
    Ok(charter)
}

/// Every variant with its layout, by falling number of parameters as a charter lists them.
fn variants(
    plan: &CodistillationPlan,
    founding: &Founding<'_>,
    vocabulary: usize,
    head: &impl Fn(&ArchConfig) -> Head,
) -> Result<Vec<Variant>, FoundError> {
    let mut all = Vec::new();
    for variant in &plan.variants {
        let arch = fit(&variant.architecture, &founding.sizes, founding.labels.len(), vocabulary)
            .map_err(FoundError::Architecture)?;
        let session = Session::new(&arch, &head(&arch), &DeviceChoice::Cpu, Seed::from_u64(0))?;
        let layout = layout(&session);
        all.push(Variant {
            name: variant.name.clone(),
            architecture: serde_json::to_string(&arch)
                .map_err(|e| FoundError::Architecture(e.to_string()))?,
            layout: layout.hash(),
            parameters: layout.len() as u64,
        });
    }
    all.sort_by_key(|variant| std::cmp::Reverse(variant.parameters));
    Ok(all)
}

/// Signs the charter of a folder.
pub fn sign(dir: &Path, keys: &Keypair) -> Result<(), FoundError> {
    let path = dir.join(CHARTER);
    let mut file = CharterFile::read(&path)?;
    file.sign(keys);
    file.write(&path)?;
    Ok(())
}
