//! What a testnet found out, as data: the figures of every node, the comparison, and curves over outer steps.
//!
//! It exists so that the text, the page and `--format json` show the same measured numbers. It deliberately measures
//! nothing itself: it holds what was measured and reads the nodes' `metrics.jsonl`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use model::eval::report::Report;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Metrics that are read; the others stay in the file.
pub const READ: [&str; 6] =
    ["loss", "score", "consensus_distance_relative", "staleness", "update_bytes", "train_seconds"];

/// The one metric with many values per outer step: one for each update that was pulled.
const STALENESS: &str = "staleness";

/// Everything a finished testnet has to tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Seed of data, split, genesis and order.
    pub seed: u64,
    /// Name of the recipe.
    pub recipe: String,
    /// What the scores are: `f1`, `accuracy`.
    pub metric: String,
    /// The data in one line.
    pub data: String,
    /// The model in one line.
    pub model: String,
    /// The nodes, in the order of the recipe.
    pub nodes: Vec<NodeOutcome>,
    /// Score of one machine trained on the data of all nodes, a fraction; absent where it was not trained.
    pub score_pooled: Option<f64>,
    /// Root mean square distance of the nodes' parameters from their mean over the norm of that mean, a fraction; absent
    /// where architectures differ.
    pub consensus_distance_relative: Option<f64>,
    /// Bytes of the published updates as dense `f32` over their bytes as sent.
    pub compression: f64,
    /// What travelled in place of parameters; absent where parameters did.
    pub traded: Option<Traded>,
    /// Shards and messages refused, all nodes together.
    pub rejected_shards: u64,
    /// The whole testnet, comparisons included, seconds.
    pub wall_s: f64,
    /// Folder of the report, the records and the model.
    pub report_dir: String,
    /// Scores by label of the model trained together; absent where it was not evaluated by label.
    pub table: Option<Report>,
    /// Curves of all nodes.
    pub series: Vec<Series>,
}

/// Predictions that travelled in place of parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Traded {
    /// Bytes of all published updates, manifests included.
    pub bytes: u64,
    /// Bytes that as many updates of each node's own parameters would have had in the codec `int8`, without manifests.
    pub parameter_bytes: u64,
}

/// One node's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeOutcome {
    /// Its name.
    pub name: String,
    /// Who runs it.
    pub organization: String,
    /// Its architecture's name, where the charter has several.
    pub variant: Option<String>,
    /// Parameters of its model.
    pub parameters: u64,
    /// Training examples it holds.
    pub samples: u64,
    /// Outer steps it went through.
    pub outer_steps: u32,
    /// Last training loss; absent where it never trained.
    pub loss: Option<f64>,
    /// Score when trained on its own data only, a fraction; absent where that was not trained.
    pub score_alone: Option<f64>,
    /// Score of its model of the swarm, a fraction.
    pub score_together: f64,
    /// Sent over the network, bytes.
    pub bytes_sent: u64,
    /// Received over the network, bytes.
    pub bytes_received: u64,
    /// 95th percentile of the age of the updates it pulled, outer steps.
    pub staleness_p95: u32,
    /// Share of the time of its outer steps in which it trained; absent before the first complete one.
    pub training_time_ratio: Option<f64>,
    /// Share of that time in which it trained or mixed.
    pub busy_time_ratio: Option<f64>,
    /// Time spent on inner steps, seconds.
    pub busy_seconds: f64,
    /// Shards and messages it refused.
    pub rejected: u64,
}

/// One metric of one node over outer steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The node.
    pub node: String,
    /// One of [`READ`].
    pub name: String,
    /// Outer step and value, by rising outer step; finite.
    pub points: Vec<(f64, f64)>,
}

/// What is read of a line of `metrics.jsonl`; a value that was not finite is `null` there.
#[derive(Deserialize)]
struct MetricLine {
    node: String,
    outer: u32,
    name: String,
    value: Option<f64>,
}

impl NodeOutcome {
    /// Score together minus score alone; `None` where the node was not trained alone.
    pub fn gain(&self) -> Option<f64> {
        self.score_alone.map(|alone| self.score_together - alone)
    }
}

impl Outcome {
    /// The fields that scripts rely on (`starling testnet --format json`): scores are fractions, sizes bytes, times
    /// seconds. A figure that is not finite or was not measured is `null`.
    pub fn json(&self) -> Value {
        let nodes: Vec<Value> = self.nodes.iter().map(NodeOutcome::json).collect();
        json!({
            "seed": self.seed,
            "recipe": self.recipe,
            "metric": self.metric,
            "nodes": nodes,
            "score_pooled": self.score_pooled,
            "consensus_distance_relative": self.consensus_distance_relative,
            "compression": self.compression,
            "traded": self.traded,
            "rejected_shards": self.rejected_shards,
            "wall_s": self.wall_s,
            "report_dir": self.report_dir,
        })
    }

    /// The curves of one metric, in the order of the nodes.
    pub fn curves(&self, name: &str) -> Vec<&Series> {
        let mut found: Vec<&Series> =
            self.series.iter().filter(|s| s.name == name && !s.points.is_empty()).collect();
        found.sort_by_key(|s| self.nodes.iter().position(|n| n.name == s.node).unwrap_or(usize::MAX));
        found
    }

    /// The metric as people write it: `F1` for `f1`.
    pub fn metric_label(&self) -> String {
        match self.metric.as_str() {
            "f1" => "F1".to_owned(),
            other => other.replace('_', " "),
        }
    }
}

impl NodeOutcome {
    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "organization": self.organization,
            "variant": self.variant,
            "parameters": self.parameters,
            "samples": self.samples,
            "score_alone": self.score_alone,
            "score_together": self.score_together,
            "bytes_sent": self.bytes_sent,
            "bytes_received": self.bytes_received,
            "staleness_p95": self.staleness_p95,
            "training_time_ratio": self.training_time_ratio,
            "busy_time_ratio": self.busy_time_ratio,
            "outer_steps": self.outer_steps,
        })
    }
}

impl Series {
    /// Reads the curves of a `metrics.jsonl`, one per node and metric of [`READ`], sorted by node and metric.
    ///
    /// Half a line, as a crash leaves it, is passed over. A node that resumed goes through some outer steps again: the
    /// later value stands, except for staleness, where every pulled update counts.
    pub fn read_metrics(path: &Path) -> io::Result<Vec<Self>> {
        let mut curves: BTreeMap<(String, String), Vec<(u32, f64)>> = BTreeMap::new();
        each_metric(path, |line| {
            if let Some(value) = line.value.filter(|v| v.is_finite())
                && READ.contains(&line.name.as_str())
            {
                curves.entry((line.node, line.name)).or_default().push((line.outer, value));
            }
        })?;
        let series = curves.into_iter().map(|((node, name), mut points)| {
            points.sort_by_key(|(outer, _)| *outer);
            if name != STALENESS {
                // `dedup_by` keeps the first of equals, so the last one is wanted from behind.
                points.reverse();
                points.dedup_by_key(|(outer, _)| *outer);
                points.reverse();
            }
            Self { node, name, points: points.into_iter().map(|(outer, v)| (f64::from(outer), v)).collect() }
        });
        Ok(series.collect())
    }
}

/// The 95th percentile (nearest rank) of the staleness in a `metrics.jsonl`, outer steps; 0 where nothing was pulled.
pub fn staleness_p95(path: &Path) -> io::Result<u32> {
    let mut ages: Vec<u32> = Vec::new();
    each_metric(path, |line| {
        if line.name == STALENESS
            && let Some(age) = line.value.filter(|v| *v >= 0.0)
        {
            ages.push(age as u32);
        }
    })?;
    ages.sort_unstable();
    let rank = (ages.len() * 95).div_ceil(100);
    Ok(rank.checked_sub(1).map_or(0, |last| ages[last]))
}

/// Hands over every whole line of a file of metrics, in order.
fn each_metric(path: &Path, mut take: impl FnMut(MetricLine)) -> io::Result<()> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        if let Ok(metric) = serde_json::from_slice(&line) {
            take(metric);
        }
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use model::eval::report::Counts;

    use super::*;

    /// An outcome with hostile names in it.
    pub(crate) fn sample() -> Outcome {
        let counts = [
            ("LOC".to_owned(), Counts { truth: 200, predicted: 190, hit: 171 }),
            ("<PER>".to_owned(), Counts { truth: 100, predicted: 120, hit: 80 }),
        ];
        let node = |name: &str, organization: &str, alone, together| NodeOutcome {
            name: name.to_owned(),
            organization: organization.to_owned(),
            variant: None,
            parameters: 1_067_145,
            samples: 1200,
            outer_steps: 24,
            loss: Some(0.1116),
            score_alone: alone,
            score_together: together,
            bytes_sent: 6_100_000,
            bytes_received: 5_960_000,
            staleness_p95: 1,
            training_time_ratio: Some(0.79),
            busy_time_ratio: Some(0.82),
            busy_seconds: 41.6,
            rejected: 0,
        };
        let curve = |node: &str, name: &str, from: f64, to: f64| Series {
            node: node.to_owned(),
            name: name.to_owned(),
            points: (1..=24u32)
                .map(|k| (f64::from(k), to + (from - to) * (-f64::from(k) / 6.0).exp()))
                // Thousand-and-twenty-fourths are exact in decimal too, so they survive JSON to the last bit.
                .map(|(k, value)| (k, (value * 1024.0).round() / 1024.0))
                .collect(),
        };
        Outcome {
            seed: 7,
            recipe: "ner".into(),
            metric: "f1".into(),
            data: "built-in newswire, 2 organizations, split by topic (Dirichlet 0.3, seed 7)".into(),
            model: "encoder 4x128, 1.1 M parameters, device cpu".into(),
            nodes: vec![
                node("ada", "Ada Press", Some(0.631), 0.842),
                node("eve\u{1b}[31m<b>\n", "Eve & \"Sons\"", None, 0.8395),
            ],
            score_pooled: Some(0.851),
            consensus_distance_relative: Some(0.0042),
            compression: 3.88,
            traded: None,
            rejected_shards: 0,
            wall_s: 192.4,
            report_dir: "runs/testnet-7".into(),
            table: Some(Report::new("entity F1 (micro)", &counts, true, 0.95, 400)),
            series: vec![
                curve("eve\u{1b}[31m<b>\n", "loss", 2.6, 0.12),
                curve("ada", "loss", 2.4, 0.1),
                curve("ada", "score", 0.0, 0.84),
                curve("ada", "consensus_distance_relative", 0.3, 0.02),
            ],
        }
    }

    fn write(text: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn line(node: &str, outer: u32, name: &str, value: &str) -> String {
        format!(
            r#"{{"t":1.5,"node":"{node}","step":9,"outer":{outer},"name":"{name}","value":{value},"tags":{{"a":"b"}}}}"#
        ) + "\n"
    }

    #[test]
    fn the_json_has_the_promised_fields_and_no_others() {
        let json = sample().json();
        let keys = |value: &Value| {
            let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys.join(" ")
        };
        assert_eq!(
            keys(&json),
            "compression consensus_distance_relative metric nodes recipe rejected_shards report_dir score_pooled seed traded wall_s"
        );
        assert_eq!(
            keys(&json["nodes"][0]),
            "busy_time_ratio bytes_received bytes_sent name organization outer_steps parameters samples score_alone score_together staleness_p95 training_time_ratio variant"
        );
        assert_eq!(json["nodes"][0]["score_alone"], 0.631);
        assert!(json["nodes"][1]["score_alone"].is_null());
        assert_eq!(json["nodes"][0]["bytes_received"], 5_960_000);
    }

    #[test]
    fn an_outcome_survives_being_written_and_read() {
        let outcome = sample();
        let text = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), outcome);
    }

    #[test]
    fn curves_are_read_by_node_and_metric_and_a_resumed_step_counts_once() {
        let mut text = String::new();
        text += &line("ada", 1, "loss", "2.5");
        text += &line("ada", 2, "loss", "2.0");
        text += "{\"t\":1.5,\"node\":\"ada\",\"st\n"; // torn by a crash, closed on resuming
        text += &line("ada", 2, "loss", "1.75");
        text += &line("ada", 3, "loss", "null");
        text += &line("ada", 3, "pull_seconds", "1.0");
        text += &line("bela", 1, "train_seconds", "2.5");
        text += &line("bela", 1, "score", "0.5");
        text += &line("ada", 1, "staleness", "0");
        text += &line("ada", 1, "staleness", "2");
        text += line("ada", 4, "loss", "1.0").trim_end().strip_suffix('}').unwrap();
        let found = Series::read_metrics(write(text.as_bytes()).path()).unwrap();
        let series = |node: &str, name: &str, points: &[(f64, f64)]| Series {
            node: node.into(),
            name: name.into(),
            points: points.to_vec(),
        };
        assert_eq!(
            found,
            [
                series("ada", "loss", &[(1.0, 2.5), (2.0, 1.75)]),
                series("ada", "staleness", &[(1.0, 0.0), (1.0, 2.0)]),
                series("bela", "score", &[(1.0, 0.5)]),
                series("bela", "train_seconds", &[(1.0, 2.5)]),
            ]
        );
    }

    #[test]
    fn the_95th_percentile_is_the_nearest_rank() {
        let ages = |ages: &[u32]| {
            let text: String =
                ages.iter().map(|age| line("ada", 1, "staleness", &format!("{age}.0"))).collect();
            staleness_p95(write(text.as_bytes()).path()).unwrap()
        };
        assert_eq!(ages(&[]), 0);
        assert_eq!(ages(&[3]), 3);
        let mut twenty = [0u32; 20];
        twenty[3] = 7;
        assert_eq!(ages(&twenty), 0);
        twenty[9] = 5;
        assert_eq!(ages(&twenty), 5);
        assert!(staleness_p95(Path::new("/nowhere/metrics.jsonl")).is_err());
    }

    #[test]
    fn bytes_that_are_no_text_do_not_hide_the_lines_after_them() {
        let mut bytes = b"\xff\xfe\x00\n".to_vec();
        bytes.extend(line("ada", 1, "loss", "2.5").bytes());
        assert_eq!(Series::read_metrics(write(&bytes).path()).unwrap().len(), 1);
    }
}
