//! What the one who holds the clock and the nodes say to each other: one JSON object a line, over standard input and
//! output.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// File in a node's folder that says what it is to do.
pub const WORK_FILE: &str = "work.json";
/// The charter, in the folder that holds the nodes' folders.
pub const CHARTER_FILE: &str = "charter.toml";

/// What a node is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Its place among the nodes, from 0.
    pub index: usize,
    /// All nodes.
    pub nodes: usize,
    /// The benchmark.
    pub task: Task,
}

/// A benchmark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Average one vector.
    Average {
        /// Its length.
        parameters: usize,
    },
    /// Train the image classifier.
    Train {
        /// Folder with the published files; they are generated when there is none.
        data: Option<PathBuf>,
    },
}

/// Said to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Link to these addresses.
    Dial(Vec<String>),
    /// Begin; the clock runs.
    Go,
    /// Say the totals, then end.
    Tell,
}

/// Said by a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// It can be reached here.
    Listening(String),
    /// It is linked to all others.
    Ready(Memory),
    /// It has trained, at so many seconds after `Go`.
    Trained {
        /// Outer step.
        step: u32,
        /// Seconds of inner training.
        busy: f64,
        /// Seconds since `Go`.
        at: f64,
    },
    /// Everybody's update was announced and it began to pull.
    Pulling {
        /// Outer step.
        step: u32,
        /// Seconds since `Go`.
        at: f64,
    },
    /// It holds the result of an outer step.
    Mixed {
        /// Outer step.
        step: u32,
        /// Peers that had a part in it.
        peers: u32,
        /// Seconds of mixing.
        busy: f64,
        /// Seconds since `Go`.
        at: f64,
    },
    /// It judged the result.
    Judged {
        /// Outer step.
        step: u32,
        /// Accuracy, or relative error.
        score: f64,
        /// Mean loss, or largest error.
        loss: f64,
        /// Seconds since `Go`.
        at: f64,
    },
    /// Its totals since `Go`.
    Totals(Totals),
}

/// Memory of a node at one moment; `None` where the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Resident, bytes.
    pub rss_bytes: Option<u64>,
    /// Resident with shared pages divided by the number of processes that share them, bytes.
    pub pss_bytes: Option<u64>,
}

/// What a node used from `Go` to `Tell`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Bytes written to sockets.
    pub sent: u64,
    /// Bytes read from sockets.
    pub received: u64,
    /// Processor seconds in user and system mode, all threads.
    pub cpu_seconds: Option<f64>,
    /// Largest resident memory of its life, bytes.
    pub rss_peak_bytes: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_one_line_and_reads_back() {
        let orders = [Order::Dial(vec!["/ip4/127.0.0.1/tcp/1".to_owned()]), Order::Go, Order::Tell];
        for order in orders {
            let line = serde_json::to_string(&order).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Order>(&line).unwrap(), order);
        }
        let said = Said::Judged { step: 3, score: 0.791, loss: 0.5, at: 1.25 };
        let line = serde_json::to_string(&said).unwrap();
        assert_eq!(serde_json::from_str::<Said>(&line).unwrap(), said);
    }
}
