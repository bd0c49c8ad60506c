//! `starling train --arch`: a model from scratch, without a charter.

use std::path::{Path, PathBuf};

use model::arch::config::ArchConfig;
use model::data::schema::TaskKind;
use model::distill::run::{Settings, train};
use model::seed::Seed;
use serde_json::json;

use crate::cli::data::Task;
use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::run::learner_error;
use crate::telemetry::progress::Progress;
use crate::trainer::examples::load;
use crate::trainer::plain::Plain;

/// Training without a charter.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct PlainArgs {
    /// Instead of a charter: a JSON file with an architecture, whose model is trained from scratch on labels
    #[arg(long, value_name = "FILE", conflicts_with = "charter")]
    arch: Option<PathBuf>,
    /// With --arch: what the data is for; a perceptron always says the class of an image
    #[arg(long, value_enum, requires = "arch", default_value = "tagging")]
    task: Task,
    /// With --arch: passes over the training examples
    #[arg(long, requires = "arch", default_value_t = 5)]
    epochs: u32,
    /// With --arch: peak of the learning rate
    #[arg(long, requires = "arch", default_value_t = 1e-3)]
    rate: f64,
    /// With --arch: rows in a batch
    #[arg(long, requires = "arch", default_value_t = 16)]
    batch: usize,
    /// With --arch: tokens of the tokenizer, which is made from the training texts
    #[arg(long, requires = "arch", default_value_t = 2000)]
    vocabulary: usize,
    /// With --arch: longest input in tokens
    #[arg(long, requires = "arch", default_value_t = 96)]
    tokens_max: usize,
    /// With --arch: seed of fresh parameters and batches
    #[arg(long, requires = "arch", default_value_t = 7)]
    seed: u64,
}

/// Trains and saves a model.
pub(super) fn run(
    args: &PlainArgs,
    data: &Path,
    out: &Path,
    device: &str,
    output: &Output,
) -> Result<(), CliError> {
    let arch = architecture(args)?;
    let kind = match (&arch, args.task) {
        (ArchConfig::Mlp(_) | ArchConfig::Patch(_), _) | (_, Task::Classify) => TaskKind::Classify,
        _ => TaskKind::Tagging,
    };
    let seed = Seed::from_u64(args.seed);
    let plain = Plain {
        arch: &arch,
        kind,
        data,
        vocabulary: args.vocabulary,
        tokens_max: args.tokens_max,
        device,
        seed: seed.fork("model"),
    };
    let mut made = plain.make().map_err(learner_error)?;
    let examples = load(data, kind, made.modality(), &made.labels).map_err(learner_error)?.train;
    let lessons = made.lessons(&examples, None).map_err(|e| learner_error(e.into()))?;
    let settings =
        Settings { epochs: args.epochs, rate: args.rate, batch: args.batch, ..Settings::default() };
    let mut progress: Option<Progress> = None;
    let trained = train(&mut made.session, &lessons, &settings, seed.fork("batches"), &mut |now| {
        let bar = progress.get_or_insert_with(|| Progress::new("train", now.steps));
        bar.set(now.step, &format!("loss {:.3}", now.loss));
        true
    })
    .map_err(|e| learner_error(e.into()))?;
    if let Some(progress) = progress {
        progress.finish("trained");
    }
    made.save(out).map_err(|e| CliError::failed("the model is not saved", e))?;
    let parameters = made.session.parameter_count();
    let data = json!({ "steps": trained.steps, "samples": examples.len(), "loss": trained.loss,
        "parameters": parameters, "model": out });
    output.done(&data, |to| {
        writeln!(
            to,
            "trained  {parameters} parameters, {} steps, last loss {:.3}",
            trained.steps, trained.loss
        )?;
        writeln!(to, "saved    {}", out.display())?;
        writeln!(to, "next     starling eval --model {} --data PATH", out.display())
    })
}

fn architecture(args: &PlainArgs) -> Result<ArchConfig, CliError> {
    let path = args.arch.clone().unwrap_or_default();
    let wrong = |why: String| {
        let what = format!("{} is no architecture", path.display());
        CliError::new(ExitCode::Config, what, why, r#"as in {"kind": "mlp", "layers": [784, 64, 10]}"#)
    };
    let text = std::fs::read_to_string(&path).map_err(|e| wrong(e.to_string()))?;
    serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))
}
