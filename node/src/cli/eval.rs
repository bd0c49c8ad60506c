//! `starling eval`: a model's score on data, by label.

use std::path::PathBuf;

use model::data::intents;

use crate::cli::decided;
use crate::cli::output::{CliError, Output};
use crate::cli::run::learner_error;
use crate::fuse::decider::Decider;
use crate::trainer::saved::Saved;

/// Scores a model on data.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The model's folder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// A data file, or a folder with a test or development file
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// auto, cpu, cuda[:N] or metal
    #[arg(long, default_value = "auto")]
    device: String,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    if Decider::is_needed(&args.model) {
        return decided::eval(&args.model, &args.data, &args.device, output);
    }
    let mut saved = Saved::open(&args.model, &args.device, 0).map_err(learner_error)?;
    let scored = saved.scored(&args.data).map_err(learner_error)?;
    let wrong = |e: model::error::Error| learner_error(e.into());
    let mut report = scored.report(&mut saved.session).map_err(wrong)?;
    if let Some(file) = intents::find(&args.data) {
        let strangers = intents::out_of_scope(&file).map_err(wrong)?;
        report.out_of_scope = saved.out_of_scope(&scored, &strangers).map_err(wrong)?;
    }
    output.done(&report, |to| {
        writeln!(to, "{report}")?;
        writeln!(to, "next     starling predict --model {} \"TEXT\"", args.model.display())
    })
}
