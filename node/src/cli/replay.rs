//! `starling replay`: a recorded life of a node once more, to see that the same inputs give the same outputs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use protocol::codec::decode_manifest;
use protocol::crypto::keys::Keypair;
use protocol::peer::journal::{Entry, Replay, ReplayError};
use protocol::peer::output::Output as PeerOutput;
use serde_json::json;

use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::place::Place;
use crate::runtime::journal::peer_seed;
use crate::store::journal::Frames;
use crate::store::keys::Identity;

/// Replays a journal that `starling run --journal FILE` made.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The journal
    file: PathBuf,
    /// The node that made it: its key signs the outputs again
    #[command(flatten)]
    place: Place,
    /// Print every event, a JSON object each, to standard error
    #[arg(long)]
    events: bool,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let identity = Identity::load(&args.place.state_dir())?;
    let begun = Instant::now();
    let unreadable = |error: std::io::Error| unreadable(&args.file, &error.to_string());
    let mut frames = Frames::open(&args.file).map_err(unreadable)?;
    let first = match frames.next() {
        Some(frame) => entry(&args.file, &frame.map_err(unreadable)?)?,
        None => return Err(self::unreadable(&args.file, "it is empty")),
    };
    let keys = Keypair::from_secret(*identity.seed());
    let seed_of = |incarnation| peer_seed(identity.seed(), incarnation);
    let mut replay = Replay::begin(&first, keys, seed_of).map_err(|e| failed(&e))?;
    let mut events: BTreeMap<String, u64> = BTreeMap::new();
    let mut see = |seen: &PeerOutput| {
        let PeerOutput::Emit(event) = seen else { return };
        let line = serde_json::to_value(event).unwrap_or_default();
        *events.entry(line["event"].as_str().unwrap_or("?").to_owned()).or_default() += 1;
        if args.events {
            eprintln!("{line}");
        }
    };
    for frame in frames.by_ref() {
        let entry = entry(&args.file, &frame.map_err(unreadable)?)?;
        replay.step(entry, &mut see).map_err(|e| failed(&e))?;
    }
    let mark = replay.mark();
    let status = replay.peer().status();
    let data = json!({
        "is_same": true, "inputs": replay.inputs, "outputs": mark.outputs, "hash": mark.hash, "marks": replay.marks,
        "is_torn": frames.is_torn, "seconds": replay.until.0 as f64 / 1e6, "outer_step": status.outer_step,
        "state": status.state, "events": events, "wall_s": begun.elapsed().as_secs_f64(),
    });
    output.done(&data, |to| {
        writeln!(to, "inputs    {} over {:.1} s", replay.inputs, replay.until.0 as f64 / 1e6)?;
        writeln!(to, "outputs   {}, hash {}", mark.outputs, mark.hash)?;
        writeln!(to, "the same  at all {} marks of the recording", replay.marks)?;
        if frames.is_torn {
            writeln!(to, "note      the last entry was cut short, as by a crash")?;
        }
        writeln!(to, "ends at   outer step {}, {}", status.outer_step, status.state)
    })
}

fn entry(path: &Path, frame: &[u8]) -> Result<Entry, CliError> {
    decode_manifest(frame).map_err(|e| unreadable(path, &format!("an entry does not decode: {e}")))
}

fn unreadable(path: &Path, why: &str) -> CliError {
    let remedy = "name a file that `starling run --journal FILE` of this version made";
    CliError::new(ExitCode::Usage, format!("{} cannot be replayed", path.display()), why, remedy)
}

fn failed(error: &ReplayError) -> CliError {
    match error {
        ReplayError::Differs { .. } => CliError::new(
            ExitCode::Failed,
            "the replay differs from what was recorded",
            error,
            "replay with the version of this program that made the journal; if it is, this is a fault to report",
        ),
        ReplayError::OtherKey { .. } => {
            let remedy = "name the directory of the node that made it with --dir";
            CliError::new(ExitCode::Refused, "the journal is another node's", error, remedy)
        }
        _ => CliError::new(ExitCode::Usage, "the journal cannot be replayed", error, ""),
    }
}
