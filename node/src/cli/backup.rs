//! `starling backup create`, `verify`, `restore` and `accept`: a node's memory, kept and brought back without harm.

use std::path::{Path, PathBuf};

use protocol::id::OuterStep;
use serde_json::json;

use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::place::Place;
use crate::config::charter_file;
use crate::config::unit;
use crate::runtime::checkpoint::Reservation;
use crate::runtime::clock::today;
use crate::store::backup::{self, BackupError, Contents};
use crate::store::keys::Identity;
use crate::store::lock::DirLock;
use crate::store::sequence::Sequence;

/// Starts that a copy may have made since: each takes a block of numbers.
const STARTS_SINCE: u64 = 10_000;

/// Keeps what a node cannot make again.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Copies key, settings, saved states, ledger and memory into a new folder; the node may run
    Create {
        /// Whose
        #[command(flatten)]
        place: Place,
        /// New folder
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
    },
    /// Checks every file of a backup
    Verify {
        /// The backup
        folder: PathBuf,
    },
    /// Puts a backup into a new directory; the node there does not sign before `backup accept`
    Restore {
        /// The backup
        folder: PathBuf,
        /// New directory of the node
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
    /// Lets a restored node sign again, beyond what its key may have signed since the backup
    Accept {
        /// Whose
        #[command(flatten)]
        place: Place,
        /// An outer step that this key has surely not gone beyond, as `starling peers` of another node shows it
        #[arg(long, value_name = "STEP")]
        after: u32,
    },
}

/// Runs the command.
pub fn run(command: &Command, output: &Output) -> Result<(), CliError> {
    match command {
        Command::Create { place, out } => {
            let dir = place.state_dir();
            let peer = Identity::load(&dir)?.peer().to_string();
            let made = backup::create(&dir, out, &peer, today().0)?;
            tell(&made, output, &format!("next     starling backup verify {}", out.display()))
        }
        Command::Verify { folder } => {
            tell(&backup::verify(folder)?, output, "every file is as it was copied")
        }
        Command::Restore { folder, dir } => {
            let restored = backup::restore(folder, dir)?;
            let next = format!(
                "next     make sure the original does not run, then: starling backup accept --dir {} --after STEP",
                dir.display()
            );
            tell(&restored, output, &next)
        }
        Command::Accept { place, after } => accept(place, *after, output),
    }
}

fn tell(contents: &Contents, output: &Output, next: &str) -> Result<(), CliError> {
    let bytes: u64 = contents.files.iter().map(|(_, bytes)| bytes).sum();
    let files: Vec<&String> = contents.files.iter().map(|(name, _)| name).collect();
    let data = json!({ "made": contents.made, "peer_id": contents.peer, "files": files, "bytes": bytes });
    output.done(&data, |to| {
        writeln!(to, "peer     {}", contents.peer)?;
        writeln!(to, "files    {}, {}", files.len(), unit::approximate_size(bytes))?;
        writeln!(to, "{next}")
    })
}

fn accept(place: &Place, after: u32, output: &Output) -> Result<(), CliError> {
    let loaded = place.load()?;
    let dir = &loaded.config.node.dir;
    let _lock = DirLock::acquire(dir)?;
    if restored(dir)?.is_none() {
        let what = format!("{} was not restored from a backup", dir.display());
        return Err(CliError::new(ExitCode::Refused, what, "there is nothing to accept", ""));
    }
    let run = charter_file::open(&charter_path(&loaded.config.node.charter))?.run();
    let failed = |e: &dyn std::fmt::Display| CliError::failed("the restored node cannot be let go on", e);
    let (reservation, reserved) = Reservation::open(dir, run).map_err(|e| failed(&e))?;
    let beyond = OuterStep(after.max(reserved.0));
    reservation.raise(beyond).map_err(|e| failed(&e))?;
    let mut sequence = Sequence::open(dir, None).map_err(|e| failed(&e))?;
    sequence.skip(STARTS_SINCE * crate::store::sequence::BLOCK).map_err(|e| failed(&e))?;
    std::fs::remove_file(dir.join(backup::RESTORED)).map_err(|e| failed(&e))?;
    output.done(&json!({ "reserved": beyond, "run": run }), |to| {
        writeln!(to, "signs    nothing up to outer step {beyond}")?;
        writeln!(to, "next     starling run --dir {}", place.dir.display())
    })
}

/// A charter is named by its file or its folder.
fn charter_path(named: &Path) -> PathBuf {
    if named.is_dir() { named.join(crate::recipe::bundle::CHARTER) } else { named.to_owned() }
}

/// A directory that was restored does not run before it was accepted.
pub(super) fn refuse_restored(dir: &Path) -> Result<(), CliError> {
    let Some(made) = restored(dir)? else { return Ok(()) };
    let days = today().0.saturating_sub(made) / 86_400;
    Err(CliError::new(
        ExitCode::Refused,
        "this node was restored from a backup and does not sign yet",
        format!(
            "the backup is {days} days old, and the key may have signed since: signing a step twice gets it banned"
        ),
        format!(
            "make sure the original does not run, then `starling backup accept --dir {} --after STEP`",
            dir.display()
        ),
    ))
}

fn restored(dir: &Path) -> Result<Option<u64>, CliError> {
    backup::restored(dir).map_err(|e| CliError::failed(format!("could not look into {}", dir.display()), e))
}

impl From<BackupError> for CliError {
    fn from(error: BackupError) -> Self {
        let code = match error {
            BackupError::Exists(_) => ExitCode::Refused,
            BackupError::Io { .. } => ExitCode::Failed,
            BackupError::List { .. } | BackupError::Damaged { .. } => ExitCode::Data,
        };
        CliError::new(code, "the backup cannot be used", error, "")
    }
}
