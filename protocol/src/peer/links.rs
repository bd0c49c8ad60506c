//! Links: greeting, asking for news, dialling whom we hear of.

use crate::id::PeerId;
use crate::limits::{ADDRESSES_MAX, HELLO_EVERY};
use crate::peer::event::Event;
use crate::peer::machine::{About, Peer};
use crate::peer::output::{Outbox, Output, Question};
use crate::roster::table::Entry;
use crate::time::{Span, Time, UnixSeconds};
use crate::wire::announce::Hello;
use crate::wire::message::Body;
use crate::wire::offence::Offence;
use crate::wire::open::Standing;

/// A hello that is due for a new link is sent after this, once for all links of the moment.
const HELLO_SOON: Span = Span::millis(300);

impl Peer {
    pub(super) fn link_up(&mut self, peer: PeerId, now: Time, out: &mut Outbox) {
        // A member whose certificate ran out may bring a newer one with its hello.
        if let Standing::Refused(offence) = self.book.standing(&peer, self.today(now))
            && offence != Offence::Expired
        {
            self.offended(peer, offence, now, out);
            out.push(Output::Hangup(peer));
            return;
        }
        self.table.set_linked(peer, true, now);
        self.searching.has_newcomers = true;
        out.emit(Event::LinkUp { peer });
        self.hello_at = self.hello_at.min(now + HELLO_SOON);
        self.ask_news(peer, now, out);
    }

    /// Linked peers that take part. A stranger may hold a link to read the charter; nobody waits for it.
    pub(super) fn linked_members(&self, today: UnixSeconds) -> impl Iterator<Item = (&PeerId, &Entry)> {
        self.table.linked().filter(move |(peer, _)| self.book.standing(peer, today) == Standing::Member)
    }

    pub(super) fn link_down(&mut self, peer: PeerId, now: Time, out: &mut Outbox) {
        if self.table.known(&peer).is_some_and(|e| e.is_linked) {
            self.table.set_linked(peer, false, now);
            out.emit(Event::LinkDown { peer });
        }
        self.laggards.remove(&peer);
    }

    pub(super) fn listening(&mut self, mut addresses: Vec<String>, now: Time) {
        addresses.sort();
        addresses.dedup();
        addresses.truncate(ADDRESSES_MAX);
        if addresses != self.addresses {
            self.addresses = addresses;
            self.hello_at = self.hello_at.min(now + HELLO_SOON);
        }
    }

    pub(super) fn ask_news(&mut self, peer: PeerId, now: Time, out: &mut Outbox) {
        if self.asks.values().any(|a| a.peer == peer && a.about == About::News) {
            return;
        }
        let (ask, deadline) = self.new_ask(peer, About::News, now);
        out.push(Output::Ask { ask, peer, question: Question::News, deadline });
    }

    pub(super) fn say_hello(&mut self, now: Time, out: &mut Outbox) {
        self.hello_at = now + HELLO_EVERY;
        let hello = Hello {
            name: self.config.name.clone(),
            addresses: self.addresses.clone(),
            credential: self.config.credential.clone(),
            revocation: self.book.revocation_version(),
            step: self.step,
            stage: self.stage,
        };
        self.own_news[0] = Some(self.say(Body::Hello(hello), out));
        if let Some(list) = self.book.revocation().cloned() {
            self.say(Body::Revocation(list), out);
        }
        self.retell_trials(out);
    }

    /// Dials a member we heard of, while there is room for links.
    pub(super) fn dial(&mut self, peer: PeerId, now: Time, out: &mut Outbox) {
        let linked = self.table.links() as u32;
        let Some(entry) = self.table.known_mut(&peer) else { return };
        if entry.is_linked || entry.has_left || entry.addresses.is_empty() || linked >= self.config.links_max
        {
            return;
        }
        if entry.may_dial(now) {
            out.push(Output::Dial { peer, addresses: entry.addresses.clone() });
        }
    }
}
