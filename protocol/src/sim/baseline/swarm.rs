//! A swarm that averages by another algorithm than the protocol.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use crate::crypto::hash::content_hash;
use crate::mixing::outer::Outer;
use crate::rng::{Rng, Seed};
use crate::sim::attack::{AdversaryTerms, Attack};
use crate::sim::baseline::combine::{Said, as_pair, by_rule};
use crate::sim::baseline::partners::Partners;
use crate::sim::baseline::queue::{Happening, Planned};
use crate::sim::bounds::{ScenarioError, need};
use crate::sim::fault::{Blow, Plan, Timetable};
use crate::sim::findings::Violation;
use crate::sim::forgery::{Honest, forged};
use crate::sim::learner::lesson::{CannotLearn, Learner, Lesson};
use crate::sim::learner::problem::Problem;
use crate::sim::meter::consensus_relative;
use crate::sim::network::{Fate, Network};
use crate::sim::outcome::Outcome;
use crate::sim::scenario::{Algorithm, Scenario};
use crate::time::{Span, Time};
use crate::wire::choice::Codec;

/// Bytes of a message besides its payload.
const HEADER_BYTES: usize = 100;

/// A peer and what it holds.
pub(super) struct Node {
    pub(super) agreed: Vec<f32>,
    pub(super) working: Vec<f32>,
    /// Where the training under way began.
    pub(super) began: Vec<f32>,
    pub(super) outer: Outer,
    pub(super) velocity: Vec<f32>,
    /// Outer steps complete.
    pub(super) step: u32,
    /// Newest word of each other, with its step.
    pub(super) inbox: BTreeMap<u32, (u32, Said)>,
    pub(super) is_waiting: bool,
    pub(super) is_up: bool,
    pub(super) life: u32,
    pub(super) slowness: f64,
    pub(super) lies: Option<AdversaryTerms>,
    pub(super) rng: Rng,
}

/// A swarm under virtual time.
pub struct Baseline {
    pub(super) scenario: Scenario,
    pub(super) seed_number: u64,
    pub(super) seed: Seed,
    pub(super) honest: u32,
    pub(super) learner: Box<dyn Learner>,
    pub(super) genesis: Arc<[f32]>,
    /// Why what learns could not go on.
    pub(super) failed: Option<Violation>,
    pub(super) partners: Partners,
    pub(super) network: Network,
    pub(super) nodes: Vec<Node>,
    pub(super) timetable: Timetable,
    pub(super) queue: BinaryHeap<Planned>,
    pub(super) order: u64,
    pub(super) now: Time,
    pub(super) bytes: u64,
    pub(super) events: u64,
    /// Steps the barrier has let through.
    pub(super) together: u32,
}

impl Baseline {
    /// The swarm of a scenario under a seed.
    pub fn new(scenario: Scenario, seed: u64) -> Result<Self, ScenarioError> {
        scenario.check()?;
        let problem = Problem::of(&scenario, seed);
        Self::learning(scenario, seed, Box::new(problem))
    }

    /// The same with something else to learn than the scenario says.
    pub fn learning(scenario: Scenario, seed: u64, learner: Box<dyn Learner>) -> Result<Self, ScenarioError> {
        scenario.check()?;
        let algorithm = scenario.run.algorithm;
        need(algorithm != Algorithm::Pull, "run.algorithm", "one of the baselines", "pull")?;
        let (seed_number, seed) = (seed, Seed::from_u64(seed));
        let lies = scenario.liars();
        let honest = lies.iter().filter(|l| l.is_none()).count() as u32;
        let peers = scenario.peers;
        let plan = Plan {
            honest,
            peers,
            seconds: scenario.planned_seconds(),
            step_seconds: scenario.step_seconds(),
        };
        let timetable = Timetable::draw(&scenario.faults, plan, &seed.fork("faults"));
        let calm_from = Time((scenario.network.until * plan.seconds * 1e6) as u64);
        let network = Network::new(&scenario.network, peers as usize, calm_from, seed.fork("network").rng());
        let partners = Partners::new(algorithm, peers, scenario.run.pulls, &seed.fork("partners"));
        let genesis = learner.genesis().clone();
        let len = genesis.len();
        let outer = Outer::new(scenario.run.outer_momentum, scenario.run.outer_rate, len)
            .expect("the scenario was checked");
        let node = |(i, lies): (usize, Option<AdversaryTerms>)| Node {
            agreed: genesis.to_vec(),
            working: genesis.to_vec(),
            began: genesis.to_vec(),
            outer: outer.clone(),
            velocity: vec![0.0; len],
            step: 0,
            inbox: BTreeMap::new(),
            is_waiting: false,
            is_up: false,
            life: 0,
            slowness: scenario.slowness(i, &seed),
            lies,
            rng: seed.fork("peer").fork_index(i as u64).rng(),
        };
        let nodes = lies.into_iter().enumerate().map(node).collect();
        let mut swarm = Self {
            scenario,
            seed_number,
            seed,
            honest,
            learner,
            genesis: genesis.clone(),
            failed: None,
            partners,
            network,
            nodes,
            timetable,
            queue: BinaryHeap::new(),
            order: 0,
            now: Time(0),
            bytes: 0,
            events: 0,
            together: 0,
        };
        for i in 0..peers {
            if !swarm.timetable.late.iter().any(|(late, _)| *late == i) {
                swarm.plan(Time(0), i, Happening::Start);
            }
        }
        for index in 0..swarm.timetable.blows.len() {
            let at = swarm.timetable.blows[index].0;
            swarm.plan(at, u32::MAX, Happening::Blow(index));
        }
        Ok(swarm)
    }

    /// Lets it run until all are through.
    pub fn run(mut self) -> Outcome {
        let limit = Time((self.scenario.planned_seconds() * 20e6) as u64) + Span::seconds(3_600);
        while let Some(Planned(Reverse((at, _)), i, life, what)) = self.queue.pop() {
            if self.is_over() || at > limit || self.failed.is_some() {
                break;
            }
            self.now = at;
            self.events += 1;
            if i == u32::MAX {
                self.world_happens(what);
            } else if self.nodes[i as usize].life == life || matches!(what, Happening::Start) {
                self.happen(i, what);
            }
        }
        self.conclude()
    }

    pub(super) fn plan(&mut self, at: Time, i: u32, what: Happening) {
        self.order += 1;
        let life = self.nodes.get(i as usize).map_or(0, |node| node.life);
        self.queue.push(Planned(Reverse((at, self.order)), i, life, what));
    }

    fn steps(&self) -> u32 {
        self.scenario.run.outer_steps + self.scenario.run.settle_steps
    }

    fn is_over(&self) -> bool {
        let steps = self.steps();
        self.events > 0
            && self.nodes.iter().all(|n| n.lies.is_some() || n.step >= steps || !n.is_up)
            && self.nodes.iter().any(|n| n.step >= steps)
            && self.now >= self.timetable.over
    }

    fn world_happens(&mut self, what: Happening) {
        match what {
            Happening::Blow(index) => match self.timetable.blows[index].1.clone() {
                Blow::Kill(i) => {
                    let node = &mut self.nodes[i as usize];
                    node.is_up = false;
                    node.is_waiting = false;
                    node.life += 1;
                    self.meet();
                }
                Blow::Start(i) => self.happen(i, Happening::Start),
                Blow::Part { groups, one_way } => self.network.part(groups, one_way),
                Blow::Heal => self.network.heal(),
                Blow::Clog { from, to } => self.network.clog(from, to, true),
                Blow::Unclog { from, to } => self.network.clog(from, to, false),
                // Clocks, disks and memberships are the protocol's matter.
                Blow::Leave(_) | Blow::Freeze(..) | Blow::Leap(..) | Blow::Full(..) | Blow::Revoke(_) => {}
            },
            Happening::Together(step) => self.mix_together(step),
            _ => unreachable!("these happen to a node, not to the world"),
        }
    }

    fn happen(&mut self, i: u32, what: Happening) {
        match what {
            Happening::Start => self.start(i),
            Happening::Trained => self.trained(i),
            Happening::Word { from, step, said, wants_reply } => self.heard(i, from, step, said, wants_reply),
            Happening::Patience(step) => {
                if self.nodes[i as usize].is_waiting && self.nodes[i as usize].step + 1 == step {
                    self.mix(i);
                }
            }
            Happening::Blow(_) | Happening::Together(_) => unreachable!("these happen to the world"),
        }
    }

    /// Goes on from what was saved; one that is far behind takes over what somebody else has.
    fn start(&mut self, i: u32) {
        if self.nodes[i as usize].is_up {
            return;
        }
        let node = &mut self.nodes[i as usize];
        node.is_up = true;
        node.life += 1;
        let mine = node.step;
        let staleness_max = self.scenario.run.staleness_max;
        let ahead: Vec<usize> = (0..self.honest as usize)
            .filter(|j| self.nodes[*j].is_up && self.nodes[*j].step > mine + staleness_max)
            .collect();
        if self.scenario.run.algorithm != Algorithm::Alone && !ahead.is_empty() {
            let from = ahead[self.nodes[i as usize].rng.below(ahead.len() as u64) as usize];
            let (agreed, step) = (self.nodes[from].agreed.clone(), self.nodes[from].step);
            self.bytes += self.payload(step) as u64;
            let node = &mut self.nodes[i as usize];
            node.agreed = agreed;
            node.step = step;
            node.outer.rest();
        }
        if self.scenario.run.algorithm == Algorithm::AllReduce {
            self.nodes[i as usize].step = self.together;
        }
        self.train(i);
    }

    pub(super) fn train(&mut self, i: u32) {
        let step = self.nodes[i as usize].step + 1;
        if step > self.steps() {
            return;
        }
        let is_training = step <= self.scenario.run.outer_steps;
        let node = &mut self.nodes[i as usize];
        node.began.clone_from(&node.agreed);
        let jitter = 0.95 + 0.1 * node.rng.unit_f64();
        let inner = if is_training { f64::from(self.scenario.run.inner_steps) } else { 0.0 };
        let busy = inner * self.scenario.compute.inner_step_ms * 1e3 * node.slowness * jitter + 5_000.0;
        self.plan(self.now + Span(busy as u64), i, Happening::Trained);
    }

    fn trained(&mut self, i: u32) {
        let run = &self.scenario.run;
        let step = self.nodes[i as usize].step + 1;
        let is_training = step <= run.outer_steps;
        let attack = self.nodes[i as usize].lies.as_ref().map(|lies| lies.attack);
        let lesson = Lesson {
            peer: i,
            step,
            inner_steps: if is_training && attack != Some(Attack::FreeRider) { run.inner_steps } else { 0 },
            taken: 0,
            inner_start: u64::from((step - 1).min(run.outer_steps)) * u64::from(run.inner_steps),
            inner_total: u64::from(run.outer_steps) * u64::from(run.inner_steps),
            flips_labels: attack == Some(Attack::LabelFlip),
        };
        let mut working = self.nodes[i as usize].began.clone();
        if let Err(error) = self.learner.train(lesson, &mut working) {
            self.fail(Some(i), error);
            return;
        }
        let node = &mut self.nodes[i as usize];
        // What others averaged in meanwhile is kept: the training is a difference added to it.
        for ((w, a), b) in working.iter_mut().zip(&node.agreed).zip(&node.began) {
            *w += a - b;
        }
        node.working = working;
        match self.scenario.run.algorithm {
            Algorithm::Alone => self.mix(i),
            Algorithm::AllReduce => {
                self.nodes[i as usize].is_waiting = true;
                self.meet();
            }
            _ => self.send(i, step),
        }
    }

    /// Sends what was learned, then waits for others or does not.
    fn send(&mut self, i: u32, step: u32) {
        let said = self.say(i, step);
        let mut rng = self.nodes[i as usize].rng.clone();
        let to = self.partners.to(i, step, &mut rng);
        self.nodes[i as usize].rng = rng;
        let is_async = self.scenario.run.algorithm == Algorithm::Async;
        for j in to {
            self.deliver(i, j, step, said.clone(), is_async);
        }
        self.nodes[i as usize].is_waiting = true;
        let patience = Span::millis(self.scenario.run.patience_ms.into());
        self.plan(self.now + patience, i, Happening::Patience(step));
        self.try_mix(i);
    }

    fn deliver(&mut self, i: u32, j: u32, step: u32, said: Said, wants_reply: bool) {
        let copies = 1 + usize::from(said.agreed.is_some());
        let size = self.payload(step) * copies + HEADER_BYTES;
        self.bytes += size as u64;
        if let Fate::Arrives(at) = self.network.send(i, j, size, self.now)
            && self.nodes[j as usize].is_up
        {
            self.plan(at, j, Happening::Word { from: i, step, said, wants_reply });
        }
    }

    /// What a peer says it has, as others decode it.
    pub(super) fn say(&mut self, i: u32, step: u32) -> Said {
        let lies = self.nodes[i as usize].lies.clone();
        let mut working = self.nodes[i as usize].working.clone();
        if let Some(lies) = lies {
            let all: Vec<&[f32]> = self.nodes[..self.honest as usize]
                .iter()
                .filter(|n| n.is_up)
                .map(|n| n.working.as_slice())
                .collect();
            let honest = Honest { genesis: &self.genesis, working: &all };
            let mut rng = self.nodes[i as usize].rng.clone();
            working =
                forged(lies.attack, lies.strength() as f32, &working, &honest, &mut rng).unwrap_or(working);
            self.nodes[i as usize].rng = rng;
        }
        let agreed = (self.scenario.run.algorithm == Algorithm::Pair)
            .then(|| self.coded(i, step, &self.nodes[i as usize].agreed, 1));
        Said { working: self.coded(i, step, &working, 0), agreed }
    }

    fn codec(&self, step: u32) -> Codec {
        let run = &self.scenario.run;
        if step <= run.outer_steps { run.codec } else { run.settle_codec }
    }

    pub(super) fn payload(&self, step: u32) -> usize {
        self.codec(step).encoded_bytes(self.genesis.len())
    }

    /// Parameters after a way through the codec.
    fn coded(&self, i: u32, step: u32, parameters: &[f32], version: u64) -> Arc<[f32]> {
        let genesis = &self.genesis;
        let delta: Vec<f32> = parameters.iter().zip(genesis.iter()).map(|(x, g)| x - g).collect();
        let noise =
            self.seed.fork("rounding").fork_index(i.into()).fork_index(u64::from(step) << 8 | version);
        let (mut bytes, mut out) = (Vec::new(), vec![0.0; delta.len()]);
        let codec = self.codec(step);
        // A lie that is no number cannot be written; the baselines have no gate, so the peer is left with what it had.
        let is_coded =
            codec.encode(&delta, &noise, &mut bytes).is_ok() && codec.decode(&bytes, &mut out).is_ok();
        if !is_coded {
            return parameters.into();
        }
        out.iter_mut().zip(genesis.iter()).for_each(|(x, g)| *x += g);
        out.into()
    }

    fn heard(&mut self, i: u32, from: u32, step: u32, said: Said, wants_reply: bool) {
        if self.scenario.run.algorithm == Algorithm::Async {
            if wants_reply {
                let mine =
                    Said { working: self.coded(i, step, &self.nodes[i as usize].agreed, 2), agreed: None };
                self.deliver(i, from, step, mine, false);
                let agreed = &mut self.nodes[i as usize].agreed;
                agreed.iter_mut().zip(said.working.iter()).for_each(|(a, x)| *a = f32::midpoint(*a, *x));
                return;
            }
            if !self.nodes[i as usize].is_waiting || self.nodes[i as usize].step + 1 != step {
                return;
            }
        }
        self.nodes[i as usize].inbox.insert(from, (step, said));
        self.try_mix(i);
    }

    fn try_mix(&mut self, i: u32) {
        let node = &self.nodes[i as usize];
        if !node.is_waiting {
            return;
        }
        let step = node.step + 1;
        let is_there = |from: &u32| node.inbox.get(from).is_some_and(|(of, _)| *of >= step);
        let is_ready = match (self.scenario.run.algorithm, self.partners.from(i, step)) {
            (Algorithm::Async, _) => !node.inbox.is_empty(),
            (_, Some(from)) => from.iter().all(is_there),
            (_, None) => {
                node.inbox.values().filter(|(of, _)| *of >= step).count() >= self.scenario.run.pulls as usize
            }
        };
        if is_ready {
            self.mix(i);
        }
    }

    fn mix(&mut self, i: u32) {
        let run = &self.scenario.run;
        let node = &mut self.nodes[i as usize];
        let step = node.step + 1;
        let is_settling = step > run.outer_steps;
        let oldest = step.saturating_sub(run.staleness_max);
        let expected = self.partners.from(i, step);
        let is_wanted = |from: &u32| expected.as_ref().is_none_or(|list| list.contains(from));
        let is_async = run.algorithm == Algorithm::Async;
        let came: Vec<Said> = node
            .inbox
            .iter()
            .filter(|(from, (of, _))| *of >= oldest && (is_async || is_wanted(from)))
            .map(|(_, (_, said))| said.clone())
            .collect();
        let working = std::mem::take(&mut node.working);
        match run.algorithm {
            Algorithm::Pair => {
                as_pair(&working, came.first(), &mut node.agreed, &mut node.velocity, is_settling);
            }
            Algorithm::Alone => node.agreed.copy_from_slice(&working),
            _ => {
                let vectors: Vec<&[f32]> = came.iter().map(|said| said.working.as_ref()).collect();
                let rule = (run.rule, run.byzantine as usize);
                by_rule(rule, &working, &vectors, &mut node.outer, &mut node.agreed, is_settling);
            }
        }
        node.working = working;
        if run.algorithm == Algorithm::Push || is_async {
            node.inbox.clear();
        }
        node.is_waiting = false;
        node.step = step;
        self.train(i);
    }

    fn fail(&mut self, peer: Option<u32>, error: CannotLearn) {
        let at_s = self.now.since(Time(0)).as_seconds();
        self.failed.get_or_insert(Violation { invariant: "learner", at_s, peer, what: error.to_string() });
    }

    fn conclude(mut self) -> Outcome {
        let honest: Vec<&[f32]> = self.nodes[..self.honest as usize]
            .iter()
            .filter(|n| n.is_up)
            .map(|n| n.agreed.as_slice())
            .collect();
        let learner = &mut self.learner;
        let scores: Result<Vec<_>, _> = honest.iter().map(|agreed| learner.score(agreed)).collect();
        let consensus_distance_relative = consensus_relative(&honest);
        let trace: Vec<u8> = honest.iter().flat_map(|v| v.iter().flat_map(|x| x.to_le_bytes())).collect();
        let scores = scores.unwrap_or_else(|error| {
            self.fail(None, error);
            Vec::new()
        });
        Outcome {
            parameters: self.genesis.len() as u64,
            consensus_distance_relative,
            bytes_per_peer: self.bytes as f64 / f64::from(self.scenario.peers),
            bytes_by_kind: [("shards", self.bytes)].into_iter().collect(),
            events: self.events,
            virtual_s: self.now.since(Time(0)).as_seconds(),
            trace: content_hash(&trace),
            violations: self.failed.into_iter().collect(),
            ..Outcome::blank(&self.scenario, self.seed_number, self.honest, &scores)
        }
    }
}
