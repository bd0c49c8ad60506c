//! Invitations that were used at this node, each by one key: the memory that makes them single-use.
//!
//! A use is durable before it is answered. It deliberately knows nothing of invitations but their hashes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::id::{Hash, PeerId, RunId};
use thiserror::Error;

use crate::store::atomic::{self, Durability};
use crate::store::disk::{self, Disk, RealDisk};
use crate::store::sealed::{self, Broken, SEALED_BYTES_MAX};

const TITLE: &str = "starling-redeemed 1";

/// Used invitations of one run.
pub struct Redeemed {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    used: BTreeMap<Hash, PeerId>,
}

/// Why the memory of used invitations cannot be used. No invitation may be redeemed then.
#[derive(Debug, Error)]
pub enum RedeemedError {
    /// The disk refused.
    #[error("could not {what} {path}: {source}; free or mend the disk", path = path.display())]
    Disk {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file was changed or cut short.
    #[error("{path} cannot be trusted: {reason}; restore it from the newest backup", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: Broken,
    },
    /// It holds as many as it may.
    #[error("{path} is full: begin a new run, or make this node the issuer no more", path = .0.display())]
    Full(PathBuf),
}

impl Redeemed {
    /// Opens the memory of a run in a node's directory.
    pub fn open(dir: &Path, run: RunId) -> Result<Self, RedeemedError> {
        Self::open_on(Arc::new(RealDisk), dir, run)
    }

    fn open_on(disk: Arc<dyn Disk>, dir: &Path, run: RunId) -> Result<Self, RedeemedError> {
        let path = dir.join(format!("redeemed-{}", run.short()));
        let used = match disk::read_capped(&*disk, &path, SEALED_BYTES_MAX) {
            Ok(bytes) => {
                parse(&bytes).map_err(|reason| RedeemedError::Damaged { path: path.clone(), reason })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(RedeemedError::Disk { what: "read", path, source }),
        };
        Ok(Self { disk, path, used })
    }

    /// Notes that a key uses an invitation; false when another one did before. The same key may ask again.
    pub fn claim(&mut self, invitation: Hash, peer: PeerId) -> Result<bool, RedeemedError> {
        if let Some(known) = self.used.get(&invitation) {
            return Ok(*known == peer);
        }
        let mut used = self.used.clone();
        used.insert(invitation, peer);
        let lines: Vec<String> = used.iter().map(|(hash, peer)| format!("{hash} {peer}")).collect();
        let text = sealed::seal(TITLE, &lines);
        if text.len() as u64 > SEALED_BYTES_MAX {
            return Err(RedeemedError::Full(self.path.clone()));
        }
        atomic::replace(&*self.disk, &self.path, text.as_bytes(), Durability::Machine)
            .map_err(|source| RedeemedError::Disk { what: "write", path: self.path.clone(), source })?;
        self.used = used;
        Ok(true)
    }
}

fn parse(bytes: &[u8]) -> Result<BTreeMap<Hash, PeerId>, Broken> {
    let lines = sealed::unseal(TITLE, bytes)?;
    let line = |(at, line): (usize, &&str)| {
        let (hash, peer) = line.split_once(' ').ok_or(Broken::Line(at + 2))?;
        match (hash.parse(), peer.parse()) {
            (Ok(hash), Ok(peer)) => Ok((hash, peer)),
            _ => Err(Broken::Line(at + 2)),
        }
    };
    lines.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::faulty::{Fault, FaultyDisk};
    use crate::store::scratch::folder;

    const RUN: RunId = RunId(Hash([7; 32]));
    const ADA: PeerId = PeerId([1; 32]);
    const EVE: PeerId = PeerId([2; 32]);

    #[test]
    fn an_invitation_belongs_to_the_first_key_over_restarts_too() {
        let dir = folder();
        let mut redeemed = Redeemed::open(dir.path(), RUN).unwrap();
        assert!(redeemed.claim(Hash([1; 32]), ADA).unwrap());
        assert!(!redeemed.claim(Hash([1; 32]), EVE).unwrap());
        assert!(redeemed.claim(Hash([2; 32]), EVE).unwrap());
        let mut again = Redeemed::open(dir.path(), RUN).unwrap();
        assert!(!again.claim(Hash([1; 32]), EVE).unwrap());
        assert!(again.claim(Hash([1; 32]), ADA).unwrap(), "whose answer was lost may ask again");
    }

    #[test]
    fn a_failing_disk_lets_nobody_in_twice() {
        for fault in Fault::ALL {
            for nth in 0..8 {
                let dir = folder();
                let disk = Arc::new(FaultyDisk::new(nth, fault));
                let Ok(mut redeemed) = Redeemed::open_on(disk, dir.path(), RUN) else { continue };
                let is_told = redeemed.claim(Hash([1; 32]), ADA).is_ok_and(|is_free| is_free);
                let mut again = Redeemed::open(dir.path(), RUN).unwrap();
                let is_free = again.claim(Hash([1; 32]), EVE).unwrap();
                assert!(!(is_told && is_free), "{fault:?} at {nth}: two keys were let in");
            }
        }
    }

    #[test]
    fn a_changed_file_is_refused() {
        let dir = folder();
        Redeemed::open(dir.path(), RUN).unwrap().claim(Hash([1; 32]), ADA).unwrap();
        let path = dir.path().join(format!("redeemed-{}", RUN.short()));
        let bytes = std::fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            std::fs::write(&path, changed).unwrap();
            assert!(Redeemed::open(dir.path(), RUN).is_err(), "byte {at}");
        }
    }
}
