//! A search for settings that members make together: what each tried travels by gossip and is kept here.

use crate::id::PeerId;
use crate::peer::machine::Peer;
use crate::peer::output::{Outbox, Verdict};
use crate::roster::admission::AdmissionBook;
use crate::time::Time;
use crate::wire::message::Body;
use crate::wire::open::Standing;
use crate::wire::trials::Trials;

impl Peer {
    /// The person here tells what was tried; what breaks the caps is not said.
    pub(super) fn tried(&mut self, trials: Trials, out: &mut Outbox) {
        if trials.makes_sense() {
            self.say(Body::Trials(trials.clone()), out);
            self.searching.own = Some(trials);
        }
    }

    /// Tells own trials again to those who linked since the last hello.
    pub(super) fn retell_trials(&mut self, out: &mut Outbox) {
        if std::mem::take(&mut self.searching.has_newcomers)
            && let Some(trials) = self.searching.own.clone()
        {
            self.say(Body::Trials(trials), out);
        }
    }

    /// Keeps the newest word of each member that searches; a full list takes in nobody new.
    pub(super) fn heard_trials(&mut self, signer: PeerId, trials: &Trials) -> Verdict {
        if self.searching.hear(signer, trials) { Verdict::Accept } else { Verdict::Ignore }
    }

    /// The name for people of a known member, as it says it.
    pub fn name_of(&self, peer: &PeerId) -> Option<&str> {
        self.table.known(peer).map(|entry| entry.name.as_str()).filter(|name| !name.is_empty())
    }

    /// The newest word of each other member that searches, as far as it is still a member, by key.
    pub fn trials(&self, now: Time) -> impl Iterator<Item = (&PeerId, &Trials)> {
        let (book, today): (&AdmissionBook, _) = (&self.book, self.today(now));
        self.searching.others().filter(move |(peer, _)| book.standing(peer, today) == Standing::Member)
    }
}
