//! The data of a whole task before it is shared among nodes: made from a seed, or read from a path.
//!
//! A testnet and `data make` treat every task alike through it. It knows no node and no tokenizer.

use std::path::Path;
use std::sync::Arc;

use crate::data::example::{Passage, TaggedSentence};
use crate::data::examples::{Examples, NodePart};
use crate::data::graph_file;
use crate::data::labels::LabelSet;
use crate::data::load::{
    NEXT_TOKEN, load_plain_parts, load_tagging_parts, load_text_parts, load_valued_parts,
};
use crate::data::pairs::PairPart;
use crate::data::parts::Parts;
use crate::data::records::RecordPart;
use crate::data::schema::{Schema, TaskKind};
use crate::data::sizes::Sizes;
use crate::data::synthetic::{
    chinese, community, digits, films, newswire, patients, requests, reviews, scenes,
};
use crate::data::{ratings, record_sources};
use crate::error::{Error, Result};
use crate::seed::{Seed, shuffle};

/// Share of the examples kept back to score on when the data has no part for that.
const HELD_OUT_SHARE: f64 = 0.2;

/// Generators that make one whole, of which examples to train and to score on are parts.
const WHOLE: [&str; 3] = ["community", "films", "patients"];

/// The built-in generators.
pub const GENERATORS: [&str; 13] = [
    "newswire",
    "requests",
    "reviews",
    "tickets",
    "stars",
    "newswire-zh",
    "headlines-zh",
    "newswire-text",
    "digits",
    "scenes",
    WHOLE[0],
    WHOLE[1],
    WHOLE[2],
];

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
        if let Some(whole) = Self::whole(generator, seed, train, test)? {
            return Ok(whole);
        }
        let (trained, labels) = make(generator, seed, "train", train)?;
        let (scored, _) = make(generator, seed, "test", test)?;
        Ok(Self { train: trained, test: scored, labels, note: String::new() })
    }

    fn whole(generator: &str, seed: &Seed, train: usize, test: usize) -> Result<Option<Self>> {
        let all = train.saturating_add(test);
        let (train, test, labels) = match generator {
            "community" => {
                let graph = Arc::new(community::generate(seed, all)?);
                let (kept, held) = hold_out((0..graph.len() as u32).collect(), test, seed);
                let part = |nodes| Examples::Nodes(NodePart { graph: Arc::clone(&graph), nodes });
                (part(kept), part(held), community::labels())
            }
            "films" => {
                let [train, test] = of_ratings(&films::generate(seed, train, test)?, seed)?;
                (train, test, ratings::labels())
            }
            "patients" => {
                let records = Arc::new(patients::generate(seed, all)?);
                let (kept, held) = hold_out((0..all as u32).collect(), test, seed);
                let part = |chosen| Examples::Records(RecordPart { records: Arc::clone(&records), chosen });
                (part(kept), part(held), patients::labels())
            }
            _ => return Ok(None),
        };
        Ok(Some(Self { train, test, labels, note: String::new() }))
    }

    /// Examples to validate on, apart from those to train and to score on. A graph has none: it is one whole.
    ///
    /// # Errors
    /// As [`Corpus::generate`].
    pub fn dev(generator: &str, seed: &Seed, count: usize) -> Result<Option<Examples>> {
        if WHOLE.contains(&generator) || count == 0 {
            return Ok(None);
        }
        make(generator, seed, "dev", count).map(|(examples, _)| Some(examples))
    }

    /// What everybody may know of a generator's data: texts that nobody trains or scores on, labels, and what a model
    /// must fit.
    ///
    /// # Errors
    /// As [`Corpus::generate`].
    pub fn public(generator: &str, seed: &Seed, count: usize) -> Result<(Vec<String>, LabelSet, Sizes)> {
        if let Some(whole) = Self::whole(generator, seed, 1, 1)? {
            return Ok((Vec::new(), whole.labels, whole.train.sizes()));
        }
        let (examples, labels) = make(generator, seed, "public", count)?;
        Ok((examples.texts(), labels, examples.sizes()))
    }

    /// Makes texts without labels with a built-in generator; `part` names an independent stream.
    ///
    /// # Errors
    /// As [`Corpus::generate`]; a graph has no texts, and none are made.
    pub fn unlabelled(generator: &str, seed: &Seed, part: &str, count: usize) -> Result<Vec<String>> {
        if WHOLE.contains(&generator) {
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
            TaskKind::Pairs if ratings::is_folder(path) => {
                let (read, _) = ratings::read(path, schema.bad_share_max, seed)?;
                let [train, test] = of_ratings(&read, seed)?;
                let note = "things never rated, drawn by the seed, stand against those liked".to_owned();
                Ok(Self { train, test, labels: ratings::labels(), note })
            }
            TaskKind::Pairs => {
                let read = graph_file::read(path, &schema)?;
                let graph = Arc::new(read.graph);
                let [dev, test] = [Vec::new(), Vec::new()];
                let parts = Parts { train: read.pairs, dev, test, labels: read.labels, reports: Vec::new() };
                let wrap = |pairs| Examples::Pairs(PairPart { graph: Arc::clone(&graph), pairs });
                Self::from_parts(path, parts, wrap, seed)
            }
            TaskKind::Multilabel | TaskKind::Regression if !record_sources::is_own(path) => {
                let parts = load_valued_parts(path, &schema)?;
                Self::from_parts(path, parts, Examples::Valued, seed)
            }
            TaskKind::Records | TaskKind::Multilabel | TaskKind::Regression => {
                Self::of_records(path, &schema, seed)
            }
        }
    }

    fn of_records(path: &Path, schema: &Schema, seed: &Seed) -> Result<Self> {
        let read = record_sources::read(path, schema)?;
        let [train, dev, test] = read.parts;
        // Examples by part and number: parts of related records lie in wholes of their own.
        let numbered = |part: usize, of: &Option<RecordPart>| -> Vec<(usize, u32)> {
            of.iter().flat_map(|of| &of.chosen).map(|number| (part, *number)).collect()
        };
        let parts = Parts {
            train: numbered(0, &train),
            dev: numbered(1, &dev),
            test: numbered(2, &test),
            labels: read.labels,
            reports: Vec::new(),
        };
        let wholes = [train, dev, test];
        let wrap = |chosen: Vec<(usize, u32)>| {
            let part = chosen.first().map_or(0, |(part, _)| *part);
            let records = wholes[part].as_ref().map(|whole| Arc::clone(&whole.records)).unwrap_or_default();
            Examples::Records(RecordPart { records, chosen: chosen.into_iter().map(|(_, k)| k).collect() })
        };
        Self::from_parts(path, parts, wrap, seed)
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
        if train.is_empty() {
            train = std::mem::take(&mut test);
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

fn of_ratings(read: &ratings::Ratings, seed: &Seed) -> Result<[Examples; 2]> {
    let (graph, train, test) = ratings::assemble(read, seed)?;
    let graph = Arc::new(graph);
    Ok([train, test].map(|pairs| Examples::Pairs(PairPart { graph: Arc::clone(&graph), pairs })))
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
        "tickets" => (Examples::Valued(requests::tickets(seed, part, count)?), requests::labels()),
        "stars" => (Examples::Valued(reviews::stars(seed, part, count)?), reviews::scale().labels()?),
        "digits" => (Examples::Records(digits::generate(seed, part, count)?.whole()), digits::labels()),
        "scenes" => (Examples::Records(scenes::generate(seed, part, count)?.whole()), scenes::labels()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::scale::Scale;

    #[test]
    fn every_generator_makes_what_its_file_gives_back() {
        for generator in GENERATORS {
            let corpus = Corpus::generate(generator, &Seed::from_u64(3), 60, 20).unwrap();
            if generator != "films" {
                // There, things never rated stand against those liked.
                assert_eq!((corpus.train.len(), corpus.test.len()), (60, 20), "{generator}");
            }
            assert!(corpus.train.has_subjects());
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join(format!("train.{}", corpus.train.extension()));
            let mut bytes = Vec::new();
            corpus.train.write(&mut bytes, &corpus.labels).unwrap();
            std::fs::write(&file, bytes).unwrap();
            let task = match corpus.train {
                Examples::Tagged(_) => TaskKind::Tagging,
                Examples::Texts(_) => TaskKind::Classify,
                Examples::Valued(_) if Scale::of(&corpus.labels).is_ok() => TaskKind::Regression,
                Examples::Valued(_) => TaskKind::Multilabel,
                Examples::Plain(_) => TaskKind::Language,
                Examples::Nodes(_) => TaskKind::Nodes,
                Examples::Pairs(_) => TaskKind::Pairs,
                Examples::Records(_) => TaskKind::Records,
            };
            let back = Corpus::load(&file, task, &Seed::from_u64(3)).unwrap();
            let held = corpus.train.len() / 5;
            assert_eq!(back.test.len(), held, "{generator}: a fifth is held out");
            assert_eq!(back.train.len(), corpus.train.len() - held, "{generator}");
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
