//! Who may be drawn, and the draw: uniform, per shard, from a local secret stream.
//!
//! A liar cannot know who draws it.

use crate::id::{OuterStep, PeerId};
use crate::rng::Rng;
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
    table.iter().filter_map(move |(peer, entry)| candidate(entry, terms, now).map(|a| (*peer, a)))
}

/// Draws at most `count` distinct items, uniformly; the result keeps the order of `from`.
pub fn draw<T: Copy + Ord>(from: &[T], count: usize, rng: &mut Rng) -> Vec<T> {
    let mut order: Vec<T> = from.to_vec();
    let count = count.min(order.len());
    for i in 0..count {
        let j = i + rng.below((order.len() - i) as u64) as usize;
        order.swap(i, j);
    }
    order.truncate(count);
    order.sort_unstable();
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn every_item_is_drawn_equally_often() {
        let mut rng = Seed::from_u64(3).rng();
        let mut counts = [0u32; 10];
        for _ in 0..10_000 {
            let drawn = draw(&(0..10).collect::<Vec<usize>>(), 3, &mut rng);
            assert!(drawn.is_sorted_by(|a, b| a < b) && drawn.len() == 3);
            drawn.iter().for_each(|&i| counts[i] += 1);
        }
        assert!(counts.iter().all(|n| (2_800..3_200).contains(n)), "{counts:?}");
    }
}
