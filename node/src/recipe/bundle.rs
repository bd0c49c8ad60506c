//! The folder that travels with a charter: the charter itself, the tokenizer, the base checkpoint, the probe set.
//!
//! Everything in it is named by hash in the charter, so a copy from any hand is as good as the original.

use std::path::{Path, PathBuf};

use protocol::crypto::hash::content_hash;
use protocol::id::Hash;
use protocol::wire::charter::{Genesis, SignedCharter};
use thiserror::Error;

use crate::config::charter_file::{self, CharterFileError};

/// The charter, terms and signatures.
pub const CHARTER: &str = "charter.toml";
/// The tokenizer.
pub const TOKENIZER: &str = "tokenizer.json";
/// The probe set.
pub const PROBE: &str = "probe.txt";
/// Folder of the base checkpoint, in Hugging Face layout.
pub const BASE: &str = "base";
/// Parameters of the base checkpoint.
pub const BASE_PARAMETERS: &str = "base/model.safetensors";
/// Architecture of the base checkpoint.
pub const BASE_CONFIG: &str = "base/config.json";

/// A folder that was checked against its charter.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The folder.
    pub dir: PathBuf,
    /// The charter.
    pub charter: SignedCharter,
}

/// A folder that cannot be used.
#[derive(Debug, Error)]
pub enum BundleError {
    /// The charter cannot be used.
    #[error(transparent)]
    Charter(#[from] CharterFileError),
    /// A file cannot be read or written.
    #[error("could not {what} {path}: {source}; it belongs beside the charter, get it from whoever gave you that", path = path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not the one the charter names.
    #[error("{path}: expected the file with hash {expected}, found one with hash {found}; copy it again from whoever gave you the charter", path = path.display())]
    OtherFile {
        /// Which.
        path: PathBuf,
        /// The hash in the charter.
        expected: Hash,
        /// The hash of the file.
        found: Hash,
    },
}

impl Bundle {
    /// Opens a folder, or the folder a charter file stands in, and checks every file the charter names.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let file = if path.is_dir() { path.join(CHARTER) } else { path.to_owned() };
        let dir =
            file.parent().filter(|p| !p.as_os_str().is_empty()).map_or_else(|| ".".into(), Path::to_owned);
        let charter = charter_file::open(&file)?;
        let model = &charter.charter().model;
        if let Some(expected) = model.tokenizer {
            check_hash(&dir.join(TOKENIZER), expected)?;
        }
        if let Some(expected) = charter.charter().exchange.probe {
            check_hash(&dir.join(PROBE), expected)?;
        }
        if let Genesis::Checkpoint { hash, .. } = &model.genesis {
            check_hash(&dir.join(BASE_PARAMETERS), *hash)?;
        }
        Ok(Self { dir, charter })
    }

    /// The probe set, where predictions travel.
    pub fn probe(&self) -> Option<PathBuf> {
        self.charter.charter().exchange.probe.map(|_| self.dir.join(PROBE))
    }

    /// The folder of the base checkpoint, where there is one.
    pub fn base(&self) -> Option<PathBuf> {
        matches!(self.charter.charter().model.genesis, Genesis::Checkpoint { .. })
            .then(|| self.dir.join(BASE))
    }
}

/// The hash of a file.
pub fn hash_file(path: &Path) -> Result<Hash, BundleError> {
    let bytes = std::fs::read(path).map_err(|source| BundleError::Io {
        what: "read",
        path: path.to_owned(),
        source,
    })?;
    Ok(content_hash(&bytes))
}

fn check_hash(path: &Path, expected: Hash) -> Result<(), BundleError> {
    let found = hash_file(path)?;
    if found == expected {
        Ok(())
    } else {
        Err(BundleError::OtherFile { path: path.to_owned(), expected, found })
    }
}
