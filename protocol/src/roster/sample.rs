//! Who may be drawn.

use crate::id::{OuterStep, PeerId};
use crate::roster::table::{Announced, Entry, Table};
use crate::time::Time;

/// What the draw needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The outer step that mixes.
    pub step: OuterStep,
    /// Oldest update to mix, in outer steps.
    pub staleness_max: u32,
    /// Only updates of exactly this step.
    pub is_exact: bool,
}

/// The update of this peer that would be pulled, if there is one.
pub fn candidate<'a>(entry: &'a Entry, terms: &Terms, now: Time) -> Option<&'a Announced> {
    if !entry.is_linked || !entry.score.is_eligible(now) {
        return None;
    }
    if terms.is_exact {
        return entry.announced_at(terms.step);
    }
    entry.newest().filter(|a| terms.step.since(a.announce.step) <= terms.staleness_max)
}

/// Everyone who can be drawn, with what they announced, by key.
pub fn candidates<'a>(
    table: &'a Table,
    terms: &'a Terms,
    now: Time,
) -> impl Iterator<Item = (PeerId, &'a Announced)> {
    table.linked().filter_map(move |(peer, entry)| candidate(entry, terms, now).map(|a| (*peer, a)))
}
