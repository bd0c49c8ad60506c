//! `starling charter new`: a draft charter and the folder that travels with it.

use std::path::PathBuf;

use model::data::corpus::Corpus;
use model::data::labels::LabelSet;
use model::data::sizes::Sizes;
use model::seed::Seed;
use protocol::id::PeerId;
use protocol::time::UnixSeconds;
use protocol::wire::charter::{Admission, Member};
use serde_json::json;

use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::run::learner_error;
use crate::recipe::bundle::{CHARTER, PROBE};
use crate::recipe::found::{FoundError, Founding, found};
use crate::recipe::terms::{Recipe, Use};
use crate::runtime::clock::today;
use crate::trainer::probe;
use crate::trainer::translate::{task_named, unreadable};

/// Makes a charter and the folder that travels with it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Recipe whose terms are taken, a name or a .toml file
    #[arg(long, default_value = "ner")]
    recipe: String,
    /// Where the folder goes
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A member as KEY=ORGANIZATION; may be repeated
    #[arg(long = "member", value_name = "KEY=ORGANIZATION", required_unless_present = "invite")]
    members: Vec<String>,
    /// List no members: founders invite organizations with `starling invite`
    #[arg(long, conflicts_with = "members", requires = "founders")]
    invite: bool,
    /// Key of a founder; the first member when absent; may be repeated
    #[arg(long = "founder", value_name = "KEY")]
    founders: Vec<PeerId>,
    /// Founders that must sign; all of them when absent
    #[arg(long)]
    threshold: Option<u32>,
    /// Texts that everybody may see: labels and tokenizer are made from them
    #[arg(long, value_name = "PATH")]
    corpus: Option<PathBuf>,
    /// Public texts without labels that predictions are traded on, for recipes that trade them: a .txt file with one text
    /// a line, or data whose labels are dropped; the built-in corpus unless given
    #[arg(long, value_name = "PATH")]
    probe: Option<PathBuf>,
    /// Trained encoder to start from, a folder in Hugging Face layout
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
    /// Days until it expires
    #[arg(long, default_value_t = 365)]
    days: u32,
    /// Seed of the genesis parameters
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let used = Use { with_data: args.corpus.is_some(), with_base: args.base.is_some(), ..Use::default() };
    let recipe = Recipe::find(&args.recipe, used)
        .map_err(|e| CliError::new(ExitCode::Usage, "there is no such recipe", e, ""))?;
    let path = args.out.join(CHARTER);
    if path.exists() {
        let remedy = "choose another folder, or move this one away";
        return Err(CliError::new(
            ExitCode::Refused,
            "the charter is not written",
            format!("{} exists", path.display()),
            remedy,
        ));
    }
    let members = args.members.iter().map(|m| member(m)).collect::<Result<Vec<_>, _>>()?;
    let founders = match (args.founders.as_slice(), members.first()) {
        ([], Some(first)) => vec![first.peer],
        (founders, _) => founders.to_vec(),
    };
    let threshold = args.threshold.unwrap_or(founders.len() as u32);
    let (labels, corpus, sizes) = public_texts(args, &recipe)?;
    let probe = probe_rows(args, &recipe)?;
    let founding = Founding {
        recipe: &recipe,
        labels: &labels,
        corpus: &corpus,
        sizes,
        probe: &probe,
        base: args.base.as_deref(),
        admission: if args.invite { Admission::Invite } else { Admission::Closed(members) },
        founders: founders.clone(),
        threshold,
        seed: args.seed,
        expires: UnixSeconds(today().0 + u64::from(args.days) * 86_400),
    };
    let charter = found(&args.out, founding).map_err(found_error)?;
    let data = json!({ "folder": args.out, "run": charter.run_id(), "parameters": charter.model.parameters,
        "labels": charter.task.labels, "founders": founders, "threshold": threshold });
    output.done(&data, |to| {
        writeln!(to, "charter  {} (not signed yet)", path.display())?;
        writeln!(to, "run      {}", charter.run_id())?;
        writeln!(
            to,
            "model    {} parameters, {} labels",
            charter.model.parameters,
            charter.task.labels.len()
        )?;
        if let Some(terms) = &charter.codistillation {
            writeln!(to, "probe    {} outputs in {}", terms.outputs, args.out.join(PROBE).display())?;
        }
        writeln!(
            to,
            "next     review it, then each founder: starling charter sign {} --dir NODE",
            path.display()
        )
    })
}

fn member(text: &str) -> Result<Member, CliError> {
    let wrong = |why: String| {
        CliError::new(
            ExitCode::Usage,
            format!("--member {text}"),
            why,
            "write KEY=ORGANIZATION; `starling key show` prints the key",
        )
    };
    let (key, organization) = text.split_once('=').ok_or_else(|| wrong("there is no = in it".to_owned()))?;
    let peer = key.trim().parse::<PeerId>().map_err(|e| wrong(e.to_string()))?;
    Ok(Member { peer, organization: organization.trim().to_owned() })
}

/// Labels, texts for the tokenizer, and sizes: what everybody may know.
fn public_texts(args: &Args, recipe: &Recipe) -> Result<(LabelSet, Vec<String>, Sizes), CliError> {
    let seed = Seed::from_u64(args.seed);
    match &args.corpus {
        Some(path) => {
            let task = task_named(&recipe.task.kind).map_err(learner_error)?;
            let corpus = Corpus::load(path, task, &seed).map_err(|e| learner_error(unreadable(e)))?;
            let sizes = corpus.train.sizes();
            Ok((corpus.labels, corpus.train.texts(), sizes))
        }
        None => {
            let made = Corpus::public(&recipe.data.generator, &seed, recipe.data.train / 4);
            let (texts, labels, sizes) = made.map_err(|e| learner_error(e.into()))?;
            Ok((labels, texts, sizes))
        }
    }
}

/// Rows of the probe set; none where the recipe trades no predictions.
fn probe_rows(args: &Args, recipe: &Recipe) -> Result<Vec<Vec<String>>, CliError> {
    let Some(plan) = &recipe.codistillation else {
        return match &args.probe {
            None => Ok(Vec::new()),
            Some(path) => Err(CliError::new(
                ExitCode::Usage,
                format!("--probe {}", path.display()),
                format!("the recipe {} trades parameters and needs no probe set", recipe.name),
                "leave --probe out, or take a recipe that trades predictions, such as mixed",
            )),
        };
    };
    let seed = Seed::from_u64(args.seed);
    let task = task_named(&recipe.task.kind).map_err(learner_error)?;
    let is_tagging = recipe.task.kind == "tagging";
    let texts = match &args.probe {
        None => Corpus::unlabelled(&recipe.data.generator, &seed, "probe", plan.probe)
            .map_err(|e| learner_error(e.into()))?,
        Some(path) if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("txt")) => {
            return probe::read(path, is_tagging).map_err(|e| learner_error(e.into()));
        }
        Some(path) => {
            let corpus = Corpus::load(path, task, &seed).map_err(|e| learner_error(unreadable(e)))?;
            corpus.train.texts()
        }
    };
    Ok(probe::parse(&texts.join("\n"), is_tagging))
}

fn found_error(error: FoundError) -> CliError {
    match error {
        FoundError::File(error) => error.into(),
        FoundError::Translate(error) => learner_error(error),
        FoundError::Model(error) => learner_error(error.into()),
        error => CliError::new(ExitCode::Config, "the run cannot be founded", error, ""),
    }
}
