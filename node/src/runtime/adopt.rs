//! Writing what was decided about a model into the ledger of a node that is at rest.
//!
//! A running node writes its ledger itself; a command may only add to it while the node's directory is free. The whole
//! chain is checked before anything is added, as at a start.

use std::path::{Path, PathBuf};

use protocol::crypto::keys::Keypair;
use protocol::ledger::chain::Head;
use protocol::ledger::record::Record;
use thiserror::Error;

use crate::store::keys::{Identity, KeyError};
use crate::store::ledger::{Durable, LedgerFile, LedgerFileError};
use crate::store::lock::{DirLock, LockError};

/// How the ledger of a run is named in a node's directory.
const PREFIX: &str = "ledger-";

/// A record that cannot be written.
#[derive(Debug, Error)]
pub enum AdoptError {
    /// The directory is in use.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// There is no identity to sign with.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] LedgerFileError),
    /// The directory cannot be read.
    #[error("could not list {dir}: {source}", dir = dir.display())]
    List {
        /// Which.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is not exactly one ledger.
    #[error("expected one ledger of a run in {dir}, found {found}", dir = dir.display())]
    NotOne {
        /// Where.
        dir: PathBuf,
        /// How many there are.
        found: usize,
    },
    /// The chain does not hold.
    #[error("{path}: {why}; nothing was added", path = path.display())]
    Broken {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// Adds a record, signed by the node's own key, and waits until it is on the disk.
pub fn record(dir: &Path, record: Record) -> Result<(), AdoptError> {
    let _lock = DirLock::acquire(dir)?;
    let identity = Identity::load(dir)?;
    let path = ledger_of(dir)?;
    let (mut file, torn) = LedgerFile::open(&path, Durable::EveryRecord)?;
    if let Some(torn) = torn {
        tracing::warn!(records = torn.records, moved_to = %torn.moved_to.display(), "the end of the ledger was torn");
    }
    let mut head = Head::default();
    for bytes in file.read()? {
        head.check(&bytes?, &identity.peer())
            .map_err(|e| AdoptError::Broken { path: path.clone(), why: e.to_string() })?;
    }
    file.append(&head.append(record, &Keypair::from_secret(*identity.seed())))?;
    Ok(())
}

/// The one ledger in a directory; what was moved aside after a crash has an extension.
fn ledger_of(dir: &Path) -> Result<PathBuf, AdoptError> {
    let list = |source| AdoptError::List { dir: dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(list)? {
        let path = entry.map_err(list)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with(PREFIX) && !name.contains('.') {
            found.push(path);
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        count => Err(AdoptError::NotOne { dir: dir.to_owned(), found: count }),
    }
}

#[cfg(test)]
mod tests {
    use protocol::id::{Hash, OuterStep};

    use super::*;

    fn judged() -> Record {
        Record::Judged {
            candidate: Hash([1; 32]),
            is_adopted: false,
            metric: "f1".into(),
            score_candidate: 0.5,
            score_incumbent: 0.75,
            margin: 0.0,
            members: Vec::new(),
        }
    }

    #[test]
    fn a_verdict_continues_the_chain_of_a_node_at_rest() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::from_seed([7; 32]);
        identity.create(dir.path()).unwrap();
        let keys = Keypair::from_secret(*identity.seed());
        let path = dir.path().join("ledger-12345678");
        let mut head = Head::default();
        let first = Record::Published { step: OuterStep(1), manifest: Hash([2; 32]) };
        let (mut file, _) = LedgerFile::open(&path, Durable::EveryRecord).unwrap();
        file.append(&head.append(first.clone(), &keys)).unwrap();
        drop(file);
        record(dir.path(), judged()).unwrap();
        record(dir.path(), judged()).unwrap();
        let (file, _) = LedgerFile::open(&path, Durable::EveryRecord).unwrap();
        let mut check = Head::default();
        let records: Vec<Record> = file
            .read()
            .unwrap()
            .map(|bytes| check.check(&bytes.unwrap(), &identity.peer()).unwrap())
            .collect();
        assert_eq!(records, [first, judged(), judged()]);
    }

    #[test]
    fn without_one_ledger_or_with_a_node_at_work_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(record(dir.path(), judged()), Err(AdoptError::Key(_))));
        Identity::from_seed([7; 32]).create(dir.path()).unwrap();
        assert!(matches!(record(dir.path(), judged()), Err(AdoptError::NotOne { found: 0, .. })));
        for name in ["ledger-1", "ledger-2"] {
            drop(LedgerFile::open(&dir.path().join(name), Durable::EveryRecord).unwrap());
        }
        assert!(matches!(record(dir.path(), judged()), Err(AdoptError::NotOne { found: 2, .. })));
        let _held = DirLock::acquire(dir.path()).unwrap();
        assert!(matches!(record(dir.path(), judged()), Err(AdoptError::Lock(_))));
    }
}
