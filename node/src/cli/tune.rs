//! `starling tune`: a search for settings of training on one node's data, or by several members on theirs, before a charter
//! fixes them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use model::seed::Seed;
use protocol::crypto::hash::content_hash;
use protocol::limits::TRIALS_MAX;
use protocol::wire::charter::{Charter, TrainTerms};
use serde::{Deserialize, Serialize};

use crate::cli::output::{CliError, ExitCode, Output, table};
use crate::cli::run::{files_of, learner_error};
use crate::cli::tune_company::{Company, Terms};
use crate::recipe::bundle::Bundle;
use crate::store::keys::Identity;
use crate::telemetry::progress::Progress;
use crate::trainer::learner::{Learner, Lesson};
use crate::trainer::search::{Plan, Settings, Trial};
use crate::trainer::translate::{Files, Place, open_with};

/// File of the trials of a search.
const TRIALS: &str = "trials.jsonl";
/// File of the best settings.
const BEST: &str = "best.toml";

/// Searches settings of training on one node's data, or together with other members.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The charter to begin from, signed, or the folder that travels with it
    #[arg(long, value_name = "PATH")]
    charter: PathBuf,
    /// Training data with a development part, which trials are judged by
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Where trials and the best settings go; a search that stopped goes on from there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Settings drawn; the first are the charter's own
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    trials: u64,
    /// One in so many goes on to the next rung with so many times the rows; 1 trains every trial to the end
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=16))]
    keep_one_in: u64,
    /// Rows the last rung trains on; as many as a node of the run meets unless given
    #[arg(long, value_name = "N")]
    rows: Option<u64>,
    /// Which of the charter's architectures to train
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// auto, cpu, cuda[:N] or metal
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Seed of the draws
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Directory of a running node: members that search the same share the trials out
    #[arg(long, value_name = "DIR")]
    through: Option<PathBuf>,
    /// Members that make each trial, on their own data; the median of their scores counts
    #[arg(long, value_name = "N", default_value_t = 1, requires = "through", value_parser = clap::value_parser!(u64).range(1..=64))]
    reports: u64,
    /// Members to wait for before the first trial
    #[arg(long, value_name = "N", default_value_t = 0, requires = "through")]
    wait_members: u64,
    /// Seconds without news from a member after which its trials are made by others
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "through", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    patience: u64,
}

/// The first line of a search's file: what it searches. A search goes on only as it began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Search {
    run: String,
    data: PathBuf,
    seed: u64,
    plan: Plan,
    /// Members that make each trial; absent in a search alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reports: Option<u64>,
}

#[derive(Serialize)]
struct Found<'a> {
    #[serde(flatten)]
    search: &'a Search,
    /// Those made here.
    trials: &'a [Trial],
    /// Those of all members.
    #[serde(skip_serializing_if = "Option::is_none")]
    together: Option<&'a [Trial]>,
    /// Names of the others that took part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    members: Vec<String>,
    best: &'a Trial,
    file: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let bundle = Bundle::open(&args.charter)?;
    let terms = bundle.charter.charter();
    let schedule = &terms.schedule;
    let whole =
        u64::from(schedule.outer_steps) * u64::from(schedule.inner_steps) * u64::from(terms.train.batch);
    let plan = Plan {
        trials: args.trials as usize,
        rows: args.rows.unwrap_or(whole).max(1),
        keep_one_in: args.keep_one_in as usize,
    };
    let data = std::path::absolute(&args.data).unwrap_or_else(|_| args.data.clone());
    let reports = args.through.is_some().then_some(args.reports);
    let search = Search { run: bundle.charter.run().to_string(), data, seed: args.seed, plan, reports };
    let mut company =
        args.through.as_deref().map(|dir| company(args, dir, &search, &terms.train)).transpose()?;
    let path = args.out.join(TRIALS);
    let mut made = resume(&path, &search)?;
    let (files, seed) = (files_of(&bundle), Seed::from_u64(args.seed));
    let place = Place { device: args.device.clone(), threads: 0, variant: args.variant.clone() };
    let mut progress = Progress::new("tune", 0);
    while let Some((number, rung)) = match &mut company {
        None => plan.open(&made).map(|(rung, open)| (open[0], rung)),
        Some(company) => company.next(&made, |words| progress.set(made.len() as u64, words))?,
    } {
        let settings = Settings::drawn(&terms.train, number, &seed);
        let trial = attempt(terms, &files, args, &place, (number, rung), settings, plan.rows_of(rung))?;
        append(&path, &trial)
            .map_err(|e| CliError::failed(format!("could not write {}", path.display()), e))?;
        progress.set(made.len() as u64 + 1, &format!("trial {number} rung {rung}: {:.4}", trial.score));
        made.push(trial);
    }
    progress.finish("searched");
    let together = company.as_ref().map(|company| company.all(&made));
    let all = together.as_deref().unwrap_or(&made);
    let best = plan.best(all).expect("a search has at least one trial");
    let file = args.out.join(BEST);
    std::fs::write(&file, written(best, &search))
        .map_err(|e| CliError::failed(format!("could not write {}", file.display()), e))?;
    let members = company.as_ref().map(Company::members).unwrap_or_default();
    let found = Found {
        search: &search,
        trials: &made,
        together: together.as_deref(),
        members: members.clone(),
        best,
        file: file.clone(),
    };
    output.done(&found, |to| {
        let head = ["trial", "rung", "rows", "rate", "batch", "decay", "warm-up", "score", "loss", "seconds"];
        table(to, &head, &all.iter().map(row).collect::<Vec<_>>())?;
        if company.is_some() {
            writeln!(
                to,
                "made     {} here; others: {}",
                made.len(),
                if members.is_empty() { "nobody".to_owned() } else { members.join(", ") }
            )?;
        }
        writeln!(to, "best     trial {} with {:.4}", best.trial, best.score)?;
        writeln!(to, "saved    {}", file.display())?;
        writeln!(to, "next     put its [train] into a recipe, then: starling charter new --recipe FILE.toml")
    })
}

/// Goes to the running node through which others are told and heard.
fn company<'a>(
    args: &Args,
    dir: &Path,
    search: &Search,
    terms: &'a TrainTerms,
) -> Result<Company<'a>, CliError> {
    if 2 * args.trials as usize > TRIALS_MAX {
        let why = format!("members tell each other at most {} trials of one search", TRIALS_MAX / 2);
        return Err(CliError::new(ExitCode::Usage, "too many trials", why, "give a smaller --trials"));
    }
    // Data stays out of it: every member has its own.
    let alike = Search { data: PathBuf::new(), ..search.clone() };
    let head = serde_json::to_vec(&alike).map_err(|e| CliError::failed("the search cannot be written", e))?;
    let terms = Terms {
        search: content_hash(&head),
        plan: search.plan,
        reports: args.reports as usize,
        train: terms,
        seed: Seed::from_u64(args.seed),
    };
    let patience = Duration::from_secs(args.patience);
    Company::join(dir, terms, args.wait_members as usize, patience)
}

fn row(trial: &Trial) -> Vec<String> {
    let Settings { rate, batch, weight_decay, warmup_share } = trial.settings;
    vec![
        trial.trial.to_string(),
        trial.rung.to_string(),
        trial.rows.to_string(),
        format!("{rate:.2e}"),
        batch.to_string(),
        format!("{weight_decay:.1e}"),
        warmup_share.to_string(),
        format!("{:.4}", trial.score),
        format!("{:.4}", trial.loss),
        format!("{:.1}", trial.seconds),
    ]
}

/// Trains from the genesis and scores on the development part.
fn attempt(
    terms: &Charter,
    files: &Files,
    args: &Args,
    place: &Place,
    (trial, rung): (usize, usize),
    settings: Settings,
    rows: u64,
) -> Result<Trial, CliError> {
    let begun = Instant::now();
    let terms = Charter { train: settings.put_into(&terms.train), ..terms.clone() };
    // A fresh key only decides the order of the batches here.
    let me = Identity::from_seed([7; 32]).peer();
    let mut learner =
        open_with(&terms, String::new(), files, &args.data, place, &me).map_err(learner_error)?;
    let steps = rows.div_ceil(u64::from(settings.batch)).min(u64::from(u32::MAX));
    let lesson = Lesson { steps: steps as u32, start: 0, total: steps, seconds_max: 0 };
    learner.train(lesson, &|| false).map_err(|e| CliError::failed("training stopped", e))?;
    let judged = learner.evaluate().map_err(|e| CliError::failed("the trial cannot be scored", e))?;
    if judged.samples == 0 {
        let why = "the data has no development part and no test part to judge trials by";
        let remedy = "name a folder with a file named like dev.conll beside train.conll";
        return Err(CliError::new(ExitCode::Data, "trials cannot be compared", why, remedy));
    }
    let seconds = begun.elapsed().as_secs_f64();
    let (score, loss, samples) = (judged.score, judged.loss, judged.samples);
    Ok(Trial { trial, rung, rows, settings, score, loss, samples, seconds })
}

/// The trials of a search that stopped; begins its file where there is none.
fn resume(path: &Path, search: &Search) -> Result<Vec<Trial>, CliError> {
    let failed = |e: std::io::Error| CliError::failed(format!("could not use {}", path.display()), e);
    let head =
        serde_json::to_string(search).map_err(|e| CliError::failed("the search cannot be written", e))?;
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
            std::fs::write(path, head + "\n").map_err(failed)?;
            return Ok(Vec::new());
        }
        Err(e) => return Err(failed(e)),
    };
    let mut lines = text.lines();
    let begun: Option<Search> = lines.next().and_then(|line| serde_json::from_str(line).ok());
    if begun.as_ref() != Some(search) {
        let what = format!("{} belongs to another search", path.display());
        let why =
            "charter, data, seed, trials, rows, --keep-one-in or --reports differ from those it began with";
        return Err(CliError::new(ExitCode::Refused, what, why, "name another folder with --out"));
    }
    // The last line may have been cut short by the end of the process that wrote it: that trial is made again.
    let trials: Vec<Trial> = lines.map_while(|line| serde_json::from_str(line).ok()).collect();
    let whole: String = text.lines().take(trials.len() + 1).flat_map(|line| [line, "\n"]).collect();
    if whole.len() != text.len() {
        std::fs::write(path, whole).map_err(failed)?;
    }
    Ok(trials)
}

fn append(path: &Path, trial: &Trial) -> std::io::Result<()> {
    let line = serde_json::to_string(trial).map_err(std::io::Error::other)?;
    writeln!(std::fs::OpenOptions::new().append(true).open(path)?, "{line}")
}

/// The best settings as a part of a recipe.
fn written(best: &Trial, search: &Search) -> String {
    let Settings { rate, batch, weight_decay, warmup_share } = best.settings;
    format!(
        "# Trial {} of {}, rung {}, {} rows: score {:.4}, loss {:.4} on the development part.\n[train]\nrate = {rate:e}\nbatch = {batch}\nweight_decay = {weight_decay:e}\nwarmup_share = {warmup_share}\n",
        best.trial, search.plan.trials, best.rung, best.rows, best.score, best.loss
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search() -> Search {
        let plan = Plan { trials: 4, rows: 100, keep_one_in: 2 };
        Search { run: "r".into(), data: "x".into(), seed: 1, plan, reports: None }
    }

    fn trial(number: usize) -> Trial {
        let settings = Settings { rate: 0.001, batch: 16, weight_decay: 0.01, warmup_share: 0.1 };
        Trial { trial: number, rung: 0, rows: 50, settings, score: 0.5, loss: 1.0, samples: 9, seconds: 2.0 }
    }

    #[test]
    fn a_search_is_resumed_without_the_line_that_was_cut_short_and_refused_when_it_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("search").join(TRIALS);
        assert!(resume(&path, &search()).unwrap().is_empty());
        append(&path, &trial(0)).unwrap();
        append(&path, &trial(1)).unwrap();
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.truncate(text.len() - 20);
        std::fs::write(&path, text).unwrap();
        assert_eq!(resume(&path, &search()).unwrap(), [trial(0)]);
        append(&path, &trial(1)).unwrap();
        assert_eq!(resume(&path, &search()).unwrap(), [trial(0), trial(1)]);
        let other = Search { seed: 2, ..search() };
        assert!(resume(&path, &other).unwrap_err().to_string().contains("another search"));
    }

    #[test]
    fn the_best_settings_are_a_part_of_a_recipe() {
        let table: toml::Table = written(&trial(3), &search()).parse().unwrap();
        assert_eq!(table["train"]["batch"].as_integer(), Some(16));
        assert!((table["train"]["rate"].as_float().unwrap() - 0.001).abs() < 1e-9);
    }
}
