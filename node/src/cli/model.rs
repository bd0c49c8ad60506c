//! `starling model rollback`: back to the saved state before the newest one.

use serde_json::json;

use crate::cli::output::{CliError, Output};
use crate::cli::place::Place;
use crate::config::charter_file;
use crate::recipe::bundle::CHARTER;
use crate::runtime::checkpoint;
use crate::store::lock::DirLock;

/// Looks after the model of a stopped node.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Goes back to the saved state before the newest one, which is set aside
    Rollback {
        /// Whose
        #[command(flatten)]
        place: Place,
    },
}

/// Runs the command.
pub fn run(command: &Command, output: &Output) -> Result<(), CliError> {
    let Command::Rollback { place } = command;
    let loaded = place.load()?;
    let dir = &loaded.config.node.dir;
    let _lock = DirLock::acquire(dir)?;
    let named = &loaded.config.node.charter;
    let file = if named.is_dir() { named.join(CHARTER) } else { named.clone() };
    let run = charter_file::open(&file)?.run();
    let mut store = checkpoint::open(dir, run)?;
    let (set_aside, generation) = store.roll_back()?;
    let (snapshot, _) = checkpoint::restore(&generation)
        .map_err(|e| CliError::failed("the saved state before the newest one cannot be read", e))?;
    let data =
        json!({ "set_aside": set_aside, "generation": generation.number(), "outer_step": snapshot.step });
    output.done(&data, |to| {
        writeln!(to, "state    generation {}, outer step {}", generation.number(), snapshot.step)?;
        writeln!(to, "kept     generation {set_aside}, in {}", dir.join(format!("state/set-aside-{set_aside}")).display())?;
        writeln!(to, "note     steps that may have been signed are not signed again: the node mixes with the others from there")?;
        writeln!(to, "next     starling run --dir {}", place.dir.display())
    })
}
