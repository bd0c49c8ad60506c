//! Gossip: what each verified message changes.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::codec::decode_control;
use crate::crypto::hash::content_hash;
use crate::id::{GossipId, PeerId};
use crate::limits::PROOFS_KEPT_MAX;
use crate::peer::event::Event;
use crate::peer::machine::{Peer, Phase};
use crate::peer::output::{Outbox, Output, Verdict};
use crate::roster::table::HeardAnnounce;
use crate::time::Time;
use crate::wire::announce::{Announce, Hello, Proof};
use crate::wire::message::{Body, Message};
use crate::wire::offence::Offence;
use crate::wire::open::{Standing, Verified};
use crate::wire::proof::convicted;
use crate::wire::sealed::{CoSigned, Sealed};

/// A message that did not pass the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub offence: Offence,
    /// Whom that is held against, if anybody is surely to blame.
    pub culprit: Option<PeerId>,
}

impl Peer {
    /// Opens the bytes of a message that `link` brought: the gate, with this peer's knowledge of who is a member.
    pub fn open(&mut self, bytes: &[u8], link: PeerId, now: Time) -> Result<Verified<Message>, Refusal> {
        if self.table.holds(bytes) {
            return Err(Refusal { offence: Offence::Replayed, culprit: None });
        }
        let today = self.today(now);
        let Self { me, config, book, allowances, .. } = self;
        let (mut signer, mut taken, mut is_link_spent) = (None, 0, false);
        let gate = std::cell::RefCell::new(allowances);
        let opened = crate::wire::open::open(
            bytes,
            &config.charter,
            today,
            |named| {
                signer = Some(*named);
                match book.standing(named, today) {
                    _ if *named == *me => Standing::Member,
                    Standing::Member if gate.borrow_mut().is_spent(named, now) => {
                        Standing::Refused(Offence::OverQuota)
                    }
                    standing => standing,
                }
            },
            |checks| {
                taken = checks;
                is_link_spent = !gate.borrow_mut().take(link, checks, now);
                !is_link_spent
            },
        );
        match opened {
            Ok(message) => {
                gate.into_inner().settle(&link, taken, message.signer(), message.checks(), now);
                Ok(message)
            }
            Err(offence) => {
                let culprit = match offence {
                    // Signed, so it is the signer's doing.
                    Offence::Meaningless => signer,
                    // No honest peer passes these on.
                    Offence::TooLong | Offence::Malformed | Offence::OtherRun | Offence::BadSignature => {
                        Some(link)
                    }
                    Offence::OverQuota if is_link_spent => Some(link),
                    // Clocks, quotas and what is known of members differ between peers.
                    _ => None,
                };
                Err(Refusal { offence, culprit })
            }
        }
    }

    /// Takes in a message; `gossip` is set when the transport waits for a verdict.
    pub(super) fn heard(
        &mut self,
        gossip: Option<GossipId>,
        message: &Verified<Message>,
        now: Time,
        out: &mut Outbox,
    ) {
        let verdict = self.take(message, now, out);
        if let Some(gossip) = gossip {
            out.push(Output::Judge { gossip, verdict });
        }
    }

    fn take(&mut self, message: &Verified<Message>, now: Time, out: &mut Outbox) -> Verdict {
        let signer = message.signer();
        if signer == self.me {
            self.heard_own(message, out);
            return Verdict::Ignore;
        }
        let body = &message.value().body;
        if !self.is_heard(&signer, body, now) {
            return Verdict::Reject;
        }
        let entry = self.table.entry(signer, now);
        // Proof of malice is judged before replay: whoever tells two stories may give both one sequence number, and a
        // proof may come long after its sequence, from somebody who kept it.
        match body {
            Body::Announce(announce) => {
                if let Some(other) = entry.contradicted(announce) {
                    return self.heard_contradiction(&other, message.bytes(), now, out);
                }
            }
            Body::Proof(proof) => return self.heard_proof(proof, now, out),
            Body::Hello(_) | Body::Card(_) | Body::Revocation(_) | Body::Farewell(_) | Body::Trials(_) => {}
        }
        if !entry.admit(message.value().sequence) {
            return Verdict::Ignore;
        }
        entry.heard = now;
        match body {
            Body::Announce(announce) => self.heard_announce(signer, *announce, message.bytes(), now),
            Body::Hello(hello) => self.heard_hello(signer, hello, message.bytes(), now, out),
            Body::Card(card) => {
                let (step, metric, score) = (card.step, card.metric.clone(), card.score);
                entry.card = Some(card.clone());
                out.emit(Event::Card { peer: signer, step, metric, score });
                Verdict::Accept
            }
            Body::Revocation(list) => self.heard_revocation(signer, list, now, out),
            Body::Proof(_) => Verdict::Ignore,
            Body::Farewell(step) => {
                entry.has_left = true;
                entry.step = entry.step.max(*step);
                Verdict::Accept
            }
            Body::Trials(trials) => self.heard_trials(signer, trials),
        }
    }

    /// Membership may have changed since the gate; a newcomer's credential is taken in here.
    fn is_heard(&mut self, signer: &PeerId, body: &Body, now: Time) -> bool {
        let today = self.today(now);
        match self.book.standing(signer, today) {
            Standing::Member => true,
            // A member whose certificate ran out comes back with a newer one.
            Standing::Unknown | Standing::Refused(Offence::Expired) => match body {
                Body::Hello(Hello { credential: Some(credential), .. }) => {
                    self.book.take_credential(signer, credential, today)
                        && self.book.standing(signer, today) == Standing::Member
                }
                _ => false,
            },
            Standing::Refused(_) => false,
        }
    }

    fn heard_announce(
        &mut self,
        signer: PeerId,
        announce: Announce,
        bytes: &Arc<[u8]>,
        now: Time,
    ) -> Verdict {
        match self.table.entry(signer, now).hear(announce, bytes) {
            HeardAnnounce::New => {
                self.laggards.remove(&signer);
                if let Phase::Waiting { progress, .. } = &mut self.phase {
                    *progress = now;
                }
                Verdict::Accept
            }
            HeardAnnounce::Old => Verdict::Accept,
        }
    }

    /// Two announcements of one signer for one step that differ: together they are proof.
    fn heard_contradiction(&mut self, one: &[u8], other: &[u8], now: Time, out: &mut Outbox) -> Verdict {
        if let (Ok(a), Ok(b)) = (decode_control::<Sealed>(one), decode_control::<Sealed>(other)) {
            self.convict(Proof::Announces(a, b), now, out);
        }
        Verdict::Accept
    }

    fn convict(&mut self, proof: Proof, now: Time, out: &mut Outbox) {
        let Some(peer) = convicted(&proof, &self.config.charter.run()) else { return };
        if peer == self.me || matches!(self.book.standing(&peer, self.today(now)), Standing::Refused(_)) {
            return;
        }
        let bytes = self.say(Body::Proof(Box::new(proof)), out);
        out.emit(Event::Offence { peer, offence: Offence::Equivocated });
        self.ban(peer, content_hash(&bytes), now, out);
        self.keep_proof(peer, bytes);
    }

    /// Keeps a proof in own words for those who were away when it was told.
    fn keep_proof(&mut self, peer: PeerId, bytes: Arc<[u8]>) {
        if self.proofs.len() < PROOFS_KEPT_MAX {
            self.proofs.insert(peer, bytes);
        }
    }

    fn heard_proof(&mut self, proof: &Proof, now: Time, out: &mut Outbox) -> Verdict {
        let Some(peer) = convicted(proof, &self.config.charter.run()) else { return Verdict::Reject };
        if peer == self.me {
            out.emit(Event::KeyInUseElsewhere { step: self.step });
            return Verdict::Accept;
        }
        if self.book.has_banned(&peer) {
            return Verdict::Ignore;
        }
        self.ban(peer, content_hash(&crate::codec::encode(proof)), now, out);
        let bytes = self.seal(Body::Proof(Box::new(proof.clone())));
        self.keep_proof(peer, bytes.into());
        Verdict::Accept
    }

    fn heard_hello(
        &mut self,
        signer: PeerId,
        hello: &Hello,
        bytes: &Arc<[u8]>,
        now: Time,
        out: &mut Outbox,
    ) -> Verdict {
        let entry = self.table.entry(signer, now);
        entry.name.clone_from(&hello.name);
        entry.addresses.clone_from(&hello.addresses);
        entry.step = entry.step.max(hello.step);
        entry.stage = hello.stage;
        entry.has_left = false;
        entry.news[0] = Some(bytes.clone());
        let misses_announcement = entry.is_linked
            && hello.step.0 > 0
            && entry.newest().is_none_or(|a| a.announce.step < hello.step);
        if misses_announcement {
            self.ask_news(signer, now, out);
        }
        // Somebody with an older list than ours learns ours with our next hello; said at once, it converges faster.
        if hello.revocation < self.book.revocation_version() {
            self.hello_at = now;
        }
        self.dial(signer, now, out);
        Verdict::Accept
    }

    fn heard_revocation(&mut self, signer: PeerId, list: &CoSigned, now: Time, out: &mut Outbox) -> Verdict {
        match self.take_revocation(list, now, out) {
            Ok(true) => Verdict::Accept,
            Ok(false) => Verdict::Ignore,
            Err(offence) => {
                self.offended(signer, offence, now, out);
                Verdict::Reject
            }
        }
    }

    /// Takes in a revocation list, from gossip or from the operator; true when it is news.
    pub(super) fn take_revocation(
        &mut self,
        list: &CoSigned,
        now: Time,
        out: &mut Outbox,
    ) -> Result<bool, Offence> {
        if !self.book.take_revocation(list)? {
            return Ok(false);
        }
        out.emit(Event::Revocation { version: self.book.revocation_version() });
        let revoked: Vec<PeerId> =
            self.table.linked().map(|(p, _)| *p).filter(|p| self.book.is_revoked(p)).collect();
        for peer in revoked {
            self.table.offend(&peer, Offence::Revoked, now);
            out.push(Output::Hangup(peer));
        }
        // What a revoked key sent is not mixed any more, even if it came before.
        if let Phase::Pulling { pull, .. } = &mut self.phase {
            let book = &self.book;
            pull.drop_all(|peer| book.is_revoked(peer));
        }
        Ok(true)
    }

    /// The operator hands over a list: it goes to everybody.
    pub(super) fn revoke(&mut self, list: &CoSigned, now: Time, out: &mut Outbox) {
        if self.take_revocation(list, now, out) == Ok(true) {
            self.say(Body::Revocation(list.clone()), out);
        }
        self.drive_pull(now, out);
    }

    /// Our own key said something: an echo, or a second copy of this node. The copy that was started first pauses; of two
    /// that were started equally often, both.
    fn heard_own(&mut self, message: &Verified<Message>, out: &mut Outbox) {
        let sequence = message.value().sequence;
        let (incarnation, count) = ((sequence >> 32) as u32, sequence as u32);
        let is_not_ours = match self.said.get(&count) {
            Some(hash) => *hash != content_hash(message.bytes()),
            None => count > self.sequence,
        };
        let is_copy = match incarnation.cmp(&self.config.incarnation) {
            Ordering::Greater => true,
            Ordering::Equal => is_not_ours,
            Ordering::Less => false,
        };
        if is_copy {
            out.emit(Event::KeyInUseElsewhere { step: self.step });
            self.is_paused = true;
        }
    }
}
