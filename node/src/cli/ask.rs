//! Asking other members' models through the running node of a directory, and what they say together.
//!
//! The asking and deciding is done by the room `fuse`; this file reads the flags and shows what came of it.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use model::data::labels::LabelSet;
use model::data::schema::TaskKind;
use model::task::decode::{decode, decode_all, likeliest};
use model::task::logits::Choice;
use protocol::id::PeerId;
use serde_json::{Value, json};

use crate::cli::output::{CliError, ExitCode, Output, table};
use crate::cli::place::Place;
use crate::cli::run::learner_error;
use crate::cli::tagged::tagged;
use crate::fuse::asked::{AskError, Asked};
use crate::fuse::decision::{DecideError, Decision, decide};
use crate::fuse::heard::{Heard, absent};
use crate::fuse::members::{Members, MembersError, Seat};
use crate::telemetry::escape;
use crate::trainer::examples::{Inputs, asked as inputs};

/// Asking other members instead of a model here.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)] // a group of the same name belongs to the verb these flags are part of
pub struct Args {
    /// Ask other members' models through the running node: `peers` for all it knows, or keys separated by commas
    #[arg(long = "ask", id = "ask", value_name = "WHOM", conflicts_with = "model")]
    pub whom: Option<Whom>,
    /// A model on this machine that takes part in the decision, as the node's own in NODE/model; may be repeated
    #[arg(long = "with", value_name = "DIR", requires = "ask")]
    with: Vec<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// Members that must answer
    #[arg(long, value_name = "N", default_value_t = 2, requires = "ask")]
    least: usize,
    /// Longest wait for the answers to one query, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, requires = "ask", value_parser = clap::value_parser!(u64).range(1..=300))]
    deadline: u64,
}

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Everybody the node knows.
    Everybody,
    /// These.
    These(Vec<PeerId>),
}

impl std::str::FromStr for Whom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "peers" {
            return Ok(Self::Everybody);
        }
        let keys = text.split(',').map(|key| key.trim().parse().map_err(|e| format!("{key:?}: {e}")));
        keys.collect::<Result<_, _>>().map(Self::These).map_err(|e| {
            format!("expected `peers` or keys as `starling peers --format json` shows them, found {e}")
        })
    }
}

/// Asks, decides and shows.
pub(super) fn run(
    args: &Args,
    whom: &Whom,
    texts: &[String],
    device: &str,
    output: &Output,
) -> Result<(), CliError> {
    let mut asked = Asked::at(&args.place.state_dir()).map_err(ask_error)?;
    let (kind, labels) = (asked.kind, asked.labels.clone());
    let inputs = inputs(texts.to_vec(), kind);
    let rows: Vec<Vec<String>> = match &inputs {
        Inputs::Sentences(sentences) => sentences.clone(),
        _ => texts.iter().map(|text| vec![text.clone()]).collect(),
    };
    let mut members = here(&args.with, &asked, &inputs, device)?;
    let peers = match whom {
        Whom::Everybody => None,
        Whom::These(keys) => Some(keys.as_slice()),
    };
    members.extend(asked.gather(&rows, peers, Duration::from_secs(args.deadline)).map_err(ask_error)?);
    let decision = decide(members, args.least).map_err(decide_error)?;
    let said = decode_all(&decision.fused, kind, &labels);
    let answers = shown(texts, &rows, &said, &labels, kind);
    // Counted before the answers are moved into the data.
    let mut data = Vec::new();
    for (number, mut answer) in answers.iter().cloned().enumerate() {
        answer["votes"] = votes(&decision, number, kind, &labels);
        data.push(answer);
    }
    let data = json!({ "answers": data, "members": decision.json() });
    output.done(&data, |to| {
        for answer in &answers {
            writeln!(to, "{}", answer["shown"].as_str().unwrap_or_default())?;
        }
        writeln!(to)?;
        print(&decision, to)
    })
}

/// What models on this machine say, labels in the order of the run.
fn here(dirs: &[PathBuf], asked: &Asked, inputs: &Inputs, device: &str) -> Result<Vec<Heard>, CliError> {
    if dirs.is_empty() {
        return Ok(Vec::new());
    }
    let seats: Vec<Seat> = dirs.iter().cloned().map(Seat::Folder).collect();
    let mut members = Members::open(&seats, None, device, 0).map_err(members_error)?;
    let is_alike = members.kind == asked.kind && members.labels.len() == asked.labels.len();
    let names = asked.labels.names().iter().filter(|_| is_alike);
    let places: Option<Vec<usize>> =
        names.map(|name| members.labels.id(name).map(|id| id as usize)).collect();
    let places = places.filter(|_| is_alike).ok_or_else(|| {
        let why = format!(
            "expected the task and the {} labels of the node's run, found {} others",
            asked.labels.len(),
            members.labels.len()
        );
        let what = "the models given with --with answer another question";
        CliError::new(ExitCode::Config, what, why, "give models of the same run, as NODE/model")
    })?;
    let mut heard = members.answer(inputs, &mut |_| ()).map_err(members_error)?;
    for member in &mut heard {
        member.answers = member.answers.take().map(|answers| answers.reordered(&places));
    }
    Ok(heard)
}

/// What a question that cannot be asked means for a person.
pub(super) fn ask_error(error: AskError) -> CliError {
    match error {
        AskError::NoNode { ref dir, .. } => {
            let remedy =
                format!("start the node with `starling run --dir {}`: it asks in your place", dir.display());
            CliError::new(ExitCode::Unreachable, "there is no node to ask through", error, remedy)
        }
        AskError::Refused(_) => CliError::new(ExitCode::Refused, "the node does not ask", error, ""),
        AskError::TooLong { text, .. } => {
            let what = format!("text {text} is too long to ask about");
            CliError::new(ExitCode::Data, what, error, "give its sentences one by one")
        }
        AskError::Translate(error) => learner_error(error),
    }
}

/// What members that cannot be asked mean for a person.
pub(super) fn members_error(error: MembersError) -> CliError {
    match error {
        MembersError::Translate(error) => learner_error(error),
        MembersError::Ask(error) => ask_error(error),
        MembersError::NoWay(_) => {
            let remedy = "name the directory of a running node of that run: --through DIR";
            CliError::new(ExitCode::Usage, "there is no node to ask through", error, remedy)
        }
        MembersError::Nobody(_) => CliError::new(
            ExitCode::Unreachable,
            "nobody answers",
            error,
            "`starling peers` shows who is linked",
        ),
    }
}

fn decide_error(error: DecideError) -> CliError {
    match error {
        DecideError::Translate(error) => learner_error(error),
        DecideError::TooFew { ref members, .. } => {
            let why: Vec<String> =
                absent(members).iter().map(|(name, why)| format!("{}: {why}", escape::line(name))).collect();
            let remedy = "`starling peers` shows who is linked; an owner allows answers with node.answer_queries = true; \
                          --least asks for fewer";
            CliError::new(ExitCode::Unreachable, error.to_string(), why.join("\n"), remedy)
                .with_details(&json!({ "members": members }))
        }
    }
}

/// Decided texts as data, with what people read under `shown`.
fn shown(
    texts: &[String],
    rows: &[Vec<String>],
    said: &[Vec<Choice>],
    labels: &LabelSet,
    kind: TaskKind,
) -> Vec<Value> {
    let answer = |((text, words), said): ((&String, &Vec<String>), &Vec<Choice>)| match kind {
        TaskKind::Tagging => tagged(text, words, said, labels),
        _ => {
            let (label, probability) =
                said.first().map_or(("", 0.0), |c| (labels.name(c.label), c.probability));
            let shown = format!("{label}  {probability:.3}  {}", escape::line(text));
            json!({ "text": text, "label": label, "probability": probability, "shown": shown })
        }
    };
    texts.iter().zip(rows).zip(said).map(answer).collect()
}

/// What every member that answered says of one text alone.
fn votes(decision: &Decision, text: usize, kind: TaskKind, labels: &LabelSet) -> Value {
    let vote = |member: &Heard| {
        let answers = member.answers.as_ref()?;
        let said = match kind {
            TaskKind::Tagging => decode(answers.example(text), labels),
            _ => {
                vec![likeliest(answers.example(text))]
            }
        };
        let names: Vec<&str> = said.iter().map(|choice| labels.name(choice.label)).collect();
        Some(json!({ "peer": member.peer, "name": member.name, "labels": names }))
    };
    decision.members.iter().filter_map(vote).collect()
}

/// Members as a table.
fn print(decision: &Decision, to: &mut dyn Write) -> std::io::Result<()> {
    let dash = || "-".to_owned();
    let rows: Vec<Vec<String>> = (0..decision.members.len())
        .map(|place| {
            let m = &decision.members[place];
            let latency = |which: usize| m.latency_ms.map_or_else(dash, |l| format!("{:.1}", l[which]));
            let outcome = if decision.is_out_of_line(place) { "out of line" } else { &m.outcome };
            vec![
                escape::line(&m.name),
                escape::line(&m.organization),
                outcome.to_owned(),
                m.answers.as_ref().map_or_else(dash, |_| m.step.to_string()),
                decision.weights[place].map_or_else(dash, |w| format!("{w:.3}")),
                decision.distances[place].map_or_else(dash, |d| format!("{d:.4}")),
                latency(0),
                latency(1),
            ]
        })
        .collect();
    let head = ["member", "organization", "outcome", "outer", "weight", "distance", "p50 ms", "p95 ms"];
    table(to, &head, &rows)
}
