//! What the node writes down while it runs: events, metrics, evaluations, status.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use protocol::id::{OuterStep, PeerId};
use protocol::peer::event::Event;
use protocol::wire::announce::Announce;
use protocol::wire::offence::Offence;
use serde_json::json;

use crate::board::feed::Feed;
use crate::board::figures::running_mean;
use crate::board::history::ledger_line;
use crate::board::line::{MetricLine, TopologyLine};
use crate::board::now::Now;
use crate::control::order::Verb;
use crate::net::counters::Counts;
use crate::runtime::clock::seconds_since_1970;
use crate::runtime::worktime::WorkTime;
use crate::store::lines::{Lines, Metric};
use crate::store::status::{NodeStatus, PeerStatus};

/// Least time between two lines of `topology.jsonl`: they grow with the square of the peers.
const TOPOLOGY_EVERY: Duration = Duration::from_secs(5);

/// Figures the driver keeps for status and metrics.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Last training loss.
    pub loss: Option<f64>,
    /// Shards refused.
    pub rejected_shards: u64,
    /// Bytes of own updates as published.
    pub published_bytes: u64,
    /// What those updates would have been as plain f32.
    pub dense_bytes: u64,
    /// How much of its time the node computes.
    pub time: WorkTime,
    /// By how much each peer's update lowered the local loss, a mean in which what is newer counts more.
    pub affinity: BTreeMap<PeerId, f64>,
    /// Estimated consensus distance over the norm of the delta.
    pub consensus_relative: Option<f64>,
}

/// The node's records.
pub struct Notes {
    node: String,
    events: Lines,
    metrics: Lines,
    evaluations: Lines,
    topology: Lines,
    topology_at: Option<Instant>,
    inner_steps: u64,
    /// Whoever watches the node from the same program.
    feed: Option<Feed>,
    /// Where the dashboard is.
    pub dashboard: Option<String>,
    /// Figures for status.
    pub figures: Figures,
}

impl Notes {
    /// Opens the files in a node's directory.
    pub fn open(dir: &Path, node: &str, feed: Option<Feed>) -> io::Result<Self> {
        Ok(Self {
            node: node.to_owned(),
            events: Lines::open(&dir.join("events.jsonl"))?,
            metrics: Lines::open(&dir.join("metrics.jsonl"))?,
            evaluations: Lines::open(&dir.join("eval.jsonl"))?,
            topology: Lines::open(&dir.join("topology.jsonl"))?,
            topology_at: None,
            inner_steps: 0,
            feed,
            dashboard: None,
            figures: Figures::default(),
        })
    }

    /// Bounds each of the files, bytes.
    pub fn keep_within(&mut self, bytes_max: Option<u64>) {
        for lines in [&mut self.events, &mut self.metrics, &mut self.evaluations, &mut self.topology] {
            lines.keep_within(bytes_max);
        }
    }

    /// Adds nothing to any of the files while held, for want of room; who watches sees it all.
    pub fn hold(&mut self, is_held: bool) {
        for lines in [&mut self.events, &mut self.metrics, &mut self.evaluations, &mut self.topology] {
            lines.hold(is_held);
        }
    }

    /// Writes that there is no room on the disk and why, or that there is some again.
    pub fn room(&mut self, lack: Option<&str>) {
        self.line(match lack {
            Some(why) => json!({ "event": "no_room", "why": why }),
            None => json!({ "event": "room" }),
        });
    }

    /// Writes one number.
    pub fn metric(&mut self, outer: u32, name: &str, value: f64, tags: BTreeMap<&str, String>) {
        let t = seconds_since_1970();
        if let Some(feed) = &self.feed {
            let tags = tags.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
            let (node, name) = (self.node.clone(), name.to_owned());
            feed.metric(&MetricLine { node, outer, name, value: Some(value), tags });
        }
        self.metrics.put(&Metric { t, node: &self.node, step: self.inner_steps, outer, name, value, tags });
    }

    /// Writes how far apart the models are, now and then; whoever watches sees every one.
    pub fn topology(&mut self, line: &TopologyLine) {
        if self.topology_at.is_none_or(|at| at.elapsed() >= TOPOLOGY_EVERY) {
            self.topology_at = Some(Instant::now());
            self.topology.put(line);
        }
        if let Some(feed) = &self.feed {
            feed.topology(line);
        }
    }

    /// Shows a record of the ledger to whoever watches.
    pub fn ledger(&self, bytes: &[u8]) {
        if let Some(feed) = &self.feed
            && let Some(line) = ledger_line(bytes)
        {
            feed.ledger(line);
        }
    }

    /// Shows the present state to whoever watches.
    pub fn now(&self, status: NodeStatus, peers: Vec<PeerStatus>, traffic: Counts) {
        if let Some(feed) = &self.feed {
            feed.now(Now { status, peers, traffic, at: Instant::now() });
        }
    }

    /// Writes that a peer announced an update; only observers do, since others tell what they pulled.
    pub fn announced(&mut self, peer: PeerId, announce: &Announce) {
        let step = announce.step;
        self.line(json!({ "event": "announced", "peer": peer, "step": step, "stage": announce.stage }));
    }

    fn line(&mut self, happened: serde_json::Value) {
        let mut line = json!({ "t": seconds_since_1970(), "node": self.node });
        if let (Some(line), serde_json::Value::Object(happened)) = (line.as_object_mut(), happened) {
            line.extend(happened);
        }
        self.events.put(&line);
        if let Some(feed) = &self.feed {
            feed.event(&line);
        }
    }

    /// Writes an event, and the metrics that follow from it.
    pub fn event(&mut self, event: &Event) {
        self.line(serde_json::to_value(event).unwrap_or_default());
        match event {
            Event::Trained { step, inner_steps, dropped, samples, loss, seconds, encode_seconds } => {
                self.figures.time.worked(*encode_seconds);
                self.metric(step.0, "encode_seconds", *encode_seconds, BTreeMap::new());
                self.inner_steps += u64::from(*inner_steps);
                if *inner_steps > 0 {
                    self.figures.time.trained(*seconds);
                    self.figures.loss = Some(*loss);
                    self.metric(step.0, "loss", *loss, BTreeMap::new());
                    self.metric(step.0, "train_seconds", *seconds, BTreeMap::new());
                    self.metric(step.0, "samples", *samples as f64, BTreeMap::new());
                }
                if *dropped > 0 {
                    self.metric(step.0, "dropped_steps", f64::from(*dropped), BTreeMap::new());
                }
            }
            Event::Published { step, bytes, .. } => {
                self.figures.published_bytes += bytes;
                self.metric(step.0, "update_bytes", *bytes as f64, BTreeMap::new());
            }
            Event::Pulled { step, staleness, peer, .. } => {
                self.metric(
                    step.0,
                    "staleness",
                    f64::from(*staleness),
                    BTreeMap::from([("peer", peer.short())]),
                );
            }
            Event::Pulling { step, waited_seconds, .. } => {
                self.metric(step.0, "wait_seconds", *waited_seconds, BTreeMap::new());
            }
            Event::Mixed { step, peers, distance, pull_seconds, mix_seconds } => {
                self.metric(step.0, "mixed_peers", f64::from(*peers), BTreeMap::new());
                self.metric(step.0, "pulled_distance_relative", *distance, BTreeMap::new());
                self.metric(step.0, "pull_seconds", *pull_seconds, BTreeMap::new());
                self.metric(step.0, "mix_seconds", *mix_seconds, BTreeMap::new());
                if let Some(seconds) = self.figures.time.mixed(*mix_seconds, Instant::now()) {
                    self.metric(step.0, "outer_seconds", seconds, BTreeMap::new());
                }
            }
            Event::Evaluated { step, metric, score, loss, samples, seconds } => {
                self.figures.time.worked(*seconds);
                self.metric(step.0, "evaluate_seconds", *seconds, BTreeMap::new());
                self.metric(step.0, "score", f64::from(*score), BTreeMap::from([("metric", metric.clone())]));
                self.evaluations.put(&json!({
                    "t": seconds_since_1970(), "node": self.node, "outer": step, "metric": metric,
                    "score": score, "loss": loss, "samples": samples,
                }));
            }
            Event::Offence { offence, .. } => self.refused(*offence),
            // The peer pauses by itself then.
            Event::KeyInUseElsewhere { .. } => self.figures.time.interrupted(),
            _ => {}
        }
    }

    /// Writes down how much each peer's update would have helped.
    pub fn affinity(&mut self, step: OuterStep, found: &[(PeerId, f64)]) {
        for (peer, helped) in found {
            let before = self.figures.affinity.get(peer).copied();
            self.figures.affinity.insert(*peer, running_mean(before, *helped));
            self.metric(step.0, "affinity", *helped, BTreeMap::from([("peer", peer.short())]));
        }
    }

    /// Writes down what an operator said.
    pub fn order(&mut self, verb: &Verb) {
        self.line(json!({ "event": "order", "order": verb }));
    }

    /// Counts something that was refused.
    pub fn refused(&mut self, offence: Offence) {
        self.figures.rejected_shards += 1;
        self.metric(0, "rejected", 1.0, BTreeMap::from([("reason", offence.to_string())]));
    }
}
