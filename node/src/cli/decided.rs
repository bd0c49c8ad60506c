//! What `eval` and `predict` do with models that are several, or that read images.

use std::path::{Path, PathBuf};

use model::data::idx;
use model::data::schema::TaskKind;
use model::fuse::pool::vote;
use model::task::answers::Answers;
use serde_json::{Value, json};

use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::run::learner_error;
use crate::cli::tagged::tagged;
use crate::telemetry::escape;
use crate::trainer::decider::{Decided, Decider, MemberSays};
use crate::trainer::examples::{Inputs, Modality, asked};

/// Scores on data.
pub(super) fn eval(model: &Path, data: &Path, device: &str, output: &Output) -> Result<(), CliError> {
    let mut decider = Decider::open(model, device, 0).map_err(learner_error)?;
    let examples = decider.scored(data).map_err(learner_error)?;
    let report = decider.report(&examples).map_err(|e| learner_error(e.into()))?;
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
    let mut decider = Decider::open(model, device, 0).map_err(learner_error)?;
    let (names, inputs) = match decider.modality() {
        Modality::Text => (texts.to_vec(), asked(texts.to_vec(), decider.kind())),
        Modality::Images => images(if files.is_empty() { texts } else { files })?,
    };
    let decided = decider.decide(&inputs).map_err(|e| learner_error(e.into()))?;
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

/// Adds every member's weight, answer and votes.
fn explain_into(answer: &mut Value, decider: &Decider, decided: &Decided, inputs: &Inputs, example: usize) {
    let explained = |member: &MemberSays| {
        let text = answer["text"].as_str().unwrap_or_default();
        let said = self::answer(decider, &member.answers, inputs, example, text);
        let votes: Vec<&str> = member
            .answers
            .units_of(example)
            .map(|unit| decider.labels().name(vote(member.answers.unit(unit)) as u32))
            .collect();
        let own = said["shown"].as_str().unwrap_or_default().to_owned();
        let shown = format!("{:<20} {:.3}  {own}", escape::line(&member.name), member.weight);
        let mut explained = said;
        explained["name"] = json!(member.name);
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
            for member in &decided.members {
                *counts.entry(decider.labels().name(vote(member.answers.unit(unit)) as u32)).or_insert(0) +=
                    1;
            }
            json!(counts)
        })
        .collect();
    answer["members"] = json!(members);
    answer["votes"] = json!(counts);
}
