//! What the checkers found and what they remember.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::id::{Hash, OuterStep, PeerId};
use crate::time::Time;

/// Something that must not happen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Violation {
    /// The invariant.
    pub invariant: &'static str,
    /// When, in virtual seconds.
    pub at_s: f64,
    /// At which peer; `None` for the swarm.
    pub peer: Option<u32>,
    /// What was seen.
    pub what: String,
}

/// What the checkers remember.
pub(super) struct Checks {
    pub(super) violations: Vec<Violation>,
    /// Manifests each honest key announced, by step; over restarts.
    pub(super) signed: Vec<BTreeMap<OuterStep, Hash>>,
    /// The last mix of each node, until it is found in the ledger.
    pub(super) mixes: Vec<Option<(OuterStep, Vec<PeerId>)>>,
    /// When each process began; `None` while it is down.
    pub(super) began: Vec<Option<Time>>,
    /// Where everybody was when faults were over.
    pub(super) marked: Vec<Option<OuterStep>>,
    pub(super) equivocations: Vec<Equivocation>,
    /// The equivocation behind a gossip number, and which side of it.
    pub(super) sides: BTreeMap<u64, (u32, usize)>,
    /// Since when an honest node has shunned another.
    pub(super) shunned: BTreeMap<(u32, u32), Time>,
    /// Liars that were shut out with proof.
    pub(super) proven: BTreeSet<u32>,
    pub(super) honest_bans: u32,
    /// When the last proof has to be there.
    pub(super) awaited: Time,
}

/// Two stories of one liar.
pub(super) struct Equivocation {
    pub(super) liar: u32,
    /// When an honest peer first heard each.
    pub(super) heard: [Option<Time>; 2],
}

impl Checks {
    pub(super) fn new(peers: usize) -> Self {
        Self {
            violations: Vec::new(),
            signed: vec![BTreeMap::new(); peers],
            mixes: vec![None; peers],
            began: vec![None; peers],
            marked: vec![None; peers],
            equivocations: Vec::new(),
            sides: BTreeMap::new(),
            shunned: BTreeMap::new(),
            proven: BTreeSet::new(),
            honest_bans: 0,
            awaited: Time(0),
        }
    }

    /// Whether nothing was violated so far.
    pub(super) fn holds(&self) -> bool {
        self.violations.is_empty()
    }

    pub(super) fn begins(&mut self, i: u32, now: Time) {
        self.began[i as usize] = Some(now);
    }

    pub(super) fn ends(&mut self, i: u32) {
        self.began[i as usize] = None;
        self.mixes[i as usize] = None;
    }

    /// Liars whose two stories both reached honest nodes.
    pub(super) fn made(&self) -> usize {
        let complete = self.equivocations.iter().filter(|e| e.heard.iter().all(Option::is_some));
        complete.map(|e| e.liar).collect::<BTreeSet<u32>>().len()
    }
}
