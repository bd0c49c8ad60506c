//! The nodes of a benchmark as child processes, and the clock they run against.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use protocol::crypto::keys::Keypair;

use crate::bench::error::BenchError;
use crate::bench::scratch::Scratch;
use crate::bench::terms::{Shape, found};
use crate::bench::words::{CHARTER_FILE, Memory, Order, Said, Task, Totals, WORK_FILE, Work};
use crate::store::keys::Identity;

/// Longest time until every node is linked to every other.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Longest time from `Go` to the end.
const DONE_WITHIN: Duration = Duration::from_secs(1_800);
/// How long a node may take to say its totals.
const TOTALS_WITHIN: Duration = Duration::from_secs(60);

/// Something a node said.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// Which node.
    pub node: usize,
    /// What.
    pub said: Said,
    /// When its line was read.
    pub at: Instant,
}

/// Linked nodes that wait for the word.
pub struct Fleet {
    nodes: Vec<Node>,
    heard: Receiver<(usize, Option<(Said, Instant)>)>,
    /// Memory of every node when it was linked to all others.
    pub ready: Vec<Memory>,
    /// Removed after the nodes have ended: fields are dropped in order.
    _scratch: Scratch,
}

struct Node {
    child: Child,
    orders: ChildStdin,
    log: PathBuf,
}

impl Drop for Node {
    /// No node outlives the benchmark. It has nothing to save.
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Fleet {
    /// Makes keys, charter and folders, starts `count` nodes and links each to all others.
    pub fn start(count: usize, shape: &Shape, task: &Task) -> Result<Self, BenchError> {
        let scratch = Scratch::new()?;
        let folders: Vec<PathBuf> = (0..count).map(|i| scratch.path().join(format!("node{i}"))).collect();
        prepare(scratch.path(), &folders, shape, task)?;
        let (say, heard) = channel();
        let mut nodes = Vec::with_capacity(count);
        for (index, folder) in folders.iter().enumerate() {
            nodes.push(Node::start(index, folder, count, say.clone())?);
        }
        let mut fleet = Self { nodes, heard, ready: Vec::new(), _scratch: scratch };
        let mut addresses = vec![String::new(); count];
        fleet.collect("listening", READY_WITHIN, |heard| match heard.said {
            Said::Listening(address) => {
                addresses[heard.node] = address;
                true
            }
            _ => false,
        })?;
        // Each pair is dialled from one side only, so that no two connections cross.
        for index in 1..count {
            fleet.order(index, &Order::Dial(addresses[..index].to_vec()))?;
        }
        let mut ready = vec![Memory::default(); count];
        fleet.collect("ready", READY_WITHIN, |heard| match heard.said {
            Said::Ready(memory) => {
                ready[heard.node] = memory;
                true
            }
            _ => false,
        })?;
        fleet.ready = ready;
        Ok(fleet)
    }

    /// Gives the word and listens until every node has said what `is_last` waits for; answers the moment of the word
    /// and everything said.
    pub fn go(&mut self, is_last: impl Fn(&Said) -> bool) -> Result<(Instant, Vec<Heard>), BenchError> {
        let begun = Instant::now();
        for index in 0..self.nodes.len() {
            self.order(index, &Order::Go)?;
        }
        let mut all = Vec::new();
        self.collect("done", DONE_WITHIN, |heard| {
            let is_done = is_last(&heard.said);
            all.push(heard);
            is_done
        })?;
        Ok((begun, all))
    }

    /// Asks every node for its totals; the nodes end.
    pub fn totals(mut self) -> Result<Vec<Totals>, BenchError> {
        for index in 0..self.nodes.len() {
            self.order(index, &Order::Tell)?;
        }
        let mut totals = vec![Totals::default(); self.nodes.len()];
        self.collect("totals", TOTALS_WITHIN, |heard| match heard.said {
            Said::Totals(own) => {
                totals[heard.node] = own;
                true
            }
            _ => false,
        })?;
        Ok(totals)
    }

    fn order(&mut self, index: usize, order: &Order) -> Result<(), BenchError> {
        let line = serde_json::to_string(order).expect("plain words are JSON");
        let node = &mut self.nodes[index];
        let written = writeln!(node.orders, "{line}").and_then(|()| node.orders.flush());
        written.map_err(|_| BenchError::Ended { index, tail: tail(&node.log) })
    }

    /// Listens until `is_last` was true once for every node.
    fn collect(
        &self,
        word: &'static str,
        within: Duration,
        mut is_last: impl FnMut(Heard) -> bool,
    ) -> Result<(), BenchError> {
        let until = Instant::now() + within;
        let mut done = vec![false; self.nodes.len()];
        while done.contains(&false) {
            let left = until.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok((node, Some((said, at)))) => done[node] |= is_last(Heard { node, said, at }),
                Ok((node, None)) if done[node] => {}
                Ok((node, None)) => {
                    return Err(BenchError::Ended { index: node, tail: tail(&self.nodes[node].log) });
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let missing = done.iter().filter(|is_done| !**is_done).count();
                    let late = done.iter().position(|is_done| !is_done).unwrap_or(0);
                    return Err(BenchError::Late {
                        word,
                        missing,
                        nodes: done.len(),
                        seconds: within.as_secs(),
                        tail: tail(&self.nodes[late].log),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Keys, charter and work of every node.
fn prepare(folder: &Path, folders: &[PathBuf], shape: &Shape, task: &Task) -> Result<(), BenchError> {
    let mut identities = Vec::with_capacity(folders.len());
    for (index, dir) in folders.iter().enumerate() {
        let identity = Identity::generate().map_err(|source| BenchError::Io {
            what: "make a key for",
            path: dir.clone(),
            source,
        })?;
        identity.create(dir)?;
        let work = Work { index, nodes: folders.len(), task: task.clone() };
        let path = dir.join(WORK_FILE);
        let text = serde_json::to_string(&work).expect("plain words are JSON");
        std::fs::write(&path, text).map_err(|source| BenchError::Io { what: "write", path, source })?;
        identities.push(identity);
    }
    let peers: Vec<_> = identities.iter().map(Identity::peer).collect();
    let founder = Keypair::from_secret(*identities[0].seed());
    let (charter, _) = found(&peers, &founder, shape)?;
    charter.write(&folder.join(CHARTER_FILE))?;
    Ok(())
}

impl Node {
    fn start(
        index: usize,
        folder: &Path,
        count: usize,
        say: Sender<(usize, Option<(Said, Instant)>)>,
    ) -> Result<Self, BenchError> {
        let fail = |source| BenchError::Start { index, source };
        let log = folder.join("node.log");
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut child = Command::new(std::env::current_exe().map_err(fail)?)
            .args(["bench", "node", "--dir"])
            .arg(folder)
            // The nodes share the machine; more threads than cores would only get in each other's way.
            .env("RAYON_NUM_THREADS", (cores / count).max(1).to_string())
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).map_err(fail)?)
            .spawn()
            .map_err(fail)?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (orders, said) = pipes.expect("both were asked for and not taken before");
        std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                let at = Instant::now();
                // Only our own words are on that pipe; anything else is for people and not for us.
                if let Ok(word) = serde_json::from_str(&line)
                    && say.send((index, Some((word, at)))).is_err()
                {
                    return;
                }
            }
            // When nobody listens any more the benchmark is over.
            let _ = say.send((index, None));
        });
        Ok(Self { child, orders, log })
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
