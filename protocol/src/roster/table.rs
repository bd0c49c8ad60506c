//! The table of known peers: bounded, ordered by key.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::id::{Hash, OuterStep, PeerId};
use crate::limits::{ANNOUNCED_PER_PEER_MAX, DIAL_EVERY, DIAL_EVERY_MAX, ROSTER_MAX};
use crate::roster::replay::ReplayWindow;
use crate::roster::score::Score;
use crate::time::{Span, Time};
use crate::wire::announce::{Announce, Card};
use crate::wire::choice::Stage;
use crate::wire::offence::Offence;

/// Unanswered questions in a row after which each costs no more than the one before.
const WITHHELD_MAX: u32 = 7;

/// What is known of one peer.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Name for people, from its hello.
    pub name: String,
    /// Where it can be reached, from its hello.
    pub addresses: Vec<String>,
    /// Whether there is a link now.
    pub is_linked: bool,
    /// Behaviour.
    pub score: Score,
    /// What it announced lately, newest last.
    pub announced: Vec<Announced>,
    /// Its last complete outer step, from hello or announcement.
    pub step: OuterStep,
    /// What it is doing.
    pub stage: Stage,
    /// Its last evaluation card.
    pub card: Option<Card>,
    /// Manifests that were checked, each linked to the one before.
    pub linked_manifests: u32,
    /// The newest manifest checked.
    pub last_manifest: Option<(OuterStep, Hash)>,
    /// Whether it said farewell.
    pub has_left: bool,
    /// Offences by kind.
    pub offences: BTreeMap<Offence, u32>,
    /// Sealed messages to pass on to newcomers: hello, announcement.
    pub news: [Option<std::sync::Arc<[u8]>>; 2],
    /// When it was last heard.
    pub heard: Time,
    /// Questions it left unanswered since it last answered one.
    withheld: u32,
    replay: ReplayWindow,
    dial_after: Time,
    dial_wait: Span,
}

/// An announcement that was heard, with the bytes as proof.
#[derive(Clone, Debug)]
pub struct Announced {
    /// What was announced.
    pub announce: Announce,
    /// The sealed message.
    pub bytes: std::sync::Arc<[u8]>,
}

/// What hearing an announcement meant.
#[derive(Clone, Debug)]
pub enum HeardAnnounce {
    /// A newer update.
    New,
    /// Known or too old to matter.
    Old,
}

impl Entry {
    fn new(now: Time) -> Self {
        Self {
            name: String::new(),
            addresses: Vec::new(),
            is_linked: false,
            score: Score::new(now),
            announced: Vec::new(),
            step: OuterStep(0),
            stage: Stage::Join,
            card: None,
            linked_manifests: 0,
            last_manifest: None,
            has_left: false,
            offences: BTreeMap::new(),
            news: [None, None],
            heard: now,
            withheld: 0,
            replay: ReplayWindow::default(),
            dial_after: now,
            dial_wait: DIAL_EVERY,
        }
    }

    /// The newest announcement.
    pub fn newest(&self) -> Option<&Announced> {
        self.announced.last()
    }

    /// The announcement of exactly this step.
    pub fn announced_at(&self, step: OuterStep) -> Option<&Announced> {
        self.announced.iter().find(|a| a.announce.step == step)
    }

    /// Notes a message's sequence; false for a replay.
    pub fn admit(&mut self, sequence: u64) -> bool {
        self.replay.admit(sequence)
    }

    /// The message that says something else of the same step, if one was heard: both together are proof.
    pub fn contradicted(&self, announce: &Announce) -> Option<std::sync::Arc<[u8]>> {
        let known = self.announced_at(announce.step)?;
        (known.announce.manifest != announce.manifest).then(|| known.bytes.clone())
    }

    /// Notes an announcement that contradicts no other.
    pub fn hear(&mut self, announce: Announce, bytes: &std::sync::Arc<[u8]>) -> HeardAnnounce {
        if self.announced_at(announce.step).is_some() {
            return HeardAnnounce::Old;
        }
        let oldest = self.announced.first().map(|a| a.announce.step);
        if self.announced.len() >= ANNOUNCED_PER_PEER_MAX && oldest.is_some_and(|o| announce.step < o) {
            return HeardAnnounce::Old;
        }
        self.announced.push(Announced { announce, bytes: bytes.clone() });
        self.announced.sort_by_key(|a| a.announce.step);
        if self.announced.len() > ANNOUNCED_PER_PEER_MAX {
            self.announced.remove(0);
        }
        let is_newest = self.announced.last().is_some_and(|a| a.announce.step == announce.step);
        if is_newest {
            self.step = self.step.max(announce.step);
            self.stage = announce.stage;
            self.news[1] = Some(bytes.clone());
        }
        HeardAnnounce::New
    }

    /// Notes a checked manifest; a gap in the chain starts the count anew.
    pub fn note_manifest(&mut self, step: OuterStep, hash: Hash, parent: Hash) {
        if self.last_manifest.is_some_and(|(known, _)| known >= step) {
            return;
        }
        let is_linked = self.last_manifest.is_none_or(|(_, previous)| previous == parent);
        self.linked_manifests = if is_linked { self.linked_manifests.saturating_add(1) } else { 1 };
        self.last_manifest = Some((step, hash));
    }

    /// Notes that it answered a question.
    pub fn answered(&mut self) {
        self.withheld = 0;
    }

    /// Counts an offence. From the third in a row on, a question left unanswered costs twice as much as the one before it:
    /// a lossy link answers now and then, somebody who withholds does not, and every wait for it costs a deadline.
    fn offend(&mut self, offence: Offence, now: Time) {
        let times = if offence == Offence::Withheld {
            self.withheld = (self.withheld + 1).min(WITHHELD_MAX);
            1 << self.withheld.saturating_sub(2)
        } else {
            1
        };
        self.score.offend(offence, times, now);
        *self.offences.entry(offence).or_default() += 1;
    }

    /// Whether it may be dialled now; if so, the next dial waits longer.
    pub fn may_dial(&mut self, now: Time) -> bool {
        if now < self.dial_after {
            return false;
        }
        self.dial_after = now + self.dial_wait;
        self.dial_wait = Span(self.dial_wait.0.saturating_mul(2).min(DIAL_EVERY_MAX.0));
        true
    }

    fn linked(&mut self, is_linked: bool, now: Time) {
        self.is_linked = is_linked;
        if is_linked {
            self.has_left = false;
            self.dial_wait = DIAL_EVERY;
            self.dial_after = now + DIAL_EVERY;
        }
    }
}

/// Peers by key.
#[derive(Clone, Debug, Default)]
pub struct Table {
    entries: BTreeMap<PeerId, Entry>,
    /// Keys of the entries with a link: far fewer than are known, and looked through at every turn.
    linked: BTreeSet<PeerId>,
}

impl Table {
    /// The entry of a peer, made when there is room; a full table gives up its least recently heard unlinked peer.
    pub fn entry(&mut self, peer: PeerId, now: Time) -> &mut Entry {
        if !self.entries.contains_key(&peer) && self.entries.len() >= ROSTER_MAX {
            let idle = self.entries.iter().filter(|(_, e)| !e.is_linked).min_by_key(|(_, e)| e.heard);
            if let Some(out) = idle.map(|(p, _)| *p).or_else(|| self.entries.keys().next().copied()) {
                self.entries.remove(&out);
                self.linked.remove(&out);
            }
        }
        self.entries.entry(peer).or_insert_with(|| Entry::new(now))
    }

    /// The entry of a known peer.
    pub fn known(&self, peer: &PeerId) -> Option<&Entry> {
        self.entries.get(peer)
    }

    /// The entry of a known peer.
    pub fn known_mut(&mut self, peer: &PeerId) -> Option<&mut Entry> {
        self.entries.get_mut(peer)
    }

    /// Number of known peers.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether these are the bytes of a message that is kept: hearing it again tells nothing new.
    pub fn holds(&self, message: &[u8]) -> bool {
        // A sealed message begins with its signer's key.
        let signer = message.first_chunk::<32>().map(|key| PeerId(*key));
        let entry = signer.and_then(|signer| self.entries.get(&signer));
        entry.is_some_and(|e| e.news.iter().flatten().any(|kept| **kept == *message))
    }

    /// Every entry, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&PeerId, &Entry)> {
        self.entries.iter()
    }

    /// Every entry, from the one after `peer` once round to it.
    pub fn round_from(&self, peer: PeerId) -> impl Iterator<Item = (&PeerId, &Entry)> {
        let after = self.entries.range((Bound::Excluded(peer), Bound::Unbounded));
        after.chain(self.entries.range(..=peer))
    }

    /// Peers with a link now, by key.
    pub fn linked(&self) -> impl Iterator<Item = (&PeerId, &Entry)> {
        self.linked.iter().filter_map(|peer| self.entries.get_key_value(peer))
    }

    /// Number of peers with a link now.
    pub fn links(&self) -> usize {
        self.linked.len()
    }

    /// Notes that a link came or went.
    pub fn set_linked(&mut self, peer: PeerId, is_linked: bool, now: Time) {
        self.entry(peer, now).linked(is_linked, now);
        if is_linked {
            self.linked.insert(peer);
        } else {
            self.linked.remove(&peer);
        }
    }

    /// Counts an offence.
    pub fn offend(&mut self, peer: &PeerId, offence: Offence, now: Time) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.offend(offence, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_begins_after_the_peer_and_leaves_nobody_out() {
        let mut table = Table::default();
        for key in [1, 3, 5, 7] {
            table.entry(PeerId([key; 32]), Time(0));
        }
        let round = |from: u8| table.round_from(PeerId([from; 32])).map(|(p, _)| p.0[0]).collect::<Vec<_>>();
        assert_eq!(round(4), [5, 7, 1, 3]);
        assert_eq!(round(5), [7, 1, 3, 5]);
        assert_eq!(round(9), [1, 3, 5, 7]);
    }

    #[test]
    fn whoever_never_answers_is_soon_not_asked_and_whoever_answers_now_and_then_is() {
        let (silent, lossy) = (PeerId([1; 32]), PeerId([2; 32]));
        let mut table = Table::default();
        for peer in [silent, lossy] {
            table.entry(peer, Time(0));
        }
        let mut now = Time(0);
        for _ in 0..7 {
            now = now + Span::seconds(5);
            for peer in [silent, lossy] {
                table.offend(&peer, Offence::Withheld, now);
            }
            table.known_mut(&lossy).expect("it is known").answered();
        }
        assert!(!table.entry(silent, now).score.is_eligible(now));
        assert!(table.entry(lossy, now).score.is_eligible(now));
    }
}
