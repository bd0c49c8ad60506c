//! `starling key rotate`: a new key in place of the present one, by the word of the present one alone.
//!
//! It is for keys that are still one's own: one that grew old, a machine that is given up. A key that somebody else may
//! have is revoked instead, for that somebody could rotate it too.

use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::crypto::keys::Keypair;
use protocol::crypto::signed::Domain;
use protocol::id::{PeerId, RunId};
use protocol::limits::ROTATION_GRACE_MAX;
use protocol::time::UnixSeconds;
use protocol::wire::certificate::Rotation;
use protocol::wire::charter::SignedCharter;
use protocol::wire::credential::{Credential, Rotated};
use protocol::wire::sealed::Sealed;
use serde_json::json;

use crate::cli::backup::refuse_restored;
use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::place::Place;
use crate::cli::run::member;
use crate::cli::unfinished::NEXT;
use crate::config::load::load;
use crate::config::unit;
use crate::recipe::bundle::Bundle;
use crate::runtime::clock::today;
use crate::runtime::membership;
use crate::store::disk::{Disk as _, RealDisk};
use crate::store::keys::{IDENTITY_FILE, Identity, KeyError};
use crate::store::lock::DirLock;

/// Takes a new key.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// The signed charter, or the folder that travels with it
    #[arg(long, value_name = "PATH")]
    charter: Option<PathBuf>,
    /// How long the others still hear the old key, up to 30 days
    #[arg(long, value_name = "TIME", default_value = "7 d", value_parser = grace)]
    grace: Duration,
}

fn grace(text: &str) -> Result<Duration, String> {
    let time = unit::time(text)?;
    if time.as_secs() > ROTATION_GRACE_MAX {
        return Err(format!("expected at most 30 d, found {text:?}"));
    }
    Ok(time)
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let sources = args.place.sources().flag("node.charter", args.charter.as_ref().map(|p| p.display()));
    let loaded = load(&sources)?;
    let dir = &loaded.config.node.dir;
    let _lock = DirLock::acquire(dir)?;
    refuse_restored(dir)?;
    let charter = Bundle::open(&loaded.config.node.charter)?.charter;
    let run = charter.run();
    let old = Identity::load(dir)?;
    let begun = begun(dir, run, &charter)?;
    let is_resumed = begun.is_some();
    let new = match begun {
        Some(new) => new,
        None => begin(dir, &charter, &old, args.grace)?,
    };
    finish(dir, run, &old.peer())?;
    let (old, new) = (old.peer(), new.to_string());
    let is_founder = charter.charter().founders.contains(&old);
    let kept = dir.join(kept_name(&old));
    let data = json!({ "old": old.to_string(), "peer_id": new, "kept": kept, "is_resumed": is_resumed });
    output.done(&data, |to| {
        writeln!(to, "peer     {new}")?;
        writeln!(to, "before   {old}")?;
        writeln!(to, "kept     {}", kept.display())?;
        if is_founder {
            writeln!(to, "The old key stays the founder's: what founders sign is signed with it.")?;
        }
        writeln!(to, "next     start the node; the others learn of the new key from its first word")
    })
}

/// What was begun and not finished: the new key is written and is a member.
fn begun(dir: &Path, run: RunId, charter: &SignedCharter) -> Result<Option<PeerId>, CliError> {
    let next = match Identity::load_from(dir, NEXT) {
        Err(KeyError::Absent(_)) => return Ok(None),
        other => other?.peer(),
    };
    let credential = membership::credential(dir, run)?;
    let opened = credential.and_then(|credential| credential.open(charter.charter()).ok());
    if opened.is_some_and(|certificate| certificate.peer == next) {
        return Ok(Some(next));
    }
    // Nobody was told of it yet.
    std::fs::remove_file(dir.join(NEXT)).map_err(|e| CliError::failed("the unfinished key stays", e))?;
    Ok(None)
}

/// Draws the new key, and has the old one say that it takes its place.
fn begin(dir: &Path, charter: &SignedCharter, old: &Identity, grace: Duration) -> Result<PeerId, CliError> {
    let me = old.peer();
    let (_, credential) = member(charter, &me, dir)?;
    let new = Identity::generate().map_err(|e| CliError::failed("could not draw a new identity", e))?;
    let new = new.locked_like(old);
    let from = today();
    let rotation = Rotation {
        run: charter.run(),
        old: me,
        new: new.peer(),
        from,
        old_until: UnixSeconds(from.0 + grace.as_secs()),
    };
    let sealed = Sealed::new(&Keypair::from_secret(*old.seed()), Domain::Rotation, &rotation);
    let credential = Credential::Rotated(Box::new(Rotated::next(credential.as_ref(), me, sealed)));
    credential.open(charter.charter()).map_err(|e| {
        let remedy = "ask the founders for a certificate or an invitation for a new key";
        CliError::new(ExitCode::Refused, "the key cannot be changed once more", e, remedy)
    })?;
    new.write_new(&dir.join(NEXT))?;
    membership::write(&membership::credential_path(dir, charter.run()), &credential)?;
    Ok(new.peer())
}

/// Moves ledger and keys to their places; each step may have been done before a crash.
fn finish(dir: &Path, run: RunId, old: &PeerId) -> Result<(), CliError> {
    let failed = |e| CliError::failed("the change of key is not finished; give the command again", e);
    let ledger = dir.join(format!("ledger-{}", run.short()));
    if ledger.exists() {
        // A ledger is one key's; what stands in the old one stays as evidence, and `audit ledger verify` reads it.
        let kept = dir.join(format!("ledger-{}.{}", run.short(), old.short()));
        std::fs::rename(&ledger, kept).map_err(failed)?;
    }
    let (present, next) = (dir.join(IDENTITY_FILE), dir.join(NEXT));
    let kept = dir.join(kept_name(old));
    if !kept.exists() {
        std::fs::hard_link(&present, &kept).map_err(failed)?;
    }
    std::fs::rename(&next, &present).map_err(failed)?;
    RealDisk.sync_dir(dir).map_err(failed)
}

fn kept_name(old: &PeerId) -> String {
    format!("identity.until-{}", old.short())
}
