//! `starling bench`: the work that other systems are measured on too.

use std::path::PathBuf;
use std::time::Instant;

use protocol::wire::choice::Codec;

use crate::bench::average::{self, Average};
use crate::bench::child;
use crate::bench::error::BenchError;
use crate::bench::train::{self, Train};
use crate::cli::output::{CliError, ExitCode, Output, table};
use crate::telemetry::log::{self, LogConfig};

/// The benchmarks.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Averages one long vector over all nodes
    Average(AverageArgs),
    /// Trains an image classifier on five participants' images
    Train(TrainArgs),
    /// One node of a benchmark; started by the other two
    #[command(hide = true)]
    Node(NodeArgs),
}

/// How to average.
#[derive(Clone, Debug, clap::Args)]
pub struct AverageArgs {
    /// Number of nodes
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=64))]
    nodes: u32,
    /// Elements of the vector
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000_000))]
    params: u32,
    /// How it travels: f32, f16, bf16, int8 or int4
    #[arg(long, default_value_t = Codec::F16)]
    codec: Codec,
    /// Repetitions, each with new processes; times are their medians
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
}

/// How to train.
#[derive(Clone, Debug, clap::Args)]
pub struct TrainArgs {
    /// Folder with the files of the benchmark; generated unless given
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Outer steps, one epoch each
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    outer_steps: u32,
    /// How updates travel: f32, f16, bf16, int8 or int4
    #[arg(long, default_value_t = Codec::F32)]
    codec: Codec,
}

/// Which node.
#[derive(Clone, Debug, clap::Args)]
pub struct NodeArgs {
    /// Its folder
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

/// Runs the command.
pub fn run(command: &Command, output: &Output) -> Result<(), CliError> {
    match command {
        Command::Average(args) => average(args, output),
        Command::Train(args) => train(args, output),
        Command::Node(args) => {
            let config = LogConfig { level: "warn".to_owned(), ..LogConfig::default() };
            log::start(&config).map_err(|e| CliError::failed("logging cannot be set up", e))?;
            Ok(child::run(&args.dir)?)
        }
    }
}

fn average(args: &AverageArgs, output: &Output) -> Result<(), CliError> {
    let wish = average::Wish {
        nodes: args.nodes as usize,
        parameters: args.params as usize,
        codec: args.codec,
        repeat: args.repeat as usize,
    };
    let found = average::run(&wish, |what| eprintln!("bench    {what}"))?;
    output.done(&found, |to| write_average(&found, to))
}

fn write_average(found: &Average, to: &mut dyn std::io::Write) -> std::io::Result<()> {
    let rows: Vec<Vec<String>> = found
        .rounds
        .iter()
        .map(|r| {
            vec![
                format!("{:.3}", r.seconds),
                format!("{:.3}", r.moments.encoded),
                format!("{:.3}", r.moments.announced),
                format!("{:.3}", r.moments.mixing),
                format!("{:.1}", r.bytes_sent_per_node / 1e6),
                number(r.cpu_seconds_per_node_per_gb, 1.0),
                number(r.rss_ready_bytes, 1e6),
                number(r.rss_peak_bytes.map(|b| b as f64), 1e6),
                format!("{:.1e}", r.error_relative),
            ]
        })
        .collect();
    let head = [
        "seconds",
        "encoded",
        "announced",
        "mixing",
        "MB/node",
        "CPU s/GB/node",
        "MB ready",
        "MB peak",
        "error",
    ];
    table(to, &head, &rows)?;
    writeln!(
        to,
        "\n{} nodes, {} elements, {}: {:.3} s, {:.1} MB a node on the wire, {} CPU s per GB and node, idle node {} MB ({} MB with shared pages divided)",
        found.nodes,
        found.parameters,
        found.codec,
        found.seconds,
        found.bytes_sent_per_node / 1e6,
        number(found.cpu_seconds_per_node_per_gb, 1.0),
        number(found.rss_idle_bytes, 1e6),
        number(found.pss_idle_bytes, 1e6),
    )?;
    let verdict = if found.is_exact_enough { "below" } else { "NOT below" };
    writeln!(to, "relative error {:.1e}, {verdict} {:.0e}", found.error_relative, average::ERROR_MAX)
}

fn train(args: &TrainArgs, output: &Output) -> Result<(), CliError> {
    let begun = Instant::now();
    let data = match &args.data {
        Some(folder) => Some(std::path::absolute(folder).map_err(|e| CliError::failed("no such folder", e))?),
        None => None,
    };
    let wish = train::Wish { data, outer_steps: args.outer_steps, codec: args.codec };
    let found = train::run(&wish, begun)?;
    output.done(&found, |to| write_train(&found, to))
}

fn write_train(found: &Train, to: &mut dyn std::io::Write) -> std::io::Result<()> {
    let rows: Vec<Vec<String>> = found
        .steps
        .iter()
        .map(|s| {
            let published =
                train::PUBLISHED.get(s.step as usize - 1).map_or("-".to_owned(), |p| format!("{p:.4}"));
            vec![
                s.step.to_string(),
                format!("{:.4}", s.worst),
                format!("{:.4}", s.best),
                published,
                format!("{:.2}", s.at),
            ]
        })
        .collect();
    table(to, &["step", "worst", "best", "published", "seconds"], &rows)?;
    if found.differing_steps.is_empty() {
        writeln!(to, "\nevery accuracy is the published one")?;
    } else {
        writeln!(to, "\naccuracies differ from the published ones at steps {:?}", found.differing_steps)?;
    }
    match (found.seconds_to_target, found.seconds_from_word_to_target) {
        (Some(all), Some(word)) => writeln!(
            to,
            "{:.0} % on the worst node {all:.2} s after the command: start {:.2} s, work {word:.2} s",
            100.0 * train::TARGET,
            found.start_seconds,
        )?,
        _ => writeln!(to, "the worst node did not reach {:.0} %", 100.0 * train::TARGET)?,
    }
    writeln!(
        to,
        "outer step {:.3} s, of it training {:.3} s; {:.2} MB a node and step on the wire, {} CPU s; peak {} MB",
        found.step_seconds,
        found.train_seconds,
        found.bytes_sent_per_node_per_step / 1e6,
        number(found.cpu_seconds_per_node_per_step, 1.0),
        number(found.rss_peak_bytes.map(|b| b as f64), 1e6),
    )
}

/// A figure in a unit, or a dash where the system does not tell it.
fn number(figure: Option<f64>, unit: f64) -> String {
    figure.map_or("-".to_owned(), |x| format!("{:.2}", x / unit))
}

impl From<BenchError> for CliError {
    fn from(error: BenchError) -> Self {
        let code = match &error {
            BenchError::File { .. } | BenchError::Io { what: "read", .. } => ExitCode::Data,
            BenchError::Charter(_) => ExitCode::Usage,
            BenchError::Late { .. } => ExitCode::Unreachable,
            _ => ExitCode::Failed,
        };
        Self::new(code, "the benchmark gives no figures", error, "")
    }
}
