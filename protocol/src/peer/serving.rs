//! Answers to what other peers ask.

use crate::codec::{CONTROL_BYTES_MAX, encode};
use crate::crypto::hash::content_hash;
use crate::crypto::signed::Domain;
use crate::exchange::serve::Reply;
use crate::id::{InboundId, PeerId};
use crate::limits::{
    ANSWER_ELEMENTS_MAX, FILE_PIECE_BYTES, NEWS_PEERS_MAX, QUERY_ROWS_MAX, QUERY_WORDS_MAX, REDEEMING_MAX,
    REQUEST_BYTES_MAX,
};
use crate::peer::event::Event;
use crate::peer::input::Predicted;
use crate::peer::machine::Peer;
use crate::peer::output::{Outbox, Output};
use crate::roster::table::Entry;
use crate::time::{Span, Time};
use crate::wire::certificate::{Binding, Invitation};
use crate::wire::charter::{Admission, TaskTerms};
use crate::wire::credential::Credential;
use crate::wire::manifest::VERSION;
use crate::wire::offence::Offence;
use crate::wire::open::Standing;
use crate::wire::prediction::{Prediction, Query};
use crate::wire::request::{News, Request, Want};
use crate::wire::sealed::Sealed;

impl Peer {
    pub(super) fn asked(
        &mut self,
        inbound: InboundId,
        from: PeerId,
        request: &Request,
        now: Time,
        out: &mut Outbox,
    ) {
        let standing = self.book.standing(&from, self.today(now));
        if let (Standing::Member, Want::Predict(query)) = (standing, &request.want) {
            self.queried(inbound, from, query, now, out);
            return;
        }
        let is_invited = matches!(self.book.charter().admission, Admission::Invite);
        let reply = match (standing, &request.want) {
            (Standing::Member, Want::News) => Reply::Bytes(self.news().into()),
            // The charter is no secret: whoever was pointed to this node may read what it asks for.
            (Standing::Member | Standing::Unknown, Want::Charter) => {
                Reply::Bytes(self.config.charter.to_bytes().into())
            }
            (
                Standing::Member | Standing::Unknown | Standing::Refused(Offence::Expired),
                Want::Redeem { .. },
            ) if is_invited => match self.redeem(inbound, from, &request.want, now, out) {
                Some(reply) => reply,
                None => return,
            },
            (Standing::Member, Want::File { hash, piece }) => {
                if let Some(busy) = self.serve.charge(from, FILE_PIECE_BYTES as u64, now) {
                    busy
                } else {
                    out.push(Output::AnswerFile { inbound, hash: *hash, piece: *piece });
                    return;
                }
            }
            (Standing::Member, Want::Redeem { .. }) => Reply::Refused,
            (Standing::Member, want) => self.serve.reply(from, want, now),
            // A newcomer asks before its hello was heard; it asks again.
            (Standing::Unknown | Standing::Refused(Offence::Expired), Want::News) if is_invited => {
                Reply::NotFound
            }
            (Standing::Refused(offence), _) => {
                self.offended(from, offence, now, out);
                Reply::Refused
            }
            _ => {
                self.offended(from, Offence::NotMember, now, out);
                Reply::Refused
            }
        };
        out.push(Output::Answer { inbound, reply });
    }

    /// Charges a member's query and hands it to the own model, unless charter or owner forbid it.
    fn queried(&mut self, inbound: InboundId, from: PeerId, query: &Query, now: Time, out: &mut Outbox) {
        let charter = self.book.charter();
        let (is_tagging, labels) = (charter.is_tagging(), charter.task.labels.len());
        if !charter.exchange.predictions || !self.config.answers_queries {
            // Asking is no offence: who asks cannot know what this owner allows.
            out.push(Output::Answer { inbound, reply: Reply::Refused });
            return;
        }
        let outputs = query.outputs(is_tagging).ok().filter(|n| n * labels <= ANSWER_ELEMENTS_MAX);
        let Some(outputs) = outputs else {
            out.push(Output::Answer { inbound, reply: Reply::Refused });
            self.offended(from, Offence::Meaningless, now, out);
            return;
        };
        match self.serve.charge_query(from, outputs, labels, now) {
            Some(reply) => out.push(Output::Answer { inbound, reply }),
            None => {
                out.emit(Event::Queried { peer: from, outputs: outputs as u32 });
                out.push(Output::Predict { inbound, query: query.clone() });
            }
        }
    }

    /// The task of the run.
    pub fn task(&self) -> &TaskTerms {
        &self.book.charter().task
    }

    /// Outputs that a query of this run asks for, or why it cannot be asked.
    pub fn outputs_of(&self, query: &Query) -> Result<usize, String> {
        let charter = self.book.charter();
        if !charter.exchange.predictions {
            return Err("the charter does not allow predictions to leave a node".to_owned());
        }
        let labels = charter.task.labels.len();
        let outputs = query.outputs(charter.is_tagging()).map_err(|_| {
            format!("expected 1 to {QUERY_ROWS_MAX} texts of 1 to {QUERY_WORDS_MAX} words that are not empty")
        })?;
        let bytes = Request::new(self.config.charter.run(), Want::Predict(query.clone())).to_bytes().len();
        if bytes > REQUEST_BYTES_MAX || outputs * labels > ANSWER_ELEMENTS_MAX {
            return Err(format!(
                "expected a query of at most {REQUEST_BYTES_MAX} bytes and {ANSWER_ELEMENTS_MAX} probabilities, found {bytes} and {}",
                outputs * labels
            ));
        }
        Ok(outputs)
    }

    /// Signs what the own model said and answers with it.
    pub(super) fn predicted(&self, predicted: Predicted, out: &mut Outbox) {
        let Predicted { inbound, query, step, probabilities } = predicted;
        let run = self.config.charter.run();
        let answer = Prediction { version: VERSION, run, query, step, probabilities };
        out.push(Output::Answer { inbound, reply: Reply::Bytes(answer.seal(&self.keys).into()) });
    }

    /// Looks at an invitation that was brought here to be used; `None` when the answer waits for the disk.
    fn redeem(
        &mut self,
        inbound: InboundId,
        from: PeerId,
        want: &Want,
        now: Time,
        out: &mut Outbox,
    ) -> Option<Reply> {
        let Want::Redeem { invitation: sealed, secret } = want else { return Some(Reply::Refused) };
        let checks = sealed.checks(&self.book.charter().founders);
        if self.redeeming.len() >= REDEEMING_MAX || !self.allowances.take(from, checks, now) {
            return Some(Reply::Busy(Span::seconds(1)));
        }
        let Ok(invitation) = Invitation::open(sealed, self.book.charter()) else {
            return Some(Reply::Refused);
        };
        let is_good = invitation.issuer == self.me
            && invitation.token == Invitation::token_of(secret)
            && self.today(now) < invitation.redeem_until;
        if !is_good {
            return Some(Reply::Refused);
        }
        self.redeeming.insert(inbound, (from, sealed.clone()));
        out.push(Output::Redeem { inbound, invitation: content_hash(&sealed.body), peer: from });
        None
    }

    /// The disk has spoken: the key is bound to the invitation, or another one was before.
    pub(super) fn redeemed(&mut self, inbound: InboundId, is_free: bool, now: Time, out: &mut Outbox) {
        let Some((peer, invitation)) = self.redeeming.remove(&inbound) else { return };
        if !is_free {
            out.push(Output::Answer { inbound, reply: Reply::NotFound });
            return;
        }
        let today = self.today(now);
        let bound = Binding { invitation: content_hash(&invitation.body), peer, from: today };
        let binding = Sealed::new(&self.keys, Domain::Binding, &bound);
        let reply = Reply::Bytes(binding.to_bytes().into());
        // Whose answer was lost asks again; it is admitted once.
        let is_new = self.book.standing(&peer, today) != Standing::Member;
        self.book.take_credential(&peer, &Credential::Invited { invitation, binding }, today);
        if is_new {
            out.emit(Event::Admitted { peer });
        }
        out.push(Output::Answer { inbound, reply });
    }

    /// Own hello and announcement first, then proofs of malice, then the words of some others, as far as they fit one
    /// control message. Whose those are depends on the own key, so that peers who ask several hear of many.
    fn news(&self) -> Vec<u8> {
        let own = self.own_news.iter().flatten();
        let is_there =
            |(_, entry): &(&PeerId, &Entry)| !entry.has_left && entry.news.iter().any(Option::is_some);
        let some = self.table.round_from(self.me).filter(is_there).take(NEWS_PEERS_MAX);
        let others = some.flat_map(|(_, e)| e.news.iter().flatten());
        let proofs = self.proofs.values();
        let mut room = CONTROL_BYTES_MAX - 64;
        let mut news = News::default();
        for message in own.chain(proofs).chain(others) {
            let size = message.len() + 8;
            if size > room {
                break;
            }
            room -= size;
            news.messages.push(message.to_vec());
        }
        encode(&news)
    }
}
