//! `starling health`: one word and an exit code, for scripts, containers and service managers.

use serde_json::json;

use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::place::Place;
use crate::cli::status::liveness;
use crate::store::status::{self, Aged, NodeStatus, STATUS_FILE};

/// Tells whether the node is well.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Links it must have to be well; a node without peers trains alone, which is no illness by itself
    #[arg(long, value_name = "N", default_value_t = 0)]
    peers: u32,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let dir = args.place.state_dir();
    let found: Aged<NodeStatus> = status::read(&dir.join(STATUS_FILE))?;
    let s = &found.value;
    let data = json!({ "state": s.state, "outer_step": s.outer_step, "peers": s.peers,
        "age_seconds": found.age.as_secs_f64() });
    if let Some(error) = liveness(&dir, found.age)?.error(&dir, found.age) {
        return Err(error.with_details(&data));
    }
    if s.state.starts_with("stopped") || s.state.starts_with("expired") {
        let what = format!("the node is not well: {}", s.state);
        return Err(CliError::new(ExitCode::Unreachable, what, "", "look at its log").with_details(&data));
    }
    if s.peers < args.peers {
        let why = format!("expected at least {} links, found {}", args.peers, s.peers);
        let remedy = "`starling doctor` tries the bootstrap addresses";
        return Err(CliError::new(ExitCode::Unreachable, "the node has too few peers", why, remedy)
            .with_details(&data));
    }
    output.done(&data, |to| writeln!(to, "well: {}, outer step {}, {} peers", s.state, s.outer_step, s.peers))
}
