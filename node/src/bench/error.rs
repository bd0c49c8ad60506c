//! What can go wrong in a benchmark.

use std::path::PathBuf;

use thiserror::Error;

use crate::config::charter_file::CharterFileError;
use crate::runtime::driver::DriverError;
use crate::runtime::setup::SetupError;
use crate::store::keys::KeyError;

/// A benchmark that gives no figures.
#[derive(Debug, Error)]
pub enum BenchError {
    /// A file or folder of the benchmark cannot be used.
    #[error("could not {what} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not hold what the benchmark needs.
    #[error("{path} cannot be used: expected {expected}, found {found}", path = path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A node could not be started.
    #[error("could not start node {index}: {source}")]
    Start {
        /// Which.
        index: usize,
        /// Why.
        source: std::io::Error,
    },
    /// A node ended too early.
    #[error("node {index} ended before it was told to; the end of its log:\n{tail}")]
    Ended {
        /// Which.
        index: usize,
        /// The last lines it logged.
        tail: String,
    },
    /// The nodes took too long.
    #[error(
        "{missing} of {nodes} nodes did not say `{word}` within {seconds} s; the end of the log of one:\n{tail}"
    )]
    Late {
        /// What was waited for.
        word: &'static str,
        /// Nodes that did not say it.
        missing: usize,
        /// All nodes.
        nodes: usize,
        /// How long was waited.
        seconds: u64,
        /// The last lines one of them logged.
        tail: String,
    },
    /// The terms of the benchmark do not make a charter.
    #[error("the charter of the benchmark does not hold: {0}; use fewer nodes or another codec")]
    Charter(String),
    /// The charter file cannot be used.
    #[error(transparent)]
    CharterFile(#[from] CharterFileError),
    /// A key cannot be made or read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The model of the training benchmark cannot be used.
    #[error("the model of the benchmark cannot be used: {0}")]
    Model(String),
    /// A node cannot start.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A node stopped.
    #[error(transparent)]
    Driver(#[from] DriverError),
}
