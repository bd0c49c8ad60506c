//! A node of a benchmark: links, says that it is ready, waits for the word, works, says how it went.
//!
//! It ends when its standard input does, so no node outlives the one that holds the clock. It keeps nothing on disk:
//! what comes after the result is no part of the work.

use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use protocol::peer::event::Event;
use protocol::peer::input::Command;
use tokio::sync::{mpsc, watch};

use crate::bench::error::BenchError;
use crate::bench::pictures::Pictures;
use crate::bench::vectors;
use crate::bench::words::{CHARTER_FILE, Memory, Order, Said, Task, Totals, WORK_FILE, Work};
use crate::config::charter_file;
use crate::net::command::NetCommand;
use crate::net::config::NetConfig;
use crate::net::handle::NetHandle;
use crate::runtime::control::{Control, Seen, Steering};
use crate::runtime::setup::{NodeParts, start};
use crate::store::keys::Identity;
use crate::telemetry::process::Usage;
use crate::trainer::averaging::Averaging;
use crate::trainer::learner::Learner;

/// Runs the node in `dir` until standard input ends or it has said its totals.
pub fn run(dir: &Path) -> Result<(), BenchError> {
    let work = read_work(dir)?;
    let identity = Identity::load(dir)?;
    let charter = charter_file::open(&dir.join("..").join(CHARTER_FILE))?;
    let learner: Box<dyn Learner> = match &work.task {
        Task::Average { parameters } => {
            let expected = vectors::expected(work.nodes, *parameters);
            Box::new(Averaging::new(vectors::vector(work.index, *parameters), expected))
        }
        Task::Train { data } => Box::new(Pictures::new(work.index, data.as_deref())?),
    };
    let mut net = NetConfig::new(*identity.seed(), charter.run());
    let listen = "/ip4/127.0.0.1/tcp/0".parse();
    net.listen = vec![listen.expect("this is an address")];
    let (control, steering) = Control::with_steering(true);
    let parts = NodeParts {
        dir: dir.to_owned(),
        identity,
        name: format!("node{}", work.index),
        charter,
        credential: None,
        files: Default::default(),
        learner,
        answering: None,
        model: format!("node{}", work.index),
        net,
        start_links: (0, Duration::ZERO),
        checkpoint_every: None,
        status_every: Duration::from_secs(1),
        records_max: None,
        disk_max: None,
        ends_when_drained: false,
        watched: None,
        control,
        journal: None,
    };
    let broken = |source| BenchError::Start { index: work.index, source };
    // As many threads as `starling run` gives the network.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(broken)?;
    let orders = listen_to_orders();
    let done = runtime.block_on(async {
        let driver = start(parts)?;
        let node = Node { others: work.nodes - 1, linked: BTreeSet::new(), net: driver.net(), go: None };
        let (_stop, stopped) = watch::channel(false);
        tokio::select! {
            ended = driver.run(stopped) => ended.map(drop).map_err(BenchError::from),
            said = node.follow(orders, steering) => said,
        }
    });
    // The trainer ends by itself; nothing it could still do is wanted.
    runtime.shutdown_background();
    done
}

fn read_work(dir: &Path) -> Result<Work, BenchError> {
    let path = dir.join(WORK_FILE);
    let text = std::fs::read_to_string(&path).map_err(|source| BenchError::Io {
        what: "read",
        path: path.clone(),
        source,
    })?;
    serde_json::from_str(&text).map_err(|e| BenchError::File {
        path,
        expected: "the work of a benchmark node, as `starling bench` writes it".to_owned(),
        found: e.to_string(),
    })
}

/// Lines of standard input; a thread of its own, because reading them blocks.
fn listen_to_orders() -> mpsc::UnboundedReceiver<Order> {
    let (send, orders) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match serde_json::from_str(&line) {
                Ok(order) => {
                    if send.send(order).is_err() {
                        return;
                    }
                }
                Err(error) => tracing::warn!(%error, "a line on standard input is no order"),
            }
        }
    });
    orders
}

fn say(said: &Said) -> Result<(), BenchError> {
    let line = serde_json::to_string(said).expect("plain words are JSON");
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{line}").and_then(|()| out.flush());
    written.map_err(|source| BenchError::Io { what: "write to", path: "standard output".into(), source })
}

fn memory() -> Memory {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kibibytes: Option<u64> = line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse().ok());
    Memory { rss_bytes: Usage::of_self().rss_bytes, pss_bytes: kibibytes.map(|k| k.saturating_mul(1024)) }
}

/// Where the clock and the counters stood at `Go`.
struct Begun {
    at: Instant,
    usage: Usage,
    sent: u64,
    received: u64,
}

struct Node {
    others: usize,
    linked: BTreeSet<protocol::id::PeerId>,
    net: NetHandle,
    go: Option<Begun>,
}

impl Node {
    async fn follow(
        mut self,
        mut orders: mpsc::UnboundedReceiver<Order>,
        mut steering: Steering,
    ) -> Result<(), BenchError> {
        if self.others == 0 {
            say(&Said::Ready(memory()))?;
        }
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Dial(addresses)) => {
                        let each = addresses.iter().filter_map(|a| a.parse().ok());
                        each.for_each(|a| self.net.send(NetCommand::Dial { peer: None, addresses: vec![a] }));
                    }
                    Some(Order::Go) => {
                        let counts = self.net.counters();
                        let (usage, at) = (Usage::of_self(), Instant::now());
                        self.go = Some(Begun { at, usage, sent: counts.wire_sent, received: counts.wire_received });
                        // A driver that ended says why on its own.
                        let _ = steering.commands.send(Command::Resume).await;
                    }
                    Some(Order::Tell) => return say(&Said::Totals(self.totals())),
                    None => return Ok(()),
                },
                Some(seen) = steering.seen.recv() => self.see(seen)?,
            }
        }
    }

    fn see(&mut self, seen: Seen) -> Result<(), BenchError> {
        let at = self.go.as_ref().map_or(0.0, |begun| begun.at.elapsed().as_secs_f64());
        let said = match seen {
            Seen::Listening(address) => Said::Listening(address),
            Seen::Happened(event) => match event {
                Event::LinkUp { peer } => {
                    let is_last = self.linked.insert(peer) && self.linked.len() == self.others;
                    if !is_last {
                        return Ok(());
                    }
                    Said::Ready(memory())
                }
                Event::LinkDown { peer } => {
                    tracing::warn!(peer = %peer.short(), "a link is down");
                    self.linked.remove(&peer);
                    return Ok(());
                }
                Event::Trained { step, seconds, .. } => Said::Trained { step: step.0, busy: seconds, at },
                Event::Pulling { step, .. } => Said::Pulling { step: step.0, at },
                Event::Mixed { step, peers, mix_seconds, .. } => {
                    Said::Mixed { step: step.0, peers, busy: mix_seconds, at }
                }
                Event::Evaluated { step, score, loss, .. } => {
                    Said::Judged { step: step.0, score: score.into(), loss: loss.into(), at }
                }
                Event::PullFailed { peer, why, .. } => {
                    tracing::warn!(peer = %peer.short(), why, "a question failed");
                    return Ok(());
                }
                _ => return Ok(()),
            },
        };
        say(&said)
    }

    fn totals(&self) -> Totals {
        let (counts, usage) = (self.net.counters(), Usage::of_self());
        let Some(begun) = &self.go else { return Totals::default() };
        Totals {
            sent: counts.wire_sent.saturating_sub(begun.sent),
            received: counts.wire_received.saturating_sub(begun.received),
            cpu_seconds: usage.cpu_seconds.zip(begun.usage.cpu_seconds).map(|(end, start)| end - start),
            rss_peak_bytes: usage.rss_peak_bytes,
        }
    }
}
