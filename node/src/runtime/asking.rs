//! Asking other members' models: one query to several peers at once, until all answered or the deadline is over.
//!
//! It keeps the questions under way and what became of each. Whom to ask and what to make of the answers is for the
//! person at the node; it deliberately fuses nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use protocol::id::{AskId, PeerId, RunId};
use protocol::limits::PREDICTION_BYTES_MAX;
use protocol::wire::offence::Offence;
use protocol::wire::prediction::{Prediction, Query, Wanted};
use protocol::wire::request::{Request, Want};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::net::command::{NetCommand, PartSpec};
use crate::net::event::FailReason;

/// Questions of this room are numbered from here, so that they never meet those of the peer machine.
const FIRST: u64 = 1 << 63;

/// A query of the person at this node.
#[derive(Debug)]
pub struct Round {
    /// The texts.
    pub query: Query,
    /// Outputs of the query.
    pub outputs: usize,
    /// Whom to ask.
    pub members: Vec<Member>,
    /// How long to wait for all of them.
    pub deadline: Duration,
    /// Where the answers go.
    pub reply: oneshot::Sender<Vec<Answer>>,
}

/// Somebody to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The key.
    pub peer: PeerId,
    /// Name for people.
    pub name: String,
    /// Who runs it.
    pub organization: String,
    /// Whether there is a link; others are told of as not linked.
    pub is_linked: bool,
}

/// What became of one member's question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The key, hexadecimal.
    pub peer: String,
    /// Name for people.
    pub name: String,
    /// Who runs it.
    pub organization: String,
    /// `answered`, or why not, in words.
    pub outcome: String,
    /// Milliseconds until this was known.
    pub latency_ms: f64,
    /// Outer step of the model that answered.
    pub step: u32,
    /// Probabilities, (outputs, labels); empty unless it answered.
    pub probabilities: Vec<f32>,
}

/// The word for a good answer.
pub const ANSWERED: &str = "answered";

/// Something that is due.
#[derive(Clone, Copy, Debug)]
pub enum Due {
    /// The deadline of a round is over.
    Deadline(u64),
    /// A busy peer may be asked again.
    Again(u64, usize),
}

struct Open {
    round: u64,
    member: usize,
    bytes: Option<std::sync::Arc<[u8]>>,
}

struct Running {
    request: Vec<u8>,
    wanted: Wanted,
    members: Vec<Member>,
    answers: Vec<Option<Answer>>,
    begun: Instant,
    deadline: Duration,
    reply: oneshot::Sender<Vec<Answer>>,
}

/// Rounds and questions under way.
pub struct Asking {
    run: RunId,
    labels: usize,
    next: u64,
    rounds: BTreeMap<u64, Running>,
    open: BTreeMap<AskId, Open>,
    due: mpsc::UnboundedSender<Due>,
}

impl Asking {
    /// Nothing under way; `due` is told what to hand back to [`Asking::due`].
    pub fn new(run: RunId, labels: usize, due: mpsc::UnboundedSender<Due>) -> Self {
        Self { run, labels, next: FIRST, rounds: BTreeMap::new(), open: BTreeMap::new(), due }
    }

    /// Whether a question is one of this room's.
    pub fn owns(&self, ask: AskId) -> bool {
        ask.0 >= FIRST
    }

    /// Begins a round; answers what the network has to do.
    pub fn begin(&mut self, round: Round) -> Vec<NetCommand> {
        let Round { query, outputs, members, deadline, reply } = round;
        self.next += 1;
        let number = self.next;
        let begun = Instant::now();
        let wanted = Wanted {
            run: self.run,
            peer: PeerId([0; 32]),
            query: query.hash(),
            outputs,
            labels: self.labels,
        };
        let request = Request::new(self.run, Want::Predict(query)).to_bytes();
        let answers =
            members.iter().map(|m| (!m.is_linked).then(|| answer(m, "not linked", begun))).collect();
        self.rounds.insert(number, Running { request, wanted, members, answers, begun, deadline, reply });
        let due = self.due.clone();
        tokio::spawn(async move {
            tokio::time::sleep(deadline).await;
            // The node may have ended meanwhile.
            let _ = due.send(Due::Deadline(number));
        });
        let asked: Vec<usize> = {
            let members = &self.rounds[&number].members;
            (0..members.len()).filter(|&i| members[i].is_linked).collect()
        };
        let commands = asked.into_iter().filter_map(|member| self.ask(number, member)).collect();
        self.close_if_full(number);
        commands
    }

    fn ask(&mut self, round: u64, member: usize) -> Option<NetCommand> {
        let running = self.rounds.get(&round)?;
        self.next += 1;
        let ask = AskId(self.next);
        self.open.insert(ask, Open { round, member, bytes: None });
        Some(NetCommand::Ask {
            ask,
            peer: running.members[member].peer,
            request: running.request.clone(),
            parts: vec![PartSpec::at_most(PREDICTION_BYTES_MAX as u32)],
            first_byte_timeout: running.deadline.saturating_sub(running.begun.elapsed()),
        })
    }

    /// Bytes came.
    pub fn part(&mut self, ask: AskId, bytes: std::sync::Arc<[u8]>) {
        if let Some(open) = self.open.get_mut(&ask) {
            open.bytes = Some(bytes);
        }
    }

    /// A question was answered; the offence of a peer whose answer does not hold.
    pub fn done(&mut self, ask: AskId) -> Option<(PeerId, Offence)> {
        let open = self.open.remove(&ask)?;
        let running = self.rounds.get_mut(&open.round)?;
        let member = &running.members[open.member];
        let wanted = Wanted { peer: member.peer, ..running.wanted };
        let found = Prediction::open(&open.bytes.unwrap_or_else(|| [].into()), &wanted);
        let (said, offence) = match found {
            Ok(prediction) => {
                let said = answer(member, ANSWERED, running.begun);
                (Answer { step: prediction.step.0, probabilities: prediction.probabilities, ..said }, None)
            }
            Err(offence) => {
                let words = format!("answer refused: {offence}");
                (answer(member, &words, running.begun), Some((member.peer, offence)))
            }
        };
        running.answers[open.member] = Some(said);
        self.close_if_full(open.round);
        offence
    }

    /// A question failed.
    pub fn failed(&mut self, ask: AskId, reason: FailReason) {
        let Some(open) = self.open.remove(&ask) else { return };
        let Some(running) = self.rounds.get_mut(&open.round) else { return };
        if let FailReason::Busy { retry_ms } = reason {
            let wait = Duration::from_millis(retry_ms.max(10).into());
            if running.begun.elapsed() + wait < running.deadline {
                let due = self.due.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    let _ = due.send(Due::Again(open.round, open.member));
                });
                return;
            }
        }
        let words = match reason {
            FailReason::Timeout | FailReason::Stalled => "no answer in time",
            FailReason::Busy { .. } => "busy",
            FailReason::NotFound => "has no model yet",
            FailReason::Refused(_) => "does not answer queries",
            FailReason::Corrupt { .. } | FailReason::TooLarge => "answer refused: wrong size",
            FailReason::Disconnected | FailReason::Unreachable => "link lost",
        };
        running.answers[open.member] = Some(answer(&running.members[open.member], words, running.begun));
        self.close_if_full(open.round);
    }

    /// Something is due; answers what the network has to do.
    pub fn due(&mut self, due: Due) -> Vec<NetCommand> {
        match due {
            Due::Again(round, member) => self.ask(round, member).into_iter().collect(),
            Due::Deadline(round) => {
                let late: Vec<AskId> =
                    self.open.iter().filter(|(_, o)| o.round == round).map(|(ask, _)| *ask).collect();
                late.iter().for_each(|ask| drop(self.open.remove(ask)));
                if let Some(running) = self.rounds.get_mut(&round) {
                    for (slot, member) in running.answers.iter_mut().zip(&running.members) {
                        slot.get_or_insert_with(|| answer(member, "no answer in time", running.begun));
                    }
                }
                self.close_if_full(round);
                late.into_iter().map(|ask| NetCommand::Cancel { ask }).collect()
            }
        }
    }

    fn close_if_full(&mut self, round: u64) {
        let is_full = self.rounds.get(&round).is_some_and(|r| r.answers.iter().all(Option::is_some));
        if let Some(running) = is_full.then(|| self.rounds.remove(&round)).flatten() {
            // Whoever asked may have gone away.
            let _ = running.reply.send(running.answers.into_iter().flatten().collect());
        }
    }
}

fn answer(member: &Member, outcome: &str, begun: Instant) -> Answer {
    Answer {
        peer: member.peer.to_string(),
        name: member.name.clone(),
        organization: member.organization.clone(),
        outcome: outcome.to_owned(),
        latency_ms: begun.elapsed().as_secs_f64() * 1e3,
        step: 0,
        probabilities: Vec::new(),
    }
}
