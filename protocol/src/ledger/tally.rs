//! What a ledger says when its records are added up: what was published, whose updates went into the model, what was
//! refused; and whether other nodes' ledgers agree.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::id::{Hash, OuterStep, PeerId};
use crate::ledger::record::{Contribution, Record};

/// The sums of one ledger.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// Records by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Manifest published for each outer step.
    pub published: BTreeMap<OuterStep, Hash>,
    /// Outer steps for which two different manifests were published: the node convicts itself.
    pub contradictions: Vec<OuterStep>,
    /// Contributions by outer step, in the order of the ledger.
    pub mixed: Vec<(OuterStep, Vec<Contribution>)>,
}

/// One peer's part in a model, over all mixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Share {
    /// Mixes with this peer's updates.
    pub mixes: u64,
    /// Shards taken.
    pub shards: u64,
    /// Sum of its mixing weights.
    pub weight: f64,
    /// Its last update that went in.
    pub last: OuterStep,
}

/// How much of a ledger others' ledgers confirm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Witness {
    /// Contributions whose maker's ledger names the same manifest.
    pub confirmed: u64,
    /// Contributions of peers whose ledger is not at hand, or does not reach so far.
    pub unknown: u64,
    /// Contributions whose maker's ledger names another manifest for the step.
    pub contradicted: Vec<(PeerId, OuterStep)>,
}

impl Account {
    /// Adds a record.
    pub fn add(&mut self, record: &Record) {
        let kind = match record {
            Record::Charter { .. } => "charter",
            Record::Published { step, manifest } => {
                let before = self.published.insert(*step, *manifest);
                if before.is_some_and(|known| known != *manifest) {
                    self.contradictions.push(*step);
                }
                "published"
            }
            Record::Mixed { step, from, .. } => {
                self.mixed.push((*step, from.clone()));
                "mixed"
            }
            Record::Refused { .. } => "refused",
            Record::Evaluated { .. } => "evaluated",
            Record::Stage { .. } => "stage",
            Record::Banned { .. } => "banned",
            Record::Judged { .. } => "judged",
        };
        *self.kinds.entry(kind).or_default() += 1;
    }

    /// Whose updates went into the model, and how much.
    pub fn shares(&self) -> BTreeMap<PeerId, Share> {
        let mut shares: BTreeMap<PeerId, Share> = BTreeMap::new();
        for part in self.mixed.iter().flat_map(|(_, from)| from) {
            let share = shares.entry(part.peer).or_default();
            share.mixes += 1;
            share.shards += u64::from(part.shards);
            share.weight += f64::from(part.weight);
            share.last = share.last.max(part.step);
        }
        shares
    }

    /// Compares what this ledger took with what the makers' own ledgers say they published.
    pub fn witness(&self, makers: &BTreeMap<PeerId, Self>) -> Witness {
        let mut found = Witness::default();
        for part in self.mixed.iter().flat_map(|(_, from)| from) {
            match makers.get(&part.peer).and_then(|maker| maker.published.get(&part.step)) {
                Some(manifest) if *manifest == part.manifest => found.confirmed += 1,
                Some(_) => found.contradicted.push((part.peer, part.step)),
                None => found.unknown += 1,
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(peer: u8, step: u32, manifest: u8) -> Contribution {
        let (peer, step, manifest) = (PeerId([peer; 32]), OuterStep(step), Hash([manifest; 32]));
        Contribution { peer, step, manifest, shards: 4, weight: 0.25 }
    }

    fn account(records: &[Record]) -> Account {
        let mut account = Account::default();
        records.iter().for_each(|record| account.add(record));
        account
    }

    fn published(step: u32, manifest: u8) -> Record {
        Record::Published { step: OuterStep(step), manifest: Hash([manifest; 32]) }
    }

    #[test]
    fn shares_add_up_and_makers_ledgers_confirm_or_contradict() {
        let own = account(&[
            published(1, 10),
            Record::Mixed { step: OuterStep(1), from: vec![taken(1, 1, 11), taken(2, 1, 21)], shards: 8 },
            Record::Mixed { step: OuterStep(2), from: vec![taken(1, 2, 12), taken(3, 2, 32)], shards: 8 },
        ]);
        let share = own.shares()[&PeerId([1; 32])];
        assert_eq!(share, Share { mixes: 2, shards: 8, weight: 0.5, last: OuterStep(2) });
        let makers = BTreeMap::from([
            (PeerId([1; 32]), account(&[published(1, 11), published(2, 12)])),
            (PeerId([2; 32]), account(&[published(1, 99)])),
        ]);
        let contradicted = vec![(PeerId([2; 32]), OuterStep(1))];
        assert_eq!(own.witness(&makers), Witness { confirmed: 2, unknown: 1, contradicted });
    }

    #[test]
    fn a_ledger_that_names_two_manifests_for_one_step_convicts_its_node() {
        assert!(account(&[published(1, 1), published(1, 1), published(2, 2)]).contradictions.is_empty());
        assert_eq!(account(&[published(1, 1), published(1, 2)]).contradictions, [OuterStep(1)]);
    }
}
