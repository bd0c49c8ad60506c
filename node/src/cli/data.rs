//! `starling data check` and `data make`: what is in a data set before anything is trained on it, and made-up ones.
//!
//! The check shows counts, labels and the place of every bad row, never the text of a row: the data may be private.

use std::path::{Path, PathBuf};

use model::data::corpus::Corpus;
use model::data::examples::Examples;
use model::data::load::{self, DataFiles};
use model::data::quality::{Quality, examine};
use model::data::report::DataReport;
use model::data::schema::{Schema, TaskKind};
use model::data::{graph_file, intents, parquet, part_files, plain, record_file, record_sources, source};
use model::seed::Seed;
use serde::Serialize;

use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::{data_make, data_noise, data_split};
use crate::telemetry::escape;

/// Looks at data before training.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Reads a file or folder and reports what is good, bad and odd in it
    Check(CheckArgs),
    /// Writes a made-up data set from a seed
    Make(data_make::Args),
    /// Lists labels that may be wrong
    Noise(data_noise::Args),
    /// Splits images into training, development and test parts
    Split(data_split::Args),
}

/// What to look at.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// A data file, or a folder with train, dev and test files
    path: PathBuf,
    /// What the data is for; guessed from the file names when absent
    #[arg(long, value_enum, conflicts_with = "schema")]
    task: Option<Task>,
    /// TOML file with task, labels, columns, scheme
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Also look for copies, contradictions, leaks between parts, lopsided classes and missing values
    #[arg(long)]
    quality: bool,
}

/// What data is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Task {
    /// A tag for every word
    Tagging,
    /// A label for every text
    Classify,
    /// Any number of labels for every text or record
    Multilabel,
    /// A quantity for every text or record
    Regression,
    /// Plain text for a language model
    Language,
    /// A label for every node of a graph
    Nodes,
    /// A label for every pair of nodes
    Pairs,
    /// A label for every record of text, image, columns and relations
    Records,
}

#[derive(Serialize)]
struct Checked {
    path: PathBuf,
    task: TaskKind,
    is_usable: bool,
    reports: Vec<DataReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    quality: Vec<Quality>,
}

/// Runs the command.
pub fn run(command: &Command, output: &Output) -> Result<(), CliError> {
    match command {
        Command::Check(args) => check(args, output),
        Command::Make(args) => data_make::run(args, output),
        Command::Noise(args) => data_noise::run(args, output),
        Command::Split(args) => data_split::run(args, output),
    }
}

fn check(args: &CheckArgs, output: &Output) -> Result<(), CliError> {
    let wrong = |e: model::error::Error| {
        CliError::new(ExitCode::Data, format!("{} cannot be read", args.path.display()), e, "")
    };
    let is_intents = intents::find(&args.path).is_some();
    let is_whole = is_intents || matches!(args.task, Some(Task::Nodes | Task::Pairs | Task::Records));
    let files = if is_whole { DataFiles::default() } else { load::find(&args.path).map_err(wrong)? };
    let schema = schema(args, &files, is_intents)?;
    let mut reports = Vec::new();
    for file in [&files.train, &files.dev, &files.test].into_iter().flatten() {
        reports.push(report(file, &schema).map_err(wrong)?);
    }
    // Read together, the parts also tell of examples that stand in two of them.
    if reports.iter().all(|r| r.refused.is_none()) {
        reports = part_files::reports(&args.path, &schema).map_err(wrong)?;
    }
    let is_usable =
        reports.iter().all(|r| r.refused.is_none()) && reports.first().is_some_and(|r| r.good > 0);
    let quality =
        if args.quality && is_usable { quality(&args.path, &schema).map_err(wrong)? } else { Vec::new() };
    let checked = Checked { path: args.path.clone(), task: schema.task, is_usable, reports, quality };
    let print = |to: &mut dyn std::io::Write| checked.reports.iter().try_for_each(|r| writeln!(to, "{r}"));
    if is_usable {
        return output.done(&checked, |to| {
            print(to)?;
            checked.quality.iter().try_for_each(|found| show(to, found))?;
            let path = std::path::absolute(&args.path).unwrap_or_else(|_| args.path.clone());
            writeln!(to, "usable  next: set node.data = \"{}\" in starling.toml", path.display())
        });
    }
    output.text(print)?;
    let why = checked.reports.iter().find_map(|r| r.refused.clone()).unwrap_or("no usable row".into());
    let remedy = "mend the rows named above, or state columns and labels with --schema";
    Err(CliError::new(ExitCode::Data, format!("{} cannot be trained on", args.path.display()), why, remedy)
        .with_details(&checked))
}

/// Looks at all parts of a path together.
fn quality(path: &Path, schema: &Schema) -> Result<Vec<Quality>, model::error::Error> {
    let corpus = Corpus::load(path, schema.task, &Seed::from_u64(0))?;
    let parts = part_files::parts(path, &schema.clone().with_labels(&corpus.labels))?;
    let named: Vec<(&str, &Examples)> = ["train", "dev", "test"]
        .into_iter()
        .zip(&parts)
        .filter_map(|(name, part)| Some((name, part.as_ref()?)))
        .collect();
    if named.is_empty() {
        // Data without parts of its own is looked at as it would be shared.
        return Ok(examine(&[("train", &corpus.train), ("test", &corpus.test)], &corpus.labels));
    }
    Ok(examine(&named, &corpus.labels))
}

fn show(to: &mut dyn std::io::Write, found: &Quality) -> std::io::Result<()> {
    writeln!(
        to,
        "{}: {} examples, {} copies, {} contradictions, {} leaked from an earlier part",
        found.part, found.examples, found.copies, found.contradictions, found.leaked
    )?;
    if !found.classes.is_empty() {
        let (most, least) =
            (found.classes.iter().max_by_key(|c| c.1), found.classes.iter().min_by_key(|c| c.1));
        if let (Some(most), Some(least)) = (most, least) {
            let [most_name, least_name] = [&most.0, &least.0].map(|name| escape::line(name));
            let (most, least) = (most.1, least.1);
            writeln!(
                to,
                "  balance {:.3}: most {most_name} {most}, least {least_name} {least}",
                found.balance
            )?;
        }
    }
    for (name, share) in found.missing.iter().filter(|(_, share)| *share > 0.0) {
        writeln!(to, "  missing {}: {:.1} %", escape::line(name), 100.0 * share)?;
    }
    for (first, second) in found.contradicting.iter().take(5) {
        writeln!(to, "  examples {first} and {second} are equal and answered differently")?;
    }
    Ok(())
}

fn report(file: &Path, schema: &Schema) -> Result<DataReport, model::error::Error> {
    match schema.task {
        TaskKind::Tagging => load::examine_tagging(file, schema).map(|l| l.report),
        TaskKind::Classify => load::examine_texts(file, schema).map(|l| l.report),
        TaskKind::Multilabel | TaskKind::Regression if !record_sources::is_own(file) => {
            load::examine_valued(file, schema).map(|l| l.report)
        }
        TaskKind::Language => plain::read(source::open(file)?, schema).map(|(_, report)| report),
        TaskKind::Nodes | TaskKind::Pairs => graph_file::read(file, schema).map(|read| read.report),
        TaskKind::Records | TaskKind::Multilabel | TaskKind::Regression => {
            record_file::read(file, schema).map(|read| read.report)
        }
    }
}

fn schema(args: &CheckArgs, files: &DataFiles, is_intents: bool) -> Result<Schema, CliError> {
    let Some(path) = &args.schema else {
        let task = match args.task {
            Some(Task::Tagging) => TaskKind::Tagging,
            Some(Task::Classify) => TaskKind::Classify,
            Some(Task::Multilabel) => TaskKind::Multilabel,
            Some(Task::Regression) => TaskKind::Regression,
            Some(Task::Language) => TaskKind::Language,
            Some(Task::Nodes) => TaskKind::Nodes,
            Some(Task::Pairs) => TaskKind::Pairs,
            Some(Task::Records) => TaskKind::Records,
            None if is_intents => TaskKind::Classify,
            None => guess(files),
        };
        return Ok(Schema::new(task));
    };
    let wrong = |why: String| {
        CliError::new(
            ExitCode::Config,
            format!("{} is no schema", path.display()),
            why,
            "keys are task, labels, columns, class_names, scheme, bad_share_max",
        )
    };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let schema: Schema = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    schema.check().map_err(|e| wrong(e.to_string()))?;
    Ok(schema)
}

/// Tables with commas or tabs hold texts with labels; columns of words hold tags; JSON lines say it by their keys.
fn guess(files: &DataFiles) -> TaskKind {
    let first = [&files.train, &files.dev, &files.test].into_iter().flatten().next();
    let extension =
        first.and_then(|f| f.extension()).map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    match extension.as_str() {
        "parquet" if first.is_some_and(|file| parquet::has_words(file)) => TaskKind::Tagging,
        "csv" | "tsv" | "parquet" => TaskKind::Classify,
        "records" => TaskKind::Records,
        "graph" => TaskKind::Nodes,
        "jsonl" | "json" => {
            let is_text = first.is_some_and(|f| has_text_key(f).unwrap_or(false));
            if is_text { TaskKind::Classify } else { TaskKind::Tagging }
        }
        _ => TaskKind::Tagging,
    }
}

/// Whether the first line of a JSON-lines file is an object with the key `text`.
fn has_text_key(file: &Path) -> Option<bool> {
    use std::io::{BufRead, Read};
    let mut line = Vec::new();
    std::io::BufReader::new(std::fs::File::open(file).ok()?)
        .take(1 << 20)
        .read_until(b'\n', &mut line)
        .ok()?;
    Some(serde_json::from_slice::<serde_json::Value>(&line).ok()?.get("text").is_some())
}
