//! Graphs in files: our own one-file layout, `nodes.tsv` with `edges.tsv`, and MUSAE's three files per region.
//!
//! Our file has a line per node, `n TAB id TAB class TAB group TAB features`, perhaps with a column of traces, a line per
//! edge, `e TAB from TAB to TAB kind`, and for a task on pairs a line per pair, `p TAB from TAB to TAB class`; features
//! are numbers with commas, class and group may be empty. The two tables are `id label split
//! feature_indices` and `src dst [kind]`. MUSAE's are `X_edges.csv`, `X_features.json` and `X_target.csv` for each region
//! X, which becomes the group.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use crate::data::batch::IGNORE;
use crate::data::graph::Graph;
use crate::data::json::Json;
use crate::data::labels::{LabelSet, shown};
use crate::data::pairs::Pair;
use crate::data::report::DataReport;
use crate::data::schema::Schema;
use crate::data::source::{self, Line, Lines};
use crate::error::{Error, Result};

/// Kind of an edge that states none.
pub const EDGE: &str = "edge";

/// A graph, its classes, and which of its nodes belong to which part.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The graph; classes of all parts are known.
    pub graph: Graph,
    /// The classes.
    pub labels: LabelSet,
    /// Nodes to train on, to choose settings by, to score on; all known nodes are in the first where the file says
    /// nothing.
    pub parts: [Vec<u32>; 3],
    /// Pairs with a class, of a task on pairs.
    pub pairs: Vec<Pair>,
    /// What was found.
    pub report: DataReport,
}

/// A node as in a file.
struct NodeRow {
    line: u64,
    id: String,
    label: String,
    part: String,
    group: String,
    features: Vec<u32>,
    traces: Vec<u32>,
}

/// Rows before they are numbered.
struct Draft {
    nodes: Vec<NodeRow>,
    edges: Vec<(u64, String, String, String)>,
    pairs: Vec<(u64, String, String, String)>,
    report: DataReport,
}

impl Draft {
    fn new(report: DataReport) -> Self {
        Self { nodes: Vec::new(), edges: Vec::new(), pairs: Vec::new(), report }
    }
}

/// Reads a file in our layout, a folder with `nodes.tsv` and `edges.tsv`, or one in MUSAE's layout.
///
/// # Errors
/// There is no such file, or more rows are bad than the schema allows.
pub fn read(path: &Path, schema: &Schema) -> Result<Read> {
    let draft = if path.join("nodes.tsv").is_file() {
        tables(&path.join("nodes.tsv"), &path.join("edges.tsv"))?
    } else if path.is_dir() {
        musae(path)?
    } else {
        own(source::open(path)?)?
    };
    finish(draft, path, schema)
}

fn own<R: BufRead>(mut lines: Lines<R>) -> Result<Draft> {
    let mut draft = Draft::new(DataReport::new(lines.name(), "graph"));
    while let Some((number, text)) = lines.next_row(&mut draft.report)? {
        match text.split('\t').collect::<Vec<_>>()[..] {
            ["n", id, label, group, features, ref traces @ ..] if traces.len() < 2 => match numbers(features)
                .and_then(|features| Ok((features, numbers(traces.first().unwrap_or(&""))?)))
            {
                Ok((features, traces)) => draft.nodes.push(NodeRow {
                    line: number,
                    id: id.to_owned(),
                    label: label.to_owned(),
                    part: String::new(),
                    group: group.to_owned(),
                    features,
                    traces,
                }),
                Err(reason) => draft.report.skip(number, reason),
            },
            ["e", from, to, kind] => {
                draft.edges.push((number, from.to_owned(), to.to_owned(), kind.to_owned()));
            }
            ["p", from, to, class] => {
                draft.pairs.push((number, from.to_owned(), to.to_owned(), class.to_owned()));
            }
            _ => draft.report.skip(
                number,
                "expected a node (n, 5 or 6 columns), an edge (e, 4 columns) or a pair (p, 4 columns)",
            ),
        }
    }
    Ok(draft)
}

fn tables(nodes: &Path, edges: &Path) -> Result<Draft> {
    let folder = nodes.parent().unwrap_or(nodes).display().to_string();
    let mut draft = Draft::new(DataReport::new(folder, "tsv"));
    let report = &mut draft.report;
    each_row(nodes, '\t', report, |line, columns| match columns {
        [id, label, part, features] => {
            draft.nodes.push(NodeRow {
                line,
                id: (*id).to_owned(),
                label: (*label).to_owned(),
                part: (*part).to_owned(),
                group: String::new(),
                features: numbers(features)?,
                traces: Vec::new(),
            });
            Ok(())
        }
        _ => Err(format!("expected id, label, split and feature_indices, found {} columns", columns.len())),
    })?;
    each_row(edges, '\t', report, |line, columns| match columns {
        [from, to] => {
            draft.edges.push((line, (*from).to_owned(), (*to).to_owned(), EDGE.to_owned()));
            Ok(())
        }
        [from, to, kind] => {
            draft.edges.push((line, (*from).to_owned(), (*to).to_owned(), (*kind).to_owned()));
            Ok(())
        }
        _ => Err(format!("expected src, dst and maybe a kind, found {} columns", columns.len())),
    })?;
    Ok(draft)
}

/// Calls `take` with every row behind the heading; its error makes a bad row.
fn each_row(
    path: &Path,
    separator: char,
    report: &mut DataReport,
    mut take: impl FnMut(u64, &[&str]) -> Result<(), String>,
) -> Result<()> {
    let mut lines = source::open(path)?;
    let mut is_heading = true;
    while let Some((number, text)) = lines.next_row(report)? {
        if std::mem::take(&mut is_heading) {
            continue;
        }
        let columns: Vec<&str> = text.split(separator).map(str::trim).collect();
        if let Err(reason) = take(number, &columns) {
            report.skip(number, reason);
        }
    }
    Ok(())
}

/// Every region of a folder in MUSAE's layout.
fn musae(folder: &Path) -> Result<Draft> {
    let mut regions: BTreeMap<String, PathBuf> = BTreeMap::new();
    let listing = std::fs::read_dir(folder).map_err(|source| Error::io("list", folder, source))?;
    for entry in listing.take(crate::data::load::FOLDER_ENTRIES_MAX) {
        let path = entry.map_err(|source| Error::io("list", folder, source))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(region) = name.strip_suffix("_target.csv") {
            regions.insert(region.to_owned(), path);
        }
    }
    if regions.is_empty() {
        let reason =
            "expected nodes.tsv and edges.tsv, or X_target.csv, X_edges.csv and X_features.json, found none";
        return Err(Error::file(folder, reason));
    }
    let mut draft = Draft::new(DataReport::new(folder.display().to_string(), "musae"));
    for (region, target) in &regions {
        let features = feature_lists(&folder.join(format!("{region}_features.json")))?;
        let heading = heading(target)?;
        let column = |name: &str| {
            heading
                .iter()
                .position(|column| column == name)
                .ok_or_else(|| Error::line(target, 1, format!("expected a column {name}, found none")))
        };
        let (id, label) = (column("new_id")?, column("mature")?);
        each_row(target, ',', &mut draft.report, |line, columns| {
            let cell = |place: usize| {
                columns.get(place).copied().ok_or(format!("expected {} columns", heading.len()))
            };
            let own = features.get(cell(id)?).ok_or("expected a node of the features file, found another")?;
            draft.nodes.push(NodeRow {
                line,
                id: format!("{region}/{}", cell(id)?),
                label: cell(label)?.to_lowercase(),
                part: String::new(),
                group: region.clone(),
                features: own.clone(),
                traces: Vec::new(),
            });
            Ok(())
        })?;
        each_row(&folder.join(format!("{region}_edges.csv")), ',', &mut draft.report, |line, columns| {
            let [from, to] = columns else {
                return Err(format!("expected two columns, found {}", columns.len()));
            };
            draft.edges.push((line, format!("{region}/{from}"), format!("{region}/{to}"), EDGE.to_owned()));
            Ok(())
        })?;
    }
    Ok(draft)
}

fn heading(path: &Path) -> Result<Vec<String>> {
    match source::open(path)?.next_line()? {
        Some(Line::Text(_, text)) => Ok(text.split(',').map(|name| name.trim().to_owned()).collect()),
        _ => Err(Error::file(path, "expected a heading in the first line, found none")),
    }
}

fn feature_lists(path: &Path) -> Result<BTreeMap<String, Vec<u32>>> {
    source::check_regular(path)?;
    let text = std::fs::read_to_string(path).map_err(|source| Error::io("read", path, source))?;
    let Json::Object(members) = Json::parse(&text).map_err(|reason| Error::file(path, reason))? else {
        return Err(Error::file(path, "expected an object of feature lists"));
    };
    members
        .into_iter()
        .map(|(id, list)| {
            let features: Option<Vec<u32>> = list.list().and_then(|items| {
                let number = |item: &Json| match item {
                    Json::Integer(number) => u32::try_from(*number).ok(),
                    _ => None,
                };
                items.iter().map(number).collect()
            });
            let features = features.ok_or_else(|| {
                Error::file(path, format!("expected a list of numbers for node {}", shown(&id)))
            })?;
            Ok((id, features))
        })
        .collect()
}

fn numbers(text: &str) -> Result<Vec<u32>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(',')
        .map(|number| {
            number.trim().parse().map_err(|_| format!("expected feature numbers, found `{}`", shown(number)))
        })
        .collect()
}

fn finish(draft: Draft, path: &Path, schema: &Schema) -> Result<Read> {
    let Draft { nodes, edges, pairs, mut report } = draft;
    let labels = match schema.label_set()? {
        Some(labels) => labels,
        None => {
            let of_pairs = pairs.iter().map(|(.., class)| class.as_str());
            let of_nodes = nodes.iter().map(|node| node.label.as_str());
            let names: BTreeSet<&str> = of_nodes.chain(of_pairs).filter(|label| !label.is_empty()).collect();
            if names.is_empty() { LabelSet::classes(["none"])? } else { LabelSet::classes(names)? }
        }
    };
    let mut places: BTreeMap<&str, u32> = BTreeMap::new();
    let mut good: Vec<&NodeRow> = Vec::new();
    let mut classes = Vec::new();
    for node in &nodes {
        let class = labels.id(&node.label);
        if class.is_none() && !node.label.is_empty() {
            report.skip(node.line, format!("unknown label `{}`", shown(&node.label)));
        } else if places.insert(&node.id, good.len() as u32).is_some() {
            return Err(Error::line(path, node.line, format!("node {} is listed twice", shown(&node.id))));
        } else {
            classes.push(class.map_or(IGNORE, |class| class as i32));
            good.push(node);
            report.rows += 1;
            report.good += 1;
            if class.is_some() {
                *report.labels.entry(node.label.clone()).or_default() += 1;
            }
            if !node.group.is_empty() {
                *report.groups.entry(node.group.clone()).or_default() += 1;
            }
        }
    }
    let kinds: BTreeSet<&str> = edges.iter().map(|(.., kind)| kind.as_str()).collect();
    let kinds: Vec<String> = kinds.into_iter().map(str::to_owned).collect();
    let mut numbered = Vec::with_capacity(edges.len());
    for (line, from, to, kind) in &edges {
        let kind = kinds.binary_search(kind).unwrap_or_default() as u16;
        match (places.get(from.as_str()), places.get(to.as_str())) {
            (Some(from), Some(to)) => numbered.push((*from, *to, kind)),
            _ => report.skip(*line, "an edge leads to a node that is not there"),
        }
    }
    let mut paired = Vec::with_capacity(pairs.len());
    for (line, from, to, class) in &pairs {
        match (places.get(from.as_str()), places.get(to.as_str()), labels.id(class)) {
            (Some(from), Some(to), Some(label)) => {
                paired.push(Pair { from: *from, to: *to, class: label as i32 });
                *report.labels.entry(class.clone()).or_default() += 1;
            }
            (Some(_), Some(_), None) => report.skip(*line, format!("unknown label `{}`", shown(class))),
            _ => report.skip(*line, "a pair names a node that is not there"),
        }
    }
    report.settle(schema.bad_share_max);
    if let Some(reason) = &report.refused {
        return Err(Error::file(path, reason.clone()));
    }
    if good.is_empty() {
        return Err(Error::file(path, "expected at least one node, found none"));
    }
    let features: Vec<Vec<u32>> = good.iter().map(|node| node.features.clone()).collect();
    let traces = good.iter().flat_map(|node| &node.traces);
    let width = features.iter().flatten().chain(traces).max().map_or(1, |largest| *largest as usize + 1);
    let mut graph = Graph::new(width, &features, classes, kinds, numbered)?;
    if good.iter().any(|node| !node.group.is_empty()) {
        let groups: Vec<String> = good.iter().map(|node| node.group.clone()).collect();
        graph = graph.in_groups(&groups)?;
    }
    if good.iter().any(|node| !node.traces.is_empty()) {
        graph = graph.with_traces(good.iter().map(|node| node.traces.clone()).collect())?;
    }
    let mut parts = [Vec::new(), Vec::new(), Vec::new()];
    for (number, node) in good.iter().enumerate() {
        let part = match node.part.as_str() {
            "train" | "" => 0,
            "val" | "dev" | "valid" => 1,
            "test" => 2,
            _ => continue,
        };
        if graph.labels[number] != IGNORE {
            parts[part].push(number as u32);
        }
    }
    Ok(Read { graph, labels, parts, pairs: paired, report })
}

/// Writes a graph in our own layout; only the classes that it knows are written, and the pairs given.
///
/// # Errors
/// The writer fails.
pub fn write(out: &mut impl Write, graph: &Graph, pairs: &[Pair], labels: &LabelSet) -> std::io::Result<()> {
    for node in 0..graph.len() {
        let class = u32::try_from(graph.labels[node]).map_or("", |class| labels.name(class));
        let group = graph.group.get(node).map_or("", |group| graph.groups[*group as usize].as_str());
        write!(out, "n\t{node}\t{class}\t{group}\t{}", joined(graph.features(node)))?;
        match graph.traces(node) {
            [] => writeln!(out)?,
            traces => writeln!(out, "\t{}", joined(traces))?,
        }
    }
    for edge in &graph.edges {
        writeln!(out, "e\t{}\t{}\t{}", edge.from, edge.to, graph.kinds[edge.kind as usize])?;
    }
    for pair in pairs {
        let class = u32::try_from(pair.class).map_or("", |class| labels.name(class));
        writeln!(out, "p\t{}\t{}\t{class}", pair.from, pair.to)?;
    }
    Ok(())
}

fn joined(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::schema::TaskKind;

    fn schema() -> Schema {
        Schema::new(TaskKind::Nodes)
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn tables_are_read_with_their_parts_and_written_back_in_one_file() {
        let nodes = "id\tlabel\tsplit\tfeature_indices\n7\ta\ttrain\t0,3\n8\tb\ttest\t\n9\ta\tval\t1\n5\tb\tnone\t2\n";
        let folder = folder(&[("nodes.tsv", nodes), ("edges.tsv", "src\tdst\n7\t8\n9\t8\n5\t7\n")]);
        let read_one = read(folder.path(), &schema()).unwrap();
        assert_eq!(read_one.parts, [vec![0], vec![2], vec![1]]);
        assert_eq!((read_one.graph.width, read_one.graph.edges.len()), (4, 3));
        let mut bytes = Vec::new();
        write(&mut bytes, &read_one.graph, &[], &read_one.labels).unwrap();
        let file = folder.path().join("x.graph");
        std::fs::write(&file, bytes).unwrap();
        let again = read(&file, &schema()).unwrap();
        assert_eq!(again.graph, read_one.graph);
        assert_eq!(again.parts[0], [0, 1, 2, 3], "one file is one part");
    }

    #[test]
    fn pairs_and_traces_are_written_and_read_back() {
        let text = "n\ta\t\tx\t0,3\nn\tb\t\t\t1\t3,5\ne\ta\tb\ttrust\np\ta\tb\tliked\np\tb\ta\tpassed\n";
        let folder = folder(&[("a.graph", text)]);
        let first = read(&folder.path().join("a.graph"), &schema()).unwrap();
        assert_eq!((first.graph.width, first.graph.traces(1)), (6, &[3, 5][..]));
        assert_eq!(first.pairs, [Pair { from: 0, to: 1, class: 0 }, Pair { from: 1, to: 0, class: 1 }]);
        let mut bytes = Vec::new();
        write(&mut bytes, &first.graph, &first.pairs, &first.labels).unwrap();
        std::fs::write(folder.path().join("b.graph"), bytes).unwrap();
        let again = read(&folder.path().join("b.graph"), &schema()).unwrap();
        assert_eq!((again.graph, again.pairs, again.labels), (first.graph, first.pairs, first.labels));
    }

    #[test]
    fn regions_become_groups() {
        let folder = folder(&[
            ("RU_target.csv", "id,days,mature,new_id\n1,2,True,1\n2,2,False,0\n"),
            ("RU_edges.csv", "from,to\n0,1\n"),
            ("RU_features.json", r#"{"0":[1,2],"1":[0]}"#),
            ("ES_target.csv", "id,days,mature,new_id\n1,2,True,0\n"),
            ("ES_edges.csv", "from,to\n"),
            ("ES_features.json", r#"{"0":[4]}"#),
        ]);
        let read = read(folder.path(), &schema()).unwrap();
        assert_eq!((read.graph.groups.clone(), read.graph.width), (vec!["ES".into(), "RU".into()], 5));
        assert_eq!(read.labels.names(), ["false", "true"]);
        assert_eq!((read.graph.features(1), read.graph.labels[1]), (&[0][..], 1));
    }

    #[test]
    fn doubled_nodes_wrong_rows_and_edges_to_nowhere_are_reported() {
        let folder = folder(&[("a.graph", "n\t0\ta\t\t1\nn\t1\tb\t\t0\ne\t0\t9\tx\nq\nn\t2\ta\t\tx\n")]);
        let path = folder.path().join("a.graph");
        let error = read(&path, &schema()).unwrap_err().to_string();
        assert!(error.contains("3 of 5 rows are bad"), "{error}");
        let tolerant = Schema { bad_share_max: 1.0, ..schema() };
        assert_eq!(read(&path, &tolerant).unwrap().report.bad_rows, 3);
        std::fs::write(&path, "n\t0\ta\t\t\nn\t0\tb\t\t\n").unwrap();
        assert!(read(&path, &schema()).unwrap_err().to_string().contains("listed twice"));
        assert!(read(tempfile::tempdir().unwrap().path(), &schema()).is_err());
    }
}
