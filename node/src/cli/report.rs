//! `starling report`: the page of a run that is over, as one file.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::board::history;
use crate::board::page::{self, View};
use crate::cli::output::{CliError, ExitCode, Output};

/// Writes one page with the swarm, its curves and its records.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Directory of a node, an observer or a testnet
    dir: PathBuf,
    /// Where to write the page; swarm.html in the directory unless given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let told = history::tell(&args.dir).map_err(|e| unreadable(&args.dir, &e))?;
    let name = fs::canonicalize(&args.dir).unwrap_or_else(|_| args.dir.clone());
    let name =
        name.file_name().map_or_else(|| args.dir.display().to_string(), |n| n.to_string_lossy().into_owned());
    // The page of one node is told from where that node stands; of an observer and of many, from above.
    let me = match &told.nodes[..] {
        [node] if node.stage != "observe" && !node.peer_id.is_empty() => Some(node.peer_id.as_str()),
        _ => None,
    };
    let html = page::still(&View { story: &told.story, me, now: None, nodes: &told.nodes, title: &name });
    let out = args.out.clone().unwrap_or_else(|| args.dir.join("swarm.html"));
    fs::write(&out, &html).map_err(|e| CliError::failed(format!("could not write {}", out.display()), e))?;
    let data = json!({ "file": out, "bytes": html.len(), "nodes": told.nodes.len() });
    output.done(&data, |to| writeln!(to, "written  {}", out.display()))
}

/// A directory whose records cannot be told, as a command's error.
pub(super) fn unreadable(dir: &std::path::Path, error: &std::io::Error) -> CliError {
    let code = if error.kind() == std::io::ErrorKind::NotFound { ExitCode::Usage } else { ExitCode::Failed };
    let what = format!("there is no run to tell of in {}", dir.display());
    CliError::new(code, what, error, "name the directory of a node or of a testnet, such as runs/testnet-7")
}
