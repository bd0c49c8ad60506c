//! `starling fuse`: several models, one decision.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::fuse::compare::Used;
use model::fuse::rule::Rule;
use protocol::ledger::record::{Ingredient, Record};

use crate::cli::ask::members_error;
use crate::cli::output::{CliError, ExitCode, Output, table};
use crate::fuse::members::{Seat, Through};
use crate::fuse::outcome::{JudgedOn, Outcome};
use crate::fuse::page::html;
use crate::fuse::run::{FuseError, Order, fuse};
use crate::recipe::bundle::hash_file;
use crate::runtime::adopt;
use crate::telemetry::escape;

/// Fuses models into one that decides with all of them.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The members, separated by commas: folders of models here, and `peer:KEY` for models of peers, which stay there
    #[arg(long, value_name = "DIR,peer:KEY", value_delimiter = ',', required = true)]
    members: Vec<Seat>,
    /// The directory of a running node through which peers are asked
    #[arg(long, value_name = "DIR")]
    through: Option<PathBuf>,
    /// Members that must answer; peers that do not are left out
    #[arg(long, value_name = "N", default_value_t = 2)]
    least: usize,
    /// Longest wait for the peers' answers to one query, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "through", value_parser = clap::value_parser!(u64).range(1..=300))]
    deadline: u64,
    /// Examples to fit the weights to, which no member was trained on; of a folder the development part, else the test part
    #[arg(long, value_name = "PATH")]
    calibrate: PathBuf,
    /// The calibration file is plain text, an example a line, without labels
    #[arg(long)]
    unlabelled: bool,
    /// Examples to judge on, other than those; the calibration set is cross-validated when absent
    #[arg(long, value_name = "PATH")]
    validate: Option<PathBuf>,
    /// simplex, simplex-log, inverse, disagreement, mean, geometric, median, vote or stacking; when absent simplex,
    /// guarded by cross-validation, or inverse without labels
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// By how much the fusion's score may be below the incumbent's for the gate to let it in
    #[arg(long, default_value_t = 0.0)]
    margin: f64,
    /// The member whose place the fusion would take, as it is named in --members; the best one when absent
    #[arg(long, value_name = "MEMBER")]
    incumbent: Option<Seat>,
    /// Where the fused model and the report go
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A node whose ledger records the verdict, its directory
    #[arg(long, value_name = "DIR")]
    node: Option<PathBuf>,
    /// auto, cpu, cuda[:N] or metal
    #[arg(long, default_value = "auto")]
    device: String,
    /// Seed of folds and draws
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let order = order(args)?;
    let outcome = fuse(&order).map_err(fuse_error)?;
    let card = args.out.join("card.json");
    let report = args.out.join("report.html");
    let text = serde_json::to_string_pretty(&outcome)
        .map_err(|e| CliError::failed("could not write the result as JSON", e))?;
    for (path, contents) in [(&card, text), (&report, html(&outcome))] {
        std::fs::write(path, contents)
            .map_err(|e| CliError::failed(format!("could not write {}", path.display()), e))?;
    }
    if let Some(node) = &args.node {
        record(node, &card, &outcome)?;
    }
    if let Some(verdict) = outcome.verdict.filter(|verdict| !verdict.is_adopted) {
        output.text(|to| print(to, &outcome, args))?;
        let why = format!(
            "its score is {:.4}, the incumbent's {:.4}; it may lose {:.4} at most",
            verdict.score_candidate, verdict.score_incumbent, verdict.margin
        );
        let remedy =
            format!("look at {}, add members or calibration data, or allow a --margin", report.display());
        return Err(CliError::new(ExitCode::Refused, "the gate does not let the fusion in", why, remedy)
            .with_details(&outcome));
    }
    output.done(&outcome, |to| print(to, &outcome, args))
}

fn order(args: &Args) -> Result<Order, CliError> {
    let usage =
        |why: String, remedy: &str| CliError::new(ExitCode::Usage, "the fusion cannot be made", why, remedy);
    let rule = match &args.rule {
        None => None,
        Some(name) => Some(
            name.parse::<Rule>().map_err(|e| usage(e.to_string(), "leave --rule away for the default"))?,
        ),
    };
    if args.unlabelled && rule.is_some_and(Rule::needs_labels) {
        let why = format!("the rule {} needs labels", rule.map_or("", Rule::name));
        return Err(usage(why, "give labelled examples, or --rule inverse"));
    }
    let same = |a: &Seat, b: &Seat| match (a, b) {
        (Seat::Folder(a), Seat::Folder(b)) => {
            a.canonicalize().ok().is_some_and(|a| b.canonicalize().is_ok_and(|b| a == b))
        }
        (a, b) => a == b,
    };
    let incumbent = match &args.incumbent {
        None => None,
        Some(seat) => {
            let found = args.members.iter().position(|member| same(member, seat));
            let why = || format!("the incumbent {seat} is no member");
            Some(found.ok_or_else(|| usage(why(), "name it in --members too"))?)
        }
    };
    Ok(Order {
        members: args.members.clone(),
        through: args
            .through
            .clone()
            .map(|node| Through { node, deadline: Duration::from_secs(args.deadline) }),
        // One model alone can be judged too; nobody asks for more members than there are.
        least: args.least.min(args.members.len()),
        calibrate: args.calibrate.clone(),
        is_unlabelled: args.unlabelled,
        validate: args.validate.clone(),
        rule,
        margin: args.margin,
        incumbent,
        out: args.out.clone(),
        device: args.device.clone(),
        seed: args.seed,
    })
}

fn fuse_error(error: FuseError) -> CliError {
    match error {
        FuseError::Members(error) => members_error(error),
        error @ FuseError::Missing { .. } => {
            let remedy = "`starling peers` shows who is linked; give a longer --deadline, or name others";
            CliError::new(ExitCode::Unreachable, "too few members answer", error, remedy)
        }
        error @ FuseError::Write { .. } => {
            CliError::new(ExitCode::Failed, "the fusion cannot be kept", error, "choose another --out")
        }
    }
}

/// Writes the verdict into a node's ledger.
fn record(node: &Path, card: &Path, outcome: &Outcome) -> Result<(), CliError> {
    let Some(verdict) = &outcome.verdict else { return Ok(()) };
    let failed = |why: String| {
        let what = format!("the verdict in {} is in no ledger", card.display());
        CliError::new(ExitCode::Failed, what, why, "give the directory of a node that has run and is stopped")
    };
    let candidate = hash_file(card).map_err(|e| failed(e.to_string()))?;
    let mut members = Vec::new();
    for member in &outcome.members {
        let model = member.hash.parse().map_err(|e: protocol::id::NotHex| failed(e.to_string()))?;
        members.push(Ingredient { model, weight: member.weight as f32 });
    }
    let record = Record::Judged {
        candidate,
        is_adopted: verdict.is_adopted,
        metric: outcome.metric.clone(),
        score_candidate: verdict.score_candidate as f32,
        score_incumbent: verdict.score_incumbent as f32,
        margin: verdict.margin as f32,
        members,
    };
    adopt::record(node, record).map_err(|e| failed(e.to_string()))
}

fn print(to: &mut dyn Write, outcome: &Outcome, args: &Args) -> std::io::Result<()> {
    let metric = if outcome.metric == "f1" { "F1" } else { "accuracy" };
    if let Some(warning) = &outcome.warning {
        writeln!(to, "warning  {warning}\n")?;
    }
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
    let rows: Vec<Vec<String>> = outcome
        .members
        .iter()
        .map(|member| {
            vec![
                escape::line(&member.name),
                format!("{:.3}", member.weight),
                member.interval.map_or("-".to_owned(), |i| format!("{:.3} to {:.3}", i.low, i.high)),
                number(member.score),
                number(member.quality.map(|quality| quality.nll)),
                number(member.quality.map(|quality| quality.ece)),
            ]
        })
        .collect();
    table(to, &["member", "weight", "95 %", metric, "NLL", "ECE"], &rows)?;
    for member in &outcome.left_out {
        writeln!(to, "left out {}: {}", escape::line(&member.name), member.why)?;
    }
    if !outcome.rules.is_empty() {
        let row = |name: &str, quality: &model::fuse::quality::Quality| {
            let numbers = [quality.score, quality.nll, quality.ece, quality.squared];
            let mut row = vec![name.to_owned()];
            row.extend(numbers.map(|value| format!("{value:.4}")));
            row
        };
        let mut rows: Vec<Vec<String>> =
            outcome.rules.iter().map(|rule| row(rule.rule.name(), &rule.quality)).collect();
        rows.extend(outcome.averaged.iter().map(|quality| row("(mean of parameters)", quality)));
        writeln!(to)?;
        table(to, &["rule", metric, "NLL", "ECE", "squared"], &rows)?;
        let on = match outcome.judged_on {
            JudgedOn::Validation => "validation examples",
            JudgedOn::CrossValidation | JudgedOn::Nothing => "calibration examples, each by a fit without it",
        };
        writeln!(to, "\nrules measured on {} {on}", outcome.samples_judged)?;
    }
    let used = match outcome.guard.map(|guard| guard.used) {
        Some(Used::Uniform) => ": equal weights, which did better out of the fit",
        Some(Used::BestSingle) => ": the best member alone, which did better out of the fit",
        Some(Used::Rule) | None => "",
    };
    writeln!(to, "rule     {}{used}", outcome.rule)?;
    if let (Some(fused), Some(uniform), Some(single)) =
        (outcome.score_fused, outcome.score_uniform, outcome.score_best_single)
    {
        let spans =
            outcome.score_spans.map_or(String::new(), |f1| format!(", votes for whole entities {f1:.4}"));
        writeln!(
            to,
            "{metric:8} fused {fused:.4}, equal weights {uniform:.4}, best single {single:.4}{spans}"
        )?;
    }
    if let Some(verdict) = &outcome.verdict {
        let word = if verdict.is_adopted { "adopted" } else { "refused" };
        let interval = verdict.difference_interval;
        writeln!(
            to,
            "gate     {word}: {:+.4} against the incumbent (95 % {:+.4} to {:+.4}), margin {:.4}",
            verdict.difference, interval.low, interval.high, verdict.margin
        )?;
    }
    writeln!(to, "saved    {}/   (fused.json  card.json  report.html)", args.out.display())?;
    if outcome.model.is_some() {
        writeln!(to, "next     starling predict --model {} --explain-members \"TEXT\"", args.out.display())?;
    }
    Ok(())
}
