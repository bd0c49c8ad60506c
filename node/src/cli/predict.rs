//! `starling predict`: a model's answers for text.

use std::io::Read;
use std::path::PathBuf;

use model::data::schema::TaskKind;
use model::data::words::words;
use model::eval::tagging::{Matching, entities};
use serde_json::{Value, json};

use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::run::learner_error;
use crate::telemetry::escape;
use crate::trainer::saved::Saved;

/// Bytes read from standard input at most.
const INPUT_BYTES_MAX: u64 = 16 << 20;

/// Uses a model on text.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The model's folder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The text; one line each from standard input when absent
    text: Vec<String>,
    /// auto, cpu, cuda[:N] or metal
    #[arg(long, default_value = "auto")]
    device: String,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    let texts = texts(args)?;
    let mut saved = Saved::open(&args.model, &args.device, 0).map_err(learner_error)?;
    let answers = match saved.kind {
        TaskKind::Tagging => tag(&mut saved, &texts)?,
        TaskKind::Classify => classify(&mut saved, &texts)?,
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
    let mut answers = Vec::new();
    for ((text, words), said) in texts.iter().zip(&cut).zip(said) {
        let tags: Vec<u32> = said.iter().map(|w| w.label).collect();
        let found = entities(&tags, &saved.labels, Matching::Default);
        let mut shown = String::new();
        let mut list = Vec::new();
        for (i, word) in words.iter().enumerate() {
            let entity = found.iter().find(|e| e.start <= i && i < e.end);
            if i > 0 {
                shown.push(' ');
            }
            if entity.is_some_and(|e| e.start == i) {
                shown.push('[');
            }
            shown += &escape::line(word);
            if let Some(entity) = entity.filter(|e| e.end == i + 1) {
                shown += &format!("]{}", saved.labels.entity_types()[entity.entity_type as usize]);
            }
        }
        for e in &found {
            let span = &said[e.start..e.end];
            let probability = span.iter().map(|w| w.probability).fold(1.0f32, f32::min);
            list.push(json!({
                "type": saved.labels.entity_types()[e.entity_type as usize],
                "text": words[e.start..e.end].join(" "),
                "start_word": e.start,
                "end_word": e.end,
                "probability": probability,
            }));
        }
        let tags: Vec<&str> = tags.iter().map(|t| saved.labels.name(*t)).collect();
        answers.push(json!({ "text": text, "words": words, "tags": tags, "entities": list, "shown": shown }));
    }
    Ok(answers)
}

fn classify(saved: &mut Saved, texts: &[String]) -> Result<Vec<Value>, CliError> {
    let mut rows = model::data::dataset::Dataset::unlabelled(saved.tokenizer.pad());
    for text in texts {
        let encoded = saved
            .tokenizer
            .encode_text(text, saved.facts.tokens_max as usize)
            .map_err(|e| learner_error(e.into()))?;
        rows.push_classified(&encoded.ids, None).map_err(|e| learner_error(e.into()))?;
    }
    let said =
        model::task::classify::predict(&mut saved.session, &rows).map_err(|e| learner_error(e.into()))?;
    let answers = texts.iter().zip(said).map(|(text, said)| {
        let label = saved.labels.name(said.label);
        let shown = format!("{label}  {:.3}  {}", said.probability, escape::line(text));
        json!({ "text": text, "label": label, "probability": said.probability, "shown": shown })
    });
    Ok(answers.collect())
}
