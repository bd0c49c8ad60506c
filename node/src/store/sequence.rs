//! Numbers for signed things that are never used twice, whatever crashes.
//!
//! A block of numbers is reserved durably before the first of them is used, so that after a crash the node goes on
//! behind the block. It deliberately wastes the rest of a block rather than sync for every signature.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::store::atomic::{self, Durability};
use crate::store::disk::{self, Disk, RealDisk};
use crate::store::sealed::{self, Broken, SEALED_BYTES_MAX};

/// Numbers reserved at a time.
pub const BLOCK: u64 = 64;
const FILE: &str = "sequence";
const TITLE: &str = "starling-sequence 1";

/// Gives out numbers, each one once in the life of a directory.
pub struct Sequence {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    next: u64,
    reserved: u64,
}

/// Why no number can be given out. Signing must stop: a second signature under an old number proves equivocation.
#[derive(Debug, Error)]
pub enum SequenceError {
    /// The disk refused; nothing was reserved.
    #[error("could not reserve signing numbers in {path}: {source}; free or mend the disk, then try again", path = path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file was changed or cut short.
    #[error("{path} cannot be trusted: {reason}; restore it from the newest backup, or make a new identity with `starling init`", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: Broken,
    },
    /// The file is gone although this identity has signed before.
    #[error("{path} is missing although number {used} was used; restore it from the newest backup, or make a new identity with `starling init`", path = path.display())]
    Lost {
        /// The file.
        path: PathBuf,
        /// Largest number known to have been used.
        used: u64,
    },
    /// The file is older than what this identity has signed, as after restoring an old backup.
    #[error("{path} ends at number {reserved} although {used} was used: an old backup was restored; restore the newest one, or make a new identity with `starling init`", path = path.display())]
    RolledBack {
        /// The file.
        path: PathBuf,
        /// First number not reserved in the file.
        reserved: u64,
        /// Largest number known to have been used.
        used: u64,
    },
}

impl Sequence {
    /// Opens `dir/sequence`. `used` is the largest number found in anything this identity signed (saved state, ledger);
    /// `None` when nothing is known of it.
    pub fn open(dir: &Path, used: Option<u64>) -> Result<Self, SequenceError> {
        Self::open_on(Arc::new(RealDisk), dir, used)
    }

    /// The same on a given disk.
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path, used: Option<u64>) -> Result<Self, SequenceError> {
        let path = dir.join(FILE);
        let reserved = match disk::read_capped(&*disk, &path, SEALED_BYTES_MAX) {
            Ok(bytes) => match parse(&bytes) {
                Ok(reserved) => reserved,
                Err(reason) => return Err(SequenceError::Damaged { path, reason }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => match used {
                None => 0,
                Some(used) => return Err(SequenceError::Lost { path, used }),
            },
            Err(source) => return Err(SequenceError::Disk { path, source }),
        };
        match used {
            Some(used) if used >= reserved => Err(SequenceError::RolledBack { path, reserved, used }),
            _ => Ok(Self { disk, path, next: reserved, reserved }),
        }
    }

    /// Passes over so many numbers, durably: a copy of this directory may have used them.
    pub fn skip(&mut self, numbers: u64) -> Result<(), SequenceError> {
        let end = (self.reserved + numbers).next_multiple_of(BLOCK);
        let text = sealed::seal(TITLE, &[format!("next {end}")]);
        atomic::replace(&*self.disk, &self.path, text.as_bytes(), Durability::Machine)
            .map_err(|source| SequenceError::Disk { path: self.path.clone(), source })?;
        (self.next, self.reserved) = (end, end);
        Ok(())
    }

    /// The next number, from 0; never given before and never again. Syncs the disk once per [`BLOCK`].
    pub fn take(&mut self) -> Result<u64, SequenceError> {
        if self.next == self.reserved {
            let end = self.reserved + BLOCK;
            let text = sealed::seal(TITLE, &[format!("next {end}")]);
            atomic::replace(&*self.disk, &self.path, text.as_bytes(), Durability::Machine)
                .map_err(|source| SequenceError::Disk { path: self.path.clone(), source })?;
            self.reserved = end;
        }
        let number = self.next;
        self.next += 1;
        Ok(number)
    }
}

fn parse(bytes: &[u8]) -> Result<u64, Broken> {
    let lines = sealed::unseal(TITLE, bytes)?;
    match lines.as_slice() {
        [line] => line
            .strip_prefix("next ")
            .and_then(|n| n.parse().ok())
            .filter(|n| n % BLOCK == 0)
            .ok_or(Broken::Line(2)),
        _ => Err(Broken::Line(2)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::faulty::{Fault, FaultyDisk};
    use crate::store::power::PowerDisk;
    use crate::store::scratch::folder;

    #[test]
    fn a_number_is_never_given_twice_however_often_the_node_dies() {
        let dir = folder();
        let mut last = None;
        for round in 0..20 {
            let mut sequence = Sequence::open(dir.path(), last).unwrap();
            for _ in 0..round * 13 {
                let number = sequence.take().unwrap();
                assert!(last.is_none_or(|last| number > last), "{number} after {last:?}");
                last = Some(number);
            }
        }
        assert!(last.unwrap() > 2_000);
    }

    #[test]
    fn numbers_that_were_passed_over_are_never_given() {
        let dir = folder();
        let mut sequence = Sequence::open(dir.path(), None).unwrap();
        assert_eq!(sequence.take().unwrap(), 0);
        sequence.skip(1_000).unwrap();
        assert!(sequence.take().unwrap() >= 1_000);
        assert!(Sequence::open(dir.path(), None).unwrap().take().unwrap() >= 1_000);
    }

    #[test]
    fn a_failing_disk_stops_signing_and_repeats_no_number() {
        for fault in Fault::ALL {
            for nth in 0..12 {
                let dir = folder();
                let disk = Arc::new(FaultyDisk::new(nth, fault));
                let mut given = Vec::new();
                if let Ok(mut sequence) = Sequence::open_on(disk, dir.path(), None) {
                    given.extend(std::iter::from_fn(|| sequence.take().ok()).take(100));
                }
                let mut again = Sequence::open(dir.path(), given.last().copied()).unwrap();
                assert!(again.take().unwrap() >= given.len() as u64, "{fault:?} at {nth}");
            }
        }
    }

    #[test]
    fn a_power_loss_repeats_no_number() {
        for operations in 1.. {
            let root = folder();
            let disk = PowerDisk::new(root.path(), operations);
            let mut sequence = Sequence::open_on(Arc::new(disk.clone()), root.path(), None).unwrap();
            let given: Vec<u64> = std::iter::from_fn(|| sequence.take().ok()).take(200).collect();
            for seed in 0..20 {
                let after = folder();
                disk.lose_power(after.path(), seed * 100 + operations as u64);
                let mut again = Sequence::open(after.path(), given.last().copied()).unwrap();
                let next = again.take().unwrap();
                assert!(
                    given.last().is_none_or(|&last| next > last),
                    "after {operations}, seed {seed}: {next}"
                );
            }
            if !disk.is_dead() {
                assert_eq!(given.len(), 200);
                break;
            }
        }
    }

    #[test]
    fn a_lost_damaged_or_older_file_stops_signing_and_says_what_to_do() {
        let dir = folder();
        let path = dir.path().join(FILE);
        assert!(matches!(Sequence::open(dir.path(), Some(3)), Err(SequenceError::Lost { used: 3, .. })));
        let mut sequence = Sequence::open(dir.path(), None).unwrap();
        sequence.take().unwrap();
        let good = fs::read(&path).unwrap();
        assert!(matches!(Sequence::open(dir.path(), Some(64)), Err(SequenceError::RolledBack { .. })));
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).unwrap();
            let error = Sequence::open(dir.path(), Some(0)).err().expect("a cut file is refused");
            assert!(error.to_string().contains("restore it from the newest backup"), "{error}");
        }
        fs::write(&path, &good).unwrap();
        assert_eq!(Sequence::open(dir.path(), Some(0)).unwrap().take().unwrap(), 64);
    }
}
