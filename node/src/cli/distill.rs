//! `starling distill`: from one big model, or several, to smaller ones.

use std::io::Write;
use std::path::{Path, PathBuf};

use model::arch::config::ArchConfig;
use model::distill::plan::Plan;
use model::distill::run::Settings;
use model::ops::soft_loss::SoftRule;

use crate::cli::output::{CliError, ExitCode, Output, table};
use crate::cli::run::learner_error;
use crate::distill::outcome::{Line, Outcome};
use crate::distill::page::html;
use crate::distill::picture::picture;
use crate::distill::students::{DistillError, Order, distill};

/// Distils a model into smaller ones.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A model to learn from; may be repeated, students are cut from the first
    #[arg(long = "teacher", value_name = "DIR", required = true)]
    teachers: Vec<PathBuf>,
    /// half, quarter, tiny, depthN, widthS, depthN+widthS, or a .json file with an architecture; separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "half,quarter,tiny")]
    students: Vec<String>,
    /// A data file, or a folder with train, dev and test files
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// What a student minimises against labels and teachers
    #[arg(long, value_enum, default_value_t)]
    loss: Loss,
    /// Weight of the teachers against the labels
    #[arg(long, default_value_t = 1.0)]
    alpha: f64,
    /// Temperature of the divergence; above 1 small probabilities count more
    #[arg(long, default_value_t = 2.0)]
    temperature: f64,
    /// Passes over the training examples
    #[arg(long, default_value_t = 4)]
    epochs: u32,
    /// Peak of the learning rate
    #[arg(long, default_value_t = 5e-4)]
    rate: f64,
    /// Rows in a batch
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// By how much a student's score may be below its teacher's for the gate to let it in
    #[arg(long, default_value_t = 0.03)]
    margin: f64,
    /// Also train every student on labels alone, for comparison
    #[arg(long)]
    compare: bool,
    /// Where students and report go
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Where teachers' answers are kept; `cache` in the output folder when absent
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// auto, cpu, cuda[:N] or metal
    #[arg(long, default_value = "auto")]
    device: String,
    /// Seed of batches, held-out examples and fresh parameters
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// What a student minimises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Loss {
    /// Cross-entropy against labels plus alpha T² times the divergence from the softened teachers
    #[default]
    Divergence,
    /// Squared distance from the labels plus alpha times the squared distance from the teachers
    Squared,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let order = order(args)?;
    let outcome = distill(&order).map_err(distill_error)?;
    let report = args.out.join("report.html");
    let json = args.out.join("distill.json");
    let svg = args.out.join("score_by_size.svg");
    let text = serde_json::to_string_pretty(&outcome)
        .map_err(|e| CliError::failed("could not write the result as JSON", e))?;
    for (path, contents) in [(&report, html(&outcome)), (&json, text), (&svg, picture(&outcome))] {
        std::fs::write(path, contents)
            .map_err(|e| CliError::failed(format!("could not write {}", path.display()), e))?;
    }
    output.done(&outcome, |to| print(to, &outcome, args))
}

fn order(args: &Args) -> Result<Order, CliError> {
    let wrong = |why: String| {
        CliError::new(
            ExitCode::Usage,
            "the students cannot be made",
            why,
            "as in --students half,depth2+width0.5",
        )
    };
    let mut plans: Vec<Plan> = Vec::new();
    for text in &args.students {
        let is_file = Path::new(text).extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
        let plan = if is_file {
            config(Path::new(text))?
        } else {
            text.parse().map_err(|e: model::error::Error| wrong(e.to_string()))?
        };
        if plans.iter().any(|known| known.name == plan.name) {
            return Err(wrong(format!("the student {plan} is named twice")));
        }
        plans.push(plan);
    }
    let rule = match args.loss {
        Loss::Divergence => SoftRule::Divergence { alpha: args.alpha, temperature: args.temperature },
        Loss::Squared => SoftRule::Squared { alpha: args.alpha },
    };
    Ok(Order {
        teachers: args.teachers.clone(),
        plans,
        data: args.data.clone(),
        settings: Settings { rule, epochs: args.epochs, rate: args.rate, batch: args.batch },
        out: args.out.clone(),
        cache: args.cache.clone().unwrap_or_else(|| args.out.join("cache")),
        device: args.device.clone(),
        seed: args.seed,
        margin: args.margin,
        compare: args.compare,
    })
}

/// A student of an architecture in a file, named after it.
fn config(path: &Path) -> Result<Plan, CliError> {
    let wrong = |why: String| {
        let what = format!("{} is no architecture", path.display());
        CliError::new(ExitCode::Config, what, why, r#"as in {"kind": "mlp", "layers": [784, 64, 10]}"#)
    };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let arch: ArchConfig = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let name = path.file_stem().map_or_else(|| "config".into(), |stem| stem.to_string_lossy().into_owned());
    Ok(Plan::of_config(name, arch))
}

fn distill_error(error: DistillError) -> CliError {
    match error {
        DistillError::Translate(error) => learner_error(error),
        error @ DistillError::Write { .. } => {
            CliError::new(ExitCode::Failed, "the students cannot be kept", error, "choose another --out")
        }
    }
}

fn print(to: &mut dyn Write, outcome: &Outcome, args: &Args) -> std::io::Result<()> {
    let metric = if outcome.metric == "f1" { "F1" } else { "accuracy" };
    let mut head = vec!["model", "parameters", "size", "bytes", "latency ms", metric, "kept"];
    if args.compare {
        head.push("without teacher");
    }
    head.push("gate");
    let cells = |line: &Line| {
        let size = line.parameters as f64 / outcome.teacher.parameters.max(1) as f64;
        vec![
            line.name.clone(),
            line.parameters.to_string(),
            format!("{:.1} %", 100.0 * size),
            line.bytes.to_string(),
            format!("{:.2}", line.latency_ms),
            format!("{:.4}", line.score),
        ]
    };
    let mut rows = vec![cells(&outcome.teacher)];
    rows[0].resize(head.len(), "-".to_owned());
    for student in &outcome.students {
        let mut row = cells(&student.line);
        row.push(format!("{:.1} %", 100.0 * student.kept));
        if args.compare {
            row.push(student.score_without_teacher.map_or("-".to_owned(), |score| format!("{score:.4}")));
        }
        row.push(if student.verdict.is_adopted { "adopted" } else { "refused" }.to_owned());
        rows.push(row);
    }
    table(to, &head, &rows)?;
    writeln!(to, "\ntrained on {} examples, scored on {}", outcome.samples_train, outcome.samples_score)?;
    writeln!(
        to,
        "saved    {}/   (report.html  score_by_size.svg  distill.json, a folder a student)",
        args.out.display()
    )?;
    let next = outcome.students.first().map_or_else(|| args.out.clone(), |student| student.model.clone());
    writeln!(to, "next     starling predict --model {} \"TEXT\"", next.display())
}
