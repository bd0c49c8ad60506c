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
use crate::sim::bounds::{ScenarioError, need};
use crate::sim::fault::{Blow, Plan, Timetable};
use crate::sim::forgery::{Honest, forged};
use crate::sim::learner::perceptron::Scratch;
use crate::sim::learner::problem::{Lesson, Problem};
use crate::sim::meter::consensus_relative;
use crate::sim::network::{Fate, Network};
use crate::sim::outcome::Outcome;
use crate::sim::scenario::{Algorithm, Scenario};
use crate::time::{Span, Time};
use crate::wire::choice::Codec;

/// Bytes of a message besides its payload.
const HEADER_BYTES: usize = 100;

struct Node {
    agreed: Vec<f32>,
    working: Vec<f32>,
    /// Where the training under way began.
    began: Vec<f32>,
    outer: Outer,
    velocity: Vec<f32>,
    /// Outer steps complete.
    step: u32,
    /// Newest word of each other, with its step.
    inbox: BTreeMap<u32, (u32, Said)>,
    is_waiting: bool,
    is_up: bool,
    life: u32,
    slowness: f64,
    lies: Option<AdversaryTerms>,
    rng: Rng,
}

#[derive(Clone)]
enum Happening {
    Start,
    Trained,
    Word { from: u32, step: u32, said: Said, wants_reply: bool },
    Patience(u32),
    Blow(usize),
    Together(u32),
}

struct Planned(Reverse<(Time, u64)>, u32, u32, Happening);

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Planned {}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

/// A swarm under virtual time.
pub struct Baseline {
    scenario: Scenario,
    seed_number: u64,
    seed: Seed,
    honest: u32,
    problem: Problem,
    partners: Partners,
    network: Network,
    nodes: Vec<Node>,
    timetable: Timetable,
    queue: BinaryHeap<Planned>,
    order: u64,
    now: Time,
    bytes: u64,
    events: u64,
    scratch: Scratch,
    /// Steps the barrier has let through.
    together: u32,
}

impl Baseline {
    /// The swarm of a scenario under a seed.
    pub fn new(scenario: Scenario, seed: u64) -> Result<Self, ScenarioError> {
        scenario.check()?;
        let algorithm = scenario.run.algorithm;
        need(algorithm != Algorithm::Pull, "run.algorithm", "one of the baselines", "pull")?;
        let (seed_number, seed) = (seed, Seed::from_u64(seed));
        let lies = scenario.liars();
        let honest = lies.iter().filter(|l| l.is_none()).count() as u32;
        let peers = scenario.peers;
        let problem = Problem::new(&scenario.learner, peers as usize, honest as usize, &seed.fork("problem"));
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
        let len = problem.genesis().len();
        let outer = Outer::new(scenario.run.outer_momentum, scenario.run.outer_rate, len)
            .expect("the scenario was checked");
        let node = |(i, lies): (usize, Option<AdversaryTerms>)| Node {
            agreed: problem.genesis().to_vec(),
            working: problem.genesis().to_vec(),
            began: problem.genesis().to_vec(),
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
            problem,
            partners,
            network,
            nodes,
            timetable,
            queue: BinaryHeap::new(),
            order: 0,
            now: Time(0),
            bytes: 0,
            events: 0,
            scratch: Scratch::default(),
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
            if self.is_over() || at > limit {
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

    fn plan(&mut self, at: Time, i: u32, what: Happening) {
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

    fn train(&mut self, i: u32) {
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
            inner_start: u64::from((step - 1).min(run.outer_steps)) * u64::from(run.inner_steps),
            inner_total: u64::from(run.outer_steps) * u64::from(run.inner_steps),
            flips_labels: attack == Some(Attack::LabelFlip),
        };
        let mut working = self.nodes[i as usize].began.clone();
        self.problem.train(lesson, &mut working, &mut self.scratch);
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
    fn say(&mut self, i: u32, step: u32) -> Said {
        let lies = self.nodes[i as usize].lies.clone();
        let mut working = self.nodes[i as usize].working.clone();
        if let Some(lies) = lies {
            let all: Vec<&[f32]> = self.nodes[..self.honest as usize]
                .iter()
                .filter(|n| n.is_up)
                .map(|n| n.working.as_slice())
                .collect();
            let honest = Honest { genesis: self.problem.genesis(), working: &all };
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

    fn payload(&self, step: u32) -> usize {
        self.codec(step).encoded_bytes(self.problem.genesis().len())
    }

    /// Parameters after a way through the codec.
    fn coded(&self, i: u32, step: u32, parameters: &[f32], version: u64) -> Arc<[f32]> {
        let genesis = self.problem.genesis();
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

    /// Ends the barrier when everybody who is up has come to it.
    fn meet(&mut self) {
        if self.scenario.run.algorithm != Algorithm::AllReduce {
            return;
        }
        let up = || self.nodes.iter().filter(|n| n.is_up);
        if up().count() > 0 && up().all(|n| n.is_waiting) {
            let step = self.together + 1;
            let payload = self.payload(step) as f64;
            let rate = self.scenario.network.bandwidth_mbit / 8.0;
            let transfer = if rate > 0.0 { 2.0 * payload / rate } else { 0.0 };
            let latency = f64::from(self.scenario.network.latency_ms[1]) * 2e3;
            self.plan(self.now + Span((transfer + latency) as u64), u32::MAX, Happening::Together(step));
        }
    }

    fn mix_together(&mut self, step: u32) {
        if step != self.together + 1 {
            return;
        }
        self.together = step;
        let there: Vec<u32> = (0..self.nodes.len() as u32)
            .filter(|i| self.nodes[*i as usize].is_up && self.nodes[*i as usize].is_waiting)
            .collect();
        let said: Vec<Said> = there.iter().map(|i| self.say(*i, step)).collect();
        let len = self.problem.genesis().len();
        let mut mean = vec![0.0f64; len];
        for said in &said {
            mean.iter_mut()
                .zip(said.working.iter())
                .for_each(|(m, x)| *m += f64::from(*x) / there.len() as f64);
        }
        let mean: Vec<f32> = mean.into_iter().map(|m| m as f32).collect();
        let share = (there.len() - 1) as f64 / there.len() as f64;
        self.bytes += (2.0 * share * self.payload(step) as f64 * there.len() as f64) as u64;
        let is_settling = step > self.scenario.run.outer_steps;
        // One state for all: who came back holds what the others hold.
        let Some(&first) = there.first() else { return };
        let (mut agreed, mut outer) = {
            let oldest = there.iter().copied().min_by_key(|i| self.nodes[*i as usize].life).unwrap_or(first);
            (self.nodes[oldest as usize].agreed.clone(), self.nodes[oldest as usize].outer.clone())
        };
        if is_settling {
            agreed.copy_from_slice(&mean);
        } else {
            outer.step(0..len, &mut agreed, &mean);
        }
        for i in there {
            let node = &mut self.nodes[i as usize];
            node.agreed.clone_from(&agreed);
            node.outer.clone_from(&outer);
            node.is_waiting = false;
            node.step = step;
            self.train(i);
        }
    }

    fn conclude(self) -> Outcome {
        let honest: Vec<&[f32]> = self.nodes[..self.honest as usize]
            .iter()
            .filter(|n| n.is_up)
            .map(|n| n.agreed.as_slice())
            .collect();
        let scores: Vec<(f64, f64)> = honest.iter().map(|agreed| self.problem.score(agreed)).collect();
        let trace: Vec<u8> = honest.iter().flat_map(|v| v.iter().flat_map(|x| x.to_le_bytes())).collect();
        Outcome {
            parameters: self.problem.genesis().len() as u64,
            consensus_distance_relative: consensus_relative(&honest),
            bytes_per_peer: self.bytes as f64 / f64::from(self.scenario.peers),
            bytes_by_kind: [("shards", self.bytes)].into_iter().collect(),
            events: self.events,
            virtual_s: self.now.since(Time(0)).as_seconds(),
            trace: content_hash(&trace),
            ..Outcome::blank(&self.scenario, self.seed_number, self.honest, &scores)
        }
    }
}
