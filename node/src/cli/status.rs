//! `starling status`: what the node of a directory is doing, from the file it replaces every second.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::place::Place;
use crate::config::unit;
use crate::store::lock::{self, Holder};
use crate::store::status::{self, Aged, NodeStatus, STATUS_FILE};
use crate::telemetry::escape;

/// Shows what the node is doing.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let dir = args.place.state_dir();
    let found: Aged<NodeStatus> = status::read(&dir.join(STATUS_FILE))?;
    let liveness = liveness(&dir, found.age)?;
    let mut data =
        serde_json::to_value(&found.value).map_err(|e| CliError::failed("could not write the status", e))?;
    data["is_running"] = json!(liveness == Liveness::Running);
    data["age_seconds"] = json!(found.age.as_secs_f64());
    if let Some(error) = liveness.error(&dir, found.age) {
        output.text(|to| print(to, &found))?;
        return Err(error.with_details(&data));
    }
    output.done(&data, |to| print(to, &found))
}

/// Whether what a status file says is so now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// The node runs and the file is fresh.
    Running,
    /// The node runs but has not written for a while.
    Stuck(Option<u32>),
    /// No node runs in the directory.
    Stopped,
}

/// Tells a running node from a stopped or stuck one by its lock and the age of its file.
pub fn liveness(dir: &std::path::Path, age: Duration) -> Result<Liveness, CliError> {
    let holder = lock::holder(dir)
        .map_err(|e| CliError::failed(format!("could not look at the lock of {}", dir.display()), e))?;
    Ok(match holder {
        Holder::Nobody => Liveness::Stopped,
        Holder::Process(id) if age > status::STALE_AFTER => Liveness::Stuck(id),
        Holder::Process(_) => Liveness::Running,
    })
}

impl Liveness {
    /// The error to end with, unless the node runs.
    pub fn error(self, dir: &std::path::Path, age: Duration) -> Option<CliError> {
        let ago = unit::show_time(Duration::from_secs(age.as_secs()));
        match self {
            Self::Running => None,
            Self::Stopped => Some(CliError::new(
                ExitCode::Unreachable,
                format!("no node runs in {}", dir.display()),
                format!("its last words are {ago} old"),
                format!("start it with `starling run --dir {}`", dir.display()),
            )),
            Self::Stuck(id) => Some(CliError::new(
                ExitCode::Unreachable,
                format!("the node in {} has not written its status for {ago}", dir.display()),
                "it holds the lock but does not answer: a full disk, a stopped process or a machine without memory",
                id.map_or("look at its log".into(), |id| format!("look at its log; its process is {id}")),
            )),
        }
    }
}

/// What the node's directory takes of the disk.
fn disk(s: &NodeStatus) -> String {
    let used = unit::approximate_size(s.disk_used_bytes);
    s.disk_max_bytes
        .map_or_else(|| used.clone(), |most| format!("{used} of {}", unit::approximate_size(most)))
}

/// How much of its time the node computes.
fn computing(s: &NodeStatus) -> String {
    match (s.busy_time_ratio, s.training_time_ratio) {
        (Some(busy), Some(training)) => {
            format!("{:.1} % of the time, {:.1} % training", 100.0 * busy, 100.0 * training)
        }
        _ => "-".into(),
    }
}

fn print(to: &mut dyn Write, found: &Aged<NodeStatus>) -> std::io::Result<()> {
    let s = &found.value;
    let or_dash = |value: Option<f64>, show: fn(f64) -> String| value.map_or("-".into(), show);
    let step = if s.outer_steps > 0 {
        format!("{} of {}", s.outer_step, s.outer_steps)
    } else {
        s.outer_step.to_string()
    };
    let rows = [
        ("node", format!("{} ({})", escape::line(&s.name), escape::line(&s.organization))),
        ("peer", s.peer_id.clone()),
        ("run", if s.run.is_empty() { "-".into() } else { s.run.clone() }),
        ("model", if s.model.is_empty() { "-".into() } else { escape::line(&s.model) }),
        ("state", format!("{} (stage {})", s.state, s.stage)),
        ("outer step", step),
        (
            "peers",
            match s.peers {
                0 => "0: training alone, waiting for others".into(),
                n => n.to_string(),
            },
        ),
        ("score", or_dash(s.score_last, |v| format!("{v:.4}"))),
        ("loss", or_dash(s.loss_last, |v| format!("{v:.4}"))),
        ("sent", unit::approximate_size(s.bytes_sent)),
        ("received", unit::approximate_size(s.bytes_received)),
        (
            "disagreement",
            or_dash(s.consensus_distance_relative, |v| format!("{:.2} % of the weight norm", 100.0 * v)),
        ),
        ("computing", computing(s)),
        ("disk", disk(s)),
        ("trouble", s.trouble.as_deref().map_or("none".into(), escape::line)),
        ("rejected", format!("{} shards", s.rejected_shards)),
        ("up", unit::show_time(Duration::from_secs(s.uptime_seconds.clamp(0.0, 1e12) as u64))),
        ("written", format!("{} s ago", found.age.as_secs())),
    ];
    rows.iter().try_for_each(|(name, value)| writeln!(to, "{name:<12}  {value}"))
}
