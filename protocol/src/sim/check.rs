//! The checkers: what must hold after every event, and what must hold once faults are over.
//!
//! Invariants have the numbers of the fault catalogue: I1 nothing unsigned or unwanted is mixed, I2 parameters are
//! finite, I3 every mix stands in a ledger that holds, I5 an update counts once in a mix, I6 nobody signs two contents
//! for one step, I7 collections stay within their caps, I8 the swarm agrees at the end, I9 everybody advances. Besides:
//! weights sum to one, no honest key is shut out, every equivocation is proven in time.

use std::collections::BTreeSet;

use crate::crypto::hash::content_hash;
use crate::id::PeerId;
use crate::ledger::chain::Head;
use crate::ledger::record::Record;
use crate::limits::{HELLO_EVERY, ROSTER_MAX, VERSIONS_SERVED};
use crate::peer::event::Event;
use crate::peer::output::{MixHow, MixOrder};
use crate::peer::update::ShardMix;
use crate::shard::distance::norm;
use crate::sim::findings::{Equivocation, Violation};
use crate::sim::queue::{Happening, NOBODY};
use crate::sim::world::World;
use crate::time::Span;
use crate::wire::announce::Announce;

/// Rounding allowed in a sum of weights.
const SUM_ERROR: f64 = 1e-4;
/// Longest time an honest peer may be shunned for its behaviour.
const SHUNNED_MAX: Span = Span::seconds(900);

impl World {
    pub(super) fn violated(&mut self, invariant: &'static str, peer: Option<u32>, what: String) {
        let at_s = self.seconds();
        self.checks.violations.push(Violation { invariant, at_s, peer, what });
    }

    /// I7, after every event of a node.
    pub(super) fn check_node(&mut self, i: u32) {
        let node = &self.nodes[i as usize];
        if !node.is_honest() {
            return;
        }
        let load = node.peer.load();
        let links = self.network.linked(i).len();
        let shards = self.cuts.len();
        let pulled =
            shards * (self.scenario.run.pulls as usize + 1).max(2 * self.scenario.run.byzantine as usize + 4);
        let sizes = [
            ("known peers", load.known, ROSTER_MAX),
            ("shut-out keys", load.banned, self.nodes.len()),
            // One question for news and one for the pull a peer, and what is under way while links change.
            ("questions under way", load.asks, 2 * links + pulled + 8),
            ("shards served", node.blocks.len(), (VERSIONS_SERVED + 1) * shards),
            ("shards received", node.received.len(), pulled),
            ("questions to answer", node.asked.len(), 16 * (links + 1)),
        ];
        if let Some((name, found, most)) = sizes.into_iter().find(|(_, found, most)| found > most) {
            self.violated("I7", Some(i), format!("{name}: expected at most {most}, found {found}"));
        }
    }

    /// I1 and I5, when a pull is over.
    pub(super) fn check_sources(&mut self, i: u32, order: &MixOrder) {
        let node = &self.nodes[i as usize];
        if !node.is_honest() {
            return;
        }
        let me = self.keys[i as usize].peer();
        let staleness_max = self.scenario.run.staleness_max;
        let mut wrong = None;
        for (shard, sources) in &order.sources {
            let mut authors = BTreeSet::new();
            for source in sources {
                let holds = |bytes: &std::sync::Arc<[u8]>| content_hash(bytes) == source.hash;
                let is_late =
                    matches!(order.how, MixHow::Step { .. }) && order.step.since(source.step) > staleness_max;
                let fault = if !self.places.contains_key(&source.peer) || source.peer == me {
                    Some(("I1", "is of no other member"))
                } else if !node.received.get(&source.hash).is_some_and(holds) {
                    Some(("I1", "has other bytes than its hash says"))
                } else if is_late {
                    Some(("I1", "is older than the charter allows"))
                } else if !authors.insert(source.peer) {
                    Some(("I5", "counts twice"))
                } else {
                    None
                };
                if let Some((invariant, what)) = fault {
                    let peer = source.peer.short();
                    wrong =
                        Some((invariant, format!("shard {shard} of {peer} at step {} {what}", source.step)));
                }
            }
        }
        if let Some((invariant, what)) = wrong {
            self.violated(invariant, Some(i), what);
        }
    }

    /// Weights of a mix sum to one and lie between zero and one.
    pub(super) fn check_weights(&mut self, i: u32, order: &MixOrder, found: &[ShardMix]) {
        for (shard, mix) in found.iter().enumerate() {
            let sum = mix.own_weight + mix.weights.iter().map(|(_, w)| f64::from(*w)).sum::<f64>();
            let lowest = mix.weights.iter().map(|(_, w)| *w).fold(0.0, f32::min);
            if (sum - 1.0).abs() > SUM_ERROR || lowest < 0.0 || mix.own_weight < -SUM_ERROR {
                let step = order.step;
                self.violated(
                    "weights",
                    Some(i),
                    format!("step {step}, shard {shard}: the weights sum to {sum}"),
                );
                return;
            }
        }
    }

    /// I2.
    pub(super) fn check_finite(&mut self, i: u32, after: &str) {
        let node = &self.nodes[i as usize];
        if node.is_honest() && !(norm(&node.agreed).is_finite() && norm(&node.working).is_finite()) {
            self.violated("I2", Some(i), format!("parameters are not finite after {after}"));
        }
    }

    /// Remembers who is behind a mix, until its ledger entry is found.
    pub(super) fn mixed_with(&mut self, i: u32, order: &MixOrder, weights: &[(PeerId, f32)]) {
        let peers = weights.iter().filter(|(_, w)| *w > 0.0).map(|(peer, _)| *peer).collect();
        self.checks.mixes[i as usize] = Some((order.step, peers));
        let places = weights.iter().filter_map(|(peer, w)| Some((self.place(peer)?, *w)));
        let row = places.collect();
        self.meter.weighed(i, self.nodes.len(), row);
    }

    /// I3: the chain holds, and the last mix stands in it.
    pub(super) fn check_ledger(&mut self, i: u32) {
        let owner = self.keys[i as usize].peer();
        let found = self.nodes[i as usize].disk.sync_ledger(&owner);
        let records = match found {
            Ok((records, _)) => records,
            Err(error) => return self.violated("I3", Some(i), error.to_string()),
        };
        let Some((step, peers)) = self.checks.mixes[i as usize].take() else { return };
        let entry = records.iter().rev().find_map(|record| match record {
            Record::Mixed { step: of, from, .. } if *of == step => Some(from),
            _ => None,
        });
        let is_there = |peer: &PeerId| entry.is_some_and(|from| from.iter().any(|c| c.peer == *peer));
        // A mix from which a newer one began before the checkpoint was durable was found with that checkpoint.
        if let Some(peer) = peers.iter().find(|peer| !is_there(peer)) {
            self.violated(
                "I3",
                Some(i),
                format!("the mix of step {step} took from {}, the ledger does not say so", peer.short()),
            );
        }
    }

    /// The end of the ledger a start finds.
    pub(super) fn ledger_end(&mut self, i: u32) -> Head {
        let owner = self.keys[i as usize].peer();
        match self.nodes[i as usize].disk.sync_ledger(&owner) {
            Ok((_, head)) => head,
            Err(error) => {
                self.violated("I3", Some(i), error.to_string());
                Head::default()
            }
        }
    }

    /// I6: one key, one step, one content, over all lives of a node.
    pub(super) fn published(&mut self, i: u32, announce: Announce) {
        if !self.nodes[i as usize].is_honest() {
            return;
        }
        let before = self.checks.signed[i as usize].insert(announce.step, announce.manifest);
        if before.is_some_and(|hash| hash != announce.manifest) {
            self.violated("I6", Some(i), format!("signed two updates for outer step {}", announce.step));
        }
    }

    /// Nobody shuts an honest key out, or takes itself for two.
    pub(super) fn check_event(&mut self, i: u32, event: &Event) {
        if !self.nodes[i as usize].is_honest() {
            return;
        }
        match event {
            Event::Banned { peer, is_proven } => {
                let Some(j) = self.place(peer) else { return };
                if self.nodes[j as usize].is_honest() {
                    self.checks.honest_bans += 1;
                    self.violated("bans", Some(i), format!("shut out the honest peer {j}"));
                } else if *is_proven {
                    self.checks.proven.insert(j);
                }
            }
            // Whoever is revoked may hear its own key once more: it spreads the list that says so.
            Event::KeyInUseElsewhere { step } if !self.nodes[i as usize].is_gone => {
                self.violated("bans", Some(i), format!("took itself for two at step {step}"));
            }
            _ => {}
        }
    }

    /// A liar told two stories; `numbers` are those of the two messages.
    pub(super) fn equivocates(&mut self, liar: u32, numbers: [u64; 2]) {
        let index = self.checks.equivocations.len() as u32;
        self.checks.equivocations.push(Equivocation { liar, heard: [None; 2] });
        for (side, number) in numbers.into_iter().enumerate() {
            self.checks.sides.insert(number, (index, side));
        }
    }

    /// An honest node heard an announcement; when both stories are out, the clock of the proof runs.
    pub(super) fn heard_announcement(&mut self, i: u32, number: u64) {
        let Some(&(index, side)) = self.checks.sides.get(&number) else { return };
        if !self.nodes[i as usize].counts() {
            return;
        }
        let heard = &mut self.checks.equivocations[index as usize].heard;
        let is_first = heard[side].is_none();
        heard[side].get_or_insert(self.now);
        if is_first && heard.iter().all(Option::is_some) {
            let at = self.now.max(self.timetable.over) + HELLO_EVERY.times(2);
            self.checks.awaited = self.checks.awaited.max(at + Span(1));
            self.queue.push(at, NOBODY, 0, Happening::Convict(index));
        }
    }

    /// Two gossip periods later every honest node that was there all the time has shut the liar out.
    pub(super) fn demand_conviction(&mut self, index: u32) {
        let equivocation = &self.checks.equivocations[index as usize];
        let liar = equivocation.liar;
        let known = self.now.0 - HELLO_EVERY.times(2).0;
        let key = self.keys[liar as usize].peer();
        for i in 0..self.honest {
            let was_there = self.checks.began[i as usize].is_some_and(|began| began.0 <= known);
            let node = &self.nodes[i as usize];
            if node.counts() && was_there && !node.peer.has_banned(&key) {
                self.violated("equivocation", Some(i), format!("has not shut out the equivocator {liar}"));
                return;
            }
        }
    }

    /// Remembers where everybody is, when faults are over.
    pub(super) fn mark(&mut self) {
        for (marked, node) in self.checks.marked.iter_mut().zip(&self.nodes) {
            *marked = node.counts().then(|| node.peer.progress().step);
        }
    }

    /// I9: since then everybody has advanced or is through.
    pub(super) fn demand(&mut self) {
        for i in 0..self.honest {
            let node = &self.nodes[i as usize];
            let Some(step) = self.checks.marked[i as usize] else { continue };
            let progress = node.peer.progress();
            if node.counts() && !progress.is_finished && progress.step <= step {
                let state = node.peer.status().state;
                self.violated(
                    "I9",
                    Some(i),
                    format!("still at outer step {step} after faults were over: {state}"),
                );
                return;
            }
        }
    }

    /// In the end every honest node holds the newest list of revoked keys, wherever it was when that was signed.
    pub(super) fn check_revocations(&mut self) {
        let newest = self.revocations;
        let behind = self.nodes.iter().position(|n| n.counts() && n.peer.revocation_version() != newest);
        if let Some(i) = behind {
            let found = self.nodes[i].peer.revocation_version();
            let what = format!("holds list {found} of revoked keys, expected {newest}");
            self.violated("revocation", Some(i as u32), what);
        }
    }

    /// I9 at the end of time.
    pub(super) fn out_of_time(&mut self) {
        let slowest = self.nodes[..self.honest as usize]
            .iter()
            .enumerate()
            .filter(|(_, n)| n.counts() && !n.is_finished);
        let Some((i, node)) = slowest.min_by_key(|(_, n)| n.peer.progress().step) else { return };
        let (step, state) = (node.peer.progress().step, node.peer.status().state);
        self.violated("I9", Some(i as u32), format!("did not get through: outer step {step}, {state}"));
    }

    /// Honest peers are not shunned for long; looked at once an outer step, where that many pairs can be looked at.
    pub(super) fn check_shunned(&mut self) {
        if self.honest > 200 {
            return;
        }
        for i in 0..self.honest {
            for j in 0..self.honest {
                let (node, other) = (&self.nodes[i as usize], &self.nodes[j as usize]);
                let is_shunned = node.counts() && other.counts() && {
                    let key = self.keys[j as usize].peer();
                    node.peer.shuns(&key, node.clock.shows(self.now))
                };
                if !is_shunned {
                    self.checks.shunned.remove(&(i, j));
                    continue;
                }
                let since = *self.checks.shunned.entry((i, j)).or_insert(self.now);
                if self.now.since(since) > SHUNNED_MAX {
                    return self.violated(
                        "bans",
                        Some(i),
                        format!("has shunned the honest peer {j} since {since:?}"),
                    );
                }
            }
        }
    }
}
