//! `starling predict --data`: a model's answers for examples of a file, records and images among them.

use std::path::Path;

use model::audit::evidence::{Claim, Evidence, of_record, of_text};
use model::data::examples::Examples;
use model::data::records::Form;
use model::data::schema::TaskKind;
use model::data::valued::{Values, held};
use model::error::Error;
use model::task::logits::choose;
use serde_json::{Value, json};

use crate::cli::explained::show;
use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::run::learner_error;
use crate::telemetry::escape;
use crate::trainer::saved::Saved;

/// What is asked.
pub(super) struct Asked<'a> {
    /// The model's folder.
    pub(super) model: &'a Path,
    /// Examples.
    pub(super) data: &'a Path,
    /// How many of them, from the first.
    pub(super) rows: usize,
    /// Where to compute.
    pub(super) device: &'a str,
    /// Whether to say what each answer hangs on.
    pub(super) explain: bool,
}

/// Runs the command.
pub(super) fn run(asked: &Asked<'_>, output: &Output) -> Result<(), CliError> {
    let wrong = |e: Error| learner_error(e.into());
    let mut saved = Saved::open(asked.model, asked.device, 0).map_err(learner_error)?;
    // A model of images alone reads them as records hold them, whatever its charter called the task.
    if saved.kind == TaskKind::Classify && saved.tokenizer.is_none() {
        saved.kind = TaskKind::Records;
    }
    if !matches!(saved.kind, TaskKind::Classify | TaskKind::Records) && !saved.kind.is_valued() {
        let why = format!("its task is {}", saved.kind.name());
        let remedy = "`starling eval` scores it on data; give texts without --data";
        return Err(CliError::new(ExitCode::Usage, "the model gives no answer an example", why, remedy));
    }
    let examples = saved.examples(asked.data).map_err(learner_error)?;
    let rows = saved.rows(&examples).map_err(wrong)?;
    let mut answers = Vec::new();
    for row in 0..rows.len().min(asked.rows) {
        let batch = rows.batch(&[row]);
        let logits = saved.session.logits(&batch).map_err(wrong)?;
        let (mut answer, claims) = said(&saved, &logits)?;
        answer["row"] = json!(row);
        answer["truth"] = truth(&saved, &examples, row);
        let mut evidence = Vec::new();
        for claim in claims.iter().filter(|_| asked.explain) {
            let found = match &examples {
                Examples::Texts(all) => text_evidence(&saved, &all[row].text, claim),
                Examples::Valued(all) => text_evidence(&saved, &all[row].text, claim),
                Examples::Records(part) => {
                    let text = part.iter().nth(row).and_then(|record| record.text.as_deref());
                    record_evidence(&saved, &batch, &part.records.form, text, claim)
                }
                _ => unreachable!("other kinds of examples belong to tasks that were refused"),
            };
            evidence.push(found.map_err(wrong)?);
        }
        answers.push((answer, evidence));
    }
    let data: Vec<Value> = answers
        .iter()
        .map(|(answer, evidence)| {
            let mut answer = answer.clone();
            if asked.explain {
                answer["answers"] = json!(evidence);
            }
            answer
        })
        .collect();
    output.done(&data, |to| {
        for (answer, evidence) in &answers {
            let truth = match &answer["truth"] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let shown = answer["shown"].as_str().unwrap_or_default();
            writeln!(to, "{:>5}  {shown}  (truth {})", answer["row"], escape::line(&truth))?;
            evidence.iter().try_for_each(|evidence| show(to, evidence))?;
        }
        Ok(())
    })
}

/// The answer to one row, and the claims in it that can be explained.
fn said<'a>(saved: &'a Saved, logits: &[f32]) -> Result<(Value, Vec<Claim<'a>>), CliError> {
    let none = || learner_error(Error::shape("logits", "numbers", "none").into());
    if !saved.kind.is_valued() {
        let choice = choose(logits).ok_or_else(none)?;
        let name = saved.labels.name(choice.label);
        let shown = format!("{}  {:.3}", escape::line(name), choice.probability);
        let answer = json!({ "label": name, "probability": choice.probability, "shown": shown });
        return Ok((answer, vec![Claim::choice(choice.label, name)]));
    }
    if let Some(scale) = &saved.scale {
        let value = scale.outward(*logits.first().ok_or_else(none)?);
        let shown = format!("{}  {value:.3}", escape::line(&scale.name));
        let answer = json!({ "quantity": scale.name, "value": value, "shown": shown });
        return Ok((answer, vec![Claim::quantity(scale)]));
    }
    let probability = |logit: &f32| 1.0 / (1.0 + (-logit).exp());
    let all: Vec<(u32, &str, f32)> = (0..)
        .zip(saved.labels.names())
        .zip(logits)
        .map(|((label, name), logit)| (label, name.as_str(), probability(logit)))
        .collect();
    let holding: Vec<&(u32, &str, f32)> = all.iter().filter(|(.., p)| *p >= 0.5).collect();
    let shown: Vec<String> =
        holding.iter().map(|(_, name, p)| format!("{} {p:.3}", escape::line(name))).collect();
    let names: Vec<&str> = holding.iter().map(|(_, name, _)| *name).collect();
    let probabilities: serde_json::Map<String, Value> =
        all.iter().map(|(_, name, p)| ((*name).to_owned(), json!(p))).collect();
    let shown = if shown.is_empty() { "none".to_owned() } else { shown.join(", ") };
    let answer = json!({ "labels": names, "probabilities": probabilities, "shown": shown });
    Ok((answer, holding.into_iter().map(|(label, name, _)| Claim::mark(*label, name)).collect()))
}

/// The right answer.
fn truth(saved: &Saved, examples: &Examples, row: usize) -> Value {
    let numbers = |values: &[f32]| match Values::meant(&saved.labels) {
        Values::Marks(labels) => json!(held(&labels, values).join(", ")),
        Values::Quantity(_) => json!(values.first()),
    };
    match examples {
        Examples::Texts(all) => json!(saved.labels.name(all[row].label)),
        Examples::Valued(all) => numbers(&all[row].values),
        Examples::Records(part) => match part.iter().nth(row) {
            Some(record) if saved.kind.is_valued() => numbers(&record.values),
            Some(record) => json!(record.label.map(|label| saved.labels.name(label))),
            None => Value::Null,
        },
        _ => Value::Null,
    }
}

fn text_evidence(saved: &Saved, text: &str, claim: &Claim<'_>) -> model::error::Result<Evidence> {
    of_text(&saved.session, saved.tokenizer()?, text, saved.facts.tokens_max as usize, claim)
}

fn record_evidence(
    saved: &Saved,
    batch: &model::data::batch::Batch,
    form: &Form,
    text: Option<&str>,
    claim: &Claim<'_>,
) -> model::error::Result<Evidence> {
    let tokens_max = saved.facts.tokens_max as usize;
    let encoded = match (text, &saved.tokenizer) {
        (Some(text), Some(tokenizer)) => Some((tokenizer, tokenizer.encode_text(text, tokens_max)?)),
        _ => None,
    };
    let text = encoded.as_ref().map(|(tokenizer, encoded)| (*tokenizer, encoded));
    of_record(&saved.session, batch, form, text, claim)
}
