//! Questions to other peers: their timers, their answers, and what failed.

use crate::id::{AskId, PeerId};
use crate::limits::ASK_DEADLINE_MAX;
use crate::peer::event::Event;
use crate::peer::input::{Answer, Failure};
use crate::peer::machine::{About, Asked, Peer, Phase};
use crate::peer::output::{Outbox, Output};
use crate::stage::plan::codec_at;
use crate::time::{Span, Time};
use crate::wire::offence::Offence;

impl Peer {
    /// Names a new question; answers its number and how long the driver waits for progress.
    pub(super) fn new_ask(&mut self, peer: PeerId, about: About, now: Time) -> (AskId, Span) {
        self.next_ask += 1;
        let ask = AskId(self.next_ask);
        let deadline = self.deadlines.deadline();
        // The driver reports stalls long before; this timer only catches what it loses.
        let until = now + deadline.times(4);
        self.asks.insert(ask, Asked { peer, about, at: now, until, is_waiting: false });
        (ask, deadline)
    }

    /// A question's timer ran out: it is asked again, or given up.
    pub(super) fn ask_due(&mut self, ask: AskId, now: Time, out: &mut Outbox) {
        let Some(asked) = self.asks.get(&ask) else { return };
        if asked.is_waiting {
            self.asks.remove(&ask);
            if let Phase::Pulling { pull, .. } = &mut self.phase {
                pull.again(ask);
            }
            self.drive_pull(now, out);
            return;
        }
        out.push(Output::Cancel(ask));
        self.failed(ask, Failure::Timeout, now, out);
    }

    /// An answer came, checked.
    pub(super) fn answered(&mut self, ask: AskId, answer: Answer, now: Time, out: &mut Outbox) {
        let Some(asked) = self.asks.remove(&ask) else { return };
        match answer {
            Answer::News(messages) => {
                messages.iter().for_each(|message| self.heard(None, message, now, out));
            }
            Answer::Manifest(manifest) => {
                self.deadlines.note(now.since(asked.at));
                let m = &manifest.manifest;
                if let Some(entry) = self.table.known_mut(&asked.peer) {
                    entry.answered();
                    entry.note_manifest(m.step, manifest.hash, m.parent);
                }
                // Read next to one's own values, an update is near whoever reads it: only where the charter says so.
                if m.codec.is_relative() && m.codec != codec_at(self.book.charter(), m.step) {
                    self.offended(asked.peer, Offence::Meaningless, now, out);
                    self.give_up(asked.peer, Failure::Wrong, now, out);
                    return;
                }
                if let Phase::Pulling { pull, .. } = &mut self.phase {
                    pull.manifest(&asked.peer, *manifest);
                }
                self.drive_pull(now, out);
            }
            Answer::Shards(indices) => {
                self.deadlines.note(now.since(asked.at));
                if let Some(entry) = self.table.known_mut(&asked.peer) {
                    entry.answered();
                }
                let is_progress = match &mut self.phase {
                    Phase::Pulling { pull, .. } => pull.shards(&asked.peer, &indices),
                    _ => true,
                };
                if is_progress {
                    self.drive_pull(now, out);
                } else {
                    // Asked again, it would answer nothing again, without end.
                    self.give_up(asked.peer, Failure::Wrong, now, out);
                }
            }
        }
    }

    /// A question failed.
    pub(super) fn failed(&mut self, ask: AskId, failure: Failure, now: Time, out: &mut Outbox) {
        let Some(asked) = self.asks.get_mut(&ask) else { return };
        if asked.about == About::News {
            self.asks.remove(&ask);
            return;
        }
        let peer = asked.peer;
        if let Failure::Busy(wait) = failure {
            // Capped, so that a peer cannot hold a pull open by always asking for more time.
            let retry = now + wait.min(Span::seconds(10));
            if now.since(asked.at) < ASK_DEADLINE_MAX && !asked.is_waiting {
                asked.is_waiting = true;
                asked.until = retry;
                return;
            }
        }
        self.asks.remove(&ask);
        self.give_up(peer, failure, now, out);
    }

    /// Pulls no more from a peer in this outer step; what it sent is used, what is missing is drawn elsewhere.
    fn give_up(&mut self, peer: PeerId, failure: Failure, now: Time, out: &mut Outbox) {
        let why = match failure {
            Failure::Timeout => "timeout",
            Failure::Busy(_) => "busy",
            Failure::NotFound => "not_found",
            Failure::Refused => "refused",
            Failure::Wrong => "wrong",
            Failure::Disconnected => "disconnected",
        };
        let Phase::Pulling { pull, is_join, .. } = &self.phase else { return };
        let (step, is_join) = (pull.step(), *is_join);
        out.emit(Event::PullFailed { step, peer, why });
        if failure == Failure::Timeout {
            self.offended(peer, Offence::Withheld, now, out);
        }
        let candidates = self.candidates(step, is_join, now);
        if let Phase::Pulling { pull, .. } = &mut self.phase {
            pull.fail(&peer, &candidates, &mut self.sampling);
        }
        self.drive_pull(now, out);
    }
}
