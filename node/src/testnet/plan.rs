//! Preparing a testnet: data for every node, keys, the charter, settings.

use std::path::{Path, PathBuf};

use model::data::corpus::Corpus;
use model::data::examples::Examples;
use model::data::labels::LabelSet;
use model::data::split::{Split, split};
use model::seed::{Seed, shuffle};
use protocol::crypto::keys::Keypair;
use protocol::time::UnixSeconds;
use protocol::wire::charter::{Admission, Charter, Member};
use thiserror::Error;

use crate::recipe::bundle::CHARTER;
use crate::recipe::found::{FoundError, Founding, found, sign};
use crate::recipe::terms::{NodePlan, Recipe, Sharing};
use crate::store::keys::{Identity, KeyError};
use crate::trainer::probe;
use crate::trainer::translate::{TranslateError, task_named};

/// Share of a node's examples it scores itself on while training.
const DEV_SHARE: f64 = 0.1;
/// Examples a node gets at least, where there are enough for all.
const ROWS_MIN: usize = 50;
/// Test examples the pooled model scores itself on while training.
const POOLED_DEV: usize = 200;
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
    /// Its training examples.
    pub samples: u64,
    /// Its architecture, where the recipe has several.
    pub variant: Option<String>,
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
    /// The recipe asks for something this program does not know.
    #[error(transparent)]
    Translate(#[from] TranslateError),
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

/// The data of a testnet and what to say of it.
struct Material {
    corpus: Corpus,
    /// Texts the tokenizer may see; empty where nobody made any.
    public: Vec<String>,
    /// Rows of the probe set; empty where the recipe trades no predictions.
    probe: Vec<Vec<String>>,
    words: String,
    how: Split,
}

/// Makes every file of a testnet.
pub fn prepare(wish: &Wish<'_>) -> Result<Plan, PlanError> {
    let seed = Seed::from_u64(wish.seed);
    let Material { corpus, mut public, probe, words, how } = material(wish, &seed)?;
    let keys = corpus.train.subjects(&corpus.labels);
    let rows_min = ROWS_MIN.min(keys.len() / (2 * wish.nodes).max(1)).max(2);
    let shares = split(&keys, wish.nodes, rows_min, how, &seed)?;
    let names = names(wish.recipe, wish.nodes);
    let make = |path: &Path| {
        std::fs::create_dir_all(path).map_err(|source| PlanError::Io { path: path.to_owned(), source })
    };
    make(wish.dir)?;
    let file = |name: &str| format!("{name}.{}", corpus.train.extension());
    let mut nodes = Vec::new();
    let mut members = Vec::new();
    let mut founder = None;
    let mut pooled = Vec::new();
    let mut drawn = Vec::new();
    for (plan, share) in names.iter().zip(&shares) {
        let dir = wish.dir.join("nodes").join(&plan.name);
        let data = dir.join("data");
        make(&data)?;
        let (train, dev) = own_parts(share, &seed);
        write(&data.join(file("train")), &corpus.train.pick(&train), &corpus.labels)?;
        write(&data.join(file("dev")), &corpus.train.pick(&dev), &corpus.labels)?;
        let identity = Identity::generate().map_err(|source| PlanError::Io { path: dir.clone(), source })?;
        identity.create(&dir)?;
        members.push(Member { peer: identity.peer(), organization: plan.organization.clone() });
        founder.get_or_insert_with(|| Keypair::from_secret(*identity.seed()));
        drawn.extend(for_vocabulary(&train, wish.recipe.data.vocabulary_share, nodes.is_empty(), &seed));
        let samples = train.len() as u64;
        pooled.extend(train);
        let (name, organization) = (plan.name.clone(), plan.organization.clone());
        nodes.push(PlannedNode { name, organization, dir, data, samples, variant: plan.variant.clone() });
    }
    if public.is_empty() {
        public = corpus.train.pick(&drawn).texts();
    }
    let pooled_dir = wish.dir.join("pooled/data");
    make(&pooled_dir)?;
    write(&pooled_dir.join(file("train")), &corpus.train.pick(&pooled), &corpus.labels)?;
    let test = wish.dir.join(file("test"));
    write(&test, &corpus.test, &corpus.labels)?;
    let some: Vec<usize> = (0..corpus.test.len().min(POOLED_DEV)).collect();
    write(&pooled_dir.join(file("dev")), &corpus.test.pick(&some), &corpus.labels)?;
    let founder = founder.expect("a testnet has at least one node");
    let bundle = wish.dir.join("charter");
    let today = crate::runtime::clock::today();
    let charter = found(
        &bundle,
        Founding {
            recipe: wish.recipe,
            labels: &corpus.labels,
            corpus: &public,
            sizes: corpus.train.sizes(),
            probe: &probe,
            base: wish.base,
            admission: Admission::Closed(members),
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
    Ok(Plan { dir: wish.dir.to_owned(), bundle, charter, nodes, test, pooled: pooled_dir, data: words })
}

fn material(wish: &Wish<'_>, seed: &Seed) -> Result<Material, PlanError> {
    let terms = &wish.recipe.data;
    let task = task_named(&wish.recipe.task.kind)?;
    let asked = wish.recipe.codistillation.as_ref().map_or(0, |plan| plan.probe);
    let (corpus, public, probe, source) = match wish.data {
        Some(path) => {
            let mut corpus = Corpus::load(path, task, seed)?;
            let (held, kept) = hold_back(corpus.train.len(), asked);
            let probe = corpus.train.pick(&held).texts();
            if !held.is_empty() {
                corpus.train = corpus.train.pick(&kept);
            }
            (corpus, Vec::new(), probe, path.display().to_string())
        }
        None => {
            let corpus = Corpus::generate(&terms.generator, seed, terms.train, terms.test)?;
            let (public, ..) = Corpus::public(&terms.generator, seed, terms.train / 4)?;
            let probe = match asked {
                0 => Vec::new(),
                asked => Corpus::unlabelled(&terms.generator, seed, "probe", asked)?,
            };
            (corpus, public, probe, format!("built-in {}", terms.generator))
        }
    };
    let probe = probe::parse(&probe.join("\n"), wish.recipe.task.kind == "tagging");
    let alpha = terms.dirichlet;
    let (how, shared) = match terms.sharing {
        _ if !corpus.train.has_subjects() => (Split::Contiguous, "contiguous by document (".to_owned()),
        Sharing::Dirichlet => (Split::Dirichlet { alpha }, format!("split by topic (Dirichlet {alpha}, ")),
        Sharing::Subjects => (Split::ByKey, "whole topics to nodes (".to_owned()),
        Sharing::Even => (Split::Even, "equal random shares (".to_owned()),
        Sharing::Contiguous => (Split::Contiguous, "contiguous in file order (".to_owned()),
    };
    let mut words = format!("{source}, {} organizations, {shared}seed {})", wish.nodes, wish.seed);
    if !corpus.note.is_empty() {
        words = format!("{words}; {}", corpus.note);
    }
    Ok(Material { corpus, public, probe, words, how })
}

/// Rows to take out of `len` training rows, evenly spaced, for a probe set that no node trains on; and the others.
fn hold_back(len: usize, count: usize) -> (Vec<usize>, Vec<usize>) {
    let every = len.checked_div(count).unwrap_or(0).max(2);
    (0..len).partition(|row| row.is_multiple_of(every) && row / every < count)
}

/// A node's training and development rows.
fn own_parts(share: &[usize], seed: &Seed) -> (Vec<usize>, Vec<usize>) {
    let mut rows = share.to_vec();
    shuffle(&mut seed.fork("dev").rng(), &mut rows);
    let dev = ((rows.len() as f64 * DEV_SHARE) as usize).max(1);
    let (dev, train) = rows.split_at_mut(dev);
    dev.sort_unstable();
    train.sort_unstable();
    (train.to_vec(), dev.to_vec())
}

/// The training rows of a node that everybody may see, where nobody made public texts.
fn for_vocabulary(train: &[usize], share: f64, is_founder: bool, seed: &Seed) -> Vec<usize> {
    if share <= 0.0 {
        return if is_founder { train.to_vec() } else { Vec::new() };
    }
    let mut rows = train.to_vec();
    shuffle(&mut seed.fork("vocabulary").rng(), &mut rows);
    rows.truncate((rows.len() as f64 * share.min(1.0)).ceil() as usize);
    rows
}

fn names(recipe: &Recipe, n: usize) -> Vec<NodePlan> {
    let extra = |i: usize| NodePlan {
        name: format!("node{}", i + 1),
        organization: format!("Organization {}", i + 1),
        variant: None,
    };
    (0..n).map(|i| recipe.data.nodes.get(i).cloned().unwrap_or_else(|| extra(i))).collect()
}

fn write(path: &Path, examples: &Examples, labels: &LabelSet) -> Result<(), PlanError> {
    let io = |source| PlanError::Io { path: path.to_owned(), source };
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).map_err(io)?);
    examples.write(&mut out, labels).map_err(io)?;
    std::io::Write::flush(&mut out).map_err(io)
}

/// The settings file of a node; a person could have written it.
fn settings(node: &PlannedNode, bundle: &Path) -> Result<(), PlanError> {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let text = |path: PathBuf| toml::Value::String(path.display().to_string()).to_string();
    let toml = format!(
        "[node]\nname = {}\norganization = {}\ndata = {}\ncharter = {}\n\n[network]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\nquic = false\n\n[http]\nlisten = \"\"\n",
        toml::Value::String(node.name.clone()),
        toml::Value::String(node.organization.clone()),
        text(absolute(&node.data)),
        text(absolute(&bundle.join(CHARTER))),
    );
    let variant = node.variant.as_ref().map(|name| toml::Value::String(name.clone()));
    let toml = variant.map_or(toml.clone(), |name| format!("{toml}\n[train]\nvariant = {name}\n"));
    let path = node.dir.join(crate::config::load::CONFIG_FILE);
    std::fs::write(&path, toml).map_err(|source| PlanError::Io { path, source })
}

#[cfg(test)]
mod tests {
    use protocol::id::OuterStep;
    use protocol::wire::codistillation::PRIMARY;

    use super::*;
    use crate::recipe::bundle::{Bundle, TOKENIZER};
    use crate::recipe::terms::{Use, built_in};
    use crate::trainer::learner::{Learner, Lesson};
    use crate::trainer::saved::Saved;
    use crate::trainer::translate::{Files, Place, open_learner};

    /// A plan of two nodes with few examples.
    fn plan(recipe: &mut Recipe, dir: &Path, data: Option<&Path>) -> Plan {
        (recipe.data.train, recipe.data.test) = (240, 60);
        prepare(&Wish { recipe, nodes: 2, data, base: None, seed: 5, dir }).unwrap()
    }

    #[test]
    fn every_recipe_goes_from_its_data_to_a_model_that_is_scored() {
        for name in built_in() {
            let dir = tempfile::tempdir().unwrap();
            let mut recipe = Recipe::find(name, Use::default()).unwrap();
            let plan = plan(&mut recipe, dir.path(), None);
            let bundle = Bundle::open(&plan.bundle).unwrap();
            let files =
                Files { tokenizer: bundle.dir.join(TOKENIZER), base: bundle.base(), probe: bundle.probe() };
            let place = Place { device: "cpu".into(), threads: 1, variant: Some(PRIMARY.into()) };
            let node = &plan.nodes[0];
            let me = Identity::from_seed([1; 32]).peer();
            let mut learner = open_learner(&bundle.charter, &files, &node.data, &place, &me).unwrap();
            let lesson = Lesson { steps: 2, start: 0, total: 2, seconds_max: 0 };
            let learned = learner.train(lesson, &|| false).unwrap();
            assert_eq!((learned.steps, learned.dropped), (2, 0), "{name}");
            let judged = learner.evaluate().unwrap();
            assert!(judged.samples > 0 && judged.loss > 0.0, "{name}: {judged:?}");
            let model = dir.path().join("model");
            learner.export(&model, OuterStep(0)).unwrap();
            let mut saved = Saved::open(&model, "cpu", 1).unwrap();
            let report = saved.scored(&plan.test).unwrap().report(&mut saved.session).unwrap();
            assert!(report.samples > 0 && (0.0..=1.0).contains(&report.score), "{name}: {report:?}");
        }
    }

    #[test]
    fn the_probe_set_of_ones_own_data_is_held_back_from_training() {
        assert_eq!(hold_back(10, 3), (vec![0, 3, 6], vec![1, 2, 4, 5, 7, 8, 9]));
        assert_eq!(hold_back(7, 0), (vec![], (0..7).collect()));
        // More than there is leaves every second row to train on.
        assert_eq!(hold_back(7, 50), (vec![0, 2, 4, 6], vec![1, 3, 5]));
    }

    #[test]
    fn files_of_ones_own_take_the_place_of_the_generator() {
        let dir = tempfile::tempdir().unwrap();
        let row = |k: usize| format!("text {k} of {}\t{}\n", ["good", "bad"][k % 2], k % 2);
        std::fs::write(dir.path().join("all.tsv"), (0..300).map(row).collect::<String>()).unwrap();
        let mut recipe = Recipe::find("sentiment", Use { with_data: true, ..Use::default() }).unwrap();
        let data = dir.path().join("all.tsv");
        let plan = plan(&mut recipe, &dir.path().join("net"), Some(&data));
        assert!(plan.data.contains("held out"), "{}", plan.data);
        assert_eq!(plan.charter.task.labels, ["0", "1"]);
        // A fifth is held out to score on, a tenth of each node's share is its own development part.
        let samples: u64 = plan.nodes.iter().map(|node| node.samples).sum();
        assert!((214..=218).contains(&samples), "{samples}");
    }

    #[test]
    fn a_charter_of_adapters_trades_less_and_its_model_is_merged() {
        let dir = tempfile::tempdir().unwrap();
        let mut recipe = Recipe::find("sentiment", Use::default()).unwrap();
        let whole = plan(&mut recipe, &dir.path().join("whole"), None);
        recipe.model.adapter_rank = Some(2);
        let adapted = plan(&mut recipe, &dir.path().join("adapted"), None);
        assert!(5 * adapted.charter.model.parameters < whole.charter.model.parameters);
        let bundle = Bundle::open(&adapted.bundle).unwrap();
        let files =
            Files { tokenizer: bundle.dir.join(TOKENIZER), base: bundle.base(), probe: bundle.probe() };
        let place = Place { device: "cpu".into(), threads: 1, variant: Some(PRIMARY.into()) };
        let me = Identity::from_seed([1; 32]).peer();
        let mut learner = open_learner(&bundle.charter, &files, &adapted.nodes[0].data, &place, &me).unwrap();
        assert_eq!(learner.parameters() as u64, adapted.charter.model.parameters);
        let lesson = Lesson { steps: 2, start: 0, total: 2, seconds_max: 0 };
        assert_eq!(learner.train(lesson, &|| false).unwrap().dropped, 0);
        let model = dir.path().join("model");
        learner.export(&model, OuterStep(0)).unwrap();
        let saved = Saved::open(&model, "cpu", 1).unwrap();
        assert_eq!(saved.session.parameter_count() as u64, whole.charter.model.parameters);
    }
}
