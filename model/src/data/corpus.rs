//! The data of a whole task before it is shared among nodes: made from a seed, or read from a path.
//!
//! A testnet and `data make` treat every task alike through it: what an example is about (nodes differ by that), some of
//! the examples, and a file of them. It knows no node and no tokenizer.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::data::example::{LabelledText, Passage, TaggedSentence};
use crate::data::graph::Graph;
use crate::data::labels::LabelSet;
use crate::data::load::{DataFiles, NEXT_TOKEN, find, load_plain_parts, load_tagging_parts, load_text_parts};
use crate::data::parts::Parts;
use crate::data::report::DataReport;
use crate::data::schema::{Schema, TaskKind};
use crate::data::synthetic::{chinese, community, newswire, requests, reviews};
use crate::data::{conll, graph_file, jsonl, plain};
use crate::error::{Error, Result};
use crate::seed::{Seed, shuffle};

/// Share of the examples kept back to score on when the data has no part for that.
const HELD_OUT_SHARE: f64 = 0.2;

/// The generator that makes a graph, in which examples to train and to score on are nodes of one whole.
const COMMUNITY: &str = "community";

/// The built-in generators.
pub const GENERATORS: [&str; 7] =
    ["newswire", "requests", "reviews", "newswire-zh", "headlines-zh", "newswire-text", "community"];

/// Examples of one task, in file order.
#[derive(Debug, Clone, PartialEq)]
pub enum Examples {
    /// Sentences with a tag per word.
    Tagged(Vec<TaggedSentence>),
    /// Texts with a class each.
    Texts(Vec<LabelledText>),
    /// Passages of plain text.
    Plain(Vec<Passage>),
    /// Nodes of a graph.
    Nodes(NodePart),
}

/// Some nodes of a graph, the examples, with the graph they are in.
#[derive(Debug, Clone, PartialEq)]
pub struct NodePart {
    /// The graph; it may know the classes of more nodes.
    pub graph: Arc<Graph>,
    /// The nodes, rising.
    pub nodes: Vec<u32>,
}

impl NodePart {
    /// Some of the nodes. Where nodes are in groups, only the groups of those that were picked come along, with the edges
    /// inside them: that is what one organization can hold.
    fn pick(&self, rows: &[usize]) -> Self {
        let mut nodes: Vec<u32> = rows.iter().map(|row| self.nodes[*row]).collect();
        nodes.sort_unstable();
        if self.graph.groups.is_empty() {
            return Self { graph: Arc::clone(&self.graph), nodes };
        }
        let groups: BTreeSet<u32> = nodes.iter().map(|node| self.graph.group[*node as usize]).collect();
        let (graph, kept) = self.graph.of_groups(&groups);
        let place = |node: &u32| kept.binary_search(node).expect("a picked node is in a picked group") as u32;
        Self { graph: Arc::new(graph), nodes: nodes.iter().map(place).collect() }
    }
}

/// Examples to train on, examples to score on, and their labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Corpus {
    /// To train on.
    pub train: Examples,
    /// To score on; nothing of it is trained on.
    pub test: Examples,
    /// The labels of both.
    pub labels: LabelSet,
    /// What a person should know about how the two came about; empty when the data says it itself.
    pub note: String,
}

impl Corpus {
    /// Makes `train` and `test` examples with a built-in generator.
    ///
    /// # Errors
    /// There is no such generator, or it does not make so many.
    pub fn generate(generator: &str, seed: &Seed, train: usize, test: usize) -> Result<Self> {
        if generator == COMMUNITY {
            let graph = Arc::new(community::generate(seed, train.saturating_add(test))?);
            let (kept, held) = hold_out((0..graph.len() as u32).collect(), test, seed);
            let part = |nodes| Examples::Nodes(NodePart { graph: Arc::clone(&graph), nodes });
            let labels = community::labels();
            return Ok(Self { train: part(kept), test: part(held), labels, note: String::new() });
        }
        let (trained, labels) = make(generator, seed, "train", train)?;
        let (scored, _) = make(generator, seed, "test", test)?;
        Ok(Self { train: trained, test: scored, labels, note: String::new() })
    }

    /// Examples to validate on, apart from those to train and to score on. A graph has none: its nodes are one whole.
    ///
    /// # Errors
    /// As [`Corpus::generate`].
    pub fn dev(generator: &str, seed: &Seed, count: usize) -> Result<Option<Examples>> {
        if generator == COMMUNITY || count == 0 {
            return Ok(None);
        }
        make(generator, seed, "dev", count).map(|(examples, _)| Some(examples))
    }

    /// What everybody may know of a generator's data: texts that nobody trains or scores on, labels, and for a graph the
    /// features a node may have.
    ///
    /// # Errors
    /// As [`Corpus::generate`].
    pub fn public(
        generator: &str,
        seed: &Seed,
        count: usize,
    ) -> Result<(Vec<String>, LabelSet, Option<usize>)> {
        if generator == COMMUNITY {
            return Ok((Vec::new(), community::labels(), Some(community::WIDTH)));
        }
        let (examples, labels) = make(generator, seed, "public", count)?;
        Ok((examples.texts(), labels, None))
    }

    /// Makes texts without labels with a built-in generator; `part` names an independent stream.
    ///
    /// # Errors
    /// As [`Corpus::generate`]; a graph has no texts, and none are made.
    pub fn unlabelled(generator: &str, seed: &Seed, part: &str, count: usize) -> Result<Vec<String>> {
        if generator == COMMUNITY {
            return Ok(Vec::new());
        }
        Ok(make(generator, seed, part, count)?.0.texts())
    }

    /// Reads a file or folder. Without a training part the development part is trained on; without any part to score on
    /// a seeded fifth is held out.
    ///
    /// # Errors
    /// The path cannot be read, too many rows are bad, or there is nothing to train on.
    pub fn load(path: &Path, task: TaskKind, seed: &Seed) -> Result<Self> {
        let schema = Schema::new(task);
        match task {
            TaskKind::Tagging => {
                let parts = load_tagging_parts(path, &schema)?;
                Self::from_parts(path, parts, Examples::Tagged, seed)
            }
            TaskKind::Classify => {
                let parts = load_text_parts(path, &schema)?;
                Self::from_parts(path, parts, Examples::Texts, seed)
            }
            TaskKind::Language => {
                let parts = load_plain_parts(path, &schema)?;
                Self::from_parts(path, parts, Examples::Plain, seed)
            }
            TaskKind::Nodes => {
                let read = graph_file::read(path, &schema)?;
                let [train, dev, test] = read.parts;
                let graph = Arc::new(read.graph);
                let parts = Parts { train, dev, test, labels: read.labels, reports: vec![read.report] };
                let wrap = |nodes| Examples::Nodes(NodePart { graph: Arc::clone(&graph), nodes });
                Self::from_parts(path, parts, wrap, seed)
            }
        }
    }

    fn from_parts<T>(
        path: &Path,
        parts: Parts<T>,
        wrap: impl Fn(Vec<T>) -> Examples,
        seed: &Seed,
    ) -> Result<Self> {
        let Parts { mut train, mut dev, mut test, labels, .. } = parts;
        let mut note = String::new();
        if train.is_empty() {
            train = std::mem::take(&mut dev);
            "the development part is trained on".clone_into(&mut note);
        }
        if test.is_empty() {
            test = dev;
        }
        if test.is_empty() {
            let count = (train.len() as f64 * HELD_OUT_SHARE) as usize;
            (train, test) = hold_out(train, count, seed);
            "a seeded fifth is held out to score on".clone_into(&mut note);
        }
        if train.is_empty() {
            return Err(Error::file(path, "expected examples to train on, found none"));
        }
        Ok(Self { train: wrap(train), test: wrap(test), labels, note })
    }
}

/// Keeps so many rows back, drawn by the seed; both halves stay in file order.
fn hold_out<T>(rows: Vec<T>, count: usize, seed: &Seed) -> (Vec<T>, Vec<T>) {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    shuffle(&mut seed.fork("held out").rng(), &mut order);
    let mut is_held = vec![false; rows.len()];
    for row in order.into_iter().take(count) {
        is_held[row] = true;
    }
    let (mut kept, mut held) = (Vec::new(), Vec::new());
    for (row, is_held) in rows.into_iter().zip(is_held) {
        if is_held { held.push(row) } else { kept.push(row) }
    }
    (kept, held)
}

fn make(generator: &str, seed: &Seed, part: &str, count: usize) -> Result<(Examples, LabelSet)> {
    Ok(match generator {
        "newswire" => (Examples::Tagged(newswire::generate(seed, part, count)?), newswire::labels()),
        "newswire-zh" => (Examples::Tagged(chinese::sentences(seed, part, count)?), chinese::entity_labels()),
        "requests" => (Examples::Texts(requests::generate(seed, part, count)?), requests::labels()),
        "newswire-text" => {
            let sentences = newswire::generate(seed, part, count)?;
            let passage = |s: TaggedSentence| Passage { text: s.tokens.join(" "), topic: s.topic };
            let labels = LabelSet::classes([NEXT_TOKEN])?;
            (Examples::Plain(sentences.into_iter().map(passage).collect()), labels)
        }
        "reviews" => (Examples::Texts(reviews::generate(seed, part, count)?), reviews::labels()),
        "headlines-zh" => (Examples::Texts(chinese::headlines(seed, part, count)?), chinese::topic_labels()),
        other => {
            let found: String = other.chars().take(40).collect();
            return Err(Error::config(
                "generator",
                format!("expected one of {}, found {found:?}", GENERATORS.join(", ")),
            ));
        }
    })
}

impl Examples {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Tagged(all) => all.len(),
            Self::Texts(all) => all.len(),
            Self::Plain(all) => all.len(),
            Self::Nodes(part) => part.nodes.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What each example is about, the key nodes differ by: its topic or group, else its class, else its document.
    pub fn subjects(&self, labels: &LabelSet) -> Vec<String> {
        match self {
            Self::Tagged(all) => all
                .iter()
                .map(|s| s.topic.clone().unwrap_or_else(|| format!("document {:08}", s.document)))
                .collect(),
            Self::Texts(all) => all
                .iter()
                .map(|t| t.group.clone().unwrap_or_else(|| labels.name(t.label).to_owned()))
                .collect(),
            Self::Plain(all) => {
                let numbered = |(number, p): (usize, &Passage)| {
                    p.topic.clone().unwrap_or_else(|| format!("passage {number:08}"))
                };
                all.iter().enumerate().map(numbered).collect()
            }
            Self::Nodes(NodePart { graph, nodes }) => {
                let subject = |node: &u32| match graph.group.get(*node as usize) {
                    Some(group) => graph.groups[*group as usize].clone(),
                    None => labels.name(graph.labels[*node as usize] as u32).to_owned(),
                };
                nodes.iter().map(subject).collect()
            }
        }
    }

    /// Whether subjects recur, so that nodes can differ by them; documents follow one another and do not.
    pub fn has_subjects(&self) -> bool {
        match self {
            Self::Tagged(all) => all.iter().any(|s| s.topic.is_some()),
            Self::Plain(all) => all.iter().any(|p| p.topic.is_some()),
            Self::Texts(_) | Self::Nodes(_) => true,
        }
    }

    /// Copies of some examples, in the given order.
    pub fn pick(&self, rows: &[usize]) -> Self {
        match self {
            Self::Tagged(all) => Self::Tagged(rows.iter().map(|row| all[*row].clone()).collect()),
            Self::Texts(all) => Self::Texts(rows.iter().map(|row| all[*row].clone()).collect()),
            Self::Plain(all) => Self::Plain(rows.iter().map(|row| all[*row].clone()).collect()),
            Self::Nodes(part) => Self::Nodes(part.pick(rows)),
        }
    }

    /// Features a node may have; nothing for texts.
    pub fn features(&self) -> Option<usize> {
        match self {
            Self::Nodes(part) => Some(part.graph.width),
            Self::Tagged(_) | Self::Texts(_) | Self::Plain(_) => None,
        }
    }

    /// The texts alone; nodes have none.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::Tagged(all) => all.iter().map(|s| s.tokens.join(" ")).collect(),
            Self::Texts(all) => all.iter().map(|t| t.text.clone()).collect(),
            Self::Plain(all) => all.iter().map(|p| p.text.clone()).collect(),
            Self::Nodes(_) => Vec::new(),
        }
    }

    /// The extension of a file of these, by which it is read back.
    pub fn extension(&self) -> &'static str {
        match self {
            Self::Tagged(_) => "conll",
            Self::Texts(_) => "jsonl",
            Self::Plain(_) => "txt",
            Self::Nodes(_) => "graph",
        }
    }

    /// Writes a file that the loaders read back equal.
    ///
    /// # Errors
    /// The writer fails.
    pub fn write(&self, out: &mut impl Write, labels: &LabelSet) -> std::io::Result<()> {
        match self {
            Self::Tagged(all) => conll::write(out, all, labels),
            Self::Texts(all) => jsonl::write_texts(out, all, labels),
            Self::Plain(all) => plain::write(out, all),
            Self::Nodes(part) => graph_file::write(out, &part.graph.known_only(&part.nodes), labels),
        }
    }
}

/// Examples to train on, to choose settings by, and to score on: of a file, or of a folder with a file for each. An empty
/// part is none.
///
/// # Errors
/// As the loaders.
pub fn parts(path: &Path, schema: &Schema) -> Result<[Option<Examples>; 3]> {
    fn filled<T>(parts: Parts<T>, wrap: fn(Vec<T>) -> Examples) -> [Option<Examples>; 3] {
        [parts.train, parts.dev, parts.test].map(|part| (!part.is_empty()).then(|| wrap(part)))
    }
    Ok(match schema.task {
        TaskKind::Tagging => filled(load_tagging_parts(path, schema)?, Examples::Tagged),
        TaskKind::Classify => filled(load_text_parts(path, schema)?, Examples::Texts),
        TaskKind::Language => filled(load_plain_parts(path, schema)?, Examples::Plain),
        TaskKind::Nodes => node_parts(path, schema)?,
    })
}

/// A graph file, a folder with tables, or a folder with a graph file for each part.
fn node_parts(path: &Path, schema: &Schema) -> Result<[Option<Examples>; 3]> {
    let part = |graph: &Arc<Graph>, nodes: Vec<u32>| {
        let graph = Arc::clone(graph);
        (!nodes.is_empty()).then_some(Examples::Nodes(NodePart { graph, nodes }))
    };
    let is_own = |file: &Option<PathBuf>| {
        file.as_ref().is_none_or(|file| file.extension().is_some_and(|extension| extension == "graph"))
    };
    if path.is_dir()
        && let Ok(DataFiles { train, dev, test }) = find(path)
        && [&train, &dev, &test].into_iter().all(is_own)
    {
        let mut parts = [None, None, None];
        for (place, file) in [train, dev, test].into_iter().enumerate() {
            let Some(file) = file else { continue };
            let read = graph_file::read(&file, schema)?;
            let [nodes, ..] = read.parts;
            parts[place] = part(&Arc::new(read.graph), nodes);
        }
        return Ok(parts);
    }
    let read = graph_file::read(path, schema)?;
    let graph = Arc::new(read.graph);
    Ok(read.parts.map(|nodes| part(&graph, nodes)))
}

/// The reports on every part of a path, for a check before training.
///
/// # Errors
/// As the loaders.
pub fn reports(path: &Path, schema: &Schema) -> Result<Vec<DataReport>> {
    match schema.task {
        TaskKind::Tagging => load_tagging_parts(path, schema).map(|parts| parts.reports),
        TaskKind::Classify => load_text_parts(path, schema).map(|parts| parts.reports),
        TaskKind::Language => load_plain_parts(path, schema).map(|parts| parts.reports),
        TaskKind::Nodes => graph_file::read(path, schema).map(|read| vec![read.report]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_generator_makes_what_its_file_gives_back() {
        for generator in GENERATORS {
            let corpus = Corpus::generate(generator, &Seed::from_u64(3), 60, 20).unwrap();
            assert_eq!((corpus.train.len(), corpus.test.len()), (60, 20), "{generator}");
            assert!(corpus.train.has_subjects());
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join(format!("train.{}", corpus.train.extension()));
            let mut bytes = Vec::new();
            corpus.train.write(&mut bytes, &corpus.labels).unwrap();
            std::fs::write(&file, bytes).unwrap();
            let task = match corpus.train {
                Examples::Tagged(_) => TaskKind::Tagging,
                Examples::Texts(_) => TaskKind::Classify,
                Examples::Plain(_) => TaskKind::Language,
                Examples::Nodes(_) => TaskKind::Nodes,
            };
            let back = Corpus::load(&file, task, &Seed::from_u64(3)).unwrap();
            assert_eq!((back.train.len(), back.test.len()), (48, 12), "{generator}: a fifth is held out");
            assert!(back.note.contains("held out"));
            assert!(back.train.texts().iter().all(|text| corpus.train.texts().contains(text)));
        }
        assert!(Corpus::generate("nothing", &Seed::from_u64(3), 1, 1).is_err());
    }

    #[test]
    fn public_texts_are_a_stream_of_their_own() {
        let seed = Seed::from_u64(3);
        let (public, ..) = Corpus::public("reviews", &seed, 50).unwrap();
        let trained = Corpus::generate("reviews", &seed, 50, 1).unwrap().train.texts();
        assert_ne!(public, trained);
    }

    #[test]
    fn picked_examples_keep_their_order_and_subjects() {
        let corpus = Corpus::generate("requests", &Seed::from_u64(3), 30, 1).unwrap();
        let subjects = corpus.train.subjects(&corpus.labels);
        let picked = corpus.train.pick(&[4, 2]);
        assert_eq!(picked.subjects(&corpus.labels), [subjects[4].clone(), subjects[2].clone()]);
    }
}
