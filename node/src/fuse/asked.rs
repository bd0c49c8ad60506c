//! Asking other members' models through the running node of a directory.
//!
//! The links and the key belong to the running node, so it asks in our place; answers come back signed and checked. Texts
//! are cut into queries that keep to every cap, and every member's answers are put together again. Nothing is decided here.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::data::labels::LabelSet;
use model::data::schema::TaskKind;
use model::task::answers::Answers;
use protocol::codec::encode;
use protocol::id::PeerId;
use protocol::limits::{ANSWER_ELEMENTS_MAX, QUERY_ROWS_MAX, QUERY_WORDS_MAX, REQUEST_BYTES_MAX};
use thiserror::Error;

use crate::fuse::heard::Heard;
use crate::runtime::asking::{ANSWERED, Answer};
use crate::runtime::local::{Door, SOCKET, Said, Wish};
use crate::trainer::translate::{TranslateError, labels, task_named};

/// Bytes of a request that are not its rows: version, run, kind, nonce, counts.
const ENVELOPE_BYTES: usize = 128;

/// Most bytes of one row in a query.
const ROW_BYTES_MAX: usize = REQUEST_BYTES_MAX - ENVELOPE_BYTES;

/// A question that cannot be asked.
#[derive(Debug, Error)]
pub enum AskError {
    /// No node runs there.
    #[error("{socket}: {source}", socket = dir.join(SOCKET).display())]
    NoNode {
        /// The node's directory.
        dir: PathBuf,
        /// What the socket says.
        source: io::Error,
    },
    /// The node does not ask.
    #[error("{0}")]
    Refused(String),
    /// One text is beyond what a query may hold.
    #[error(
        "expected at most {ROW_BYTES_MAX} bytes and {QUERY_WORDS_MAX} words in text {text}, found {bytes} and {words}"
    )]
    TooLong {
        /// Which, from 1.
        text: usize,
        /// Its bytes.
        bytes: usize,
        /// Its words.
        words: usize,
    },
    /// The task or an answer cannot be used.
    #[error(transparent)]
    Translate(#[from] TranslateError),
}

type Result<T> = std::result::Result<T, AskError>;

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
    ///
    /// # Errors
    /// No node runs there, or its task is none to ask about.
    pub fn at(dir: &Path) -> Result<Self> {
        let no_node = |source| AskError::NoNode { dir: dir.to_owned(), source };
        let mut door = Door::at(dir).map_err(no_node)?;
        let task = match door.ask(&Wish::Task).map_err(no_node)? {
            Said::Task(task) => task,
            Said::Refused(why) => return Err(AskError::Refused(why)),
            Said::Answers(_) | Said::Tried { .. } => return Err(other_question()),
        };
        let kind = task_named(&task.kind)?;
        let labels = labels(kind, &task.labels)?;
        Ok(Self { kind, labels, door, dir: dir.to_owned() })
    }

    /// Asks about these rows, words when tagging, else one text each: everybody whom the node knows, or the peers named.
    /// `deadline` is the longest wait for one query; whoever answered every one of them has answers.
    ///
    /// # Errors
    /// A row is too long, or the node does not ask. Members that do not answer are no error.
    pub fn gather(
        &mut self,
        rows: &[Vec<String>],
        peers: Option<&[PeerId]>,
        deadline: Duration,
    ) -> Result<Vec<Heard>> {
        let mut rounds = Vec::new();
        for rows in queries(rows, self.kind, self.labels.len())? {
            let peers = peers.map(<[PeerId]>::to_vec);
            let wish = Wish::Ask { rows, peers, deadline_ms: deadline.as_millis() as u64 };
            let said = self.door.ask(&wish);
            match said.map_err(|source| AskError::NoNode { dir: self.dir.clone(), source })? {
                Said::Answers(answers) => rounds.push(answers),
                Said::Refused(why) => return Err(AskError::Refused(why)),
                Said::Task(_) | Said::Tried { .. } => return Err(other_question()),
            }
        }
        let lengths: Vec<usize> = rows.iter().map(|row| outputs(row, self.kind)).collect();
        members(&rounds, self.labels.len(), &lengths)
    }
}

fn other_question() -> AskError {
    AskError::Refused("it answers another question".to_owned())
}

/// Outputs of one row.
fn outputs(row: &[String], kind: TaskKind) -> usize {
    if kind == TaskKind::Tagging { row.len() } else { 1 }
}

/// Cuts rows into queries that keep to every cap.
fn queries(rows: &[Vec<String>], kind: TaskKind, labels: usize) -> Result<Vec<Vec<Vec<String>>>> {
    let (mut all, mut query) = (Vec::new(), Vec::new());
    let (mut bytes, mut elements) = (0, 0);
    for (number, row) in rows.iter().enumerate() {
        let own = (encode(row).len(), outputs(row, kind) * labels);
        if row.len() > QUERY_WORDS_MAX || own.0 > ROW_BYTES_MAX || own.1 > ANSWER_ELEMENTS_MAX {
            return Err(AskError::TooLong { text: number + 1, bytes: own.0, words: row.len() });
        }
        let is_full = query.len() == QUERY_ROWS_MAX
            || bytes + own.0 > ROW_BYTES_MAX
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
fn members(rounds: &[Vec<Answer>], labels: usize, lengths: &[usize]) -> Result<Vec<Heard>> {
    let mut all: Vec<Heard> = Vec::new();
    let mut said: Vec<(Vec<f32>, Vec<f64>, usize)> = Vec::new();
    for answer in rounds.iter().flatten() {
        let place = all.iter().position(|m| m.peer.as_ref() == Some(&answer.peer)).unwrap_or_else(|| {
            all.push(Heard {
                peer: Some(answer.peer.clone()),
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
            member.answers = Some(Answers::new(labels, lengths, values).map_err(TranslateError::from)?);
        } else if count > 0 {
            member.outcome = format!("{} ({count} of {} queries answered)", member.outcome, rounds.len());
        }
    }
    Ok(all)
}

/// The middle and the nineteenth of twenty, nearest rank.
pub fn percentiles(values: &mut [f64]) -> Option<[f64; 2]> {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get(((values.len() as f64 * share).ceil() as usize).saturating_sub(1));
    Some([*at(0.5)?, *at(0.95)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(peer: &str, outcome: &str, latency_ms: f64, probabilities: &[f32]) -> Answer {
        let step = if outcome == ANSWERED { 4 } else { 0 };
        Answer {
            peer: peer.to_owned(),
            name: peer.to_owned(),
            organization: String::new(),
            outcome: outcome.to_owned(),
            latency_ms,
            step,
            probabilities: probabilities.to_vec(),
        }
    }

    #[test]
    fn queries_keep_to_every_cap_and_lose_no_row() {
        let row = |words: usize| vec!["w".to_owned(); words];
        let rows: Vec<Vec<String>> = (0..150).map(|k| row(1 + k % 9)).collect();
        let all = queries(&rows, TaskKind::Tagging, 9).unwrap();
        assert_eq!(all.concat(), rows);
        assert!(all.iter().all(|query| query.len() <= QUERY_ROWS_MAX), "{}", all.len());
        let wide = queries(&vec![row(512); 4], TaskKind::Tagging, 64).unwrap();
        assert_eq!(wide.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
        for wrong in [row(513), vec!["x".repeat(REQUEST_BYTES_MAX)]] {
            let found = queries(&[row(1), wrong], TaskKind::Tagging, 9);
            assert!(matches!(found, Err(AskError::TooLong { text: 2, .. })), "{found:?}");
        }
        assert!(
            queries(&[row(512)], TaskKind::Tagging, 200).is_err(),
            "more probabilities than an answer holds"
        );
    }

    #[test]
    fn who_answers_a_part_has_no_answers_and_says_how_many() {
        let rounds = [
            vec![said("a", ANSWERED, 3.0, &[0.5, 0.5]), said("b", ANSWERED, 2.0, &[1.0, 0.0])],
            vec![said("a", ANSWERED, 1.0, &[0.0, 1.0]), said("b", "link lost", 9.0, &[])],
        ];
        let all = members(&rounds, 2, &[1, 1]).unwrap();
        assert_eq!(
            (all[0].outcome.as_str(), all[0].step, all[0].latency_ms),
            (ANSWERED, 4, Some([1.0, 3.0]))
        );
        assert_eq!(all[0].answers.as_ref().map(|a| a.values().to_vec()), Some(vec![0.5, 0.5, 0.0, 1.0]));
        assert_eq!(all[1].outcome, "link lost (1 of 2 queries answered)");
        assert!(all[1].answers.is_none());
        assert_eq!(percentiles(&mut []), None);
    }
}
