//! How much of a disk a node's directory takes, and whether there is room for what it must write next.
//!
//! It exists so that a node pauses before it finds the disk, or its share of it, full in the middle of a write. It counts
//! by looking: whatever lies in the directory takes room, whoever put it there. It deliberately removes nothing.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Entries counted; a directory with more is counted up to here.
const ENTRIES_MAX: usize = 100_000;
/// Room kept beside the next saved state for ledger, records and small files of an outer step, bytes.
const SLACK: u64 = 4 << 20;

/// What a look found, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Length of all files in the node's directory.
    pub used: u64,
    /// Length of the files of its largest saved state.
    pub state: u64,
    /// What the file system has left for this user; `None` where it does not tell.
    pub free: Option<u64>,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The directory would take more than its owner allows.
    Quota {
        /// Taken, bytes.
        used: u64,
        /// Allowed, bytes.
        most: u64,
        /// Needed next, bytes.
        need: u64,
    },
    /// The file system has not so much left.
    Disk {
        /// Left, bytes.
        free: u64,
        /// Needed next, bytes.
        need: u64,
    },
}

impl Space {
    /// Looks at a node's directory. Links are not followed; what vanishes meanwhile is not counted.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn look(dir: &Path) -> io::Result<Self> {
        let (mut used, mut states) = (0u64, std::collections::BTreeMap::<PathBuf, u64>::new());
        let mut folders = VecDeque::from([dir.to_path_buf()]);
        let mut left = ENTRIES_MAX;
        let saved = dir.join("state");
        while let Some(folder) = folders.pop_front() {
            let entries = match fs::read_dir(&folder) {
                Err(error) if folder == dir => return Err(error),
                Err(_) => continue,
                Ok(entries) => entries,
            };
            for entry in entries.take(left).flatten() {
                left -= 1;
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    folders.push_back(entry.path());
                } else if metadata.is_file() {
                    used = used.saturating_add(metadata.len());
                    if folder.parent() == Some(&saved) {
                        *states.entry(folder.clone()).or_default() += metadata.len();
                    }
                }
            }
        }
        let state = states.into_values().max().unwrap_or(0);
        Ok(Self { used, state, free: free(dir) })
    }

    /// Bytes an outer step may need: a saved state of a model with so many parameters, the model, and what is small.
    pub fn need(&self, parameters: u64) -> u64 {
        let model = 4 * parameters;
        // Agreed parameters, outer momentum and two moments of an optimizer, before the first state tells.
        self.state.max(4 * model).saturating_add(model).saturating_add(SLACK)
    }

    /// Why there is no room for so many bytes more in a directory that may take `most`; `None` when there is.
    pub fn lack(&self, need: u64, most: Option<u64>) -> Option<Lack> {
        if let Some(most) = most.filter(|most| self.used.saturating_add(need) > *most) {
            return Some(Lack::Quota { used: self.used, most, need });
        }
        let free = self.free.filter(|free| *free < need)?;
        Some(Lack::Disk { free, need })
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: u64| bytes.div_ceil(1_000_000);
        match *self {
            Self::Quota { used, most, need } => write!(
                f,
                "the node's directory takes {} MB, needs {} MB more and may take {} MB; remove something from it or raise node.disk_max and restart",
                mb(used),
                mb(need),
                mb(most)
            ),
            Self::Disk { free, need } => write!(
                f,
                "the disk has {} MB left and the node needs {} MB; free some",
                free / 1_000_000,
                mb(need)
            ),
        }
    }
}

/// Whether an error says that something is used up that may come back: room, file handles, memory. Anything else is a
/// broken disk.
pub fn is_scarce(error: &io::Error) -> bool {
    use io::ErrorKind::{OutOfMemory, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | OutOfMemory) || is_out_of_handles(error)
}

#[cfg(unix)]
fn is_out_of_handles(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(not(unix))]
fn is_out_of_handles(_: &io::Error) -> bool {
    false
}

#[cfg(unix)]
fn free(dir: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(dir).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
fn free(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::scratch::folder;

    #[test]
    fn everything_in_the_directory_is_counted_and_links_are_not_followed() {
        let dir = folder();
        let put = |name: &str, bytes: usize| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![0; bytes]).unwrap();
        };
        put("ledger-ab", 1_000);
        put("events.jsonl.old", 200);
        put("state/gen-1/agreed.f32", 4_000);
        put("state/gen-2/agreed.f32", 4_000);
        put("state/gen-2/peer.bin", 30);
        put("state/CURRENT", 7);
        put("model/model.safetensors", 5_000);
        #[cfg(unix)]
        std::os::unix::fs::symlink("/", dir.path().join("all")).unwrap();
        let space = Space::look(dir.path()).unwrap();
        assert_eq!((space.used, space.state), (14_237, 4_030));
        assert!(Space::look(&dir.path().join("absent")).is_err());
    }

    #[test]
    fn room_ends_where_the_quota_or_the_disk_does() {
        let space = Space { used: 600, state: 0, free: Some(500) };
        assert_eq!(space.lack(400, Some(1_000)), None);
        let quota = space.lack(401, Some(1_000)).unwrap();
        assert_eq!(quota, Lack::Quota { used: 600, most: 1_000, need: 401 });
        assert!(quota.to_string().contains("node.disk_max"), "{quota}");
        assert_eq!(space.lack(500, None), None);
        assert_eq!(space.lack(501, None), Some(Lack::Disk { free: 500, need: 501 }));
        assert_eq!(Space { free: None, ..space }.lack(u64::MAX, None), None);
        assert!(space.lack(u64::MAX, Some(u64::MAX - 1)).is_some(), "sums do not wrap");
    }

    #[test]
    fn the_next_state_is_as_large_as_the_last_one_or_as_the_model_makes_it() {
        let fresh = Space::default();
        assert_eq!(fresh.need(1_000), 20_000 + SLACK);
        assert_eq!(Space { state: 90_000, ..fresh }.need(1_000), 94_000 + SLACK);
    }

    #[test]
    fn what_may_come_back_is_told_from_a_broken_disk() {
        let of = |kind: io::ErrorKind| is_scarce(&io::Error::from(kind));
        assert!(of(io::ErrorKind::StorageFull) && of(io::ErrorKind::QuotaExceeded));
        assert!(!of(io::ErrorKind::Other) && !of(io::ErrorKind::ReadOnlyFilesystem));
        #[cfg(unix)]
        for (errno, is_so) in [(rustix::io::Errno::MFILE, true), (rustix::io::Errno::IO, false)] {
            assert_eq!(is_scarce(&io::Error::from_raw_os_error(errno.raw_os_error())), is_so, "{errno}");
        }
    }
}
