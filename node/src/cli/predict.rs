//! `starling predict`: a model's answers for text.

use std::io::Read;
use std::path::PathBuf;

use model::data::schema::TaskKind;
use model::data::valued::Values;
use model::data::words::words;
use model::generate::sample::Sampling;
use model::generate::text::continue_text;
use model::seed::Seed;
use model::task::classify::encode_texts;
use model::task::valued::{probabilities, quantities};
use serde_json::{Value, json};

use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::predict_data::Asked;
use crate::cli::run::learner_error;
use crate::cli::tagged::tagged;
use crate::cli::{ask, decided, explained, predict_data};
use crate::fuse::decider::Decider;
use crate::telemetry::escape;
use crate::trainer::saved::Saved;

/// Bytes read from standard input at most.
const INPUT_BYTES_MAX: u64 = 16 << 20;

/// Uses a model on text.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The model's folder
    #[arg(long, value_name = "DIR", required_unless_present = "ask")]
    model: Option<PathBuf>,
    #[command(flatten)]
    ask: ask::Args,
    /// The text; one line each from standard input when absent
    text: Vec<String>,
    /// auto, cpu, cuda[:N] or metal
    #[arg(long, default_value = "auto")]
    device: String,
    /// Also show what every member of a fused model says, with its weight and votes
    #[arg(long)]
    explain_members: bool,
    /// Also show which words, regions of an image and columns speak for and against each answer (integrated gradients)
    #[arg(long, conflicts_with_all = ["explain_members", "ask"])]
    explain: bool,
    /// Answer for the examples of a data file or folder, records and images among them, in place of a text
    #[arg(long, value_name = "PATH", conflicts_with_all = ["text", "explain_members", "ask"])]
    data: Option<PathBuf>,
    /// How many examples of --data, from the first
    #[arg(long, value_name = "N", default_value_t = 5, requires = "data")]
    rows: usize,
    /// Tokens a language model writes behind each text
    #[arg(long, value_name = "N", default_value_t = 100)]
    tokens: usize,
    /// Below 1 prefers likely tokens, above 1 surprises; 0 always takes the likeliest
    #[arg(long, default_value_t = 0.8)]
    temperature: f64,
    /// Draw from the K likeliest tokens only; 0 for all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Draw from the likeliest tokens that together have this probability
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    top_p: f64,
    /// Seed of what a language model draws
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    if let (Some(data), Some(model)) = (&args.data, &args.model) {
        let (rows, device, explain) = (args.rows, args.device.as_str(), args.explain);
        return predict_data::run(&Asked { model, data, rows, device, explain }, output);
    }
    let texts = texts(args)?;
    if let Some(whom) = &args.ask.whom {
        return ask::run(&args.ask, whom, &texts, &args.device, output);
    }
    let dir = args.model.as_deref().expect("the command line asks for --model without --ask");
    if args.explain_members || Decider::is_needed(dir) {
        let asked = (texts.as_slice(), args.text.as_slice());
        return decided::predict(dir, asked, &args.device, args.explain_members, output);
    }
    let mut saved = Saved::open(dir, &args.device, 0).map_err(learner_error)?;
    if args.explain {
        return explained::run(&mut saved, &texts, output);
    }
    let answers = match saved.kind {
        TaskKind::Tagging => tag(&mut saved, &texts)?,
        TaskKind::Multilabel | TaskKind::Regression => value(&mut saved, &texts)?,
        // A model of another kind has no tokenizer, and the answer says so.
        TaskKind::Classify | TaskKind::Nodes | TaskKind::Pairs | TaskKind::Records => {
            classify(&mut saved, &texts)?
        }
        TaskKind::Language => return write_on(args, &mut saved, &texts, output),
    };
    output.done(&answers, |to| {
        for answer in &answers {
            writeln!(to, "{}", answer["shown"].as_str().unwrap_or_default())?;
        }
        Ok(())
    })
}

fn texts(args: &Args) -> Result<Vec<String>, CliError> {
    if !args.text.is_empty() {
        return Ok(vec![args.text.join(" ")]);
    }
    let mut text = String::new();
    std::io::stdin()
        .take(INPUT_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|e| CliError::new(ExitCode::Data, "the input cannot be read", e, "give UTF-8 text"))?;
    let lines: Vec<String> = text.lines().filter(|l| !l.trim().is_empty()).map(str::to_owned).collect();
    if lines.is_empty() {
        let remedy = "give a text as an argument, or lines on standard input";
        return Err(CliError::new(
            ExitCode::Usage,
            "there is nothing to predict",
            "no text was given",
            remedy,
        ));
    }
    Ok(lines)
}

fn tag(saved: &mut Saved, texts: &[String]) -> Result<Vec<Value>, CliError> {
    let cut: Vec<Vec<String>> =
        texts.iter().map(|t| words(t).into_iter().map(|range| t[range].to_owned()).collect()).collect();
    let said = saved.tag(&cut).map_err(|e| learner_error(e.into()))?;
    let answers = texts.iter().zip(&cut).zip(said);
    Ok(answers.map(|((text, words), said)| tagged(text, words, &said, &saved.labels)).collect())
}

/// Continues every text; people see it while it is written.
fn write_on(args: &Args, saved: &mut Saved, texts: &[String], output: &Output) -> Result<(), CliError> {
    let sampling = Sampling { temperature: args.temperature, top_k: args.top_k, top_p: args.top_p };
    let tokenizer = saved.tokenizer().map_err(|e| learner_error(e.into()))?.clone();
    let mut answers = Vec::new();
    for text in texts {
        let stream = |piece: &str| output.text(|to| write!(to, "{}", escape::lines(piece))).is_ok();
        stream(text);
        let seed = Seed::from_u64(args.seed);
        let written =
            continue_text(&mut saved.session, &tokenizer, text, args.tokens, &sampling, &seed, stream)
                .map_err(|e| learner_error(e.into()))?;
        stream("\n");
        answers.push(json!({ "text": text, "continuation": written }));
    }
    output.done(&answers, |_| Ok(()))
}

/// The labels that hold, or the quantity, of every text.
fn value(saved: &mut Saved, texts: &[String]) -> Result<Vec<Value>, CliError> {
    let wrong = |e: model::error::Error| learner_error(e.into());
    let tokens_max = saved.facts.tokens_max as usize;
    let rows = saved.tokenizer().and_then(|tokenizer| encode_texts(texts, tokenizer, tokens_max));
    let rows = rows.map_err(wrong)?;
    match Values::meant(&saved.labels) {
        Values::Quantity(scale) => {
            let said = quantities(&mut saved.session, &rows, &scale).map_err(wrong)?;
            let answer = |(text, value): (&String, &f32)| {
                let shown = format!("{} {value:.3}  {}", escape::line(&scale.name), escape::line(text));
                json!({ "text": text, "quantity": scale.name, "value": value, "shown": shown })
            };
            Ok(texts.iter().zip(&said).map(answer).collect())
        }
        Values::Marks(labels) => {
            let said = probabilities(&mut saved.session, &rows).map_err(wrong)?;
            let answer = |(text, own): (&String, &[f32])| {
                let all = || labels.names().iter().zip(own);
                let held: Vec<&String> = all().filter(|(_, p)| **p >= 0.5).map(|(name, _)| name).collect();
                let named: Vec<String> = all()
                    .filter(|(_, p)| **p >= 0.5)
                    .map(|(name, p)| format!("{} {p:.3}", escape::line(name)))
                    .collect();
                let named = if named.is_empty() { "none".to_owned() } else { named.join(", ") };
                let shown = format!("{named}  {}", escape::line(text));
                let probabilities: serde_json::Map<String, Value> =
                    all().map(|(name, p)| (name.clone(), json!(p))).collect();
                json!({ "text": text, "labels": held, "probabilities": probabilities, "shown": shown })
            };
            Ok(texts.iter().zip(said.chunks_exact(labels.len())).map(answer).collect())
        }
    }
}

fn classify(saved: &mut Saved, texts: &[String]) -> Result<Vec<Value>, CliError> {
    let tokens_max = saved.facts.tokens_max as usize;
    let rows = saved
        .tokenizer()
        .and_then(|tokenizer| encode_texts(texts, tokenizer, tokens_max))
        .map_err(|e| learner_error(e.into()))?;
    let said =
        model::task::classify::predict(&mut saved.session, &rows).map_err(|e| learner_error(e.into()))?;
    let answers = texts.iter().zip(said).map(|(text, said)| {
        let label = saved.labels.name(said.label);
        let shown = format!("{label}  {:.3}  {}", said.probability, escape::line(text));
        json!({ "text": text, "label": label, "probability": said.probability, "shown": shown })
    });
    Ok(answers.collect())
}
