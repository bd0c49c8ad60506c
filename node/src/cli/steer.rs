//! `starling pause`, `resume`, `leave`, and `starling peers ban` and `unban`: an operator's word to a running node.

use std::path::Path;

use protocol::id::PeerId;
use serde_json::json;

use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::place::Place;
use crate::control::order::Verb;
use crate::control::socket;
use crate::store::status::{self, PEERS_FILE, PeerStatus};

/// Which node is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
}

/// Which peer, and why.
#[derive(Clone, Debug, clap::Args)]
pub struct About {
    /// The peer: its key, the beginning of it, or its name
    peer: String,
    /// Why, for the records
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    place: Place,
}

/// Runs `pause`, `resume` or `leave`.
pub fn run(args: &Args, verb: &Verb, output: &Output) -> Result<(), CliError> {
    tell(&args.place.state_dir(), verb, output)
}

/// Runs `peers ban`.
pub fn ban(about: &About, output: &Output) -> Result<(), CliError> {
    let dir = about.place.state_dir();
    let peer = find(&dir, &about.peer)?;
    tell(&dir, &Verb::Ban { peer, reason: about.reason.clone() }, output)
}

/// Runs `peers unban`.
pub fn unban(about: &About, output: &Output) -> Result<(), CliError> {
    let dir = about.place.state_dir();
    let peer = find(&dir, &about.peer)?;
    tell(&dir, &Verb::Unban { peer, reason: about.reason.clone() }, output)
}

fn tell(dir: &Path, verb: &Verb, output: &Output) -> Result<(), CliError> {
    let answer = socket::say(dir, verb).map_err(|error| {
        CliError::new(
            ExitCode::Unreachable,
            format!("the node in {} does not answer", dir.display()),
            error,
            format!("`starling status --dir {}` tells whether it runs", dir.display()),
        )
    })?;
    if !answer.is_done {
        return Err(CliError::new(ExitCode::Usage, "the node refuses the order", answer.why, ""));
    }
    output.done(&json!({ "order": verb, "state": answer.state }), |to| {
        match verb {
            Verb::Pause => writeln!(to, "pauses after the outer step under way")?,
            Verb::Resume => writeln!(to, "goes on")?,
            Verb::Leave => writeln!(to, "leaves: says farewell, saves and ends")?,
            Verb::Revoke { .. } => writeln!(to, "takes the list and passes it on")?,
            Verb::Ban { peer, .. } => writeln!(to, "banned    {peer}")?,
            Verb::Unban { peer, .. } => writeln!(to, "let in    {peer}")?,
        }
        writeln!(to, "state     {}", answer.state)
    })
}

/// The peer meant by a key, the beginning of one, or a name.
pub(super) fn find(dir: &Path, text: &str) -> Result<PeerId, CliError> {
    if let Ok(peer) = text.parse() {
        return Ok(peer);
    }
    let known: Vec<PeerStatus> = status::read(&dir.join(PEERS_FILE))?.value;
    let is_start = text.len() >= 4 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let meant = |peer: &&PeerStatus| peer.name == text || is_start && peer.peer_id.starts_with(text);
    let found: Vec<PeerId> = known.iter().filter(meant).filter_map(|p| p.peer_id.parse().ok()).collect();
    match found.as_slice() {
        [peer] => Ok(*peer),
        _ => {
            let shown: String = text.chars().take(64).collect();
            Err(CliError::new(
                ExitCode::Usage,
                format!("expected one peer that {shown:?} means, found {}", found.len()),
                "a key has 64 hexadecimal digits; the beginning of a key or a name must mean one known peer",
                format!("`starling peers --dir {}` lists them", dir.display()),
            ))
        }
    }
}
