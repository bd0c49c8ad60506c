//! `starling metrics export`: the records of a run in forms that other programs read.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::board::history;
use crate::board::{export, parquet};
use crate::cli::output::{CliError, Output};
use crate::cli::report::unreadable;

/// Works with the numbers of a run.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Writes measured values as CSV or Parquet, or the swarm as GraphML
    Export {
        /// Directory of a node, an observer or a testnet
        dir: PathBuf,
        /// What to write: csv or parquet (every measured value) or graphml (nodes, and who pulled from whom)
        #[arg(long = "as", value_enum)]
        form: Form,
        /// Where to write it; metrics.csv, metrics.parquet or swarm.graphml in the directory unless given
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// A form of export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// One measured value a line: t,node,step,outer,name,value,tags.
    Csv,
    /// The same as a table with types.
    Parquet,
    /// A directed graph; an edge runs from the node whose update was pulled to the one that pulled it.
    Graphml,
}

/// Runs the command.
pub fn run(command: &Command, output: &Output) -> Result<(), CliError> {
    let Command::Export { dir, form, out } = command;
    let name = match form {
        Form::Csv => "metrics.csv",
        Form::Parquet => "metrics.parquet",
        Form::Graphml => "swarm.graphml",
    };
    let out = out.clone().unwrap_or_else(|| dir.join(name));
    let told = history::tell(dir).map_err(|e| unreadable(dir, &e))?;
    let written = write(&out, |to| match form {
        Form::Csv => export::csv(dir, to),
        Form::Parquet => parquet::parquet(dir, to),
        Form::Graphml => export::graphml(&told.story, to),
    });
    let count = written.map_err(|e| CliError::failed(format!("could not write {}", out.display()), e))?;
    let what = if *form == Form::Graphml { "edges" } else { "values" };
    let data = json!({ "file": out, what: count });
    output.done(&data, |to| writeln!(to, "written  {} ({count} {what})", out.display()))
}

fn write(out: &Path, what: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<u64>) -> io::Result<u64> {
    let mut to = BufWriter::new(File::create(out)?);
    let count = what(&mut to)?;
    to.flush()?;
    Ok(count)
}
