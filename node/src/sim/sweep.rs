//! Sweeps: a grid of changes to a scenario, every cell with several seeds, resumable.
//!
//! Each finished run is one line of `cells.jsonl` in the folder of the sweep; a sweep that was stopped goes on with what
//! is missing there. A cell's line in the table holds means with 95 % intervals over its seeds (Student's t).

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use protocol::sim::scenario::Scenario;
use protocol::sim::start::simulate;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use toml::{Table, Value};

use crate::sim::file::{BUILT_IN, ScenarioFileError, parse};

/// A sweep as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepFile {
    /// Its name.
    pub name: String,
    /// What it asks.
    pub about: String,
    /// The scenario it varies: a built-in one, or a file beside this one.
    pub base: String,
    /// Seeds of every cell, 1, 2, ...
    pub seeds: u64,
    /// Changes that hold for all cells: dotted field to value.
    #[serde(default)]
    pub set: Table,
    /// What is varied, the first slowest.
    #[serde(rename = "axis")]
    pub axes: Vec<Axis>,
}

/// One thing that is varied.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// Its name, the head of a column.
    pub name: String,
    /// Its values.
    #[serde(rename = "value")]
    pub values: Vec<AxisValue>,
}

/// One value of an axis.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AxisValue {
    /// How it is shown.
    pub label: String,
    /// What it changes: dotted field to value.
    #[serde(default)]
    pub set: Table,
}

/// A sweep that cannot be run.
#[derive(Debug, Error)]
pub enum SweepError {
    /// A file cannot be read or written.
    #[error("could not {what} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file does not say what a sweep says.
    #[error("{place}: {why}")]
    Contents {
        /// The file.
        place: String,
        /// Line, field and reason.
        why: String,
    },
    /// A cell is no scenario.
    #[error("cell {cell}: {why}")]
    Cell {
        /// Its labels.
        cell: String,
        /// Why.
        why: ScenarioFileError,
    },
}

/// One cell: its labels and its scenario.
#[derive(Clone, Debug)]
pub struct Cell {
    /// One for each axis.
    pub labels: Vec<String>,
    /// What is run.
    pub scenario: Scenario,
}

/// What is kept of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// Labels of the cell.
    pub cell: Vec<String>,
    /// The scenario, so that a changed file is not mixed with older runs.
    pub hash: String,
    /// The seed.
    pub seed: u64,
    /// Mean score.
    pub score_mean: f64,
    /// Worst score.
    pub score_worst: f64,
    /// Relative consensus distance.
    pub consensus: f64,
    /// Megabytes a peer.
    pub megabytes: f64,
    /// Megabytes of shards a peer.
    #[serde(default)]
    pub payload: f64,
    /// Virtual seconds.
    pub virtual_s: f64,
    /// Invariants violated.
    pub violations: usize,
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Labels of the cell.
    pub cell: Vec<String>,
    /// Seeds behind it.
    pub seeds: usize,
    /// Mean score: mean over seeds, half the 95 % interval.
    pub score_mean: (f64, f64),
    /// Worst score.
    pub score_worst: (f64, f64),
    /// Relative consensus distance.
    pub consensus: (f64, f64),
    /// Megabytes a peer.
    pub megabytes: (f64, f64),
    /// Megabytes of shards a peer.
    pub payload: (f64, f64),
    /// Virtual seconds.
    pub virtual_s: (f64, f64),
    /// Runs with a violation.
    pub violations: usize,
}

/// Reads a sweep and makes its cells.
pub fn open(path: &Path) -> Result<(SweepFile, Vec<Cell>), SweepError> {
    let io = |source| SweepError::Io { what: "read", path: path.into(), source };
    let text = fs::read_to_string(path).map_err(io)?;
    let place = path.display().to_string();
    let file: SweepFile = toml::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|e| SweepError::Contents { place: place.clone(), why: e.to_string() })?;
    let base = match BUILT_IN.iter().find(|(name, _)| *name == file.base) {
        Some((_, text)) => (*text).to_owned(),
        None => {
            let beside = path.parent().unwrap_or(Path::new(".")).join(&file.base);
            fs::read_to_string(&beside).map_err(|source| SweepError::Io {
                what: "read",
                path: beside,
                source,
            })?
        }
    };
    let base: Table = toml::from_str(&base)
        .map_err(|e| SweepError::Contents { place: file.base.clone(), why: e.to_string() })?;
    let cells = cells(&file, &base)?;
    Ok((file, cells))
}

fn cells(file: &SweepFile, base: &Table) -> Result<Vec<Cell>, SweepError> {
    let mut grid: Vec<(Vec<String>, Table)> = vec![(Vec::new(), changed(base.clone(), &file.set))];
    for axis in &file.axes {
        let wider = grid.iter().flat_map(|(labels, table)| {
            axis.values.iter().map(move |value| {
                let labels = labels.iter().cloned().chain([value.label.clone()]).collect();
                (labels, changed(table.clone(), &value.set))
            })
        });
        grid = wider.collect();
    }
    let cell = |(labels, table): (Vec<String>, Table)| {
        let name = labels.join(", ");
        let text = toml::to_string(&table)
            .map_err(|e| SweepError::Contents { place: name.clone(), why: e.to_string() })?;
        let mut scenario = parse(&text, &file.base).map_err(|why| SweepError::Cell { cell: name, why })?;
        // What a cell shows is in its figures; bounds meant for the base do not hold for all.
        scenario.check.consensus_max = f64::MAX;
        scenario.check.score_min = 0.0;
        Ok(Cell { labels, scenario })
    };
    grid.into_iter().map(cell).collect()
}

/// Sets dotted fields; `fault` and `adversary` replace the whole list.
fn changed(mut table: Table, changes: &Table) -> Table {
    for (field, value) in changes {
        let mut at = &mut table;
        let mut parts: Vec<&str> = field.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            let inner = at.entry(part).or_insert_with(|| Value::Table(Table::new()));
            if !inner.is_table() {
                *inner = Value::Table(Table::new());
            }
            at = inner.as_table_mut().expect("it was made a table");
        }
        at.insert(last.to_owned(), value.clone());
    }
    table
}

/// Runs what is missing in `dir`, all cores at work; `told` hears of each run. Answers the table.
pub fn run(
    file: &SweepFile,
    cells: &[Cell],
    dir: &Path,
    told: impl Fn(usize, usize) + Sync,
) -> Result<Vec<Line>, SweepError> {
    let io = |what, path: &Path| {
        let path = path.to_path_buf();
        move |source| SweepError::Io { what, path, source }
    };
    fs::create_dir_all(dir).map_err(io("make", dir))?;
    let path = dir.join("cells.jsonl");
    let mut kept = read(&path)?;
    let hashes: Vec<String> = cells.iter().map(|cell| hash(&cell.scenario)).collect();
    let is_there = |cell: usize, seed: u64| kept.iter().any(|k| k.hash == hashes[cell] && k.seed == seed);
    let missing: Vec<(usize, u64)> = (1..=file.seeds)
        .flat_map(|seed| (0..cells.len()).map(move |cell| (cell, seed)))
        .filter(|(cell, seed)| !is_there(*cell, *seed))
        .collect();
    let mut out = fs::OpenOptions::new().create(true).append(true).open(&path).map_err(io("open", &path))?;
    // A last line that was cut short must not swallow the next one.
    if fs::read(&path).is_ok_and(|bytes| bytes.last().is_some_and(|byte| *byte != b'\n')) {
        writeln!(out).map_err(io("write", &path))?;
    }
    let out = Mutex::new((out, 0usize));
    let all = missing.len();
    let work = |(cell, seed): (usize, u64)| -> Result<Kept, SweepError> {
        let Cell { labels, scenario } = &cells[cell];
        let outcome = simulate(scenario.clone(), seed).map_err(|why| SweepError::Cell {
            cell: labels.join(", "),
            why: ScenarioFileError::Field { place: file.name.clone(), why },
        })?;
        let shards = outcome.bytes_by_kind.get("shards").copied().unwrap_or(0);
        let kept = Kept {
            cell: labels.clone(),
            hash: hashes[cell].clone(),
            seed,
            score_mean: outcome.score_mean,
            score_worst: outcome.score_worst,
            consensus: outcome.consensus_distance_relative,
            megabytes: outcome.bytes_per_peer / 1e6,
            payload: shards as f64 / f64::from(outcome.peers) / 1e6,
            virtual_s: outcome.virtual_s,
            violations: outcome.violations.len(),
        };
        let line = serde_json::to_string(&kept).expect("figures are JSON");
        let mut out = out.lock().expect("nobody panics while writing a line");
        writeln!(out.0, "{line}").map_err(io("write", &path))?;
        out.1 += 1;
        told(out.1, all);
        Ok(kept)
    };
    kept.extend(missing.into_par_iter().map(work).collect::<Result<Vec<_>, _>>()?);
    let lines: Vec<Line> =
        cells.iter().zip(&hashes).map(|(cell, hash)| line(cell, hash, file.seeds, &kept)).collect();
    let table = dir.join("table.md");
    fs::write(&table, markdown(file, &lines)).map_err(io("write", &table))?;
    Ok(lines)
}

fn hash(scenario: &Scenario) -> String {
    let text = serde_json::to_string(scenario).expect("a scenario is JSON");
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

/// Lines of an earlier sweep; a last line cut short by its end does not count.
fn read(path: &Path) -> Result<Vec<Kept>, SweepError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(SweepError::Io { what: "read", path: path.into(), source }),
    }
}

fn line(cell: &Cell, hash: &str, seeds: u64, kept: &[Kept]) -> Line {
    // One run a seed, however often the file names it.
    let runs: BTreeMap<u64, &Kept> =
        kept.iter().filter(|k| k.hash == hash && k.seed <= seeds).map(|k| (k.seed, k)).collect();
    let of = |value: fn(&Kept) -> f64| interval(&runs.values().map(|k| value(k)).collect::<Vec<_>>());
    Line {
        cell: cell.labels.clone(),
        seeds: runs.len(),
        score_mean: of(|k| k.score_mean),
        score_worst: of(|k| k.score_worst),
        consensus: of(|k| k.consensus),
        megabytes: of(|k| k.megabytes),
        payload: of(|k| k.payload),
        virtual_s: of(|k| k.virtual_s),
        violations: runs.values().filter(|k| k.violations > 0).count(),
    }
}

/// Mean and half the 95 % interval; 0 for a single value.
fn interval(values: &[f64]) -> (f64, f64) {
    /// Two-sided 95 % points of Student's t with 1, 2, ... degrees of freedom; beyond them nearly the normal one.
    const T: [f64; 10] = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23];
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count.max(1.0);
    if values.len() < 2 {
        return (mean, 0.0);
    }
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let t = T.get(values.len() - 2).copied().unwrap_or(2.0);
    (mean, t * (variance / count).sqrt())
}

/// Heads and rows of the table.
pub fn rows(file: &SweepFile, lines: &[Line]) -> (Vec<String>, Vec<Vec<String>>) {
    let measured = ["score", "worst", "consensus", "MB a peer", "of it shards", "virtual s", "violated"]
        .map(str::to_owned);
    let heads = file.axes.iter().map(|axis| axis.name.clone()).chain(measured).collect();
    let figure = |(mean, half): (f64, f64), digits: usize| format!("{mean:.digits$} ± {half:.digits$}");
    let row = |line: &Line| {
        let figures = [
            figure(line.score_mean, 3),
            figure(line.score_worst, 3),
            format!("{:.1e}", line.consensus.0),
            figure(line.megabytes, 2),
            figure(line.payload, 2),
            figure(line.virtual_s, 0),
            format!("{} of {}", line.violations, line.seeds),
        ];
        line.cell.iter().cloned().chain(figures).collect()
    };
    (heads, lines.iter().map(row).collect())
}

fn markdown(file: &SweepFile, lines: &[Line]) -> String {
    let (heads, rows) = rows(file, lines);
    let mut text = format!("{}\n\n| {} |\n|{}\n", file.about, heads.join(" | "), "---|".repeat(heads.len()));
    for row in rows {
        text += &format!("| {} |\n", row.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
name = "t"
about = "two by two"
base = "calm"
seeds = 2
set = { peers = 4, "run.outer_steps" = 3, "run.settle_steps" = 2, "learner.kind" = "quadratic", "learner.parameters" = 64 }
[[axis]]
name = "codec"
value = [{ label = "int8", set = { "run.codec" = "int8" } }, { label = "f32", set = { "run.codec" = "f32" } }]
[[axis]]
name = "liars"
value = [{ label = "none" }, { label = "noise", set = { adversary = [{ attack = "noise", share = 0.25 }] } }]
"#;

    #[test]
    fn a_sweep_runs_its_grid_once_and_goes_on_where_it_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.toml");
        fs::write(&path, FILE).unwrap();
        let (file, cells) = open(&path).unwrap();
        assert_eq!(cells.len(), 4);
        assert_eq!(cells[3].labels, ["f32", "noise"]);
        let out = dir.path().join("out");
        let runs = Mutex::new(0);
        let count = |_, _| *runs.lock().unwrap() += 1;
        let first = run(&file, &cells, &out, count).unwrap();
        assert_eq!(*runs.lock().unwrap(), 8);
        // Half a line, as a kill leaves it, and one whole line gone.
        let lines = fs::read_to_string(out.join("cells.jsonl")).unwrap();
        let cut = lines.trim_end().rfind('\n').unwrap();
        fs::write(out.join("cells.jsonl"), &lines[..cut + 20]).unwrap();
        assert_eq!(run(&file, &cells, &out, count).unwrap(), first);
        assert_eq!(*runs.lock().unwrap(), 9);
        assert!(fs::read_to_string(out.join("table.md")).unwrap().contains("| f32 | noise |"));
    }

    #[test]
    fn an_interval_is_that_of_students_t() {
        let (mean, half) = interval(&[1.0, 2.0, 3.0]);
        assert!((mean - 2.0).abs() < 1e-12 && (half - 4.30 / 3f64.sqrt()).abs() < 1e-9);
        assert_eq!(interval(&[5.0]), (5.0, 0.0));
    }
}
