//! `starling peers`: the peers the node of a directory knows; `ban` and `unban` shut one out and let it in.

use serde_json::json;

use crate::cli::output::{CliError, Output, table};
use crate::cli::place::Place;
use crate::cli::status::liveness;
use crate::cli::steer;
use crate::config::unit;
use crate::store::status::{self, Aged, PEERS_FILE, PeerStatus};
use crate::telemetry::escape;

/// Shows the known peers.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    place: Place,
}

/// What to do with a peer.
#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Shuts a peer out, until it is let in again
    Ban(steer::About),
    /// Lets a peer in again
    Unban(steer::About),
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    match &args.command {
        Some(Command::Ban(about)) => return steer::ban(about, output),
        Some(Command::Unban(about)) => return steer::unban(about, output),
        None => {}
    }
    let dir = args.place.state_dir();
    let found: Aged<Vec<PeerStatus>> = status::read(&dir.join(PEERS_FILE))?;
    let rows: Vec<_> = found.value.iter().map(row).collect();
    let linked = found.value.iter().filter(|p| p.is_linked).count();
    let print = |to: &mut dyn std::io::Write| {
        let head = [
            "peer",
            "name",
            "organization",
            "link",
            "outer",
            "score",
            "behaviour",
            "affinity",
            "rtt ms",
            "pulled",
            "served",
            "address",
        ];
        table(to, &head, &rows)?;
        writeln!(to, "{} known, {linked} linked", rows.len())
    };
    let data = json!({ "peers": found.value, "age_seconds": found.age.as_secs_f64() });
    if let Some(error) = liveness(&dir, found.age)?.error(&dir, found.age) {
        output.text(print)?;
        return Err(error.with_details(&data));
    }
    output.done(&data, print)
}

fn row(peer: &PeerStatus) -> Vec<String> {
    let link = match (peer.is_banned, peer.is_linked) {
        (true, _) => "banned",
        (_, true) => "linked",
        _ => "-",
    };
    let dash = || "-".to_string();
    vec![
        peer.peer_id.chars().filter(char::is_ascii_hexdigit).take(8).collect(),
        escape::line(&peer.name),
        escape::line(&peer.organization),
        link.into(),
        peer.outer_step.map_or_else(dash, |s| s.to_string()),
        peer.score.map_or_else(dash, |s| format!("{s:.3}")),
        format!("{:.0}", peer.behaviour),
        peer.affinity.map_or_else(dash, |x| format!("{x:+.4}")),
        peer.rtt_ms.map_or_else(dash, |ms| format!("{ms:.1}")),
        unit::approximate_size(peer.bytes_pulled),
        unit::approximate_size(peer.bytes_served),
        escape::line(&peer.address),
    ]
}
