//! `starling testnet`: five nodes, separate processes, one command.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use model::device::DeviceChoice;
use model::eval::report::Report;
use model::seed::Seed;
use model::session::Session;
use protocol::sim::attack::Attack;
use protocol::wire::choice::{Codec, Rule};
use protocol::wire::codistillation::PRIMARY;

use crate::cli::output::{CliError, ExitCode, Output};
use crate::recipe::bundle::CHARTER;
use crate::recipe::terms::{Recipe, Use};
use crate::store::status::{self, NodeStatus, STATUS_FILE};
use crate::telemetry::progress::Progress;
use crate::testnet::compare::{consensus_relative, eval_job, read_evaluation, train_job};
use crate::testnet::launch::{Job, LaunchError, Process, cores, run_all, threads_each};
use crate::testnet::outcome::{NodeOutcome, Outcome, Series, Traded, staleness_p95};
use crate::testnet::plan::{Plan, PlanError, PlannedNode, Wish, prepare};
use crate::testnet::watch::{WatchError, until_all_end, wait_for_address};
use crate::testnet::{page, table};
use crate::trainer::liar::lie_named;
use crate::trainer::translate::Place;
use crate::trainer::variant::{Architecture, architectures};

/// How long a node may take to listen.
const LISTEN_LIMIT: Duration = Duration::from_secs(60);

/// Runs a whole swarm on this machine.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to train: a built-in recipe or a .toml file
    #[arg(long, default_value = "ner")]
    recipe: String,
    /// Number of nodes
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=64))]
    nodes: u32,
    /// Data of your own instead of the built-in corpus
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Trained encoder to start from, a folder in Hugging Face layout
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
    /// Train and trade low-rank corrections of the base instead of every parameter
    #[arg(long, value_name = "RANK", requires = "base")]
    adapter_rank: Option<usize>,
    /// Outer steps with training, instead of the recipe's
    #[arg(long, value_name = "N")]
    outer_steps: Option<u32>,
    /// Inner steps in an outer step, instead of the recipe's
    #[arg(long, value_name = "N")]
    inner_steps: Option<u32>,
    /// Train the next outer step while the updates of this one travel
    #[arg(long)]
    overlap: bool,
    /// Seed of data, split and genesis
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Where everything goes; runs/testnet-SEED unless given
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Liars to withstand: the charter mixes by the trimmed mean that so many cannot move
    #[arg(long, value_name = "B")]
    byzantine: Option<u32>,
    /// Have the last of the nodes lie: sign-flip, scale, noise, zero or stale
    #[arg(long, value_name = "NAME", value_parser = lie_named, requires = "byzantine")]
    attack: Option<Attack>,
    /// Where nodes and comparisons compute: auto, cpu, cuda[:N] or metal
    #[arg(long, default_value = "auto")]
    device: String,
    /// Skip training alone and on pooled data
    #[arg(long)]
    no_compare: bool,
    /// Only make keys, data, settings and charter, for nodes that somebody else starts; once made, they stay
    #[arg(long)]
    prepare_only: bool,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let begun = Instant::now();
    let used = Use {
        with_data: args.data.is_some(),
        with_base: args.base.is_some(),
        with_adapters: args.adapter_rank.is_some(),
    };
    let mut recipe = Recipe::find(&args.recipe, used)
        .map_err(|e| CliError::new(ExitCode::Usage, "there is no such recipe", e, ""))?;
    if args.adapter_rank.is_some() {
        recipe.model.adapter_rank = args.adapter_rank;
    }
    if let Some(steps) = args.outer_steps {
        recipe.schedule.outer_steps = steps;
    }
    if let Some(steps) = args.inner_steps {
        recipe.schedule.inner_steps = steps;
    }
    recipe.schedule.overlap |= args.overlap;
    if let Some(liars) = args.byzantine.filter(|liars| *liars > 0) {
        recipe.mixing.byzantine = liars;
        recipe.mixing.rule = Rule::Trimmed;
    }
    if args.attack.is_some() && args.byzantine.is_none_or(|liars| liars >= args.nodes) {
        let why = "every node would lie";
        return Err(CliError::new(ExitCode::Usage, "no node is honest", why, "have fewer liars than nodes"));
    }
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(format!("runs/testnet-{}", args.seed)));
    // A device that is not there is told before anything is made.
    let device: Result<DeviceChoice, _> = args.device.parse();
    let device = device
        .and_then(DeviceChoice::decided)
        .map_err(|e| CliError::new(ExitCode::Usage, "no such device", e, ""))?
        .to_string();
    if args.prepare_only && dir.join("charter").join(CHARTER).exists() {
        return prepared(&dir, &[], output);
    }
    let dir = if args.prepare_only { dir } else { fresh(&dir)? };
    let nodes = args.nodes as usize;
    let wish = Wish {
        recipe: &recipe,
        nodes,
        data: args.data.as_deref(),
        base: args.base.as_deref(),
        seed: args.seed,
        dir: &dir,
    };
    let plan = prepare(&wish).map_err(plan_error)?;
    let terms = &plan.charter;
    eprintln!("data     {}", plan.data);
    eprintln!("model    {}", model_words(&plan, &device));
    eprintln!("charter  {} (run {})", plan.bundle.display(), terms.run_id().short());
    if args.prepare_only {
        let names: Vec<&str> = plan.nodes.iter().map(|n| n.name.as_str()).collect();
        return prepared(&dir, &names, output);
    }
    let liars = args.attack.map(|attack| (attack, args.byzantine.unwrap_or(0) as usize));
    together(&plan, &device, liars)?;
    let mut jobs = Vec::new();
    if !args.no_compare {
        jobs.extend(comparison_jobs(&plan, &device));
    }
    if !jobs.is_empty() {
        let mut progress = Progress::new("alone and pooled", jobs.len() as u64);
        let words = "training under the same terms, for comparison";
        run_all(jobs, cores(), |ended| progress.set(ended as u64, words)).map_err(launch_error)?;
        progress.finish("comparison trained");
    }
    let scores = evaluate(&plan, !args.no_compare)?;
    let outcome = gather(&plan, args, &device, &scores, begun.elapsed().as_secs_f64())?;
    save(&plan, &outcome)?;
    output.done(&outcome.json(), |to| write!(to, "{}", table::render(&outcome)))
}

/// Says where prepared nodes lie; `made` is empty when they were there before.
fn prepared(dir: &Path, made: &[&str], output: &Output) -> Result<(), CliError> {
    let nodes = dir.join("nodes");
    let data = serde_json::json!({ "dir": dir, "made": made });
    output.done(&data, |to| {
        if made.is_empty() {
            writeln!(to, "nothing made: {} holds prepared nodes", nodes.display())?;
        } else {
            writeln!(to, "made     {} in {}", made.join(", "), nodes.display())?;
        }
        writeln!(to, "next     starling run --dir {}", nodes.join(made.first().unwrap_or(&"NAME")).display())
    })
}

/// A folder of its own for this run; an earlier run of the same name is kept under another.
pub(super) fn fresh(dir: &Path) -> Result<PathBuf, CliError> {
    let failed = |e: std::io::Error| CliError::failed(format!("could not make {}", dir.display()), e);
    if dir.exists() {
        let old = (1..1_000).map(|i| dir.with_extension(format!("old{i}"))).find(|p| !p.exists());
        let Some(old) = old else {
            return Err(CliError::new(
                ExitCode::Refused,
                "too many earlier runs",
                dir.display(),
                "remove some of them",
            ));
        };
        std::fs::rename(dir, &old).map_err(failed)?;
        eprintln!("note     an earlier run was moved to {}", old.display());
    }
    std::fs::create_dir_all(dir).map_err(failed)?;
    Ok(dir.to_owned())
}

/// Starts every node, shows how far they are, waits until all are through. Of `liars`, how and how many: the last ones.
fn together(plan: &Plan, device: &str, liars: Option<(Attack, usize)>) -> Result<(), CliError> {
    let honest = plan.nodes.len() - liars.map_or(0, |(_, count)| count).min(plan.nodes.len());
    let threads = threads_each(cores(), plan.nodes.len());
    let mut running: Vec<(Process, PathBuf)> = Vec::new();
    let mut bootstrap: Option<String> = None;
    for (i, node) in plan.nodes.iter().enumerate() {
        let mut args = vec![
            "run".to_owned(),
            "--dir".to_owned(),
            node.dir.display().to_string(),
            "--until-done".to_owned(),
            "--wait-links".to_owned(),
            (plan.nodes.len() - 1).to_string(),
            "--device".to_owned(),
            device.to_owned(),
        ];
        if let Some((attack, _)) = liars.filter(|_| i >= honest) {
            eprintln!("liar     {} ({})", node.name, attack.name());
            args.extend(["--attack".to_owned(), attack.name().to_owned()]);
        }
        if let Some(address) = &bootstrap {
            args.extend(["--bootstrap".to_owned(), address.clone()]);
        }
        let mut process =
            Process::start(&node.name, &args, threads, &node.dir.join("node.log")).map_err(launch_error)?;
        if bootstrap.is_none() {
            bootstrap = Some(wait_for_address(&mut process, &node.dir, LISTEN_LIMIT).map_err(watch_error)?);
        }
        running.push((process, node.dir.clone()));
    }
    until_all_end(&mut running, plan.charter.steps()).map_err(watch_error)
}

/// Every node alone with as many inner steps, and one model on all data with as many examples; the longest first.
/// Half of the cores are for the pooled one, which has as much to do as all others together.
fn comparison_jobs(plan: &Plan, device: &str) -> Vec<Job> {
    let place = |processes, variant: &str| Place {
        device: device.to_owned(),
        threads: threads_each(cores(), processes),
        variant: Some(variant.to_owned()),
    };
    let schedule = &plan.charter.schedule;
    let own = u64::from(schedule.outer_steps) * u64::from(schedule.inner_steps);
    let all = own * plan.nodes.len() as u64;
    let pooled = place(2, PRIMARY);
    let mut jobs =
        vec![train_job("pooled", &plan.bundle, &plan.pooled, all, &pooled, &plan.dir.join("pooled/model"))];
    for node in &plan.nodes {
        let alone = place(2 * plan.nodes.len(), variant_of(node));
        jobs.push(train_job(&node.name, &plan.bundle, &node.data, own, &alone, &node.dir.join("alone")));
    }
    jobs
}

struct Scores {
    together: Vec<Report>,
    alone: Vec<Option<Report>>,
    pooled: Option<Report>,
}

/// Scores every model on the same test file.
fn evaluate(plan: &Plan, compared: bool) -> Result<Scores, CliError> {
    let folder = plan.dir.join("scores");
    std::fs::create_dir_all(&folder).map_err(|e| CliError::failed("could not make a folder", e))?;
    let mut jobs = Vec::new();
    let mut add = |name: String, model: PathBuf| {
        let out = folder.join(format!("{name}.json"));
        jobs.push(eval_job(&name, &model, &plan.test, &out));
        out
    };
    let together: Vec<PathBuf> =
        plan.nodes.iter().map(|n| add(format!("{}-together", n.name), n.dir.join("model"))).collect();
    let mut alone = Vec::new();
    let mut pooled = None;
    if compared {
        alone = plan.nodes.iter().map(|n| add(format!("{}-alone", n.name), n.dir.join("alone"))).collect();
        pooled = Some(add("pooled".to_owned(), plan.dir.join("pooled/model")));
    }
    let mut progress = Progress::new("evaluate", jobs.len() as u64);
    let words = "every model on the same test file";
    run_all(jobs, cores(), |ended| progress.set(ended as u64, words)).map_err(launch_error)?;
    progress.finish("evaluated");
    let read =
        |out: &PathBuf| read_evaluation(out).map_err(|e| CliError::failed("an evaluation left no result", e));
    let together = together.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let alone = if compared {
        alone.iter().map(|out| read(out).map(Some)).collect::<Result<Vec<_>, _>>()?
    } else {
        vec![None; plan.nodes.len()]
    };
    Ok(Scores { together, alone, pooled: pooled.as_ref().map(read).transpose()? })
}

fn gather(plan: &Plan, args: &Args, device: &str, scores: &Scores, wall_s: f64) -> Result<Outcome, CliError> {
    let mut nodes = Vec::new();
    let mut series = Vec::new();
    let (mut published, mut dense) = (0.0, 0.0);
    let mut instead = 0;
    let mut rejected_shards = 0;
    for (i, node) in plan.nodes.iter().enumerate() {
        let status: NodeStatus = status::read(&node.dir.join(STATUS_FILE))?.value;
        let metrics = node.dir.join("metrics.jsonl");
        let own = Series::read_metrics(&metrics)
            .map_err(|e| CliError::failed(format!("could not read {}", metrics.display()), e))?;
        let sum = |name: &str| {
            own.iter().filter(|s| s.name == name).flat_map(|s| &s.points).map(|p| p.1).sum::<f64>()
        };
        let updates = own.iter().filter(|s| s.name == "update_bytes").map(|s| s.points.len()).sum::<usize>();
        published += sum("update_bytes");
        dense += updates as f64 * plan.charter.exchanged() as f64 * 4.0;
        let parameters = parameters_of(plan, node);
        instead += (updates * Codec::Int8.encoded_bytes(parameters as usize)) as u64;
        rejected_shards += status.rejected_shards;
        nodes.push(NodeOutcome {
            name: node.name.clone(),
            organization: node.organization.clone(),
            variant: plan.charter.codistillation.as_ref().map(|_| variant_of(node).to_owned()),
            parameters,
            samples: node.samples,
            outer_steps: status.outer_step,
            loss: status.loss_last,
            score_alone: scores.alone[i].as_ref().map(|e| e.score),
            score_together: scores.together[i].score,
            bytes_sent: status.bytes_sent,
            bytes_received: status.bytes_received,
            staleness_p95: staleness_p95(&metrics).unwrap_or(0),
            training_time_ratio: status.training_time_ratio,
            busy_time_ratio: status.busy_time_ratio,
            busy_seconds: sum("train_seconds"),
            rejected: status.rejected_shards,
        });
        series.extend(own);
    }
    let first = &scores.together[0];
    Ok(Outcome {
        seed: args.seed,
        recipe: args.recipe.clone(),
        metric: plan.charter.task.metric.clone(),
        data: plan.data.clone(),
        model: model_words(plan, device),
        nodes,
        score_pooled: scores.pooled.as_ref().map(|e| e.score),
        consensus_distance_relative: consensus(plan)?,
        compression: if published > 0.0 { dense / published } else { 1.0 },
        traded: plan
            .charter
            .codistillation
            .is_some()
            .then_some(Traded { bytes: published as u64, parameter_bytes: instead }),
        rejected_shards,
        wall_s,
        report_dir: plan.dir.display().to_string(),
        table: Some(first.clone()),
        series,
    })
}

/// The name of a node's architecture.
fn variant_of(node: &PlannedNode) -> &str {
    node.variant.as_deref().unwrap_or(PRIMARY)
}

/// Parameters of a node's model.
fn parameters_of(plan: &Plan, node: &PlannedNode) -> u64 {
    let all = architectures(&plan.charter);
    let own = all.iter().find(|a| a.name == variant_of(node));
    own.map_or(plan.charter.model.parameters, |a| a.parameters)
}

/// Exact, from the models the nodes ended with; nothing where their architectures may differ.
fn consensus(plan: &Plan) -> Result<Option<f64>, CliError> {
    if plan.charter.codistillation.is_some() {
        return Ok(None);
    }
    let read = |dir: PathBuf| -> Result<Vec<f32>, model::error::Error> {
        let session = Session::load(&dir, &DeviceChoice::Cpu, Seed::from_u64(0))?;
        let mut flat = vec![0.0; session.parameter_count()];
        session.read(&mut flat)?;
        Ok(flat)
    };
    let models: Result<Vec<_>, _> = plan.nodes.iter().map(|n| read(n.dir.join("model"))).collect();
    let models = models.map_err(|e| CliError::failed("a node's model cannot be read", e))?;
    Ok(Some(consensus_relative(&models)))
}

/// Report, records of the whole run, and one of the models, which are all but equal after settling.
fn save(plan: &Plan, outcome: &Outcome) -> Result<(), CliError> {
    let failed =
        |e: std::io::Error| CliError::failed(format!("could not write into {}", plan.dir.display()), e);
    std::fs::write(plan.dir.join("report.html"), page::html(outcome)).map_err(failed)?;
    let facts = serde_json::json!({
        "command": std::env::args().collect::<Vec<_>>(),
        "version": env!("CARGO_PKG_VERSION"),
        "run": plan.charter.run_id(),
        "charter": plan.charter,
        "outcome": outcome,
    });
    let text =
        serde_json::to_string_pretty(&facts).map_err(|e| CliError::failed("could not write run.json", e))?;
    std::fs::write(plan.dir.join("run.json"), text).map_err(failed)?;
    for name in ["metrics.jsonl", "events.jsonl", "eval.jsonl"] {
        let mut all = Vec::new();
        for node in &plan.nodes {
            all.extend(std::fs::read(node.dir.join(name)).unwrap_or_default());
        }
        std::fs::write(plan.dir.join(name), all).map_err(failed)?;
    }
    let to = plan.dir.join("model");
    std::fs::create_dir_all(&to).map_err(failed)?;
    let from = plan.nodes[0].dir.join("model");
    for entry in std::fs::read_dir(&from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        std::fs::copy(entry.path(), to.join(entry.file_name())).map_err(failed)?;
    }
    Ok(())
}

fn model_words(plan: &Plan, device: &str) -> String {
    let all = architectures(&plan.charter);
    let words: Vec<String> = all.iter().map(|a| architecture_words(a, all.len() > 1)).collect();
    format!("{}, device {device}", words.join("; "))
}

fn architecture_words(architecture: &Architecture<'_>, is_named: bool) -> String {
    let whole: serde_json::Value = serde_json::from_str(architecture.text).unwrap_or_default();
    let arch = whole.get("base").unwrap_or(&whole);
    let number = |key: &str| arch.get(key).and_then(serde_json::Value::as_u64).unwrap_or(0);
    let layers = number("num_hidden_layers").max(number("num_layers"));
    let kind = arch.get("kind").and_then(|kind| kind.as_str()).unwrap_or("model");
    let count = architecture.parameters as f64;
    let size = if count < 1e5 { format!("{:.1} k", count / 1e3) } else { format!("{:.1} M", count / 1e6) };
    let traded = match whole["adapter"]["rank"].as_u64() {
        Some(rank) => format!("adapters of rank {rank}, {size} parameters traded"),
        None => format!("{size} parameters"),
    };
    let name = if is_named { format!("{}: ", architecture.name) } else { String::new() };
    format!("{name}{kind} {layers}x{}, {traded}", number("hidden_size"))
}

pub(super) fn plan_error(error: PlanError) -> CliError {
    let code = match &error {
        PlanError::Data(_) => ExitCode::Data,
        PlanError::Io { .. } => ExitCode::Failed,
        _ => ExitCode::Config,
    };
    CliError::new(code, "the testnet cannot be prepared", error, "")
}

fn launch_error(error: LaunchError) -> CliError {
    CliError::failed("a process of the testnet failed", error)
}

fn watch_error(error: WatchError) -> CliError {
    CliError::failed("a node of the testnet failed", error)
}
