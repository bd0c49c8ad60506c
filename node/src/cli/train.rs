//! `starling train`: the charter's terms without a network, for comparison or for a first look.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::output::{CliError, Output};
use crate::cli::run::{files_of, learner_error};
use crate::cli::train_plain::{self, PlainArgs};
use crate::recipe::bundle::Bundle;
use crate::store::keys::Identity;
use crate::telemetry::progress::Progress;
use crate::trainer::learner::{Learner, Lesson};
use crate::trainer::translate::{Place, open_learner};

/// Trains alone under a charter's terms.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The signed charter, or the folder that travels with it
    #[arg(long, value_name = "PATH", required_unless_present = "arch")]
    charter: Option<PathBuf>,
    #[command(flatten)]
    plain: PlainArgs,
    /// Training data
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// Where the model goes
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Inner steps; as many as a node of the run takes unless given
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Which of the charter's architectures to train
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// auto, cpu, cuda[:N] or metal
    #[arg(long, default_value = "cpu")]
    device: String,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let Some(charter) = &args.charter else {
        return train_plain::run(&args.plain, &args.data, &args.out, &args.device, output);
    };
    let bundle = Bundle::open(charter)?;
    let schedule = &bundle.charter.charter().schedule;
    let total = args.steps.unwrap_or(u64::from(schedule.outer_steps) * u64::from(schedule.inner_steps));
    let place = Place { device: args.device.clone(), threads: 0, variant: args.variant.clone() };
    // A fresh key only decides the order of the batches here.
    let identity = Identity::from_seed([7; 32]);
    let mut learner = open_learner(&bundle.charter, &files_of(&bundle), &args.data, &place, &identity.peer())
        .map_err(learner_error)?;
    let mut progress = Progress::new("train", total);
    let (mut start, mut loss, mut samples) = (0u64, 0.0, 0u64);
    while start < total {
        let steps = (total - start).min(u64::from(schedule.inner_steps)) as u32;
        let lesson = Lesson { steps, start, total, seconds_max: 0 };
        let learned =
            learner.train(lesson, &|| false).map_err(|e| CliError::failed("training stopped", e))?;
        start += u64::from(steps);
        loss = learned.loss;
        samples += learned.samples;
        progress.set(start, &format!("loss {loss:.3}"));
    }
    let step = protocol::id::OuterStep(0);
    learner.export(&args.out, step).map_err(|e| CliError::failed("the model is not saved", e))?;
    progress.finish("trained");
    let data = json!({ "steps": total, "samples": samples, "loss": loss, "model": args.out });
    output.done(&data, |to| {
        writeln!(to, "trained  {total} steps, {samples} samples, last loss {loss:.3}")?;
        writeln!(to, "saved    {}", args.out.display())?;
        writeln!(to, "next     starling eval --model {} --data PATH", args.out.display())
    })
}
