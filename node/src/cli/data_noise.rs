//! `starling data noise`: labels that may be wrong, for a person to look at.

use std::path::PathBuf;

use model::audit::noise::{Candidate, candidates, hashed};
use model::data::corpus::Corpus;
use model::data::examples::Examples;
use model::data::schema::TaskKind;
use model::seed::Seed;
use serde::Serialize;

use crate::cli::output::{CliError, ExitCode, Output, table};
use crate::cli::run::learner_error;
use crate::telemetry::escape;
use crate::trainer::translate::unreadable;

/// Candidates shown on a terminal; all of them are in the machine output.
const SHOWN: usize = 20;

/// What to look at.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A data file or folder; its training part is looked at
    path: PathBuf,
    /// Whether it holds texts with a class or records with an image
    #[arg(long, value_enum, default_value = "classify")]
    task: Kind,
    /// Seed of folds and models
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// What data is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A label for every text
    Classify,
    /// A label for every record
    Records,
}

#[derive(Serialize)]
struct Found {
    examples: usize,
    candidates: Vec<Candidate>,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let wrong = |e: model::error::Error| learner_error(e.into());
    let task = if args.task == Kind::Classify { TaskKind::Classify } else { TaskKind::Records };
    let seed = Seed::from_u64(args.seed);
    let corpus = Corpus::load(&args.path, task, &seed).map_err(|e| learner_error(unreadable(e)))?;
    let (values, width, truth) = match &corpus.train {
        Examples::Texts(texts) => {
            let (values, width) = hashed(texts.iter().map(|text| text.text.as_str()));
            (values, width, texts.iter().map(|text| text.label).collect::<Vec<u32>>())
        }
        Examples::Records(part) if part.iter().all(|record| record.image.is_some()) => {
            let pixels = part.iter().filter_map(|record| record.image.as_ref()).flatten();
            let values: Vec<f32> = pixels.map(|pixel| f32::from(*pixel) / 255.0).collect();
            let truth = part.iter().filter_map(|record| record.label).collect();
            (values, part.records.form.pixels().max(1), truth)
        }
        _ => {
            let why = "it holds neither texts with a class nor an image in every record";
            return Err(CliError::new(ExitCode::Data, "there is nothing to look at", why, "name other data"));
        }
    };
    let candidates = candidates(&values, width, &truth, &corpus.labels, &seed).map_err(wrong)?;
    let found = Found { examples: truth.len(), candidates };
    output.done(&found, |to| {
        let row = |c: &Candidate| {
            let [label, rather] = [&c.label, &c.rather].map(|name| escape::line(name));
            vec![
                c.example.to_string(),
                label,
                format!("{:.3}", c.probability),
                rather,
                format!("{:.3}", c.probability_rather),
            ]
        };
        let rows: Vec<_> = found.candidates.iter().take(SHOWN).map(row).collect();
        table(to, &["example", "label", "likely", "rather", "likely"], &rows)?;
        let count = found.candidates.len();
        writeln!(to, "{count} of {} labels may be wrong; a reason to look, not a verdict", found.examples)
    })
}
