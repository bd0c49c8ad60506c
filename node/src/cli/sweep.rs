//! `starling sweep`: a grid of scenarios, several seeds each.

use std::path::PathBuf;

use crate::cli::output::{CliError, ExitCode, Output, table};
use crate::sim::sweep::{self, SweepError};

/// What to sweep.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The sweep, see tests/sweeps
    file: PathBuf,
    /// Where everything goes; runs/sweep-NAME unless given. A sweep that was stopped goes on there
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Seeds of every cell, instead of the file's own number
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: Option<u64>,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let (mut file, cells) = sweep::open(&args.file)?;
    file.seeds = args.seeds.unwrap_or(file.seeds);
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(format!("runs/sweep-{}", file.name)));
    let lines = sweep::run(&file, &cells, &dir, |done, all| {
        if done == all || done.is_multiple_of(10) {
            eprintln!("sweep    {done} of {all} runs");
        }
    })?;
    output.done(&lines, |to| {
        let (heads, rows) = sweep::rows(&file, &lines);
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        table(to, &heads, &rows)?;
        writeln!(to, "\nsaved    {}/   (cells.jsonl  table.md)", dir.display())
    })
}

impl From<SweepError> for CliError {
    fn from(error: SweepError) -> Self {
        let (code, remedy) = match &error {
            SweepError::Io { what: "read", .. } => (ExitCode::Data, "name a file like those in tests/sweeps"),
            SweepError::Io { .. } => (ExitCode::Failed, "check that this user may write there"),
            SweepError::Contents { .. } | SweepError::Cell { .. } => {
                (ExitCode::Config, "mend the field named above")
            }
        };
        Self::new(code, "the sweep cannot be run", error, remedy)
    }
}
