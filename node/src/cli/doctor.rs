//! `starling doctor`: everything that keeps a node from working, found before any data is loaded.
//!
//! Each check says what it looked at, what it found and what to do. It changes nothing but a probe file it removes again.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::device::DeviceChoice;
use protocol::id::PeerId;
use protocol::wire::charter::{Admission, SignedCharter};

use crate::cli::bundle;
use crate::cli::check::{Check, Verdict};
use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::place::Place;
use crate::cli::reach;
use crate::config::charter_file::{self, CharterFileError};
use crate::config::load::Loaded;
use crate::config::unit;
use crate::recipe::bundle::Bundle;
use crate::runtime::membership::credential;
use crate::store::disk::private_file_options;
use crate::store::keys::Identity;
use crate::store::lock::{self, Holder};
use crate::store::room::{Lack, Space};
use crate::telemetry::process::machine_memory;
use crate::trainer::variant::choose;

/// Checks this machine, the settings and the way to other peers.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Longest wait for one bootstrap address, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    timeout: u64,
    /// Also write all that helps to find a fault into this new file, without keys and data, to send to somebody
    #[arg(long, value_name = "FILE")]
    bundle: Option<std::path::PathBuf>,
}

/// Free space below which a node is warned, and below which it cannot save, bytes.
const SPACE_WARNING: u64 = 2 << 30;
const SPACE_LEAST: u64 = 128 << 20;
/// Open files a node with 64 links needs at least: links, streams, files.
const OPEN_FILES_LEAST: u64 = 512;
/// 2026-01-01: no build of this program is older.
const CLOCK_EARLIEST: u64 = 1_767_225_600;
/// Difference by which a file may be newer than the clock before the clock is doubted.
const CLOCK_SLACK: Duration = Duration::from_secs(3600);

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let checks = examine(&args.place, Duration::from_secs(args.timeout));
    let print = |to: &mut dyn Write| print(to, &checks);
    if let Some(path) = &args.bundle {
        bundle::write(path, &args.place, &checks)?;
    }
    let worst = checks.iter().filter_map(Check::code).max_by_key(|code| match code {
        // What must be mended first decides the exit code.
        ExitCode::Config => 5,
        ExitCode::Failed => 4,
        ExitCode::Refused => 3,
        ExitCode::Data => 2,
        _ => 1,
    });
    let Some(code) = worst else { return output.done(&checks, print) };
    output.text(print)?;
    let bad: Vec<_> = checks.iter().filter(|c| c.verdict == Verdict::Bad).map(|c| c.name.as_str()).collect();
    let what = format!("{} of {} checks failed", bad.len(), checks.len());
    Err(CliError::new(code, what, bad.join(", "), "follow the remedies above, then run doctor again")
        .with_details(&checks))
}

/// All checks in the order in which they should be mended.
pub fn examine(place: &Place, timeout: Duration) -> Vec<Check> {
    let mut checks = vec![clock(&place.dir)];
    checks.extend(open_files());
    let loaded = match place.load() {
        Ok(loaded) => loaded,
        Err(error) => {
            checks.extend(error.0.iter().map(|problem| {
                Check::bad(
                    ExitCode::Config,
                    "settings",
                    problem.to_string(),
                    "mend the settings; what follows could not be checked",
                )
            }));
            return checks;
        }
    };
    let conflicts: Vec<_> = loaded.conflicts().collect();
    checks.push(if conflicts.is_empty() {
        Check::good("settings", place.config_path().display().to_string())
    } else {
        Check::warning("settings", conflicts.join("; "), "make sure the stronger source is the one you mean")
    });
    let dir = &loaded.config.node.dir;
    checks.push(directory(dir));
    checks.extend(space(dir));
    checks.extend(quota(dir, loaded.config.node.disk_max));
    let identity = Identity::load(dir);
    let peer = identity.as_ref().ok().map(Identity::peer);
    checks.push(match identity {
        Ok(identity) => Check::good("identity", format!("peer {}", identity.peer().short())),
        Err(error) => Check::from_error("identity", error.into()),
    });
    let holder = lock::holder(dir);
    checks.push(match &holder {
        Ok(Holder::Nobody) => Check::good("lock", "no node runs here"),
        Ok(Holder::Process(id)) => {
            let by = id.map_or(String::new(), |id| format!(" (process {id})"));
            Check::warning(
                "lock",
                format!("a node runs here{by}"),
                "nothing, unless you meant to start another one",
            )
        }
        Err(error) => Check::bad(ExitCode::Failed, "lock", error.to_string(), "use a file system with locks"),
    });
    checks.extend(charter(&loaded, peer));
    checks.push(data(&loaded));
    checks.push(device(&loaded.config.train.device));
    let network = &loaded.config.network;
    if matches!(holder, Ok(Holder::Process(_))) {
        checks.push(Check::good("ports", "not tried: the running node holds them"));
    } else {
        checks.extend(network.listen_all().iter().map(reach::port));
    }
    checks.extend(reach::bootstrap(&network.bootstrap, timeout));
    checks
}

fn clock(dir: &Path) -> Check {
    let name = "clock";
    let now = SystemTime::now();
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let remedy =
        "set the clock, for instance with an NTP service; dates of charters and certificates depend on it";
    if seconds < CLOCK_EARLIEST {
        return Check::bad(ExitCode::Failed, name, "it shows a date before this program was written", remedy);
    }
    let newest = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|e| e.ok()?.metadata().ok()?.modified().ok())
        .max();
    match newest.and_then(|file| file.duration_since(now).ok()).filter(|ahead| *ahead > CLOCK_SLACK) {
        Some(ahead) => {
            let ahead = unit::show_time(Duration::from_secs(ahead.as_secs() / 60 * 60));
            Check::warning(
                name,
                format!("a file in the directory is {ahead} newer than now: it went back"),
                remedy,
            )
        }
        None => Check::good(name, format!("{seconds} s since 1970")),
    }
}

/// The limit of open files, where the system tells.
fn open_files() -> Option<Check> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|l| l.strip_prefix("Max open files"))?;
    let soft = line.split_whitespace().next()?;
    let is_low = soft.parse::<u64>().is_ok_and(|n| n < OPEN_FILES_LEAST);
    let found = format!("at most {soft}");
    if !is_low {
        return Some(Check::good("open files", found));
    }
    let remedy = format!("allow at least {OPEN_FILES_LEAST}: ulimit -n, or LimitNOFILE= in a service");
    Some(Check::warning("open files", found, remedy))
}

fn directory(dir: &Path) -> Check {
    let name = "directory";
    if !dir.is_dir() {
        let remedy = format!("make it with `starling init --dir {}`", dir.display());
        return Check::bad(ExitCode::Config, name, format!("{} is not a folder", dir.display()), remedy);
    }
    let probe = dir.join(format!("doctor-{}.tmp", std::process::id()));
    let written = private_file_options()
        .write(true)
        .create_new(true)
        .open(&probe)
        .and_then(|mut file| file.write_all(b"probe").and_then(|()| file.sync_all()));
    drop(std::fs::remove_file(&probe));
    match written {
        Ok(()) => Check::good(name, format!("{} can be written", dir.display())),
        Err(error) => {
            let found = format!("{} cannot be written: {error}", dir.display());
            Check::bad(
                ExitCode::Config,
                name,
                found,
                "give this user the right to write it, on a disk that is mounted writable",
            )
        }
    }
}

fn space(dir: &Path) -> Option<Check> {
    let name = "disk space";
    let free = Space::look(dir).ok()?.free?;
    let found = format!("{} free", unit::approximate_size(free));
    let remedy = "free some space, or put the directory on another disk with node.dir";
    Some(match free {
        0..SPACE_LEAST => Check::bad(ExitCode::Failed, name, found, remedy),
        SPACE_LEAST..SPACE_WARNING => Check::warning(name, found, remedy),
        _ => Check::good(name, found),
    })
}

/// What the directory takes of what it may, where that is bounded.
fn quota(dir: &Path, most: Option<u64>) -> Option<Check> {
    let (name, most) = ("disk quota", most?);
    let space = Space::look(dir).ok()?;
    let show = unit::approximate_size;
    let found = format!("{} of {} taken", show(space.used), show(most));
    let need = space.need(0);
    Some(match space.lack(need, Some(most)) {
        Some(lack @ Lack::Quota { .. }) => Check::bad(
            ExitCode::Failed,
            name,
            format!("{found}: {lack}"),
            "remove what is not needed, as *.old and state/damaged-*, or raise node.disk_max",
        ),
        _ => Check::good(name, found),
    })
}

fn charter(loaded: &Loaded, peer: Option<PeerId>) -> Vec<Check> {
    let name = "charter";
    let path = &loaded.config.node.charter;
    let signed = match charter_file::open(path) {
        Ok(signed) => signed,
        Err(error @ CharterFileError::Absent(_)) => {
            let error = CliError::from(error);
            return vec![Check::warning(name, error.why, error.remedy)];
        }
        Err(error) => return vec![Check::from_error(name, error.into())],
    };
    let mut checks = vec![term(&signed)];
    if let Err(error) = Bundle::open(path) {
        let remedy = "copy the whole folder of the charter again from whoever gave it to you";
        checks.push(Check::bad(ExitCode::Config, "charter's folder", error.to_string(), remedy));
    }
    if let Some(peer) = peer {
        checks.push(membership(&signed, peer, &loaded.config.node.dir));
    }
    checks.push(match choose(signed.charter(), loaded.config.train.variant.as_deref(), machine_memory()) {
        Ok(chosen) => Check::good("architecture", chosen.to_string()),
        Err(error) => Check::bad(
            ExitCode::Config,
            "architecture",
            error.to_string(),
            "change train.variant or leave it empty",
        ),
    });
    checks
}

fn term(signed: &SignedCharter) -> Check {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let charter = signed.charter();
    let run = signed.run().short();
    match charter.expires.0.checked_sub(now) {
        Some(left) if left > 0 => {
            let days = left / 86_400;
            Check::good(
                "charter",
                format!("{} version {}, run {run}, {days} days left", charter.name, charter.version),
            )
        }
        _ => Check::bad(
            ExitCode::Refused,
            "charter",
            format!("{} version {} has expired", charter.name, charter.version),
            "ask its founders for a newer version",
        ),
    }
}

/// Whether an earlier key of this node, which the charter lists, names this one.
fn is_rotated(signed: &SignedCharter, peer: &PeerId, dir: &Path) -> bool {
    let credential = credential(dir, signed.run()).ok().flatten();
    credential.and_then(|c| c.open(signed.charter()).ok()).is_some_and(|c| c.peer == *peer)
}

fn membership(signed: &SignedCharter, peer: PeerId, dir: &Path) -> Check {
    let charter = signed.charter();
    match (&charter.admission, signed.listed(&peer)) {
        (_, Some(organization)) => {
            Check::good("membership", format!("this node is a member for {organization}"))
        }
        (Admission::Closed(members), None) if !is_rotated(signed, &peer, dir) => Check::bad(
            ExitCode::Refused,
            "membership",
            format!("peer {} is not among the {} members of the charter", peer.short(), members.len()),
            "give the founders the key shown by `starling key show` and use the charter they sign then",
        ),
        (Admission::Closed(_), None) => {
            Check::good("membership", "this node took its key in place of one that the charter lists")
        }
        (Admission::Invite, None) => match credential(dir, signed.run()) {
            Ok(Some(credential)) => match credential.open(charter) {
                Ok(c) if c.peer == peer => {
                    Check::good("membership", format!("this node was invited for {}", c.organization))
                }
                _ => Check::bad(
                    ExitCode::Refused,
                    "membership",
                    "the membership on this disk is not this key's or does not hold",
                    "ask a founder for a new invitation",
                ),
            },
            Ok(None) => Check::bad(
                ExitCode::Refused,
                "membership",
                "the charter admits by invitation, and this node has used none",
                "ask a founder for an invitation and run `starling join CODE`",
            ),
            Err(error) => Check::bad(ExitCode::Failed, "membership", error.to_string(), ""),
        },
    }
}

fn data(loaded: &Loaded) -> Check {
    let name = "data";
    let Some(path) = &loaded.config.node.data else {
        return Check::warning(name, "none: this node can only observe", "set node.data to a file or folder");
    };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() || metadata.is_dir() => {
            Check::good(name, format!("{} is there; `starling data check` reads it", path.display()))
        }
        Ok(_) => Check::bad(
            ExitCode::Data,
            name,
            format!("{} is a pipe or a device", path.display()),
            "name a file or folder",
        ),
        Err(error) => Check::bad(
            ExitCode::Data,
            name,
            format!("{}: {error}", path.display()),
            "correct node.data, or the rights of the file",
        ),
    }
}

fn device(device: &str) -> Check {
    let name = "device";
    let opened = device.parse::<DeviceChoice>().and_then(DeviceChoice::open);
    match opened {
        Ok(found) => {
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            Check::good(name, format!("{device}: {:?}, {threads} processor threads", found.location()))
        }
        Err(error) => Check::bad(
            ExitCode::Config,
            name,
            error.to_string(),
            "set train.device to \"cpu\" or \"auto\", or mend the driver",
        ),
    }
}

fn print(to: &mut dyn Write, checks: &[Check]) -> std::io::Result<()> {
    let width = checks.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
    for check in checks {
        let mark = match check.verdict {
            Verdict::Good => "ok   ",
            Verdict::Warning => "look ",
            Verdict::Bad => "BAD  ",
        };
        writeln!(to, "{mark} {:<width$}  {}", check.name, check.found)?;
        if !check.remedy.is_empty() {
            writeln!(to, "      {:<width$}  try: {}", "", check.remedy)?;
        }
    }
    let count = |verdict| checks.iter().filter(|c| c.verdict == verdict).count();
    writeln!(
        to,
        "{} good, {} to look at, {} bad",
        count(Verdict::Good),
        count(Verdict::Warning),
        count(Verdict::Bad)
    )
}
