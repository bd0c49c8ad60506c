//! What the node writes down while it runs: events, metrics, evaluations, status.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use protocol::peer::event::Event;
use protocol::wire::offence::Offence;
use serde_json::json;

use crate::control::order::Verb;
use crate::runtime::clock::seconds_since_1970;
use crate::store::lines::{Lines, Metric};

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
    /// Seconds of training.
    pub busy_seconds: f64,
    /// Estimated consensus distance over the norm of the delta.
    pub consensus_relative: Option<f64>,
}

/// The node's records.
pub struct Notes {
    node: String,
    events: Lines,
    metrics: Lines,
    evaluations: Lines,
    inner_steps: u64,
    /// Figures for status.
    pub figures: Figures,
}

impl Notes {
    /// Opens the files in a node's directory.
    pub fn open(dir: &Path, node: &str) -> io::Result<Self> {
        Ok(Self {
            node: node.to_owned(),
            events: Lines::open(&dir.join("events.jsonl"))?,
            metrics: Lines::open(&dir.join("metrics.jsonl"))?,
            evaluations: Lines::open(&dir.join("eval.jsonl"))?,
            inner_steps: 0,
            figures: Figures::default(),
        })
    }

    /// Writes one number.
    pub fn metric(&mut self, outer: u32, name: &str, value: f64, tags: BTreeMap<&str, String>) {
        let t = seconds_since_1970();
        self.metrics.put(&Metric { t, node: &self.node, step: self.inner_steps, outer, name, value, tags });
    }

    /// Writes an event, and the metrics that follow from it.
    pub fn event(&mut self, event: &Event) {
        let mut line = json!({ "t": seconds_since_1970(), "node": self.node });
        if let (Some(line), Ok(serde_json::Value::Object(event))) =
            (line.as_object_mut(), serde_json::to_value(event))
        {
            line.extend(event);
        }
        self.events.put(&line);
        match event {
            Event::Trained { step, inner_steps, dropped, samples, loss, seconds } => {
                self.inner_steps += u64::from(*inner_steps);
                self.figures.busy_seconds += seconds;
                if *inner_steps > 0 {
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
            }
            Event::Evaluated { step, metric, score, loss, samples } => {
                self.metric(step.0, "score", f64::from(*score), BTreeMap::from([("metric", metric.clone())]));
                self.evaluations.put(&json!({
                    "t": seconds_since_1970(), "node": self.node, "outer": step, "metric": metric,
                    "score": score, "loss": loss, "samples": samples,
                }));
            }
            Event::Offence { offence, .. } => self.refused(*offence),
            _ => {}
        }
    }

    /// Writes down what an operator said.
    pub fn order(&mut self, verb: &Verb) {
        self.events.put(&json!({
            "t": seconds_since_1970(), "node": self.node, "event": "order", "order": verb,
        }));
    }

    /// Counts something that was refused.
    pub fn refused(&mut self, offence: Offence) {
        self.figures.rejected_shards += 1;
        self.metric(0, "rejected", 1.0, BTreeMap::from([("reason", offence.to_string())]));
    }
}
