//! Replaces a file whole: a reader sees the old contents or the new, never a part.
//!
//! Written to a temporary name, synced, renamed over the old name, folder synced. After an error the old contents are
//! still there under the old name.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::store::disk::Disk;

/// Ending of names that a crash may leave behind and that anybody may remove who holds the directory's lock.
pub const TEMPORARY: &str = ".tmp";

/// What a replaced file must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A crash of the process and of the machine; two syncs.
    Machine,
    /// A crash of the process only; no sync. For files written every second that nothing depends on.
    Process,
}

/// Puts `bytes` in the place of the file at `path`.
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let temporary = temporary_name(path);
    match disk.remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = disk.create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        if durability == Durability::Machine { file.sync() } else { file.flush() }
    });
    let renamed = written.and_then(|()| disk.rename(&temporary, path));
    if let Err(error) = renamed {
        // Best effort: what stays is removed by the next call, and the first error is the one worth telling.
        drop(disk.remove_file(&temporary));
        return Err(error);
    }
    match (durability, path.parent()) {
        (Durability::Machine, Some(parent)) => disk.sync_dir(parent),
        _ => Ok(()),
    }
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(TEMPORARY);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::faulty::{Fault, FaultyDisk};
    use crate::store::power::PowerDisk;
    use crate::store::scratch::folder;

    #[test]
    fn a_failure_at_any_operation_leaves_the_old_or_the_new_contents() {
        let old = vec![1u8; 100_000];
        let new = vec![2u8; 150_000];
        let mut failures = 0;
        for fault in Fault::ALL {
            for nth in 0.. {
                let dir = folder();
                let path = dir.path().join("status.json");
                fs::write(&path, &old).unwrap();
                fs::write(temporary_name(&path), b"left by a crash").unwrap();
                let disk = FaultyDisk::new(nth, fault);
                let result = replace(&disk, &path, &new, Durability::Machine);
                let found = fs::read(&path).unwrap();
                assert!(found == old || found == new, "{fault:?} at {nth}: {} bytes", found.len());
                if !disk.has_struck() {
                    result.unwrap();
                    assert_eq!(found, new);
                    break;
                }
                failures += 1;
                assert!(result.is_err() || found == new, "{fault:?} at {nth}");
            }
        }
        assert!(failures >= 4 * Fault::ALL.len(), "{failures}");
    }

    #[test]
    fn a_power_loss_at_any_operation_leaves_the_old_or_the_new_contents_and_the_new_ones_once_told() {
        for operations in 1.. {
            let root = folder();
            let disk = PowerDisk::new(root.path(), operations);
            let path = root.path().join("CURRENT");
            let told = (1..=3u8)
                .take_while(|&n| replace(&disk, &path, &[n; 100], Durability::Machine).is_ok())
                .last()
                .unwrap_or(0);
            for seed in 0..40 {
                let after = folder();
                disk.lose_power(after.path(), seed * 100 + operations as u64);
                let found = fs::read(after.path().join("CURRENT")).unwrap_or_default();
                let n = found.first().copied().unwrap_or(0);
                assert!(n >= told, "after {operations}, seed {seed}: told {told}, found {n}");
                assert!(
                    found.is_empty() && told == 0 || found == [n; 100],
                    "after {operations}, seed {seed}: torn"
                );
            }
            if !disk.is_dead() {
                assert_eq!(told, 3);
                break;
            }
        }
    }
}
