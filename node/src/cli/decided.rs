//! What `eval` and `predict` do with models that are several, or that read images.

use std::path::{Path, PathBuf};

use model::data::idx;
use model::data::schema::TaskKind;
use model::eval::tagging::Entity;
use model::fuse::pool::vote;
use model::fuse::spans::{Support, supports};
use model::task::answers::Answers;
use serde_json::{Value, json};

use crate::cli::ask::members_error;
use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::run::learner_error;
use crate::cli::tagged::tagged;
use crate::fuse::decider::{Decided, Decider, MemberSays};
use crate::telemetry::escape;
use crate::trainer::examples::{Inputs, Modality, asked};

/// Scores on data.
pub(super) fn eval(model: &Path, data: &Path, device: &str, output: &Output) -> Result<(), CliError> {
    let mut decider = Decider::open(model, device, 0).map_err(members_error)?;
    let examples = decider.scored(data).map_err(learner_error)?;
    let report = decider.report(&examples).map_err(members_error)?;
    output.done(&report, |to| {
        writeln!(to, "{report}")?;
        writeln!(to, "next     starling predict --model {} \"TEXT\"", model.display())
    })
}

/// Answers for texts, or for files of images, of which every word of the command line is one; `explain` adds every
/// member's part.
pub(super) fn predict(
    model: &Path,
    (texts, files): (&[String], &[String]),
    device: &str,
    explain: bool,
    output: &Output,
) -> Result<(), CliError> {
    let mut decider = Decider::open(model, device, 0).map_err(members_error)?;
    let (names, inputs) = match decider.modality() {
        Modality::Text => (texts.to_vec(), asked(texts.to_vec(), decider.kind())),
        Modality::Images => images(if files.is_empty() { texts } else { files })?,
    };
    let decided = decider.decide(&inputs).map_err(members_error)?;
    if explain && decided.members.is_empty() {
        let what = "the members cannot be explained";
        let why = format!("{} is one model", model.display());
        return Err(CliError::new(ExitCode::Usage, what, why, "give the folder that `starling fuse` wrote"));
    }
    let answers: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(example, name)| {
            let mut answer = answer(&decider, &decided.answers, &inputs, example, name);
            if explain {
                explain_into(&mut answer, &decider, &decided, &inputs, example);
            }
            answer
        })
        .collect();
    output.done(&answers, |to| {
        // Without a member the decision is another one: whoever reads it should know.
        for member in decided.members.iter().filter(|member| member.answers.is_none()) {
            let name = escape::line(&member.name);
            writeln!(to, "note     {name} has no part in this: {}", member.outcome)?;
        }
        for answer in &answers {
            writeln!(to, "{}", answer["shown"].as_str().unwrap_or_default())?;
            for member in answer["members"].as_array().into_iter().flatten() {
                writeln!(to, "  {}", member["shown"].as_str().unwrap_or_default())?;
            }
        }
        Ok(())
    })
}

/// Images of files, each with a name.
fn images(paths: &[String]) -> Result<(Vec<String>, Inputs), CliError> {
    let mut names = Vec::new();
    let mut all: Option<idx::Images> = None;
    for path in paths {
        let path = PathBuf::from(path.trim());
        let found = idx::read_images(&path).map_err(|e| {
            let remedy = "a model of images reads IDX files, as in train-images-idx3-ubyte.gz";
            CliError::new(ExitCode::Data, "the images cannot be read", e, remedy)
        })?;
        names.extend((0..found.len()).map(|k| format!("{} {k}", path.display())));
        match &mut all {
            None => all = Some(found),
            Some(all) if (all.height, all.width) == (found.height, found.width) => {
                all.pixels.extend(found.pixels);
                all.classes.extend(found.classes);
            }
            Some(_) => {
                let why = format!("{} has images of another size than the files before it", path.display());
                return Err(CliError::new(
                    ExitCode::Data,
                    "the images cannot be read",
                    why,
                    "give them one by one",
                ));
            }
        }
    }
    Ok((names, Inputs::Images(all.unwrap_or_default())))
}

fn answer(decider: &Decider, answers: &Answers, inputs: &Inputs, example: usize, name: &str) -> Value {
    let said = decider.labels_of(answers, example);
    if let (TaskKind::Tagging, Inputs::Sentences(sentences)) = (decider.kind(), inputs) {
        return tagged(name, &sentences[example], &said, decider.labels());
    }
    let choice = said[0];
    let label = decider.labels().name(choice.label);
    let shown = format!("{label}  {:.3}  {}", choice.probability, escape::line(name));
    json!({ "text": name, "label": label, "probability": choice.probability, "shown": shown })
}

/// Adds every member's weight, answer and votes; of one that did not answer, why.
fn explain_into(answer: &mut Value, decider: &Decider, decided: &Decided, inputs: &Inputs, example: usize) {
    let explained = |member: &MemberSays| {
        let name = escape::line(&member.name);
        let Some(answers) = &member.answers else {
            let shown = format!("{name:<20} -      {}", member.outcome);
            return json!({
                "name": member.name, "peer": member.peer, "outcome": member.outcome, "weight": null, "shown": shown,
            });
        };
        let text = answer["text"].as_str().unwrap_or_default();
        let mut explained = self::answer(decider, answers, inputs, example, text);
        let votes: Vec<&str> = answers
            .units_of(example)
            .map(|unit| decider.labels().name(vote(answers.unit(unit)) as u32))
            .collect();
        let own = explained["shown"].as_str().unwrap_or_default();
        let shown = format!("{name:<20} {:.3}  {own}", member.weight.unwrap_or(0.0));
        explained["name"] = json!(member.name);
        explained["peer"] = json!(member.peer);
        explained["outcome"] = json!(member.outcome);
        explained["weight"] = json!(member.weight);
        explained["votes"] = json!(votes);
        explained["shown"] = json!(shown);
        explained
    };
    let members: Vec<Value> = decided.members.iter().map(explained).collect();
    // How many members vote for each label that anyone votes for, by word.
    let counts: Vec<Value> = decided
        .answers
        .units_of(example)
        .map(|unit| {
            let mut counts = std::collections::BTreeMap::new();
            for answers in decided.members.iter().filter_map(|member| member.answers.as_ref()) {
                *counts.entry(decider.labels().name(vote(answers.unit(unit)) as u32)).or_insert(0) += 1;
            }
            json!(counts)
        })
        .collect();
    answer["members"] = json!(members);
    answer["votes"] = json!(counts);
    if let (TaskKind::Tagging, Inputs::Sentences(sentences)) = (decider.kind(), inputs) {
        answer["spans"] = spans(decider, decided, &sentences[example], example);
    }
}

/// Every entity that a member says, with the weight and names of the members that say it; nothing where the rule has no
/// weights that sum to 1.
fn spans(decider: &Decider, decided: &Decided, words: &[String], example: usize) -> Value {
    let present: Vec<&MemberSays> =
        decided.members.iter().filter(|member| member.answers.is_some()).collect();
    let answers: Vec<&Answers> = present.iter().filter_map(|member| member.answers.as_ref()).collect();
    let weights: Vec<f64> = present.iter().filter_map(|member| member.weight).collect();
    let Ok(found) = supports(&answers, &weights, example, decider.labels()) else { return Value::Null };
    let types = decider.labels().entity_types();
    let span = |support: &Support| {
        let Entity { start, end, entity_type } = support.entity;
        let names: Vec<&str> = support.members.iter().map(|member| present[*member].name.as_str()).collect();
        json!({
            "type": types[entity_type as usize], "text": words[start..end].join(" "), "start_word": start,
            "end_word": end, "weight": support.weight, "members": names,
        })
    };
    found.iter().map(span).collect()
}
