//! `starling sim`: a whole swarm under virtual time.

use std::path::{Path, PathBuf};

use protocol::sim::bounds::ScenarioError;
use protocol::sim::scenario::{Scenario, Signatures};
use protocol::wire::codistillation::PRIMARY;
use serde_json::Value;

use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::run::{files_of, learner_error};
use crate::cli::testnet::{fresh, plan_error};
use crate::recipe::bundle::Bundle;
use crate::recipe::terms::{Recipe, Use};
use crate::sim::file::{self, ScenarioFileError};
use crate::sim::models::Models;
use crate::sim::report;
use crate::sim::run::{self, Run, Runs};
use crate::store::keys::Identity;
use crate::testnet::plan::{Wish, prepare};
use crate::trainer::learner::Learner;
use crate::trainer::translate::{Place, open_learner};

/// What to simulate.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Name of a built-in scenario, or a file; without one, the built-in ones are listed
    scenario: Option<String>,
    /// Seed of everything random: equal seeds give equal histories
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs so many seeds, from --seed on, on all cores; tells which fail
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seeds: u64,
    /// Peers, instead of the scenario's own number
    #[arg(long)]
    peers: Option<u32>,
    /// Outer steps with training, instead of the scenario's own number
    #[arg(long)]
    outer_steps: Option<u32>,
    /// The size that fits a test
    #[arg(long)]
    small: bool,
    /// Keyed hashes in place of signatures: the same history, many times faster
    #[arg(long)]
    assume_signatures: bool,
    /// What is learned: the scenario's own problem, or the model of a recipe on every peer (tens of them)
    #[arg(long, value_enum, default_value_t = Learns::Problem, conflicts_with = "seeds")]
    learner: Learns,
    /// With --learner model: what to train, a built-in recipe or a .toml file
    #[arg(long, default_value = "ner")]
    recipe: String,
    /// Where everything goes; runs/sim-NAME-SEED unless given
    #[arg(long, value_name = "DIR", conflicts_with = "seeds")]
    dir: Option<PathBuf>,
    /// run.json of an earlier run to compare with
    #[arg(long, value_name = "FILE", conflicts_with = "seeds")]
    baseline: Option<PathBuf>,
}

/// What is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Learns {
    /// What the scenario says.
    Problem,
    /// The model of a recipe.
    Model,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let Some(word) = &args.scenario else { return list(output) };
    let scenario = chosen(args, word)?;
    if args.seeds > 1 {
        return many(args, &scenario, word, output);
    }
    let dir = args
        .dir
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("runs/sim-{}-{}", scenario.name, args.seed)));
    let found = match args.learner {
        Learns::Problem => run::one(&scenario, args.seed)?,
        Learns::Model => run::one_learning(&scenario, args.seed, models(args, &scenario, &dir)?)?,
    };
    let replay = replay(args, word, args.seed);
    report::save(&dir, &scenario, &found, &replay)
        .map_err(|e| CliError::failed(format!("could not write the report into {}", dir.display()), e))?;
    if let Some(violation) = found.outcome.violations.first() {
        output.text(|to| to.write_all(report::table(&scenario, &found).as_bytes()))?;
        let place = violation.peer.map_or("the swarm".to_owned(), |peer| format!("peer {peer}"));
        let why = format!("{} at {:.3} s, {place}: {}", violation.invariant, violation.at_s, violation.what);
        return Err(
            CliError::new(ExitCode::Failed, "an invariant was violated", why, replay).with_details(&found)
        );
    }
    let compared = args.baseline.as_deref().map(|path| compare(path, &found)).transpose()?;
    output.done(&found, |to| {
        to.write_all(report::table(&scenario, &found).as_bytes())?;
        if let Some(lines) = &compared {
            to.write_all(lines.as_bytes())?;
        }
        writeln!(
            to,
            "saved        {}/   (report.html  metrics.jsonl  metrics.csv  run.json)",
            dir.display()
        )?;
        writeln!(to, "again        {replay}")
    })
}

/// A model for every peer on its share of the recipe's made-up data, which is kept in the folder of the run.
fn models(args: &Args, scenario: &Scenario, dir: &Path) -> Result<Models, CliError> {
    let recipe = Recipe::find(&args.recipe, Use::default())
        .map_err(|e| CliError::new(ExitCode::Usage, "there is no such recipe", e, ""))?;
    let folder = fresh(&dir.join("models"))?;
    let wish = Wish {
        recipe: &recipe,
        nodes: scenario.peers as usize,
        data: None,
        base: None,
        seed: args.seed,
        dir: &folder,
    };
    let plan = prepare(&wish).map_err(plan_error)?;
    let bundle = Bundle::open(&plan.bundle)?;
    let place = Place { device: "cpu".to_owned(), threads: 0, variant: Some(PRIMARY.to_owned()) };
    let open = |number: u32, data: &Path| -> Result<Box<dyn Learner>, CliError> {
        // The key only decides the order of the batches.
        let mut secret = [0; 32];
        secret[..4].copy_from_slice(&number.to_le_bytes());
        let key = Identity::from_seed(secret).peer();
        let opened = open_learner(&bundle.charter, &files_of(&bundle), data, &place, &key);
        Ok(Box::new(opened.map_err(learner_error)?))
    };
    let peers = (1..).zip(&plan.nodes).map(|(number, node)| open(number, &node.data));
    let peers = peers.collect::<Result<Vec<_>, _>>()?;
    Ok(Models::new(peers, open(0, &plan.pooled)?))
}

fn list(output: &Output) -> Result<(), CliError> {
    let scenarios: Vec<Scenario> =
        file::BUILT_IN.iter().map(|(name, text)| file::parse(text, name)).collect::<Result<_, _>>()?;
    output.done(&scenarios, |to| {
        for scenario in &scenarios {
            writeln!(to, "{:<14} {}", scenario.name, scenario.about)?;
        }
        writeln!(to, "\nnext     starling sim calm")
    })
}

fn chosen(args: &Args, word: &str) -> Result<Scenario, CliError> {
    let mut scenario = file::load(word)?;
    if args.small {
        scenario = scenario.at_small_size();
    }
    if args.assume_signatures {
        scenario.signatures = Signatures::Assumed;
    }
    scenario.peers = args.peers.unwrap_or(scenario.peers);
    scenario.run.outer_steps = args.outer_steps.unwrap_or(scenario.run.outer_steps);
    scenario.check().map_err(|why| ScenarioFileError::Field { place: word.to_owned(), why })?;
    Ok(scenario)
}

fn many(args: &Args, scenario: &Scenario, word: &str, output: &Output) -> Result<(), CliError> {
    let found = run::many(scenario, args.seed, args.seeds, |outcome| {
        if let Some(violation) = outcome.violations.first() {
            let again = replay(args, word, outcome.seed);
            eprintln!("seed {}: {} {}\n  replay: {again}", outcome.seed, violation.invariant, violation.what);
        }
    })?;
    output.text(|to| write_many(&found, to))?;
    if let Some(first) = found.failed.first() {
        let why = format!("{} of {} seeds", found.failed.len(), found.seeds);
        let error =
            CliError::new(ExitCode::Failed, "invariants were violated", why, replay(args, word, first.seed));
        return Err(error.with_details(&found));
    }
    if output.is_text() { Ok(()) } else { output.done(&found, |_| Ok(())) }
}

fn write_many(found: &Runs, to: &mut dyn std::io::Write) -> std::io::Result<()> {
    let (hours, failed) = (found.virtual_s / 3_600.0, found.failed.len());
    // With none seen in n, the 95 % bound of the share is 3 / n.
    let bound = if failed == 0 {
        format!(" (95 % bound {:.2} %)", 300.0 / found.seeds as f64)
    } else {
        String::new()
    };
    writeln!(to, "violated     {failed} of {} seeds{bound}", found.seeds)?;
    writeln!(to, "simulated    {hours:.1} hours, {} events, in {:.1} s", found.events, found.wall_s)?;
    writeln!(to, "score        {:.4} mean, {:.4} worst", found.score_mean, found.score_worst)?;
    let told = found.equivocations;
    writeln!(to, "two stories  {} told, {} proven", told.made, told.proven)
}

/// The command that repeats a run.
fn replay(args: &Args, word: &str, seed: u64) -> String {
    let mut line = format!("starling sim {word} --seed {seed}");
    for (flag, is_set) in [("--small", args.small), ("--assume-signatures", args.assume_signatures)] {
        if is_set {
            line.push_str(&format!(" {flag}"));
        }
    }
    if args.learner == Learns::Model {
        line.push_str(&format!(" --learner model --recipe {}", args.recipe));
    }
    for (flag, value) in [("--peers", args.peers), ("--outer-steps", args.outer_steps)] {
        if let Some(value) = value {
            line.push_str(&format!(" {flag} {value}"));
        }
    }
    line
}

/// The difference to an earlier run in what a change must not make worse.
fn compare(path: &Path, found: &Run) -> Result<String, CliError> {
    let wrong = |why: String| {
        CliError::new(
            ExitCode::Data,
            format!("{} is no baseline", path.display()),
            why,
            "give the run.json of an earlier run",
        )
    };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let base: Value = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let field = |name: &str| base["run"][name].as_f64().ok_or_else(|| wrong(format!("it has no {name}")));
    let mut lines = String::new();
    for (name, now) in [
        ("consensus_distance_relative", found.outcome.consensus_distance_relative),
        ("loss_mean", found.outcome.loss_mean),
        ("score_mean", found.outcome.score_mean),
        ("bytes_per_peer", found.outcome.bytes_per_peer),
    ] {
        let before = field(name)?;
        lines.push_str(&format!(
            "against      {name}: {before:.6} before, {now:.6} now, {:+.6}\n",
            now - before
        ));
    }
    Ok(lines)
}

impl From<ScenarioFileError> for CliError {
    fn from(error: ScenarioFileError) -> Self {
        let code = match &error {
            ScenarioFileError::Unknown { .. } => ExitCode::Usage,
            ScenarioFileError::Io { .. } => ExitCode::Data,
            ScenarioFileError::Contents { .. } | ScenarioFileError::Field { .. } => ExitCode::Config,
        };
        Self::new(code, "the scenario cannot be used", error, "`starling sim` lists the built-in ones")
    }
}

impl From<ScenarioError> for CliError {
    fn from(error: ScenarioError) -> Self {
        Self::new(ExitCode::Config, "the scenario cannot be used", error, "mend the field named above")
    }
}
