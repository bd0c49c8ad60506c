//! The parts of a data set as a node keeps it: to train on, to choose settings by, to score on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::data::examples::{Examples, NodePart};
use crate::data::graph::Graph;
use crate::data::graph_file;
use crate::data::load::{
    DataFiles, find, load_plain_parts, load_tagging_parts, load_text_parts, load_valued_parts,
};
use crate::data::pairs::PairPart;
use crate::data::parts::Parts;
use crate::data::ratings;
use crate::data::record_sources;
use crate::data::report::DataReport;
use crate::data::schema::{Schema, TaskKind};
use crate::error::Result;
use crate::seed::Seed;

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
        TaskKind::Multilabel | TaskKind::Regression if !record_sources::is_own(path) => {
            filled(load_valued_parts(path, schema)?, Examples::Valued)
        }
        TaskKind::Language => filled(load_plain_parts(path, schema)?, Examples::Plain),
        TaskKind::Nodes => graph_parts(path, schema, of_nodes)?,
        TaskKind::Pairs => graph_parts(path, schema, of_pairs)?,
        TaskKind::Records | TaskKind::Multilabel | TaskKind::Regression => {
            record_sources::read(path, schema)?.parts.map(|part| part.map(Examples::Records))
        }
    })
}

type Split = [Option<Examples>; 3];

fn of_nodes(read: graph_file::Read) -> Split {
    let graph = Arc::new(read.graph);
    let part = |nodes: Vec<u32>| {
        let graph = Arc::clone(&graph);
        (!nodes.is_empty()).then_some(Examples::Nodes(NodePart { graph, nodes }))
    };
    read.parts.map(part)
}

fn of_pairs(read: graph_file::Read) -> Split {
    let (graph, pairs): (Arc<Graph>, _) = (Arc::new(read.graph), read.pairs);
    let part = (!pairs.is_empty()).then_some(Examples::Pairs(PairPart { graph, pairs }));
    [part, None, None]
}

/// A graph file, a folder with tables, or a folder with a graph file for each part.
fn graph_parts(path: &Path, schema: &Schema, split: fn(graph_file::Read) -> Split) -> Result<Split> {
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
            let [whole, ..] = split(graph_file::read(&file, schema)?);
            parts[place] = whole;
        }
        return Ok(parts);
    }
    Ok(split(graph_file::read(path, schema)?))
}

/// The reports on every part of a path, for a check before training.
///
/// # Errors
/// As the loaders.
pub fn reports(path: &Path, schema: &Schema) -> Result<Vec<DataReport>> {
    match schema.task {
        TaskKind::Tagging => load_tagging_parts(path, schema).map(|parts| parts.reports),
        TaskKind::Classify => load_text_parts(path, schema).map(|parts| parts.reports),
        TaskKind::Multilabel | TaskKind::Regression if !record_sources::is_own(path) => {
            load_valued_parts(path, schema).map(|parts| parts.reports)
        }
        TaskKind::Language => load_plain_parts(path, schema).map(|parts| parts.reports),
        TaskKind::Pairs if ratings::is_folder(path) => {
            ratings::read(path, schema.bad_share_max, &Seed::from_u64(0)).map(|(_, report)| vec![report])
        }
        TaskKind::Nodes | TaskKind::Pairs => graph_file::read(path, schema).map(|read| vec![read.report]),
        TaskKind::Records | TaskKind::Multilabel | TaskKind::Regression => {
            record_sources::read(path, schema).map(|read| read.reports)
        }
    }
}
