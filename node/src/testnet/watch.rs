//! Watching the nodes of a testnet through the files they write.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::store::status::{self, NodeStatus, STATUS_FILE};
use crate::telemetry::progress::Progress;
use crate::testnet::launch::{LaunchError, Process};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A swarm that did not get through.
#[derive(Debug, Error)]
pub enum WatchError {
    /// A node failed.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// A node did not say where it listens.
    #[error("{name} did not listen within {seconds} s; see {log}", log = log.display())]
    Silent {
        /// Which node.
        name: String,
        /// How long it was given.
        seconds: u64,
        /// Its log.
        log: PathBuf,
    },
}

/// Waits until a node says where it listens; answers a loopback TCP address with its peer id left out.
pub fn wait_for_address(process: &mut Process, dir: &Path, limit: Duration) -> Result<String, WatchError> {
    let begun = Instant::now();
    while begun.elapsed() < limit {
        process.has_ended()?;
        if let Ok(found) = status::read::<NodeStatus>(&dir.join(STATUS_FILE))
            && found.value.process == process.id()
            && let Some(address) = found.value.listening.iter().find(|a| a.contains("/tcp/"))
        {
            return Ok(address.clone());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let seconds = limit.as_secs();
    Err(WatchError::Silent { name: process.name.clone(), seconds, log: process.log.clone() })
}

/// Shows how far the nodes are until all have ended.
pub fn until_all_end(nodes: &mut [(Process, PathBuf)], steps: u32) -> Result<(), WatchError> {
    let mut progress = Progress::new("together", u64::from(steps));
    loop {
        let mut all_ended = true;
        for (process, _) in nodes.iter_mut() {
            all_ended &= process.has_ended()?;
        }
        let statuses: Vec<NodeStatus> = nodes
            .iter()
            .filter_map(|(_, dir)| status::read::<NodeStatus>(&dir.join(STATUS_FILE)).ok())
            .map(|found| found.value)
            .collect();
        let least = statuses.iter().map(|s| s.outer_step).min().unwrap_or(0);
        progress.set(u64::from(least), &line(&statuses, steps));
        if all_ended {
            progress.finish("all nodes are through");
            return Ok(());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// One line about all nodes: outer steps, mean loss, peers, mean score, bytes.
fn line(statuses: &[NodeStatus], steps: u32) -> String {
    let each: Vec<String> = statuses.iter().map(|s| format!("{} {}", s.name, s.outer_step)).collect();
    let mean =
        |values: Vec<f64>| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    let loss = mean(statuses.iter().filter_map(|s| s.loss_last).collect());
    let score = mean(statuses.iter().filter_map(|s| s.score_last).collect());
    let received: u64 = statuses.iter().map(|s| s.bytes_received).sum();
    let peers = statuses.iter().map(|s| s.peers).min().unwrap_or(0);
    let stage = statuses.first().map_or("", |s| s.stage.as_str());
    let mut text = format!("{stage}  outer/{steps}: {}  peers {peers}", each.join(" "));
    if let Some(loss) = loss {
        text += &format!("  loss {loss:.3}");
    }
    if let Some(score) = score {
        text += &format!("  own dev score {score:.3}");
    }
    text + &format!("  received {:.1} MB", received as f64 / 1e6)
}
