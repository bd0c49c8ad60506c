//! Common benchmark B: participants with different images train one classifier by plain averaging.

use std::path::PathBuf;
use std::time::Instant;

use model::train::benchmark_b::{BATCH, RATE, initial};
use protocol::wire::choice::Codec;
use serde::Serialize;

use crate::bench::average::{mean, median};
use crate::bench::error::BenchError;
use crate::bench::fleet::{Fleet, Heard};
use crate::bench::pictures::inner_steps;
use crate::bench::terms::Shape;
use crate::bench::words::{Said, Task};

/// Participants of the published benchmark.
pub const NODES: usize = 5;
/// Test accuracy of ideal averaging after each outer step, as the benchmark publishes it.
pub const PUBLISHED: [f64; 10] = [0.3285, 0.633, 0.791, 0.8675, 0.906, 0.9265, 0.9435, 0.9515, 0.959, 0.9655];
/// Accuracy whose time is taken.
pub const TARGET: f64 = 0.90;
/// Half an image of the test set: accuracies closer than this are equal.
const EQUAL: f64 = 0.000_25;

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Folder with the published files; generated when there is none.
    pub data: Option<PathBuf>,
    /// Outer steps.
    pub outer_steps: u32,
    /// How updates travel.
    pub codec: Codec,
}

/// One outer step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Step {
    /// From 1.
    pub step: u32,
    /// Accuracy of the worst node on the common test set.
    pub worst: f64,
    /// Accuracy of the best node.
    pub best: f64,
    /// Seconds from the word until the last node had mixed and judged it.
    pub at: f64,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Train {
    /// Nodes.
    pub nodes: usize,
    /// How updates travelled.
    pub codec: Codec,
    /// Every outer step.
    pub steps: Vec<Step>,
    /// Outer steps whose worst or best accuracy is not the published one.
    pub differing_steps: Vec<u32>,
    /// From the command until all nodes were linked.
    pub start_seconds: f64,
    /// From the command until the worst node had the target accuracy; absent when it never had.
    pub seconds_to_target: Option<f64>,
    /// From the word until then.
    pub seconds_from_word_to_target: Option<f64>,
    /// Mean seconds of an outer step, judging included.
    pub step_seconds: f64,
    /// Median seconds of inner training of a node in an outer step.
    pub train_seconds: f64,
    /// What an outer step takes beyond the training.
    pub overhead_seconds: f64,
    /// Bytes written to sockets by a node in an outer step, mean.
    pub bytes_sent_per_node_per_step: f64,
    /// Processor seconds of a node in an outer step, mean.
    pub cpu_seconds_per_node_per_step: Option<f64>,
    /// Largest resident memory of any node, bytes.
    pub rss_peak_bytes: Option<u64>,
}

/// Runs the benchmark; `begun` is when the command was given.
pub fn run(wish: &Wish, begun: Instant) -> Result<Train, BenchError> {
    let shape = Shape {
        parameters: initial().len(),
        codec: wish.codec,
        outer_steps: wish.outer_steps,
        inner_steps: inner_steps(),
        rate: RATE as f32,
        batch: BATCH as u32,
        evaluate_every: 1,
    };
    let mut fleet = Fleet::start(NODES, &shape, &Task::Train { data: wish.data.clone() })?;
    let last = wish.outer_steps;
    let (go, heard) = fleet.go(|said| matches!(said, Said::Judged { step, .. } if *step == last))?;
    let totals = fleet.totals()?;
    let steps: Vec<Step> = (1..=last).map(|step| judged(step, &heard, go)).collect();
    let target = steps.iter().find(|s| s.worst >= TARGET).map(|s| s.at);
    let start_seconds = go.duration_since(begun).as_secs_f64();
    let busy =
        heard.iter().filter_map(|h| if let Said::Trained { busy, .. } = h.said { Some(busy) } else { None });
    let train_seconds = median(busy.collect());
    let step_seconds = steps.last().map_or(0.0, |s| s.at) / f64::from(last.max(1));
    let sent: u64 = totals.iter().map(|t| t.sent).sum();
    Ok(Train {
        nodes: NODES,
        codec: wish.codec,
        differing_steps: steps.iter().filter(|s| !is_published(s)).map(|s| s.step).collect(),
        steps,
        start_seconds,
        seconds_to_target: target.map(|at| at + start_seconds),
        seconds_from_word_to_target: target,
        step_seconds,
        train_seconds,
        overhead_seconds: step_seconds - train_seconds,
        bytes_sent_per_node_per_step: sent as f64 / NODES as f64 / f64::from(last.max(1)),
        cpu_seconds_per_node_per_step: mean(totals.iter().map(|t| t.cpu_seconds))
            .map(|s| s / f64::from(last.max(1))),
        rss_peak_bytes: totals.iter().filter_map(|t| t.rss_peak_bytes).max(),
    })
}

/// What the nodes found after one outer step.
fn judged(step: u32, heard: &[Heard], go: Instant) -> Step {
    let mut found = Step { step, worst: f64::INFINITY, ..Step::default() };
    for h in heard {
        if let Said::Judged { step: of, score, .. } = h.said
            && of == step
        {
            // Scores travel as f32; accuracies are whole images of 2,000.
            let score = (score * 1e6).round() / 1e6;
            found.worst = found.worst.min(score);
            found.best = found.best.max(score);
            found.at = found.at.max(h.at.duration_since(go).as_secs_f64());
        }
    }
    found
}

/// Whether both accuracies are the published ones; steps beyond the published curve always are.
fn is_published(step: &Step) -> bool {
    let published = PUBLISHED.get(step.step as usize - 1);
    published.is_none_or(|p| (step.worst - p).abs() < EQUAL && (step.best - p).abs() < EQUAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_as_good_as_its_worst_node_and_as_late_as_its_last() {
        let go = Instant::now();
        let at = |ms| go + std::time::Duration::from_millis(ms);
        let said = |step, score: f64| Said::Judged { step, score, loss: 0.0, at: 0.0 };
        let heard = [
            Heard { node: 0, said: said(1, 0.3285), at: at(100) },
            Heard { node: 1, said: said(1, 0.33), at: at(300) },
            Heard { node: 0, said: said(2, 0.7), at: at(400) },
        ];
        let step = judged(1, &heard, go);
        assert_eq!((step.worst, step.best), (0.3285, 0.33));
        assert!((step.at - 0.3).abs() < 1e-9);
        assert!(!is_published(&step));
        assert!(is_published(&Step { best: 0.3285, ..step }));
    }
}
