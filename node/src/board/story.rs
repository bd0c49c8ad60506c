//! The story of a run: what the records say, gathered in the form pages and metrics need.
//!
//! It exists because a page must not read files while people wait for it. It deliberately computes nothing new: sums,
//! counts and last values only.

use std::collections::{BTreeMap, VecDeque};

use crate::board::curve::Curve;
use crate::board::figures::running_mean;
use crate::board::flock::{self, Spot};
use crate::board::limits::{
    HAPPENINGS_MAX, LEDGER_TAIL, NODES_MAX, PAIRS_MAX, PLACED_MAX, REASONS_MAX, STALENESS_MAX,
};
use crate::board::line::{EventLine, LedgerLine, MetricLine, TopologyLine};
use crate::store::status::{NodeStatus, PeerStatus};

/// What is known of one node. Keys of all maps are public keys, hexadecimal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Person {
    /// Name it gave itself; empty when unknown.
    pub name: String,
    /// Its organization.
    pub organization: String,
    /// Last outer step it is known to have reached.
    pub outer_step: u32,
    /// Whether a link to it is up; of a node that tells its own story: whether it runs.
    pub is_linked: bool,
    /// Whether it is shut out.
    pub is_banned: bool,
    /// What it is doing.
    pub stage: String,
    /// Last evaluation, a fraction.
    pub score: Option<f64>,
}

impl From<&NodeStatus> for Person {
    fn from(status: &NodeStatus) -> Self {
        Self {
            name: status.name.clone(),
            organization: status.organization.clone(),
            outer_step: status.outer_step,
            is_linked: true,
            is_banned: false,
            stage: status.stage.clone(),
            score: status.score_last,
        }
    }
}

impl From<&PeerStatus> for Person {
    fn from(peer: &PeerStatus) -> Self {
        Self {
            name: peer.name.clone(),
            organization: peer.organization.clone(),
            outer_step: peer.outer_step.unwrap_or(0),
            is_linked: peer.is_linked,
            is_banned: peer.is_banned,
            stage: peer.stage.clone(),
            score: peer.score,
        }
    }
}

/// What one node took from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulls {
    /// Updates that were taken, in part or whole.
    pub updates: u64,
    /// Shards.
    pub shards: u64,
    /// Outer step of the last one.
    pub last_outer: u32,
}

/// Sums over all that was told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Inner steps.
    pub inner_steps: u64,
    /// Inner steps dropped because a value was not finite.
    pub dropped_steps: u64,
    /// Samples.
    pub samples: u64,
    /// Seconds of training.
    pub train_seconds: f64,
    /// Seconds of pulling.
    pub pull_seconds: f64,
    /// Seconds of mixing.
    pub mix_seconds: f64,
    /// Seconds waited for peers at earlier steps.
    pub wait_seconds: f64,
    /// Seconds of complete outer steps, from one mix to the next.
    pub outer_seconds: f64,
    /// Updates published.
    pub updates: u64,
    /// Their bytes.
    pub update_bytes: u64,
    /// Outer steps mixed.
    pub mixes: u64,
    /// Questions that were not answered as hoped.
    pub pulls_failed: u64,
    /// Outer steps taken alone.
    pub alone: u64,
}

/// Something worth a line, in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Happening {
    /// Seconds since 1970.
    pub t: f64,
    /// Which node tells it.
    pub node: String,
    /// Outer step, where there is one.
    pub outer: Option<u32>,
    /// What happened.
    pub words: String,
    /// The other node, where there is one.
    pub peer: Option<String>,
    /// Whether somebody should look at it.
    pub is_trouble: bool,
}

/// The curves a story keeps.
pub const LOSS: &str = "loss";
/// Scores on local data, own and told by others.
pub const SCORE: &str = "score";
/// Consensus distance relative to the norm.
pub const CONSENSUS: &str = "consensus_distance_relative";
/// Mean staleness of what was pulled.
pub const STALENESS: &str = "staleness";
const CURVES: [&str; 4] = [LOSS, SCORE, CONSENSUS, STALENESS];

/// What the records said so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Story {
    people: BTreeMap<String, Person>,
    curves: BTreeMap<&'static str, BTreeMap<String, Curve>>,
    pulls: BTreeMap<(String, String), Pulls>,
    staleness: BTreeMap<u32, u64>,
    refusals: BTreeMap<String, u64>,
    /// By who learns and the first digits of whose update it is.
    affinity: BTreeMap<(String, String), f64>,
    ledger: VecDeque<LedgerLine>,
    happenings: VecDeque<Happening>,
    spots: BTreeMap<String, Spot>,
    /// Sum and number of the ages pulled in each node's present outer step.
    ages: BTreeMap<String, (u64, u64)>,
    sums: Sums,
    metric: String,
    ended: Option<u32>,
}

impl Story {
    /// Takes down all links: they were those of a node that has ended.
    pub fn hang_up(&mut self) {
        self.people.values_mut().for_each(|person| person.is_linked = false);
    }

    /// Tells who a node is, or what is known of it now.
    pub fn introduce(&mut self, peer: &str, person: Person) {
        if let Some(known) = self.person(peer) {
            let kept = std::mem::take(known);
            *known = Person { outer_step: kept.outer_step.max(person.outer_step), ..person };
            known.score = known.score.or(kept.score);
        }
    }

    fn person(&mut self, peer: &str) -> Option<&mut Person> {
        if self.people.len() >= NODES_MAX && !self.people.contains_key(peer) {
            return None;
        }
        Some(self.people.entry(peer.to_owned()).or_default())
    }

    /// Takes a line of `events.jsonl` told by the node `teller`.
    pub fn event(&mut self, teller: &str, line: &EventLine) {
        let outer = line.step.unwrap_or(0);
        let s = &mut self.sums;
        match line.event.as_str() {
            "trained" => {
                s.inner_steps += u64::from(line.inner_steps.unwrap_or(0));
                s.dropped_steps += u64::from(line.dropped.unwrap_or(0));
                s.samples += line.samples.unwrap_or(0);
                s.train_seconds += line.seconds.unwrap_or(0.0).max(0.0);
                if let (Some(loss), 1..) = (line.loss, line.inner_steps.unwrap_or(0)) {
                    self.point(LOSS, teller, outer, loss);
                }
            }
            "published" => {
                s.updates += 1;
                s.update_bytes += line.bytes.unwrap_or(0);
            }
            "pulling" => s.wait_seconds += line.waited_seconds.unwrap_or(0.0).max(0.0),
            "pulled" => self.pulled(teller, line),
            "pull_failed" => s.pulls_failed += 1,
            "mixed" => {
                s.mixes += 1;
                s.pull_seconds += line.pull_seconds.unwrap_or(0.0).max(0.0);
                s.mix_seconds += line.mix_seconds.unwrap_or(0.0).max(0.0);
                if let Some((sum, n @ 1..)) = self.ages.remove(teller) {
                    self.point(STALENESS, teller, outer, sum as f64 / n as f64);
                }
                self.reached(teller, outer);
            }
            "joined" => self.reached(teller, outer),
            "announced" => {
                if let Some(peer) = line.peer.as_deref() {
                    self.reached(peer, outer);
                }
                self.mark(line.peer.as_deref(), |person| {
                    person.stage = line.stage.clone().unwrap_or_default();
                });
            }
            "alone" => s.alone += 1,
            "evaluated" | "card" => {
                let who = line.peer.as_deref().unwrap_or(teller);
                if let Some(score) = line.score {
                    self.point(SCORE, who, outer, score);
                    if let Some(person) = self.person(who) {
                        person.score = Some(score);
                    }
                }
                // A node's own word counts for more than what others call it.
                if let Some(metric) = &line.metric
                    && (line.event == "evaluated" || self.metric.is_empty())
                {
                    self.metric.clone_from(metric);
                }
                self.reached(who, outer);
            }
            "stage" => {
                if let (Some(stage), Some(person)) = (&line.stage, self.person(teller)) {
                    person.stage.clone_from(stage);
                }
            }
            "banned" => self.mark(line.peer.as_deref(), |person| person.is_banned = true),
            "link_up" => self.mark(line.peer.as_deref(), |person| person.is_linked = true),
            "link_down" => self.mark(line.peer.as_deref(), |person| person.is_linked = false),
            "finished" => self.ended = Some(outer),
            _ => {}
        }
        self.note(teller, line);
    }

    fn mark(&mut self, peer: Option<&str>, mark: impl FnOnce(&mut Person)) {
        if let Some(person) = peer.and_then(|peer| self.person(peer)) {
            mark(person);
        }
    }

    fn reached(&mut self, peer: &str, outer: u32) {
        if let Some(person) = self.person(peer) {
            person.outer_step = person.outer_step.max(outer);
        }
    }

    fn pulled(&mut self, teller: &str, line: &EventLine) {
        let Some(from) = &line.peer else { return };
        let outer = line.step.unwrap_or(0);
        let age = line.staleness.unwrap_or(0).min(STALENESS_MAX);
        *self.staleness.entry(age).or_default() += 1;
        if self.ages.len() < NODES_MAX || self.ages.contains_key(teller) {
            let ages = self.ages.entry(teller.to_owned()).or_default();
            *ages = (ages.0 + u64::from(age), ages.1 + 1);
        }
        let pair = (from.clone(), teller.to_owned());
        if self.pulls.len() < PAIRS_MAX || self.pulls.contains_key(&pair) {
            let pulls = self.pulls.entry(pair).or_default();
            pulls.updates += 1;
            pulls.shards += u64::from(line.shards.unwrap_or(0));
            pulls.last_outer = outer;
        }
    }

    /// Takes a line of `metrics.jsonl`; of them only what no event says.
    pub fn metric(&mut self, teller: &str, line: &MetricLine) {
        match (line.name.as_str(), line.value) {
            (CONSENSUS, Some(value)) => self.point(CONSENSUS, teller, line.outer, value),
            ("outer_seconds", Some(value)) => self.sums.outer_seconds += value.max(0.0),
            ("affinity", Some(value)) if value.is_finite() => {
                let pair = (teller.to_owned(), line.tags.get("peer").cloned().unwrap_or_default());
                if self.affinity.len() < PAIRS_MAX || self.affinity.contains_key(&pair) {
                    let mean = running_mean(self.affinity.get(&pair).copied(), value);
                    self.affinity.insert(pair, mean);
                }
            }
            ("rejected", _) => {
                let reason = line.tags.get("reason").cloned().unwrap_or_default();
                if self.refusals.len() < REASONS_MAX || self.refusals.contains_key(&reason) {
                    *self.refusals.entry(reason).or_default() += 1;
                }
            }
            _ => {}
        }
    }

    fn point(&mut self, curve: &'static str, of: &str, outer: u32, value: f64) {
        let curves = self.curves.entry(curve).or_default();
        if curves.len() < NODES_MAX || curves.contains_key(of) {
            curves.entry(of.to_owned()).or_default().push(f64::from(outer), value);
        }
    }

    /// Takes a line of `topology.jsonl`: the newest one places the models on the map.
    pub fn topology(&mut self, line: &TopologyLine) {
        let n = line.peers.len();
        if (2..=PLACED_MAX).contains(&n) && line.distances.len() == n * (n - 1) / 2 {
            let spots = flock::place(n, &line.distances, &self.old_spots(&line.peers));
            self.spots = line.peers.iter().cloned().zip(spots).collect();
        }
    }

    fn old_spots(&self, peers: &[String]) -> Vec<Option<Spot>> {
        peers.iter().map(|peer| self.spots.get(peer).copied()).collect()
    }

    /// Takes a record of the ledger.
    pub fn ledger(&mut self, line: LedgerLine) {
        if self.ledger.len() == LEDGER_TAIL {
            self.ledger.pop_front();
        }
        self.ledger.push_back(line);
    }

    /// Keeps what people want to read as a line.
    fn note(&mut self, teller: &str, line: &EventLine) {
        let (words, is_trouble) = match line.event.as_str() {
            "link_up" => ("linked".to_owned(), false),
            "link_down" => ("lost the link".to_owned(), false),
            "stage" => (format!("entered the stage {}", line.stage.as_deref().unwrap_or("")), false),
            "alone" => ("0 peers: training alone, waiting".to_owned(), true),
            "mixed" => (format!("mixed with {} peers", line.peers.unwrap_or(0)), false),
            "joined" => (format!("joined: took over the state of {} peers", line.peers.unwrap_or(0)), false),
            "evaluated" => (
                format!(
                    "scored {} {:.3}",
                    line.metric.as_deref().unwrap_or(""),
                    line.score.unwrap_or(f64::NAN)
                ),
                false,
            ),
            "pull_failed" => (format!("a pull failed: {}", line.why.as_deref().unwrap_or("")), false),
            "offence" => (format!("refused: {}", line.offence.as_deref().unwrap_or("")), true),
            "banned" => ("shut out".to_owned(), true),
            "key_in_use_elsewhere" => ("this node's key signs elsewhere".to_owned(), true),
            "revocation" => ("a list of revoked members took force".to_owned(), false),
            "no_room" => (line.why.clone().unwrap_or_default(), true),
            "room" => ("there is room on the disk again".to_owned(), false),
            "finished" => ("all outer steps are through".to_owned(), false),
            _ => return,
        };
        if self.happenings.len() == HAPPENINGS_MAX {
            self.happenings.pop_front();
        }
        let peer = line.peer.clone().filter(|peer| peer != teller);
        self.happenings.push_back(Happening {
            t: line.t,
            node: teller.to_owned(),
            outer: line.step,
            words,
            peer,
            is_trouble,
        });
    }

    /// Everybody, by key.
    pub fn people(&self) -> &BTreeMap<String, Person> {
        &self.people
    }

    /// The curves of one kind, by node.
    pub fn curves(&self, name: &str) -> impl Iterator<Item = (&str, &Curve)> {
        self.curves.get(name).into_iter().flatten().map(|(who, curve)| (who.as_str(), curve))
    }

    /// Names of the curves that hold anything.
    pub fn curve_names(&self) -> impl Iterator<Item = &'static str> {
        CURVES.into_iter().filter(|name| self.curves.contains_key(name))
    }

    /// What was pulled: from whom, by whom.
    pub fn pulls(&self) -> &BTreeMap<(String, String), Pulls> {
        &self.pulls
    }

    /// By how much the updates of the peer with these first digits of its key lowered the loss of a node, the newest
    /// counting most.
    pub fn affinity(&self, node: &str, peer: &str) -> Option<f64> {
        self.affinity.get(&(node.to_owned(), peer.to_owned())).copied()
    }

    /// Pulled updates by staleness in outer steps.
    pub fn staleness(&self) -> &BTreeMap<u32, u64> {
        &self.staleness
    }

    /// Refusals by reason.
    pub fn refusals(&self) -> &BTreeMap<String, u64> {
        &self.refusals
    }

    /// The newest records of the ledger, oldest first.
    pub fn ledger_tail(&self) -> &VecDeque<LedgerLine> {
        &self.ledger
    }

    /// The newest happenings, oldest first.
    pub fn happenings(&self) -> &VecDeque<Happening> {
        &self.happenings
    }

    /// Places of the models on the map.
    pub fn spots(&self) -> &BTreeMap<String, Spot> {
        &self.spots
    }

    /// Sums.
    pub fn sums(&self) -> &Sums {
        &self.sums
    }

    /// Name of the evaluation's metric; empty before the first.
    pub fn metric_name(&self) -> &str {
        &self.metric
    }

    /// The last outer step, once it is through.
    pub fn ended(&self) -> Option<u32> {
        self.ended
    }

    /// Staleness below which 95 of 100 pulled updates lie.
    pub fn staleness_p95(&self) -> Option<u32> {
        let total: u64 = self.staleness.values().sum();
        let mut seen = 0;
        self.staleness.iter().find_map(|(age, count)| {
            seen += count;
            (seen * 100 >= total * 95).then_some(*age)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(json: serde_json::Value) -> EventLine {
        serde_json::from_value(json).unwrap()
    }

    fn rejected(reason: &str) -> MetricLine {
        let tags = [("reason".to_owned(), reason.to_owned())].into();
        MetricLine { name: "rejected".into(), value: Some(1.0), tags, ..MetricLine::default() }
    }

    #[test]
    fn a_story_counts_what_the_lines_say() {
        let mut story = Story::default();
        for json in [
            serde_json::json!({"event":"trained","step":1,"inner_steps":8,"dropped":1,"samples":64,"loss":2.5,"seconds":0.5}),
            serde_json::json!({"event":"published","step":1,"bytes":1000}),
            serde_json::json!({"event":"pulled","step":1,"peer":"bb","staleness":0,"shards":4}),
            serde_json::json!({"event":"pulled","step":1,"peer":"cc","staleness":3,"shards":4}),
            serde_json::json!({"event":"mixed","step":1,"peers":2,"pull_seconds":0.25,"mix_seconds":0.125}),
            serde_json::json!({"event":"evaluated","step":1,"metric":"f1","score":0.5,"loss":1.0,"samples":10}),
            serde_json::json!({"event":"card","step":1,"peer":"bb","metric":"f1","score":0.75}),
            serde_json::json!({"event":"of another version","step":9}),
        ] {
            story.event("aa", &line(json));
        }
        assert_eq!(
            (story.sums().inner_steps, story.sums().samples, story.sums().update_bytes),
            (8, 64, 1000)
        );
        assert_eq!(story.pulls()[&("bb".to_owned(), "aa".to_owned())].shards, 4);
        assert_eq!(story.staleness_p95(), Some(3));
        let ages: Vec<_> = story.curves(STALENESS).map(|(who, c)| (who, c.points().to_vec())).collect();
        assert_eq!(ages, [("aa", vec![(1.0, 1.5)])], "the mean of an outer step is one point");
        story.metric("aa", &rejected("malformed"));
        for value in [0.5, -0.5] {
            let tags = [("peer".to_owned(), "bb".to_owned())].into();
            let line =
                MetricLine { name: "affinity".into(), value: Some(value), tags, ..MetricLine::default() };
            story.metric("aa", &line);
        }
        assert!(story.affinity("aa", "bb").is_some_and(|mean| (mean - 0.2).abs() < 1e-9));
        assert_eq!(story.affinity("bb", "aa"), None);
        assert_eq!(story.refusals()["malformed"], 1);
        let outer = MetricLine { name: "outer_seconds".into(), value: Some(1.5), ..MetricLine::default() };
        story.metric("aa", &outer);
        story.metric("aa", &outer);
        assert_eq!(story.sums().outer_seconds, 3.0);
        let scores: Vec<_> = story.curves(SCORE).map(|(who, c)| (who, c.last().unwrap())).collect();
        assert_eq!(scores, [("aa", 0.5), ("bb", 0.75)]);
        assert_eq!(story.people()["aa"].outer_step, 1);
        assert_eq!(story.metric_name(), "f1");
    }

    #[test]
    fn strangers_and_floods_do_not_make_a_story_grow_without_end() {
        let mut story = Story::default();
        for k in 0..20_000u32 {
            let peer = format!("{:08x}", k.wrapping_mul(2_654_435_761));
            story.event("aa", &line(serde_json::json!({"event":"card","step":k,"peer":peer,"score":0.5})));
            story.event(
                "aa",
                &line(serde_json::json!({"event":"pulled","step":k,"peer":peer,"staleness":k,"shards":1})),
            );
            story.metric("aa", &rejected(&format!("kind {k}")));
            story.event("aa", &line(serde_json::json!({"event":"alone","step":k})));
            story.ledger(LedgerLine { index: u64::from(k), ..LedgerLine::default() });
        }
        assert_eq!(story.people().len(), NODES_MAX);
        assert_eq!(story.pulls().len(), PAIRS_MAX);
        assert_eq!(story.refusals().len(), REASONS_MAX);
        assert_eq!((story.ledger_tail().len(), story.happenings().len()), (LEDGER_TAIL, HAPPENINGS_MAX));
        assert_eq!(story.ledger_tail().back().unwrap().index, 19_999);
        assert!(story.staleness().len() <= STALENESS_MAX as usize + 1);
    }
}
