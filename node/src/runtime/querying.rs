//! The driver's part in queries: those of members go to the responder, those of the person here go to members; and in
//! searches for settings.

use std::time::Duration;

use protocol::exchange::serve::Reply;
use protocol::id::{InboundId, PeerId};
use protocol::limits::TRIALS_MAX;
use protocol::peer::input::Input;
use protocol::time::Span;
use protocol::wire::prediction::Query;
use protocol::wire::trials::Trials;

use crate::net::command::NetCommand;
use crate::runtime::asking::{Due, Member, Round};
use crate::runtime::driver::Driver;
use crate::runtime::local::{Knock, Said, Searcher, Wish};
use crate::trainer::responder::Answered;

/// When a member shall ask again whose query found too many others waiting.
const BUSY: Span = Span::millis(500);
/// Longest and shortest wait for a round of answers.
const DEADLINE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(300));

impl Driver {
    /// Hands a member's query to the responder.
    pub(super) fn predict(&mut self, inbound: InboundId, query: Query) {
        let is_taken = self.responder.as_ref().is_some_and(|responder| responder.ask(inbound, query));
        if !is_taken {
            self.answer(inbound, Reply::Busy(BUSY));
        }
    }

    /// The responder is through with a member's query.
    pub(super) fn answered_query(&mut self, answered: Answered) {
        match answered {
            Answered::Said(predicted) => self.feed(Input::Predicted(predicted)),
            Answered::Nothing(inbound) => self.answer(inbound, Reply::NotFound),
        }
    }

    /// The person here asks other members.
    pub(super) fn knocked(&mut self, knock: Knock) {
        let Knock { wish, reply } = knock;
        let (rows, peers, deadline_ms) = match wish {
            Wish::Task => {
                // Whoever asked may have gone away, here and below.
                let _ = reply.send(Said::Task(self.peer.task().clone()));
                return;
            }
            Wish::Tried(trials) => {
                let _ = reply.send(self.tried(trials));
                return;
            }
            Wish::Ask { rows, peers, deadline_ms } => (rows, peers, deadline_ms),
        };
        let mut nonce = [0u8; 16];
        let query = match getrandom::fill(&mut nonce) {
            Ok(()) => Query { nonce, rows },
            Err(error) => {
                let _ = reply.send(Said::Refused(format!("no random numbers: {error}")));
                return;
            }
        };
        let outputs = match self.peer.outputs_of(&query) {
            Ok(outputs) => outputs,
            Err(why) => {
                let _ = reply.send(Said::Refused(why));
                return;
            }
        };
        let known = self.peer.peers(self.clock.now());
        let member = |p: &protocol::peer::status::PeerStatus| Member {
            peer: p.peer_id,
            name: if p.name.is_empty() { p.peer_id.short() } else { p.name.clone() },
            organization: p.organization.clone(),
            is_linked: p.is_linked && !p.is_banned,
        };
        let members: Vec<Member> = match peers {
            None => known.iter().map(member).collect(),
            Some(peers) => {
                let find = |peer: &PeerId| {
                    known.iter().find(|p| p.peer_id == *peer).map_or_else(
                        || Member {
                            peer: *peer,
                            name: peer.short(),
                            organization: String::new(),
                            is_linked: false,
                        },
                        member,
                    )
                };
                peers.iter().map(find).collect()
            }
        };
        let deadline = Duration::from_millis(deadline_ms).clamp(DEADLINE.0, DEADLINE.1);
        let (answer, answers) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let said =
                answers.await.map_or_else(|_| Said::Refused("the node is ending".to_owned()), Said::Answers);
            let _ = reply.send(said);
        });
        let round = Round { query, outputs, members, deadline, reply: answer };
        self.asking.begin(round).into_iter().for_each(|command| self.net.send(command));
    }

    /// Tells members what was tried here; answers what they told.
    fn tried(&mut self, trials: Trials) -> Said {
        if !trials.makes_sense() {
            return Said::Refused(format!(
                "expected at most {TRIALS_MAX} trials with finite scores and losses"
            ));
        }
        self.feed(Input::Tried(trials));
        let name = |peer: &PeerId| self.peer.name_of(peer).map_or_else(|| peer.short(), str::to_owned);
        let others = self.peer.trials(self.clock.now()).map(|(peer, trials)| Searcher {
            peer: *peer,
            name: name(peer),
            trials: trials.clone(),
        });
        Said::Tried { me: self.me, others: others.collect() }
    }

    /// A deadline is over, or a busy member may be asked again.
    pub(super) fn asking_is_due(&mut self, due: Due) {
        let commands: Vec<NetCommand> = self.asking.due(due);
        commands.into_iter().for_each(|command| self.net.send(command));
    }
}
