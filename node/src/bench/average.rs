//! Common benchmark A: every node ends with the mean of all nodes' vectors.

use protocol::wire::choice::Codec;
use serde::Serialize;

use crate::bench::error::BenchError;
use crate::bench::fleet::{Fleet, Heard};
use crate::bench::terms::Shape;
use crate::bench::words::{Said, Task, Totals};

/// Parameters of the run that shows what a linked node takes besides its vector.
const IDLE_PARAMETERS: usize = 1_000;
/// Largest relative error of a result that counts.
pub const ERROR_MAX: f64 = 1e-3;

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Nodes.
    pub nodes: usize,
    /// Length of the vector.
    pub parameters: usize,
    /// How it travels.
    pub codec: Codec,
    /// Repetitions, each with new processes.
    pub repeat: usize,
}

/// Moments of one repetition, in seconds after the word; each is the slowest node's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Moments {
    /// Own update encoded.
    pub encoded: f64,
    /// All others' updates announced.
    pub announced: f64,
    /// Result held, by the node's own clock.
    pub held: f64,
    /// Seconds of decoding and mixing.
    pub mixing: f64,
}

/// One repetition.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Round {
    /// From the word until the last node had said that it holds its result.
    pub seconds: f64,
    /// The same, as nodes saw it.
    pub moments: Moments,
    /// Bytes written to sockets by a node, mean.
    pub bytes_sent_per_node: f64,
    /// Bytes read from sockets by a node, mean.
    pub bytes_received_per_node: f64,
    /// Processor seconds of a node, mean.
    pub cpu_seconds_per_node: Option<f64>,
    /// The same for each 10^9 bytes of f32 vector.
    pub cpu_seconds_per_node_per_gb: Option<f64>,
    /// Resident memory of a linked node with its vector in memory, mean bytes.
    pub rss_ready_bytes: Option<f64>,
    /// Largest resident memory of any node, bytes.
    pub rss_peak_bytes: Option<u64>,
    /// Largest error of any node relative to the norm of the exact mean.
    pub error_relative: f64,
    /// Largest single error of any node.
    pub error_largest: f64,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Average {
    /// Nodes.
    pub nodes: usize,
    /// Length of the vector.
    pub parameters: usize,
    /// How it travelled.
    pub codec: Codec,
    /// Median of the repetitions' seconds.
    pub seconds: f64,
    /// Median of the processor seconds.
    pub cpu_seconds_per_node_per_gb: Option<f64>,
    /// Mean bytes written to sockets by a node.
    pub bytes_sent_per_node: f64,
    /// Resident memory of a linked node whose vector has 1,000 elements, mean bytes.
    pub rss_idle_bytes: Option<f64>,
    /// The same with shared pages divided by the number of processes that share them, as the scripts measure others.
    pub pss_idle_bytes: Option<f64>,
    /// Largest resident memory of any node in any repetition, bytes.
    pub rss_peak_bytes: Option<u64>,
    /// Largest relative error of all.
    pub error_relative: f64,
    /// Whether that is below what every system is held to.
    pub is_exact_enough: bool,
    /// Every repetition.
    pub rounds: Vec<Round>,
}

/// Runs the benchmark; `progress` is told what is under way.
pub fn run(wish: &Wish, mut progress: impl FnMut(&str)) -> Result<Average, BenchError> {
    progress("a linked node without a vector");
    let idle = start(wish, IDLE_PARAMETERS)?;
    let rss_idle_bytes = mean(idle.ready.iter().map(|memory| memory.rss_bytes.map(|b| b as f64)));
    let pss_idle_bytes = mean(idle.ready.iter().map(|memory| memory.pss_bytes.map(|b| b as f64)));
    drop(idle);
    let mut rounds = Vec::with_capacity(wish.repeat);
    for index in 0..wish.repeat {
        progress(&format!("repetition {} of {}", index + 1, wish.repeat));
        rounds.push(round(wish)?);
    }
    let error_relative = rounds.iter().map(|r| r.error_relative).fold(0.0, f64::max);
    Ok(Average {
        nodes: wish.nodes,
        parameters: wish.parameters,
        codec: wish.codec,
        seconds: median(rounds.iter().map(|r| r.seconds).collect()),
        cpu_seconds_per_node_per_gb: rounds
            .iter()
            .map(|r| r.cpu_seconds_per_node_per_gb)
            .collect::<Option<Vec<_>>>()
            .map(median),
        bytes_sent_per_node: rounds.iter().map(|r| r.bytes_sent_per_node).sum::<f64>()
            / rounds.len().max(1) as f64,
        rss_idle_bytes,
        pss_idle_bytes,
        rss_peak_bytes: rounds.iter().filter_map(|r| r.rss_peak_bytes).max(),
        error_relative,
        is_exact_enough: error_relative < ERROR_MAX,
        rounds,
    })
}

fn start(wish: &Wish, parameters: usize) -> Result<Fleet, BenchError> {
    let shape = Shape {
        parameters,
        codec: wish.codec,
        outer_steps: 1,
        inner_steps: 1,
        rate: 1.0,
        batch: 1,
        evaluate_every: 0,
    };
    Fleet::start(wish.nodes, &shape, &Task::Average { parameters })
}

fn round(wish: &Wish) -> Result<Round, BenchError> {
    let mut fleet = start(wish, wish.parameters)?;
    let ready = mean(fleet.ready.iter().map(|memory| memory.rss_bytes.map(|b| b as f64)));
    // Judging comes after the clock has stopped; the slowest node's `Mixed` is what counts.
    let (begun, heard) = fleet.go(|said| matches!(said, Said::Judged { .. }))?;
    let totals = fleet.totals()?;
    let gigabytes = wish.parameters as f64 * 4.0 / 1e9;
    let cpu = mean(totals.iter().map(|t| t.cpu_seconds));
    let by_node =
        |of: fn(&Totals) -> u64| totals.iter().map(of).sum::<u64>() as f64 / totals.len().max(1) as f64;
    let held = heard.iter().filter(|h| matches!(h.said, Said::Mixed { .. }));
    let (error_relative, error_largest) = errors(&heard);
    Ok(Round {
        seconds: held.map(|h| h.at.duration_since(begun).as_secs_f64()).fold(0.0, f64::max),
        moments: moments(&heard),
        bytes_sent_per_node: by_node(|t| t.sent),
        bytes_received_per_node: by_node(|t| t.received),
        cpu_seconds_per_node: cpu,
        cpu_seconds_per_node_per_gb: cpu.map(|seconds| seconds / gigabytes),
        rss_ready_bytes: ready,
        rss_peak_bytes: totals.iter().filter_map(|t| t.rss_peak_bytes).max(),
        error_relative,
        error_largest,
    })
}

fn moments(heard: &[Heard]) -> Moments {
    let mut moments = Moments::default();
    for Heard { said, .. } in heard {
        match *said {
            Said::Trained { at, .. } => moments.encoded = moments.encoded.max(at),
            Said::Pulling { at, .. } => moments.announced = moments.announced.max(at),
            Said::Mixed { at, busy, .. } => {
                moments.held = moments.held.max(at);
                moments.mixing = moments.mixing.max(busy);
            }
            _ => {}
        }
    }
    moments
}

fn errors(heard: &[Heard]) -> (f64, f64) {
    heard.iter().fold((0.0, 0.0), |(relative, largest), h| match h.said {
        Said::Judged { score, loss, .. } => (score.max(relative), loss.max(largest)),
        _ => (relative, largest),
    })
}

/// The mean; `None` when one of the values is not known.
pub(super) fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values = values.collect::<Option<Vec<f64>>>()?;
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The middle value; the mean of both when their number is even; 0 of none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(Vec::new()), 0.0);
    }

    #[test]
    fn a_mean_needs_every_value() {
        assert_eq!(mean([Some(1.0), Some(3.0)].into_iter()), Some(2.0));
        assert_eq!(mean([Some(1.0), None].into_iter()), None);
        assert_eq!(mean(std::iter::empty()), None);
    }
}
