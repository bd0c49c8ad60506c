//! `starling audit privacy`: whether a model tells who was in its training data.

use std::path::{Path, PathBuf};

use model::audit::membership::{Membership, attack};
use model::audit::odds::odds;
use model::data::batch::Targets;

use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::run::learner_error;
use crate::trainer::saved::Saved;

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The folder of a model that classifies texts or nodes
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Examples it was trained on
    #[arg(long, value_name = "FILE")]
    trained: PathBuf,
    /// Examples like them that it never saw
    #[arg(long, value_name = "FILE")]
    unseen: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let mut saved = Saved::open(&args.model, "cpu", 0).map_err(learner_error)?;
    let members = losses(&mut saved, &args.trained)?;
    let strangers = losses(&mut saved, &args.unseen)?;
    let found: Membership = attack(&members, &strangers).map_err(|e| learner_error(e.into()))?;
    output.done(&found, |to| {
        writeln!(to, "examples         {} trained on, {} unseen", found.members, found.strangers)?;
        writeln!(to, "mean loss        {:.4} and {:.4}", found.loss_members, found.loss_strangers)?;
        writeln!(to, "attack AUC       {:.3}   (.5 gives nothing away)", found.auc)?;
        writeln!(to, "found at 1 %     {:.3}   (.01 gives nothing away)", found.found_at_one_percent)?;
        writeln!(to, "This attack reads losses only; a better one may find more.")
    })
}

/// The loss of every example.
fn losses(saved: &mut Saved, data: &Path) -> Result<Vec<f64>, CliError> {
    let wrong = |e: model::error::Error| learner_error(e.into());
    let examples = saved.examples(data).map_err(learner_error)?;
    let rows = saved.rows(&examples).map_err(wrong)?;
    let all: Vec<usize> = (0..rows.len()).collect();
    let Targets::Classes(truth) = rows.batch(&all).targets else {
        let why = "its outputs are not one class per example";
        let remedy = "name a model that classifies texts or nodes";
        return Err(CliError::new(ExitCode::Usage, "the attack does not fit this model", why, remedy));
    };
    let odds = odds(&mut saved.session, &rows).map_err(wrong)?;
    // Probabilities of 0 in single precision would give an infinite loss.
    let loss = |(odds, truth): (&Vec<f64>, &i32)| -odds[*truth as usize].max(1e-30).ln();
    Ok(odds.iter().zip(&truth).map(loss).collect())
}
