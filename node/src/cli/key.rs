//! `starling key`: the node's identity for people and for backups, under a passphrase, and its change.
//!
//! The secret goes to a private file only: never to the screen, never through a flag.

use std::path::PathBuf;

use libp2p::identity::{PublicKey, ed25519};
use serde_json::json;

use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::place::Place;
use crate::cli::rotate;
use crate::store::keys::{IDENTITY_FILE, Identity};
use crate::store::passphrase;

/// Shows or backs up the node's identity.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Shows the public key
    Show {
        /// Whose
        #[command(flatten)]
        place: Place,
    },
    /// Writes a backup of the secret key to a new private file
    Export {
        /// Whose
        #[command(flatten)]
        place: Place,
        /// File to make; never overwritten
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Puts the secret key under a passphrase, or under a new one
    Encrypt {
        /// Whose
        #[command(flatten)]
        place: Place,
    },
    /// Takes the passphrase away
    Decrypt {
        /// Whose
        #[command(flatten)]
        place: Place,
    },
    /// Takes a new key in place of the present one; the node must be stopped
    Rotate(rotate::Args),
}

/// Runs the command.
pub fn run(command: &Command, output: &Output) -> Result<(), CliError> {
    match command {
        Command::Show { place } => show(place, output),
        Command::Export { place, out } => export(place, out, output),
        Command::Encrypt { place } => encrypt(place, output),
        Command::Decrypt { place } => decrypt(place, output),
        Command::Rotate(args) => rotate::run(args, output),
    }
}

fn show(place: &Place, output: &Output) -> Result<(), CliError> {
    let dir = place.state_dir();
    let identity = Identity::load(&dir)?;
    let (peer, address_name) = (identity.peer().to_string(), address_name(&identity)?);
    let path = dir.join(IDENTITY_FILE);
    output.done(&json!({ "peer_id": peer, "address_name": address_name, "identity": path }), |to| {
        writeln!(to, "peer          {peer}")?;
        writeln!(to, "in addresses  /p2p/{address_name}")?;
        writeln!(to, "file          {}", path.display())?;
        writeln!(
            to,
            "next          give the first line to the founders of a charter; they list it as a member"
        )
    })
}

fn export(place: &Place, out: &std::path::Path, output: &Output) -> Result<(), CliError> {
    let identity = Identity::load(&place.state_dir())?;
    identity.write_new(out)?;
    let peer = identity.peer().to_string();
    output.done(&json!({ "peer_id": peer, "file": out }), |to| {
        writeln!(to, "wrote  {}", out.display())?;
        writeln!(
            to,
            "Two nodes with one identity are taken for a cheat: never start a copy while the first one runs."
        )?;
        writeln!(
            to,
            "next   keep it off this machine; to restore, put it back as {IDENTITY_FILE} with mode 0600"
        )
    })
}

fn encrypt(place: &Place, output: &Output) -> Result<(), CliError> {
    let dir = place.state_dir();
    let identity = Identity::load(&dir)?;
    let peer = identity.peer().to_string();
    let chosen = passphrase::choose().map_err(|why| {
        CliError::new(ExitCode::Usage, "there is no new passphrase", why, "try again; the key is as it was")
    })?;
    identity.rewrite(&dir, Some(chosen))?;
    output.done(&json!({ "peer_id": peer, "is_locked": true }), |to| {
        writeln!(to, "locked  {}", dir.join(IDENTITY_FILE).display())?;
        writeln!(to, "Copies made before, backups too, are as they were. A lost passphrase is a lost key.")?;
        writeln!(
            to,
            "next    start the node at a terminal, or set {} to a file only it can read",
            passphrase::VARIABLE
        )
    })
}

fn decrypt(place: &Place, output: &Output) -> Result<(), CliError> {
    let dir = place.state_dir();
    let identity = Identity::load(&dir)?;
    let (peer, was_locked) = (identity.peer().to_string(), identity.is_locked());
    if was_locked {
        identity.rewrite(&dir, None)?;
    }
    output.done(&json!({ "peer_id": peer, "is_locked": false }), |to| {
        let what = if was_locked { "unlocked" } else { "it was not locked:" };
        writeln!(to, "{what}  {}", dir.join(IDENTITY_FILE).display())
    })
}

/// The name of this key inside network addresses.
fn address_name(identity: &Identity) -> Result<String, CliError> {
    let key = ed25519::PublicKey::try_from_bytes(&identity.peer().0)
        .map_err(|e| CliError::failed("the public key has no network name", e))?;
    Ok(PublicKey::from(key).to_peer_id().to_string())
}
