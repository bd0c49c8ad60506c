//! Folders for tests that make thousands of files: in memory where the system has such a place, else on disk.
//!
//! These tests are about order and contents, not about the disk: a real one only makes them wait.

use tempfile::TempDir;

/// A new folder, removed when dropped.
pub(crate) fn folder() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a temporary folder can be made")
}
