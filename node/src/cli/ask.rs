//! Asking other members' models through the running node of a directory, and what they say together.
//!
//! [`Asked`] asks and keeps who answered, how fast and with what; the rest of the file decides together and shows it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::data::labels::LabelSet;
use model::data::schema::TaskKind;
use model::data::words::words;
use model::fuse::evidence::Evidence;
use model::fuse::fit::Calibration;
use model::fuse::rule::Rule;
use model::task::answers::Answers;
use model::task::decode::{decode, decode_all, likeliest};
use model::task::logits::Choice;
use protocol::codec::encode;
use protocol::id::PeerId;
use protocol::limits::{ANSWER_ELEMENTS_MAX, QUERY_ROWS_MAX, QUERY_WORDS_MAX, REQUEST_BYTES_MAX};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::output::{CliError, ExitCode, Output, table};
use crate::cli::place::Place;
use crate::cli::run::learner_error;
use crate::cli::tagged::tagged;
use crate::runtime::asking::{ANSWERED, Answer};
use crate::runtime::local::{Door, SOCKET, Said, Wish};
use crate::telemetry::escape;
use crate::trainer::translate::{labels, task_named};

/// Bytes of a request that are not its rows: version, run, kind, nonce, counts.
const ENVELOPE_BYTES: usize = 128;
/// A member is out of line when it is so many times as far from the median of all as the middle member ...
const OUT_OF_LINE_TIMES: f64 = 3.0;
/// ... and at least so far: members of one mind differ by rounding alone.
const OUT_OF_LINE_LEAST: f64 = 0.02;

/// Asking other members instead of a model here.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)] // a group of the same name belongs to the verb these flags are part of
pub struct Args {
    /// Ask other members' models through the running node: `peers` for all it knows, or keys separated by commas
    #[arg(long = "ask", id = "ask", value_name = "WHOM", conflicts_with = "model")]
    pub whom: Option<Whom>,
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
pub(super) fn run(args: &Args, whom: &Whom, texts: &[String], output: &Output) -> Result<(), CliError> {
    let mut asked = Asked::at(&args.place.state_dir())?;
    let (kind, labels) = (asked.kind, asked.labels.clone());
    let row = |text: &String| if kind == TaskKind::Tagging { cut(text) } else { vec![text.clone()] };
    let rows: Vec<Vec<String>> = texts.iter().map(row).collect();
    let members = asked.gather(&rows, whom, Duration::from_secs(args.deadline))?;
    let decision = decide(members, args.least)?;
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
        decision.print(to)
    })
}

/// The words of a text, cut as a tagger reads them.
fn cut(text: &str) -> Vec<String> {
    words(text).into_iter().map(|range| text[range].to_owned()).collect()
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
    let vote = |member: &Member| {
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

/// One member and what it did.
#[derive(Clone, Debug, Serialize)]
pub struct Member {
    /// Key, hexadecimal.
    pub peer: String,
    /// Name for people.
    pub name: String,
    /// Who runs it.
    pub organization: String,
    /// `answered`, or why not.
    pub outcome: String,
    /// Outer step of its model.
    pub step: u32,
    /// Latencies of its answers, milliseconds, middle and nineteen of twenty; absent where there is none.
    pub latency_ms: Option<[f64; 2]>,
    /// What it says, where it answered every query.
    #[serde(skip)]
    pub answers: Option<Answers>,
}

/// The running node of a directory, through which members are asked.
pub struct Asked {
    /// The task of its run.
    pub kind: TaskKind,
    /// The labels of its run.
    pub labels: LabelSet,
    door: Door,
    dir: PathBuf,
}

impl Asked {
    /// Goes to the node of a directory.
    pub fn at(dir: &Path) -> Result<Self, CliError> {
        let mut door = Door::at(dir).map_err(|e| unreachable_node(dir, &e))?;
        let task = match door.ask(&Wish::Task).map_err(|e| unreachable_node(dir, &e))? {
            Said::Task(task) => task,
            Said::Refused(why) => return Err(refused(why)),
            Said::Answers(_) => return Err(refused("it answers another question".to_owned())),
        };
        let kind = task_named(&task.kind).map_err(learner_error)?;
        let labels = labels(kind, &task.labels).map_err(learner_error)?;
        Ok(Self { kind, labels, door, dir: dir.to_owned() })
    }

    /// Asks about these rows: words when tagging, else one text each.
    pub fn gather(
        &mut self,
        rows: &[Vec<String>],
        whom: &Whom,
        deadline: Duration,
    ) -> Result<Vec<Member>, CliError> {
        let peers = match whom {
            Whom::Everybody => None,
            Whom::These(keys) => Some(keys.clone()),
        };
        let mut rounds = Vec::new();
        for rows in queries(rows, self.kind, self.labels.len())? {
            let wish = Wish::Ask { rows, peers: peers.clone(), deadline_ms: deadline.as_millis() as u64 };
            match self.door.ask(&wish).map_err(|e| unreachable_node(&self.dir, &e))? {
                Said::Answers(answers) => rounds.push(answers),
                Said::Refused(why) => return Err(refused(why)),
                Said::Task(_) => return Err(refused("it answers another question".to_owned())),
            }
        }
        let lengths: Vec<usize> = rows.iter().map(|row| outputs(row, self.kind)).collect();
        members(&rounds, self.labels.len(), &lengths)
    }
}

fn unreachable_node(dir: &Path, error: &std::io::Error) -> CliError {
    let why = format!("{}: {error}", dir.join(SOCKET).display());
    let remedy = format!("start the node with `starling run --dir {}`: it asks in your place", dir.display());
    CliError::new(ExitCode::Unreachable, "there is no node to ask through", why, remedy)
}

fn refused(why: String) -> CliError {
    CliError::new(ExitCode::Refused, "the node does not ask", why, "")
}

/// Outputs of one row.
fn outputs(row: &[String], kind: TaskKind) -> usize {
    if kind == TaskKind::Tagging { row.len() } else { 1 }
}

/// Cuts rows into queries that keep to every cap.
fn queries(rows: &[Vec<String>], kind: TaskKind, labels: usize) -> Result<Vec<Vec<Vec<String>>>, CliError> {
    let (mut all, mut query) = (Vec::new(), Vec::new());
    let (mut bytes, mut elements) = (0, 0);
    for (number, row) in rows.iter().enumerate() {
        let own = (encode(row).len(), outputs(row, kind) * labels);
        let is_too_long = row.len() > QUERY_WORDS_MAX
            || own.0 > REQUEST_BYTES_MAX - ENVELOPE_BYTES
            || own.1 > ANSWER_ELEMENTS_MAX;
        if is_too_long {
            let why = format!(
                "expected at most {} bytes and {QUERY_WORDS_MAX} words in one text, found {} and {}",
                REQUEST_BYTES_MAX - ENVELOPE_BYTES,
                own.0,
                row.len()
            );
            let what = format!("text {} is too long to ask about", number + 1);
            return Err(CliError::new(ExitCode::Data, what, why, "give its sentences one by one"));
        }
        let is_full = query.len() == QUERY_ROWS_MAX
            || bytes + own.0 > REQUEST_BYTES_MAX - ENVELOPE_BYTES
            || elements + own.1 > ANSWER_ELEMENTS_MAX;
        if is_full {
            all.push(std::mem::take(&mut query));
            (bytes, elements) = (0, 0);
        }
        query.push(row.clone());
        bytes += own.0;
        elements += own.1;
    }
    all.extend((!query.is_empty()).then_some(query));
    Ok(all)
}

/// One entry for every member of the rounds, in the order the node told them.
fn members(rounds: &[Vec<Answer>], labels: usize, lengths: &[usize]) -> Result<Vec<Member>, CliError> {
    let mut all: Vec<Member> = Vec::new();
    let mut said: Vec<(Vec<f32>, Vec<f64>, usize)> = Vec::new();
    for answer in rounds.iter().flatten() {
        let place = all.iter().position(|m| m.peer == answer.peer).unwrap_or_else(|| {
            all.push(Member {
                peer: answer.peer.clone(),
                name: answer.name.clone(),
                organization: answer.organization.clone(),
                outcome: ANSWERED.to_owned(),
                step: 0,
                latency_ms: None,
                answers: None,
            });
            said.push((Vec::new(), Vec::new(), 0));
            all.len() - 1
        });
        let (values, latencies, count) = &mut said[place];
        if answer.outcome == ANSWERED {
            values.extend_from_slice(&answer.probabilities);
            latencies.push(answer.latency_ms);
            *count += 1;
            all[place].step = all[place].step.max(answer.step);
        } else {
            all[place].outcome.clone_from(&answer.outcome);
        }
    }
    for (member, (values, mut latencies, count)) in all.iter_mut().zip(said) {
        member.latency_ms = percentiles(&mut latencies);
        if count == rounds.len() {
            let answers = Answers::new(labels, lengths, values).map_err(|e| learner_error(e.into()))?;
            member.answers = Some(answers);
        } else if count > 0 {
            member.outcome = format!("{} ({count} of {} queries answered)", member.outcome, rounds.len());
        }
    }
    Ok(all)
}

/// The middle and the nineteenth of twenty, nearest rank.
fn percentiles(values: &mut [f64]) -> Option<[f64; 2]> {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get(((values.len() as f64 * share).ceil() as usize).saturating_sub(1));
    Some([*at(0.5)?, *at(0.95)?])
}

/// What the members say together.
pub struct Decision {
    /// Everybody who was asked.
    pub members: Vec<Member>,
    /// Weight of each that answered, by its place among the members.
    pub weights: Vec<Option<f64>>,
    /// Mean squared distance of each that answered from the median of all.
    pub distances: Vec<Option<f64>>,
    /// The fused answers.
    pub fused: Answers,
}

/// Decides together by the default rule for answers without labels; an error when too few answered.
pub fn decide(members: Vec<Member>, least: usize) -> Result<Decision, CliError> {
    let present: Vec<usize> = (0..members.len()).filter(|&i| members[i].answers.is_some()).collect();
    if present.len() < least.max(1) {
        let why: Vec<String> = members
            .iter()
            .filter(|m| m.answers.is_none())
            .map(|m| format!("{}: {}", escape::line(&m.name), m.outcome))
            .collect();
        let what = format!("expected answers of at least {} members, found {}", least.max(1), present.len());
        let remedy = "`starling peers` shows who is linked; an owner allows answers with node.answer_queries = true; --least asks for fewer";
        return Err(CliError::new(ExitCode::Unreachable, what, why.join("\n"), remedy)
            .with_details(&json!({ "members": members })));
    }
    let answers: Vec<&Answers> = present.iter().filter_map(|&i| members[i].answers.as_ref()).collect();
    let failed = |e: model::error::Error| learner_error(e.into());
    let calibration = Calibration::new(&answers, None).map_err(failed)?;
    let pool = calibration.fit(Rule::usual(false), &calibration.all()).map_err(failed)?;
    let evidence = Evidence::gather(&answers, None).map_err(failed)?;
    let distances = evidence.distances(true, &calibration.all());
    let fused = pool.fuse(&answers).map_err(failed)?;
    let spread = |values: Vec<f64>| {
        let mut all = vec![None; members.len()];
        present.iter().zip(values).for_each(|(&place, value)| all[place] = Some(value));
        all
    };
    let (weights, distances) = (spread(pool.weights()), spread(distances));
    Ok(Decision { members, weights, distances, fused })
}

impl Decision {
    /// Whether a member is far from what the others say.
    pub fn is_out_of_line(&self, member: usize) -> bool {
        let mut known: Vec<f64> = self.distances.iter().flatten().copied().collect();
        known.sort_by(f64::total_cmp);
        let Some(middle) = known.get(known.len().saturating_sub(1) / 2) else { return false };
        self.distances[member].is_some_and(|d| d > OUT_OF_LINE_TIMES * middle && d > OUT_OF_LINE_LEAST)
    }

    /// Members as data.
    pub fn json(&self) -> Value {
        let member = |place: usize| {
            let mut data = json!(self.members[place]);
            data["weight"] = json!(self.weights[place]);
            data["distance"] = json!(self.distances[place]);
            data["is_out_of_line"] = json!(self.is_out_of_line(place));
            data
        };
        (0..self.members.len()).map(member).collect()
    }

    /// Members as a table.
    pub fn print(&self, to: &mut dyn Write) -> std::io::Result<()> {
        let dash = || "-".to_owned();
        let rows: Vec<Vec<String>> = (0..self.members.len())
            .map(|place| {
                let m = &self.members[place];
                let latency = |which: usize| m.latency_ms.map_or_else(dash, |l| format!("{:.1}", l[which]));
                let outcome = if self.is_out_of_line(place) { "out of line" } else { &m.outcome };
                vec![
                    escape::line(&m.name),
                    escape::line(&m.organization),
                    outcome.to_owned(),
                    m.answers.as_ref().map_or_else(dash, |_| m.step.to_string()),
                    self.weights[place].map_or_else(dash, |w| format!("{w:.3}")),
                    self.distances[place].map_or_else(dash, |d| format!("{d:.4}")),
                    latency(0),
                    latency(1),
                ]
            })
            .collect();
        let head = ["member", "organization", "outcome", "outer", "weight", "distance", "p50 ms", "p95 ms"];
        table(to, &head, &rows)
    }
}
