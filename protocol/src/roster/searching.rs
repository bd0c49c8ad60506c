//! What is known of searches for settings that members make together.

use std::collections::BTreeMap;

use crate::id::PeerId;
use crate::limits::SEARCHERS_MAX;
use crate::wire::trials::Trials;

/// The newest word of everybody that searches; bounded.
#[derive(Clone, Debug, Default)]
pub struct Searching {
    others: BTreeMap<PeerId, Trials>,
    /// What was tried here.
    pub own: Option<Trials>,
    /// Whether somebody linked since the last hello, who has not heard the own word.
    pub has_newcomers: bool,
}

impl Searching {
    /// Keeps a member's newest word; false where there is no room for somebody new.
    pub fn hear(&mut self, member: PeerId, trials: &Trials) -> bool {
        if !self.others.contains_key(&member) && self.others.len() >= SEARCHERS_MAX {
            return false;
        }
        self.others.insert(member, trials.clone());
        true
    }

    /// The newest word of each other member, by key.
    pub fn others(&self) -> impl Iterator<Item = (&PeerId, &Trials)> {
        self.others.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Hash;

    #[test]
    fn a_full_list_takes_in_nobody_new_and_hears_those_it_knows() {
        let mut searching = Searching::default();
        let word = Trials { search: Hash([1; 32]), made: Vec::new() };
        let member = |number: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&(number as u64).to_le_bytes());
            PeerId(key)
        };
        assert!((0..SEARCHERS_MAX).all(|number| searching.hear(member(number), &word)));
        assert!(!searching.hear(member(SEARCHERS_MAX), &word));
        let newer = Trials { search: Hash([2; 32]), ..word };
        assert!(searching.hear(member(3), &newer));
        assert_eq!(searching.others().filter(|(_, trials)| **trials == newer).count(), 1);
        assert_eq!(searching.others().count(), SEARCHERS_MAX);
    }
}
