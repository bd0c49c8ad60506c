//! Preparing a testnet: data for every node, keys, the charter, settings.

use std::path::{Path, PathBuf};

use model::data::conll;
use model::data::example::TaggedSentence;
use model::data::labels::LabelSet;
use model::data::load::load_tagging_parts;
use model::data::schema::{Schema, TaskKind};
use model::data::split::{Split, split};
use model::data::synthetic::newswire;
use model::seed::{Seed, shuffle};
use protocol::crypto::keys::Keypair;
use protocol::time::UnixSeconds;
use protocol::wire::charter::{Charter, Member};
use thiserror::Error;

use crate::recipe::bundle::CHARTER;
use crate::recipe::found::{FoundError, Founding, found, sign};
use crate::recipe::terms::{NodePlan, Recipe};
use crate::store::keys::{Identity, KeyError};

/// Share of a node's sentences it scores itself on while training.
const DEV_SHARE: f64 = 0.1;
/// A testnet is over long before.
const EXPIRES_AFTER: u64 = 30 * 24 * 3_600;

/// A prepared testnet.
pub struct Plan {
    /// Folder of the whole testnet.
    pub dir: PathBuf,
    /// Folder with the charter.
    pub bundle: PathBuf,
    /// The terms.
    pub charter: Charter,
    /// The nodes.
    pub nodes: Vec<PlannedNode>,
    /// The test file.
    pub test: PathBuf,
    /// All training data in one place, for the upper bound.
    pub pooled: PathBuf,
    /// Where the data comes from, in words.
    pub data: String,
}

/// One prepared node.
pub struct PlannedNode {
    /// Its name.
    pub name: String,
    /// Who runs it.
    pub organization: String,
    /// Its folder.
    pub dir: PathBuf,
    /// Its data.
    pub data: PathBuf,
    /// Its training sentences.
    pub samples: u64,
}

/// A testnet that cannot be prepared.
#[derive(Debug, Error)]
pub enum PlanError {
    /// The data cannot be used.
    #[error(transparent)]
    Data(#[from] model::error::Error),
    /// The run cannot be founded.
    #[error(transparent)]
    Found(#[from] FoundError),
    /// A key cannot be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The recipe asks for something this command does not do.
    #[error("recipe: expected {expected}, found {found}")]
    Recipe {
        /// What can be done.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A file or folder cannot be made.
    #[error("could not make {path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What the user asked for.
pub struct Wish<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// Number of nodes.
    pub nodes: usize,
    /// Files of one's own instead of the generator.
    pub data: Option<&'a Path>,
    /// A base checkpoint.
    pub base: Option<&'a Path>,
    /// Seed of data, split, keys and genesis.
    pub seed: u64,
    /// Where to put everything.
    pub dir: &'a Path,
}

struct Corpus {
    train: Vec<TaggedSentence>,
    test: Vec<TaggedSentence>,
    labels: LabelSet,
    /// Texts the tokenizer may see.
    public: Vec<String>,
    words: String,
    how: Split,
}

/// Makes every file of a testnet.
pub fn prepare(wish: &Wish<'_>) -> Result<Plan, PlanError> {
    if wish.recipe.task.kind != "tagging" {
        let found = wish.recipe.task.kind.clone();
        return Err(PlanError::Recipe { expected: "task.kind tagging".to_owned(), found });
    }
    let seed = Seed::from_u64(wish.seed);
    let mut corpus = corpus(wish, &seed)?;
    let keys: Vec<String> = corpus
        .train
        .iter()
        .map(|s| s.topic.clone().unwrap_or_else(|| format!("{:08}", s.document)))
        .collect();
    let shares = split(&keys, wish.nodes, 50, corpus.how, &seed)?;
    let names = names(wish.recipe, wish.nodes);
    let make = |path: &Path| {
        std::fs::create_dir_all(path).map_err(|source| PlanError::Io { path: path.to_owned(), source })
    };
    make(wish.dir)?;
    let mut nodes = Vec::new();
    let mut members = Vec::new();
    let mut founder = None;
    let mut pooled = Vec::new();
    for (plan, share) in names.iter().zip(&shares) {
        let dir = wish.dir.join("nodes").join(&plan.name);
        let data = dir.join("data");
        make(&data)?;
        let (train, dev) = own_parts(&corpus.train, share, &seed);
        write(&data.join("train.conll"), &train, &corpus.labels)?;
        write(&data.join("dev.conll"), &dev, &corpus.labels)?;
        let identity = Identity::generate().map_err(|source| PlanError::Io { path: dir.clone(), source })?;
        identity.create(&dir)?;
        members.push(Member { peer: identity.peer(), organization: plan.organization.clone() });
        founder.get_or_insert_with(|| Keypair::from_secret(*identity.seed()));
        let samples = train.len() as u64;
        if corpus.public.is_empty() {
            // Without a public corpus the founder's own texts make the vocabulary.
            corpus.public = train.iter().map(|s| s.tokens.join(" ")).collect();
        }
        pooled.extend(train);
        let (name, organization) = (plan.name.clone(), plan.organization.clone());
        nodes.push(PlannedNode { name, organization, dir, data, samples });
    }
    let pooled_dir = wish.dir.join("pooled/data");
    make(&pooled_dir)?;
    write(&pooled_dir.join("train.conll"), &pooled, &corpus.labels)?;
    let test = wish.dir.join("test.conll");
    write(&test, &corpus.test, &corpus.labels)?;
    write(&pooled_dir.join("dev.conll"), &corpus.test[..corpus.test.len().min(200)], &corpus.labels)?;
    let founder = founder.expect("a testnet has at least one node");
    let bundle = wish.dir.join("charter");
    let today = crate::runtime::clock::today();
    let charter = found(
        &bundle,
        Founding {
            recipe: wish.recipe,
            labels: &corpus.labels,
            corpus: &corpus.public,
            base: wish.base,
            members,
            founders: vec![founder.peer()],
            threshold: 1,
            seed: wish.seed,
            expires: UnixSeconds(today.0 + EXPIRES_AFTER),
        },
    )?;
    sign(&bundle, &founder)?;
    for node in &nodes {
        settings(node, &bundle)?;
    }
    Ok(Plan {
        dir: wish.dir.to_owned(),
        bundle,
        charter,
        nodes,
        test,
        pooled: pooled_dir,
        data: corpus.words,
    })
}

fn corpus(wish: &Wish<'_>, seed: &Seed) -> Result<Corpus, PlanError> {
    let terms = &wish.recipe.data;
    let n = wish.nodes;
    if let Some(path) = wish.data {
        let parts = load_tagging_parts(path, &Schema::new(TaskKind::Tagging))?;
        let test = if parts.test.is_empty() { parts.dev } else { parts.test };
        let is_topical = parts.train.iter().any(|s| s.topic.is_some());
        let (how, words) = if is_topical {
            (
                Split::Dirichlet { alpha: terms.dirichlet },
                format!("Dirichlet {} over topics", terms.dirichlet),
            )
        } else {
            (Split::Contiguous, "contiguous by document".to_owned())
        };
        let words = format!("{}, {n} organizations, {words}, seed {}", path.display(), wish.seed);
        return Ok(Corpus { train: parts.train, test, labels: parts.labels, public: Vec::new(), words, how });
    }
    if terms.generator != "newswire" {
        return Err(PlanError::Recipe {
            expected: "generator newswire".into(),
            found: terms.generator.clone(),
        });
    }
    let public = newswire::generate(seed, "public", terms.train / 4)?;
    Ok(Corpus {
        train: newswire::generate(seed, "train", terms.train)?,
        test: newswire::generate(seed, "test", terms.test)?,
        labels: newswire::labels(),
        public: public.iter().map(|s| s.tokens.join(" ")).collect(),
        words: format!(
            "built-in newswire, {n} organizations, split by topic (Dirichlet {}, seed {})",
            terms.dirichlet, wish.seed
        ),
        how: Split::Dirichlet { alpha: terms.dirichlet },
    })
}

/// A node's training and development sentences.
fn own_parts(
    all: &[TaggedSentence],
    share: &[usize],
    seed: &Seed,
) -> (Vec<TaggedSentence>, Vec<TaggedSentence>) {
    let mut rows = share.to_vec();
    shuffle(&mut seed.fork("dev").rng(), &mut rows);
    let dev = ((rows.len() as f64 * DEV_SHARE) as usize).max(1);
    let take = |rows: &mut [usize]| {
        rows.sort_unstable();
        rows.iter().map(|&i| all[i].clone()).collect::<Vec<_>>()
    };
    let (dev_rows, train_rows) = rows.split_at_mut(dev);
    (take(train_rows), take(dev_rows))
}

fn names(recipe: &Recipe, n: usize) -> Vec<NodePlan> {
    let extra = |i: usize| NodePlan {
        name: format!("node{}", i + 1),
        organization: format!("Organization {}", i + 1),
    };
    (0..n).map(|i| recipe.data.nodes.get(i).cloned().unwrap_or_else(|| extra(i))).collect()
}

fn write(path: &Path, sentences: &[TaggedSentence], labels: &LabelSet) -> Result<(), PlanError> {
    let io = |source| PlanError::Io { path: path.to_owned(), source };
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).map_err(io)?);
    conll::write(&mut out, sentences, labels).map_err(io)?;
    std::io::Write::flush(&mut out).map_err(io)
}

/// The settings file of a node; a person could have written it.
fn settings(node: &PlannedNode, bundle: &Path) -> Result<(), PlanError> {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let text = |path: PathBuf| toml::Value::String(path.display().to_string()).to_string();
    let toml = format!(
        "[node]\nname = {}\norganization = {}\ndata = {}\ncharter = {}\n\n[network]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\nquic = false\n",
        toml::Value::String(node.name.clone()),
        toml::Value::String(node.organization.clone()),
        text(absolute(&node.data)),
        text(absolute(&bundle.join(CHARTER))),
    );
    let path = node.dir.join(crate::config::load::CONFIG_FILE);
    std::fs::write(&path, toml).map_err(|source| PlanError::Io { path, source })
}
