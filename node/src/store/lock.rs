//! One node per directory: a lock the system releases when its holder dies, however it dies.
//!
//! It deliberately trusts the system's lock alone; the process id in the file is only for people.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::store::disk::private_file_options;

const FILE: &str = "lock";
/// Tries, and the wait between two: somebody who only asks who holds the lock holds it for a moment.
const TRIES: u32 = 5;
const WAIT: Duration = Duration::from_millis(20);

/// Held as long as the value lives.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

/// Who holds a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody.
    Nobody,
    /// A running process; its id when it could be read.
    Process(Option<u32>),
}

/// Why a directory cannot be used.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another process works in it.
    #[error("{dir} is in use by {holder}; stop that node first, or give this one its own directory with --dir", dir = dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Who uses it, in words.
        holder: String,
    },
    /// The system refused.
    #[error("could not lock {path}: {source}; give this user the right to write the directory, on a file system with locks", path = path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl DirLock {
    /// Locks a directory that exists, or says who holds it.
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join(FILE);
        let failed = |source| LockError::Io { path: path.clone(), source };
        let mut options = private_file_options();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        for tries_left in (0..TRIES).rev() {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries_left > 0 => std::thread::sleep(WAIT),
                Err(TryLockError::WouldBlock) => {
                    let holder = match read_id(&mut file) {
                        Some(id) => format!("process {id}"),
                        None => "another process".into(),
                    };
                    return Err(LockError::InUse { dir: dir.into(), holder });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Who holds a directory now. A directory without a lock file is held by nobody.
pub fn holder(dir: &Path) -> io::Result<Holder> {
    let mut file = match File::open(dir.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holder::Nobody),
        other => other?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Holder::Nobody),
        Err(TryLockError::WouldBlock) => Ok(Holder::Process(read_id(&mut file))),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn read_id(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_node_is_refused_and_told_who_is_first() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(dir.path()).unwrap(), Holder::Nobody);
        let first = DirLock::acquire(dir.path()).unwrap();
        let error = DirLock::acquire(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        assert!(error.contains("--dir"), "{error}");
        assert_eq!(holder(dir.path()).unwrap(), Holder::Process(Some(std::process::id())));
        drop(first);
        assert_eq!(holder(dir.path()).unwrap(), Holder::Nobody);
        DirLock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_lock_file_left_by_a_dead_node_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "999999999\nrubbish").unwrap();
        let lock = DirLock::acquire(dir.path()).unwrap();
        assert_eq!(holder(dir.path()).unwrap(), Holder::Process(Some(std::process::id())));
        drop(lock);
    }
}
