//! A folder for one benchmark, removed when it is over.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::bench::error::BenchError;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A new folder under the system's folder for temporary files.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the folder; it must not exist yet, so that nobody else's files are used or removed.
    pub fn new() -> Result<Self, BenchError> {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("starling-bench-{}-{count}", std::process::id()));
        std::fs::create_dir(&path).map_err(|source| BenchError::Io {
            what: "make the folder",
            path: path.clone(),
            source,
        })?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays in the folder for temporary files, where the system removes it some day.
        drop(std::fs::remove_dir_all(&self.path));
    }
}
