//! `starling predict --explain`: answers with the words that speak for and against them.

use model::audit::evidence::{Evidence, of_text, of_word};
use model::data::schema::TaskKind;
use model::data::words::words;
use model::eval::tagging::{Matching, entities};
use model::task::classify::{encode_texts, predict};
use serde::Serialize;

use crate::cli::output::{CliError, Output};
use crate::cli::run::learner_error;
use crate::telemetry::escape;
use crate::trainer::saved::Saved;

/// Words shown for each answer; all of them are in the machine output.
const WORDS_SHOWN: usize = 8;

#[derive(Serialize)]
struct Explained<'a> {
    text: &'a str,
    answers: Vec<Evidence>,
}

/// Explains the class of every text, or the first word of each entity.
pub(super) fn run(saved: &mut Saved, texts: &[String], output: &Output) -> Result<(), CliError> {
    let wrong = |e: model::error::Error| learner_error(e.into());
    let mut all = Vec::new();
    for text in texts {
        let answers = match saved.kind {
            TaskKind::Tagging => of_entities(saved, text).map_err(wrong)?,
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
        writeln!(to, "shares of the log-probability against a text of blanks; + speaks for the answer")
    })
}

fn of_class(saved: &mut Saved, text: &str) -> model::error::Result<Evidence> {
    let tokenizer = saved.tokenizer()?.clone();
    let tokens_max = saved.facts.tokens_max as usize;
    let rows = encode_texts(&[text], &tokenizer, tokens_max)?;
    let label = predict(&mut saved.session, &rows)?.first().map_or(0, |choice| choice.label);
    of_text(&saved.session, &tokenizer, text, tokens_max, (label, saved.labels.name(label)))
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
        let own = (label, shown.as_str());
        found.extend(of_word(&saved.session, &tokenizer, &cut, entity.start, tokens_max, own)?);
    }
    Ok(found)
}

fn show(to: &mut dyn std::io::Write, answer: &Evidence) -> std::io::Result<()> {
    let mut words: Vec<_> = answer.words.iter().collect();
    words.sort_by(|a, b| b.share.abs().total_cmp(&a.share.abs()));
    let shown: Vec<String> = words
        .iter()
        .take(WORDS_SHOWN)
        .map(|word| format!("{} {:+.2}", escape::line(&word.word), word.share))
        .collect();
    writeln!(to, "  {}  {:.3}  {}", escape::line(&answer.label), answer.probability, shown.join("  "))
}
