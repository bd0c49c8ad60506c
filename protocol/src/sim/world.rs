//! The world: nodes, network, problem and faults under one queue; its loop.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use crate::crypto::assumed::AssumedSignatures;
use crate::crypto::keys::Keypair;
use crate::id::{Hash, PeerId};
use crate::mixing::outer::Outer;
use crate::peer::config::PeerConfig;
use crate::peer::machine::Peer;
use crate::peer::memory::ShardMemory;
use crate::peer::output::Outbox;
use crate::peer::snapshot::Snapshot;
use crate::peer::update::MixScratch;
use crate::rng::{Rng, Seed};
use crate::shard::cut::cut;
use crate::shard::sketch::Sketcher;
use crate::sim::ahead::Ahead;
use crate::sim::attack::{AdversaryTerms, Attack};
use crate::sim::bounds::ScenarioError;
use crate::sim::clock::Clock;
use crate::sim::disk::{Disk, Generation};
use crate::sim::fault::{Plan, Timetable};
use crate::sim::findings::Checks;
use crate::sim::learner::lesson::Learner;
use crate::sim::learner::problem::Problem;
use crate::sim::members;
use crate::sim::meter::Meter;
use crate::sim::network::Network;
use crate::sim::node::{Mischief, Node};
use crate::sim::outcome::Outcome;
use crate::sim::queue::{Gossip, Happening, NOBODY, Planned, Queue};
use crate::sim::scenario::{Scenario, Signatures};
use crate::sim::topology::Topology;
use crate::time::{Span, Time, UnixSeconds};
use crate::wire::charter::SignedCharter;

/// A swarm in virtual time.
pub struct World {
    pub(super) scenario: Scenario,
    pub(super) seed_number: u64,
    pub(super) seed: Seed,
    pub(super) charter: SignedCharter,
    pub(super) keys: Vec<Keypair>,
    pub(super) places: BTreeMap<PeerId, u32>,
    pub(super) honest: u32,
    pub(super) now: Time,
    pub(super) queue: Queue,
    pub(super) nodes: Vec<Node>,
    pub(super) network: Network,
    pub(super) topology: Topology,
    pub(super) learner: Box<dyn Learner>,
    pub(super) genesis: Arc<[f32]>,
    pub(super) timetable: Timetable,
    pub(super) checks: Checks,
    pub(super) meter: Meter,
    pub(super) rng: Rng,
    pub(super) cuts: Vec<Range<usize>>,
    pub(super) sketcher: Sketcher,
    pub(super) mix_scratch: MixScratch,
    pub(super) messages: u64,
    pub(super) inbounds: u64,
    /// The gossip message a peer is judging.
    pub(super) judged: Option<(u32, Arc<Gossip>)>,
    pub(super) events: u64,
    /// Peers the founder revoked, and how many lists it signed.
    pub(super) revoked: std::collections::BTreeSet<u32>,
    pub(super) revocations: u32,
    trace: blake3::Hasher,
    outbox: Outbox,
    _assumed: Option<AssumedSignatures>,
    /// Assumed signatures belong to the thread that began them.
    _stays: PhantomData<*const ()>,
}

/// Longest virtual time of a run, in planned lengths ...
const PATIENCE: f64 = 8.0;
/// ... and seconds on top.
const PATIENCE_S: f64 = 900.0;

impl World {
    /// The world of a scenario under a seed.
    pub fn new(scenario: Scenario, seed: u64) -> Result<Self, ScenarioError> {
        let labels: Vec<u32> = (0..scenario.peers).collect();
        Self::labelled(scenario, seed, &labels)
    }

    /// The same with other names: peer `i` takes the key of number `labels[i]`.
    pub fn labelled(scenario: Scenario, seed: u64, labels: &[u32]) -> Result<Self, ScenarioError> {
        scenario.check()?;
        let problem = Problem::of(&scenario, seed);
        Self::learning(scenario, seed, labels, Box::new(problem))
    }

    /// The same with something else to learn than the scenario says.
    pub fn learning(
        scenario: Scenario,
        seed: u64,
        labels: &[u32],
        learner: Box<dyn Learner>,
    ) -> Result<Self, ScenarioError> {
        scenario.check()?;
        let assumed = (scenario.signatures == Signatures::Assumed).then(AssumedSignatures::begin);
        let (seed_number, seed) = (seed, Seed::from_u64(seed));
        let peers = scenario.peers as usize;
        let lies = scenario.liars();
        let honest = lies.iter().filter(|l| l.is_none()).count() as u32;
        let genesis = learner.genesis().clone();
        let parameters = genesis.len();
        let keys = members::keys(labels);
        let attacks: Vec<Option<Attack>> = lies.iter().map(|l| l.as_ref().map(|l| l.attack)).collect();
        let charter = members::charter(&scenario, &keys, &attacks, parameters);
        let plan = Plan {
            honest,
            peers: scenario.peers,
            seconds: scenario.planned_seconds(),
            step_seconds: scenario.step_seconds(),
        };
        let timetable = Timetable::draw(&scenario.faults, plan, &seed.fork("faults"));
        let calm_from = Time((scenario.network.until * plan.seconds * 1e6) as u64);
        let network = Network::new(&scenario.network, peers, calm_from, seed.fork("network").rng());
        let topology =
            Topology::draw(scenario.peers, scenario.network.links, &mut seed.fork("topology").rng());
        let places = keys.iter().enumerate().map(|(i, key)| (key.peer(), i as u32)).collect();
        let mut world = Self {
            cuts: cut(parameters, scenario.run.codec),
            sketcher: Sketcher::of_run(&charter.run()),
            checks: Checks::new(peers),
            meter: Meter::default(),
            rng: seed.fork("world").rng(),
            seed_number,
            seed,
            charter,
            keys,
            places,
            honest,
            now: Time(0),
            queue: Queue::default(),
            nodes: Vec::with_capacity(peers),
            network,
            topology,
            learner,
            genesis,
            timetable,
            mix_scratch: MixScratch::default(),
            messages: 0,
            inbounds: 0,
            judged: None,
            events: 0,
            revoked: std::collections::BTreeSet::new(),
            revocations: 0,
            trace: blake3::Hasher::new(),
            outbox: Outbox::default(),
            scenario,
            _assumed: assumed,
            _stays: PhantomData,
        };
        for (i, lies) in lies.into_iter().enumerate() {
            let node = world.make_node(i, lies);
            world.nodes.push(node);
        }
        (0..world.scenario.peers).for_each(|i| world.recount(i));
        world.plan_run();
        Ok(world)
    }

    fn plan_run(&mut self) {
        for (i, drift, date) in std::mem::take(&mut self.timetable.clocks) {
            let node = &mut self.nodes[i as usize];
            (node.drift_ppm, node.date_error) = (drift, date);
        }
        let liars: Vec<u32> = (self.honest..self.scenario.peers).collect();
        let late = self.timetable.late.clone();
        for (peer, is_eclipsed) in &late {
            if *is_eclipsed {
                let anchor = (peer + 1) % self.honest;
                let among: Vec<u32> = liars.iter().copied().chain([anchor]).collect();
                self.topology.isolate(*peer, &among);
            }
        }
        for i in (0..self.scenario.peers).filter(|i| !late.iter().any(|(peer, _)| peer == i)) {
            // People do not start their nodes in one instant.
            let at = Time(self.rng.below(500_000));
            self.queue.push(at, NOBODY, 0, Happening::Start(i));
        }
        for (i, (at, _)) in self.timetable.blows.iter().enumerate() {
            self.queue.push(*at, NOBODY, 0, Happening::Blow(i as u32));
        }
        if !self.timetable.blows.is_empty() {
            let over = self.timetable.over;
            let demanded = over + Span((self.scenario.check.liveness_s * 1e6) as u64);
            self.queue.push(over + Span(1), NOBODY, 0, Happening::Mark);
            self.queue.push(demanded, NOBODY, 0, Happening::Demand);
        }
        self.queue.push(Time(0), NOBODY, 0, Happening::Measure);
    }

    fn make_node(&self, i: usize, lies: Option<AdversaryTerms>) -> Node {
        let genesis = self.genesis.clone();
        let (outer, codec) = (self.make_outer(), self.scenario.run.codec);
        let first = Generation {
            snapshot: Snapshot::default(),
            agreed: genesis.clone(),
            velocity: outer.velocity().into(),
            said: [].into(),
        };
        let is_lossy = self.timetable.lossy.contains(&(i as u32));
        Node {
            peer: self.make_peer(i, 0, UnixSeconds(members::TODAY.0), Snapshot::default(), 0),
            agreed: genesis.to_vec(),
            working: genesis.to_vec(),
            ahead: Ahead::default(),
            outer,
            memories: self.cuts.iter().map(|cut| ShardMemory::new(codec, cut.len())).collect(),
            blocks: BTreeMap::new(),
            received: BTreeMap::new(),
            asking: BTreeMap::new(),
            asked: BTreeMap::new(),
            disk: Disk::new(first, is_lossy),
            clock: Clock::starting(Time(0), 0),
            drift_ppm: 0,
            date_error: 0,
            slowness: self.scenario.slowness(i, &self.seed),
            counted: (false, false),
            life: 0,
            is_up: false,
            is_gone: false,
            is_finished: false,
            frozen_until: Time(0),
            wake_at: None,
            seen: std::collections::BTreeSet::new(),
            refuses: std::collections::BTreeSet::new(),
            lies,
            mischief: Mischief::default(),
        }
    }

    pub(super) fn make_outer(&self) -> Outer {
        let terms = &self.scenario.run;
        Outer::new(terms.outer_momentum, terms.outer_rate, self.genesis.len())
            .expect("the scenario was checked")
    }

    pub(super) fn make_peer(
        &self,
        i: usize,
        incarnation: u32,
        date: UnixSeconds,
        restored: Snapshot,
        reserved: u32,
    ) -> Peer {
        let config = PeerConfig {
            charter: self.charter.clone(),
            name: format!("peer {i}"),
            credential: None,
            incarnation,
            reserved,
            date: (Time(0), date),
            links_max: self.scenario.network.links,
            start_links: 1,
            start_patience: Span::seconds(3),
            answers_queries: false,
        };
        let seed = self.seed.fork("peer").fork_index(i as u64).fork_index(incarnation.into());
        Peer::new(config, self.keys[i].clone(), &seed, restored)
    }

    /// Lets the swarm run to its end, to the first violation, or out of time.
    pub fn run(mut self) -> Outcome {
        let limit = (self.scenario.planned_seconds() * PATIENCE + PATIENCE_S) * 1e6;
        let limit = Time(limit as u64).max(self.timetable.over + Span::seconds(900));
        while self.checks.holds() && !self.is_over() {
            match self.queue.next_at() {
                Some(at) if at <= limit => self.step(),
                _ => {
                    self.out_of_time();
                    break;
                }
            }
        }
        let trace = Hash(*self.trace.finalize().as_bytes());
        self.conclude(trace)
    }

    /// Everybody of whom something is expected is through, no fault is to come and no proof is awaited.
    fn is_over(&self) -> bool {
        self.meter.unfinished == 0 && self.now >= self.timetable.over.max(self.checks.awaited)
    }

    /// Takes the next thing from the queue and lets it happen.
    fn step(&mut self) {
        let Some(planned) = self.queue.pop() else { return };
        self.now = planned.at;
        if planned.node == NOBODY {
            self.note(&planned);
            return self.world_happens(planned.what);
        }
        let node = &mut self.nodes[planned.node as usize];
        if !node.is_up || node.life != planned.life {
            return;
        }
        if node.frozen_until > planned.at {
            let until = node.frozen_until;
            self.queue.push(until, planned.node, planned.life, planned.what);
            return;
        }
        if matches!(planned.what, Happening::Wake) && !self.is_due(planned.node) {
            return;
        }
        self.note(&planned);
        self.happen(planned.node, planned.what);
        self.check_node(planned.node);
    }

    /// Adds to the hash of all events.
    fn note(&mut self, planned: &Planned) {
        self.events += 1;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&planned.at.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&planned.node.to_le_bytes());
        bytes[12] = planned.what.kind();
        self.trace.update(&bytes);
    }

    /// Adds parameters to the hash of all events.
    pub(super) fn note_parameters(&mut self, i: usize) {
        for value in &self.nodes[i].agreed {
            self.trace.update(&value.to_le_bytes());
        }
    }

    /// Plans something for a node of this life.
    pub(super) fn plan(&mut self, i: u32, after: Span, what: Happening) {
        let life = self.nodes[i as usize].life;
        self.queue.push(self.now + after, i, life, what);
    }

    /// The outbox, to be given back empty.
    pub(super) fn take_outbox(&mut self) -> Outbox {
        std::mem::take(&mut self.outbox)
    }

    pub(super) fn give_outbox(&mut self, outbox: Outbox) {
        self.outbox = outbox;
    }

    /// The node of a key.
    pub(super) fn place(&self, peer: &PeerId) -> Option<u32> {
        self.places.get(peer).copied()
    }
}
