//! What a running node tells about itself in files of its directory: `status.json` and `peers.json`.
//!
//! They exist so that `starling status` needs no open port. The node replaces them whole about every second; a reader
//! learns how old they are. Field names are a contract with scripts: shares are fractions, sizes bytes, times seconds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::store::atomic::{self, Durability};
use crate::store::disk::{RealDisk, read_capped};

/// Name of the status file.
pub const STATUS_FILE: &str = "status.json";
/// Name of the file of known peers.
pub const PEERS_FILE: &str = "peers.json";
/// A status older than this is called stale; it is replaced about every second.
pub const STALE_AFTER: Duration = Duration::from_secs(10);
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A node at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// The node's public key, hexadecimal.
    pub peer_id: String,
    /// Name of the node.
    pub name: String,
    /// Who runs it.
    pub organization: String,
    /// The run, hexadecimal; empty before a charter is loaded.
    pub run: String,
    /// Its architecture, its number of parameters, and why it trains this one.
    pub model: String,
    /// Stage of the run: train, settle, ...
    pub stage: String,
    /// Outer step.
    pub outer_step: u32,
    /// Outer steps planned; 0 when open-ended.
    pub outer_steps: u32,
    /// Peers with a link.
    pub peers: u32,
    /// Last value of the headline metric, a fraction.
    pub score_last: Option<f64>,
    /// Last training loss.
    pub loss_last: Option<f64>,
    /// Bytes sent on the wire.
    pub bytes_sent: u64,
    /// Bytes received on the wire.
    pub bytes_received: u64,
    /// Estimated consensus distance over the norm of the weights.
    pub consensus_distance_relative: Option<f64>,
    /// Share of the time of complete outer steps, since the node started, that it spent in inner training.
    pub training_time_ratio: Option<f64>,
    /// The same in training, encoding, mixing or evaluating.
    pub busy_time_ratio: Option<f64>,
    /// What the node does now, one word: starting, training, waiting, settling, done, stopping ...
    pub state: String,
    /// What keeps it from going on by itself, and what to do; `None` when nothing does.
    pub trouble: Option<String>,
    /// Bytes of all files in its directory, as last looked at.
    pub disk_used_bytes: u64,
    /// Bytes they may take; `None` for no bound.
    pub disk_max_bytes: Option<u64>,
    /// Addresses the node listens on.
    pub listening: Vec<String>,
    /// Shards refused so far.
    pub rejected_shards: u64,
    /// Process id.
    pub process: u32,
    /// Seconds since the node started.
    pub uptime_seconds: f64,
    /// Where its dashboard is, when it serves one.
    pub dashboard: Option<String>,
}

/// A peer as this node knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerStatus {
    /// Public key, hexadecimal.
    pub peer_id: String,
    /// Name it gave itself.
    pub name: String,
    /// Organization of its certificate.
    pub organization: String,
    /// Whether there is a link now.
    pub is_linked: bool,
    /// Whether it is banned.
    pub is_banned: bool,
    /// Address of the link.
    pub address: String,
    /// Round-trip time, milliseconds.
    pub rtt_ms: Option<f64>,
    /// Outer step of its last manifest.
    pub outer_step: Option<u32>,
    /// What its model scored on its own validation data, a fraction.
    pub score: Option<f64>,
    /// How it behaves: 100 is a clean record, below 50 it is not drawn.
    pub behaviour: f64,
    /// By how much its updates, each alone, lowered this node's loss on its own validation data: a mean in which what is
    /// newer counts more.
    #[serde(default)]
    pub affinity: Option<f64>,
    /// What it is doing.
    pub stage: String,
    /// Bytes that came from it in answers since this node started, good or bad.
    pub bytes_pulled: u64,
    /// Bytes handed to the network as answers to it since this node started.
    pub bytes_served: u64,
}

/// A file's contents and how old they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Aged<T> {
    /// What it says.
    pub value: T,
    /// Time since it was written; zero when the clock went backwards.
    pub age: Duration,
}

/// Why a status file cannot be read.
#[derive(Debug, Error)]
pub enum StatusError {
    /// There is none.
    #[error("there is no {path}: no node has run in this directory yet; start it with `starling run`", path = .0.display())]
    Absent(PathBuf),
    /// The system refused.
    #[error("could not read {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what this version writes.
    #[error("{path} is not understood: {reason}; it was written by another version of this program", path = path.display())]
    Contents {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl<T> Aged<T> {
    /// Whether a running node would have replaced it by now.
    pub fn is_stale(&self) -> bool {
        self.age > STALE_AFTER
    }
}

/// Replaces the file in one step, without a sync: after a power loss a running node writes it again.
pub fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(value)?;
    atomic::replace(&RealDisk, path, &text, Durability::Process)
}

/// Reads a file that [`write`] made.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Aged<T>, StatusError> {
    let failed = |source| StatusError::Io { path: path.into(), source };
    let bytes = match read_capped(&RealDisk, path, FILE_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StatusError::Absent(path.into()));
        }
        other => other.map_err(failed)?,
    };
    let written = fs::metadata(path).and_then(|m| m.modified()).map_err(failed)?;
    let value = serde_json::from_slice(&bytes)
        .map_err(|e| StatusError::Contents { path: path.into(), reason: e.to_string() })?;
    Ok(Aged { value, age: SystemTime::now().duration_since(written).unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_back_with_its_age() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(STATUS_FILE);
        assert!(matches!(read::<NodeStatus>(&path), Err(StatusError::Absent(_))));
        let status = NodeStatus { name: "ada".into(), outer_step: 7, ..NodeStatus::default() };
        write(&path, &status).unwrap();
        let found = read::<NodeStatus>(&path).unwrap();
        assert_eq!(found.value, status);
        assert!(!found.is_stale());
        let old = SystemTime::now() - Duration::from_secs(60);
        fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        assert!(read::<NodeStatus>(&path).unwrap().is_stale());
        fs::write(&path, "{\"outer_step\":").unwrap();
        assert!(matches!(read::<NodeStatus>(&path), Err(StatusError::Contents { .. })));
    }
}
