//! `starling predict --explain`: answers with what speaks for and against them.

use model::audit::evidence::{Claim, Evidence, Said, of_text, of_word};
use model::data::schema::TaskKind;
use model::data::words::words;
use model::eval::tagging::{Matching, entities};
use model::task::classify::{encode_texts, predict};
use model::task::valued::probabilities;
use serde::Serialize;

use crate::cli::output::{CliError, Output};
use crate::cli::run::learner_error;
use crate::telemetry::escape;
use crate::trainer::saved::Saved;

/// Words and columns shown for each answer; all of them are in the machine output.
const PARTS_SHOWN: usize = 8;

#[derive(Serialize)]
struct Explained<'a> {
    text: &'a str,
    answers: Vec<Evidence>,
}

/// Explains the class, the labels or the quantity of every text, or the first word of each entity.
pub(super) fn run(saved: &mut Saved, texts: &[String], output: &Output) -> Result<(), CliError> {
    let wrong = |e: model::error::Error| learner_error(e.into());
    let mut all = Vec::new();
    for text in texts {
        let answers = match saved.kind {
            TaskKind::Tagging => of_entities(saved, text).map_err(wrong)?,
            TaskKind::Multilabel | TaskKind::Regression => of_values(saved, text).map_err(wrong)?,
            _ => vec![of_class(saved, text).map_err(wrong)?],
        };
        all.push(Explained { text, answers });
    }
    output.done(&all, |to| {
        for explained in &all {
            writeln!(to, "{}", escape::line(explained.text))?;
            for answer in &explained.answers {
                show(to, answer)?;
            }
        }
        writeln!(to, "shares of the log-probability, or of the quantity, against a text of blanks; + speaks for the answer")
    })
}

fn of_class(saved: &mut Saved, text: &str) -> model::error::Result<Evidence> {
    let tokenizer = saved.tokenizer()?.clone();
    let tokens_max = saved.facts.tokens_max as usize;
    let rows = encode_texts(&[text], &tokenizer, tokens_max)?;
    let label = predict(&mut saved.session, &rows)?.first().map_or(0, |choice| choice.label);
    of_text(&saved.session, &tokenizer, text, tokens_max, &Claim::choice(label, saved.labels.name(label)))
}

/// Every label that holds, or the quantity.
fn of_values(saved: &mut Saved, text: &str) -> model::error::Result<Vec<Evidence>> {
    let tokenizer = saved.tokenizer()?.clone();
    let tokens_max = saved.facts.tokens_max as usize;
    let evidence = |saved: &Saved, claim| of_text(&saved.session, &tokenizer, text, tokens_max, &claim);
    if let Some(scale) = saved.scale.clone() {
        return Ok(vec![evidence(saved, Claim::quantity(&scale))?]);
    }
    let rows = encode_texts(&[text], &tokenizer, tokens_max)?;
    let said = probabilities(&mut saved.session, &rows)?;
    let holding = (0..).zip(&said).filter(|(_, p)| **p >= 0.5);
    holding.map(|(label, _)| evidence(saved, Claim::mark(label, saved.labels.name(label)))).collect()
}

fn of_entities(saved: &mut Saved, text: &str) -> model::error::Result<Vec<Evidence>> {
    let cut: Vec<String> = words(text).into_iter().map(|range| text[range].to_owned()).collect();
    let said = saved.tag(std::slice::from_ref(&cut))?;
    let tags: Vec<u32> = said.iter().flatten().map(|word| word.label).collect();
    let tokenizer = saved.tokenizer()?.clone();
    let tokens_max = saved.facts.tokens_max as usize;
    let mut found = Vec::new();
    for entity in entities(&tags, &saved.labels, Matching::Default) {
        let label = tags[entity.start];
        let shown = format!("{} {}", saved.labels.name(label), cut[entity.start..entity.end].join(" "));
        let own = Claim::choice(label, shown.as_str());
        found.extend(of_word(&saved.session, &tokenizer, &cut, entity.start, tokens_max, &own)?);
    }
    Ok(found)
}

/// Shows an answer with the words, regions and columns it hangs on.
pub(super) fn show(to: &mut dyn std::io::Write, answer: &Evidence) -> std::io::Result<()> {
    let said = match answer.said {
        Said::Label { probability, .. } => probability,
        Said::Quantity { value, .. } => value,
    };
    let words = answer.words.iter().map(|word| (word.word.clone(), word.share));
    let columns = answer.columns.iter().map(|column| {
        let value = column.value.map_or_else(|| "missing".to_owned(), |value| value.to_string());
        (format!("{}={value}", column.column), column.share)
    });
    let mut parts: Vec<(String, f64)> = words.chain(columns).collect();
    parts.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    let shown: Vec<String> = parts
        .iter()
        .take(PARTS_SHOWN)
        .map(|(part, share)| format!("{} {share:+.2}", escape::line(part)))
        .collect();
    writeln!(to, "  {}  {said:.3}  {}", escape::line(&answer.label), shown.join("  "))?;
    for row in &answer.image {
        let cells: Vec<String> = row.iter().map(|share| format!("{share:>+6.2}")).collect();
        writeln!(to, "    {}", cells.join(" "))?;
    }
    Ok(())
}
