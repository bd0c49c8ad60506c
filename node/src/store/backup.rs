//! A copy of everything a node cannot make again, with a hash of each file.
//!
//! It may be taken while the node runs: generations and sealed files are replaced whole, and a ledger torn at its end is
//! mended when it is opened. A restored copy is marked, because the key may have signed more since it was made: the mark
//! must be taken away by somebody who knows how far.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use protocol::id::Hash;
use thiserror::Error;

use crate::store::atomic::TEMPORARY;
use crate::store::disk::{private_dir_builder, private_file_options};
use crate::store::sealed::{Broken, seal, unseal};

/// Name of the list of files in a backup.
pub const LIST: &str = "BACKUP";
/// Name of the mark in a directory that was restored.
pub const RESTORED: &str = "restored";
const TITLE: &str = "starling-backup 1";
/// Largest list, bytes.
const LIST_BYTES_MAX: u64 = 4 << 20;
/// Files of a node's directory that a backup holds, by name or by the beginning of it.
const KEPT: [&str; 9] = [
    "identity.",
    "starling.toml",
    "sequence",
    "reserved-",
    "ledger-",
    "membership-",
    "revocation-",
    "redeemed-",
    "charter",
];
/// Folder of saved states; of it, what is current.
const STATE: &str = "state";

/// Why a backup cannot be made, used or trusted.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The system refused.
    #[error("could not {what} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It would be written over something.
    #[error("{path} exists and is not written over; name a new folder", path = .0.display())]
    Exists(PathBuf),
    /// The list cannot be trusted.
    #[error("{path}: {reason}; it is no backup of this program, or it was changed", path = path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// What is wrong.
        reason: Broken,
    },
    /// A file is missing or is not the one that was copied.
    #[error("{path}: {reason}; take another backup", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// When it was made, seconds since 1970.
    pub made: u64,
    /// Whose it is.
    pub peer: String,
    /// Files, with their lengths.
    pub files: Vec<(String, u64)>,
}

/// Copies what is kept of `dir` into a new folder.
pub fn create(dir: &Path, to: &Path, peer: &str, made: u64) -> Result<Contents, BackupError> {
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    private_dir_builder().recursive(true).create(to).map_err(failed("make", to))?;
    let mut names = Vec::new();
    // Saved states first: the ledger that is copied later is at least as long as they remember.
    walk(dir, &dir.join(STATE), &mut names)?;
    names.retain(|name| !name.contains(TEMPORARY) && !name.contains("damaged-"));
    let mut others = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed("read", dir))? {
        let path = entry.map_err(failed("read", dir))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if KEPT.iter().any(|kept| name.starts_with(kept)) && !name.contains(TEMPORARY) {
            walk(dir, &path, &mut others)?;
        }
    }
    others.sort();
    names.sort();
    names.extend(others);
    let mut lines = vec![format!("made {made}"), format!("peer {peer}")];
    let mut files = Vec::new();
    for name in names {
        let from = dir.join(&name);
        // A generation may be pruned while a running node is copied; the one after it comes too.
        let bytes = match fs::read(&from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && name.starts_with(STATE) => continue,
            other => other.map_err(failed("read", &from))?,
        };
        put(&to.join(&name), &bytes)?;
        let hash = Hash(*blake3::hash(&bytes).as_bytes());
        lines.push(format!("file {hash} {} {name}", bytes.len()));
        files.push((name, bytes.len() as u64));
    }
    put(&to.join(LIST), seal(TITLE, &lines).as_bytes())?;
    Ok(Contents { made, peer: peer.to_owned(), files })
}

/// Checks every file of a backup.
pub fn verify(from: &Path) -> Result<Contents, BackupError> {
    let path = from.join(LIST);
    let length = fs::metadata(&path).map_err(failed("look at", &path))?.len();
    let broken = |reason| BackupError::List { path: path.clone(), reason };
    if length > LIST_BYTES_MAX {
        return Err(broken(Broken::Check));
    }
    let bytes = fs::read(&path).map_err(failed("read", &path))?;
    let lines = unseal(TITLE, &bytes).map_err(broken)?;
    let mut contents = Contents { made: 0, peer: String::new(), files: Vec::new() };
    for (at, line) in lines.iter().enumerate() {
        let wrong = || BackupError::List { path: path.clone(), reason: Broken::Line(at + 2) };
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["made", seconds] => contents.made = seconds.parse().map_err(|_| wrong())?,
            ["peer", peer] => (*peer).clone_into(&mut contents.peer),
            ["file", hash, length, name @ ..] => {
                let name = name.join(" ");
                let (hash, length) =
                    (hash.parse::<Hash>().map_err(|_| wrong())?, length.parse().map_err(|_| wrong())?);
                let is_inside =
                    !name.is_empty() && name.split('/').all(|part| !part.is_empty() && part != "..");
                if !is_inside {
                    return Err(wrong());
                }
                let file = from.join(&name);
                let damaged = |reason| BackupError::Damaged { path: file.clone(), reason };
                let found = fs::read(&file).map_err(|_| damaged("it is missing or cannot be read"))?;
                if found.len() as u64 != length || *blake3::hash(&found).as_bytes() != hash.0 {
                    return Err(damaged("it is not the file that was copied"));
                }
                contents.files.push((name, length));
            }
            _ => return Err(wrong()),
        }
    }
    Ok(contents)
}

/// Puts a checked backup into a new directory, and marks it.
pub fn restore(from: &Path, dir: &Path) -> Result<Contents, BackupError> {
    let contents = verify(from)?;
    if dir.exists() {
        return Err(BackupError::Exists(dir.to_owned()));
    }
    private_dir_builder().recursive(true).create(dir).map_err(failed("make", dir))?;
    // The mark comes first: a copy that is cut short must not run either.
    put(&dir.join(RESTORED), format!("{}\n", contents.made).as_bytes())?;
    for (name, _) in &contents.files {
        let path = from.join(name);
        let bytes = fs::read(&path).map_err(failed("read", &path))?;
        put(&dir.join(name), &bytes)?;
    }
    Ok(contents)
}

/// When the backup was made that this directory was restored from, if it was and nobody has said how far its key signed.
pub fn restored(dir: &Path) -> io::Result<Option<u64>> {
    match fs::read_to_string(dir.join(RESTORED)) {
        Ok(text) => Ok(Some(text.trim().parse().unwrap_or(0))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn walk(dir: &Path, path: &Path, names: &mut Vec<String>) -> Result<(), BackupError> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed("look at", path))?,
    };
    if metadata.is_dir() {
        for entry in fs::read_dir(path).map_err(failed("read", path))? {
            walk(dir, &entry.map_err(failed("read", path))?.path(), names)?;
        }
    } else if metadata.is_file()
        && let Ok(name) = path.strip_prefix(dir)
        && let Some(name) = name.to_str()
        && !name.contains('\n')
    {
        names.push(name.to_owned());
    }
    Ok(())
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    if let Some(folder) = path.parent() {
        private_dir_builder().recursive(true).create(folder).map_err(failed("make", folder))?;
    }
    let mut file =
        private_file_options().write(true).create_new(true).open(path).map_err(failed("write", path))?;
    io::Write::write_all(&mut file, bytes).and_then(|()| file.sync_all()).map_err(failed("write", path))
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> BackupError + 'a {
    move |source| BackupError::Io { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("identity.key", "secret"),
            ("sequence", "128"),
            ("ledger-0011", "records"),
            ("state/CURRENT", "3"),
            ("state/gen-3/peer.bin", "memory"),
            ("state/gen-4.tmp/peer.bin", "half"),
            ("events.jsonl", "much"),
            ("lock", "1"),
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn what_cannot_be_made_again_is_copied_checked_and_put_back_with_a_mark() {
        let (dir, root) = (node(), tempfile::tempdir().unwrap());
        let (to, again) = (root.path().join("backup"), root.path().join("again"));
        let made = create(dir.path(), &to, "ada", 1_800_000_000).unwrap();
        let names: Vec<&str> = made.files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["state/CURRENT", "state/gen-3/peer.bin", "identity.key", "ledger-0011", "sequence"]
        );
        assert_eq!(verify(&to).unwrap(), made);
        assert!(matches!(create(dir.path(), &to, "ada", 0), Err(BackupError::Exists(_))));
        assert_eq!(restored(dir.path()).unwrap(), None);
        restore(&to, &again).unwrap();
        assert_eq!(restored(&again).unwrap(), Some(1_800_000_000));
        assert_eq!(fs::read_to_string(again.join("state/gen-3/peer.bin")).unwrap(), "memory");
        assert!(!again.join("events.jsonl").exists());
        assert!(matches!(restore(&to, &again), Err(BackupError::Exists(_))));
    }

    #[test]
    fn a_backup_with_any_byte_changed_or_any_file_missing_is_refused() {
        let (dir, root) = (node(), tempfile::tempdir().unwrap());
        let to = root.path().join("backup");
        let made = create(dir.path(), &to, "ada", 1).unwrap();
        let names: Vec<String> =
            made.files.iter().map(|(name, _)| name.clone()).chain([LIST.to_owned()]).collect();
        for name in names {
            let path = to.join(&name);
            let good = fs::read(&path).unwrap();
            for at in 0..good.len() {
                let mut bad = good.clone();
                bad[at] ^= 1;
                fs::write(&path, bad).unwrap();
                assert!(verify(&to).is_err(), "{name}, byte {at}");
                assert!(restore(&to, &root.path().join("x")).is_err());
                assert!(!root.path().join("x").exists(), "nothing is begun from a bad backup");
            }
            fs::remove_file(&path).unwrap();
            assert!(verify(&to).is_err(), "{name} missing");
            fs::write(&path, &good).unwrap();
        }
        verify(&to).unwrap();
    }

    #[test]
    fn a_list_that_points_outside_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let hash = Hash(*blake3::hash(b"").as_bytes());
        for name in ["../x", "/etc/x", "a/../../x", "", "a//b"] {
            fs::write(root.path().join(LIST), seal(TITLE, &[format!("file {hash} 0 {name}")])).unwrap();
            assert!(matches!(verify(root.path()), Err(BackupError::List { .. })), "{name:?}");
        }
    }
}
