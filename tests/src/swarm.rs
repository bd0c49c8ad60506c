//! Many peers, one event queue, virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::ops::Range;
use std::sync::Arc;

use protocol::crypto::hash::content_hash;
use protocol::exchange::serve::Reply;
use protocol::id::{AskId, GossipId, Hash, InboundId, OuterStep, PeerId};
use protocol::mixing::join;
use protocol::mixing::outer::Outer;
use protocol::mixing::rule::mix;
use protocol::peer::config::PeerConfig;
use protocol::peer::event::Event;
use protocol::peer::input::{Answer, Evaluated, Failure, Input, Mixed, Trained, Update};
use protocol::peer::machine::Peer;
use protocol::peer::output::{MixHow, MixOrder, Outbox, Output, Question, TrainOrder};
use protocol::peer::snapshot::Snapshot;
use protocol::rng::{Rng, Seed};
use protocol::shard::cut::cut;
use protocol::shard::sketch::sketch;
use protocol::time::{Span, Time, UnixSeconds};
use protocol::wire::charter::SignedCharter;
use protocol::wire::manifest::Manifest;
use protocol::wire::request::{News, Request, Want};

use crate::charters::keys;

/// How the world treats messages and peers.
#[derive(Clone, Debug)]
pub struct World {
    /// Seed of everything random.
    pub seed: u64,
    /// Shortest and longest time a message takes.
    pub latency: (Span, Span),
    /// Shortest and longest time a training order takes.
    pub training: (Span, Span),
    /// Share of messages lost.
    pub loss: f64,
}

impl Default for World {
    fn default() -> Self {
        let latency = (Span::millis(5), Span::millis(50));
        Self { seed: 1, latency, training: (Span::millis(500), Span::millis(700)), loss: 0.0 }
    }
}

/// One virtual node: a peer, its vector and its disk.
pub struct Node {
    /// The protocol machine.
    pub peer: Peer,
    /// Agreed parameters.
    pub agreed: Vec<f32>,
    /// Where training pulls the parameters.
    pub target: Vec<f32>,
    /// Events so far.
    pub events: Vec<Event>,
    /// Whether the process runs.
    pub is_up: bool,
    /// Steps signed so far with the hash of what was announced; kept over restarts as the world's memory.
    pub announced: BTreeMap<OuterStep, Hash>,
    working: Vec<f32>,
    outer: Outer,
    blocks: BTreeMap<Hash, Arc<[u8]>>,
    received: BTreeMap<Hash, Arc<[u8]>>,
    questions: BTreeMap<AskId, (PeerId, Question)>,
    disk: (Snapshot, Vec<f32>),
    reserved: u32,
    starts: u32,
    life: u64,
}

enum Happening {
    Start,
    Wake,
    Input(Box<Input>),
    Gossip(Arc<[u8]>),
    Request { from: usize, ask: AskId, bytes: Vec<u8> },
    Reply { ask: AskId, parts: Option<Vec<Arc<[u8]>>>, failure: Failure },
    TrainDone(TrainOrder),
    MixDone(MixOrder),
}

struct Scheduled {
    at: Time,
    order: u64,
    node: usize,
    life: u64,
    what: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// A swarm in virtual time.
pub struct Swarm {
    /// The nodes, by number.
    pub nodes: Vec<Node>,
    charter: SignedCharter,
    world: World,
    now: Time,
    queue: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
    rng: Rng,
    cuts: Vec<Range<usize>>,
    inbound: BTreeMap<(usize, InboundId), (usize, AskId)>,
    next_inbound: u64,
    links: BTreeSet<(usize, usize)>,
}

impl Swarm {
    /// `n` nodes that are not started yet; each trains towards a target of its own.
    pub fn new(n: usize, charter: SignedCharter, world: World) -> Self {
        let seed = Seed::from_u64(world.seed);
        let len = charter.charter().model.parameters as usize;
        let cuts = cut(len, charter.charter().exchange.codec);
        let mut targets = seed.fork("targets").rng();
        let mut swarm = Self {
            nodes: Vec::new(),
            charter,
            now: Time(0),
            queue: BinaryHeap::new(),
            order: 0,
            rng: seed.fork("world").rng(),
            cuts,
            inbound: BTreeMap::new(),
            next_inbound: 0,
            links: BTreeSet::new(),
            world,
        };
        for i in 0..n {
            let target = (0..len).map(|_| targets.unit_f64() as f32 * 2.0 - 1.0).collect();
            let node = swarm.make_node(i, target);
            swarm.nodes.push(node);
        }
        swarm
    }

    fn make_node(&self, i: usize, target: Vec<f32>) -> Node {
        let len = target.len();
        Node {
            peer: self.make_peer(i, 1, 0, Snapshot::default()),
            agreed: vec![0.0; len],
            working: vec![0.0; len],
            target,
            events: Vec::new(),
            is_up: false,
            announced: BTreeMap::new(),
            outer: self.make_outer(),
            blocks: BTreeMap::new(),
            received: BTreeMap::new(),
            questions: BTreeMap::new(),
            disk: (Snapshot::default(), vec![0.0; len]),
            reserved: 0,
            starts: 0,
            life: 0,
        }
    }

    fn make_outer(&self) -> Outer {
        let c = self.charter.charter();
        Outer::new(c.mixing.outer_momentum, c.mixing.outer_rate, c.model.parameters as usize)
            .expect("the charter was checked")
    }

    fn make_peer(&self, i: usize, incarnation: u32, reserved: u32, restored: Snapshot) -> Peer {
        let config = PeerConfig {
            charter: self.charter.clone(),
            name: format!("node {i}"),
            certificate: None,
            answers_queries: false,
            incarnation,
            reserved,
            date: (Time(0), UnixSeconds(1_800_000_000)),
            links_max: 64,
            start_links: 1,
            start_patience: Span::seconds(3),
        };
        let seed =
            Seed::from_u64(self.world.seed).fork("peer").fork_index(i as u64).fork_index(incarnation.into());
        Peer::new(config, keys(i), &seed, restored)
    }

    /// Starts a node and links it to every node that is up.
    pub fn start(&mut self, i: usize) {
        let node = &mut self.nodes[i];
        node.starts += 1;
        node.life += 1;
        node.is_up = true;
        let (snapshot, agreed) = node.disk.clone();
        let (starts, reserved) = (node.starts, node.reserved);
        node.agreed.clone_from(&agreed);
        node.working = agreed;
        node.blocks.clear();
        node.received.clear();
        node.questions.clear();
        let outer = self.make_outer();
        let peer = self.make_peer(i, starts, reserved, snapshot);
        let node = &mut self.nodes[i];
        node.outer = outer;
        node.peer = peer;
        self.schedule(i, Span::ZERO, Happening::Start);
        for j in 0..self.nodes.len() {
            if j != i && self.nodes[j].is_up {
                self.link(i, j);
            }
        }
    }

    /// Stops a node as kill -9 would: only its disk remains.
    pub fn kill(&mut self, i: usize) {
        self.nodes[i].is_up = false;
        self.nodes[i].life += 1;
        for j in 0..self.nodes.len() {
            self.cut(i, j);
        }
    }

    /// Links two nodes.
    pub fn link(&mut self, a: usize, b: usize) {
        if self.links.insert((a.min(b), a.max(b))) {
            let (pa, pb) = (keys(a).peer(), keys(b).peer());
            self.schedule(a, Span::millis(1), Happening::Input(Box::new(Input::LinkUp(pb))));
            self.schedule(b, Span::millis(1), Happening::Input(Box::new(Input::LinkUp(pa))));
        }
    }

    /// Cuts the link between two nodes.
    pub fn cut(&mut self, a: usize, b: usize) {
        if self.links.remove(&(a.min(b), a.max(b))) {
            for (x, y) in [(a, b), (b, a)] {
                let gone = keys(y).peer();
                self.schedule(x, Span::millis(1), Happening::Input(Box::new(Input::LinkDown(gone))));
            }
        }
    }

    /// Lets the world run until `until` answers true or virtual time is over; answers whether it did.
    pub fn run(&mut self, limit: Span, until: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !until(self) {
            let Some(Reverse(next)) = self.queue.pop() else { return false };
            if next.at > end {
                self.queue.push(Reverse(next));
                return false;
            }
            self.now = next.at;
            let node = &self.nodes[next.node];
            if node.is_up && node.life == next.life {
                self.happen(next.node, next.what);
            }
        }
        true
    }

    /// Last complete outer step of a node.
    pub fn step(&self, i: usize) -> u32 {
        self.nodes[i].peer.status().outer_step.0
    }

    /// Whether every node that is up is through.
    pub fn is_through(&self) -> bool {
        self.nodes.iter().filter(|n| n.is_up).all(|n| n.peer.status().state == "done")
    }

    /// Root mean square distance of the agreed parameters from their mean, over the norm of the mean.
    pub fn consensus_relative(&self) -> f64 {
        let up: Vec<&Node> = self.nodes.iter().filter(|n| n.is_up).collect();
        let len = up[0].agreed.len();
        let mean: Vec<f64> = (0..len)
            .map(|k| up.iter().map(|n| f64::from(n.agreed[k])).sum::<f64>() / up.len() as f64)
            .collect();
        let square =
            |n: &&Node| n.agreed.iter().zip(&mean).map(|(x, m)| (f64::from(*x) - m).powi(2)).sum::<f64>();
        let spread = up.iter().map(square).sum::<f64>() / up.len() as f64;
        (spread / mean.iter().map(|m| m * m).sum::<f64>()).sqrt()
    }

    fn schedule(&mut self, node: usize, after: Span, what: Happening) {
        self.order += 1;
        let (at, life) = (self.now + after, self.nodes[node].life);
        self.queue.push(Reverse(Scheduled { at, order: self.order, node, life, what }));
    }

    fn between(&mut self, (low, high): (Span, Span)) -> Span {
        Span(low.0 + self.rng.below(high.0 - low.0 + 1))
    }

    fn is_lost(&mut self) -> bool {
        self.world.loss > 0.0 && self.rng.unit_f64() < self.world.loss
    }

    fn happen(&mut self, i: usize, what: Happening) {
        let now = self.now;
        match what {
            Happening::Start | Happening::Wake => self.feed(i, Input::Wake),
            Happening::Input(input) => self.feed(i, *input),
            Happening::Gossip(bytes) => {
                if let Ok(message) = self.nodes[i].peer.open(&bytes, now) {
                    self.feed(i, Input::Heard { gossip: GossipId(0), message });
                }
            }
            Happening::Request { from, ask, bytes } => {
                let asker = keys(from).peer();
                match Request::open(&bytes, &self.charter.run()) {
                    Ok(request) => {
                        self.next_inbound += 1;
                        let inbound = InboundId(self.next_inbound);
                        self.inbound.insert((i, inbound), (from, ask));
                        self.feed(i, Input::Asked { inbound, from: asker, request });
                    }
                    Err(offence) => self.feed(i, Input::Offended { peer: asker, offence }),
                }
            }
            Happening::Reply { ask, parts, failure } => self.reply(i, ask, parts, failure),
            Happening::TrainDone(order) => self.train(i, &order),
            Happening::MixDone(order) => self.mix(i, &order),
        }
    }

    fn reply(&mut self, i: usize, ask: AskId, parts: Option<Vec<Arc<[u8]>>>, failure: Failure) {
        let Some((peer, question)) = self.nodes[i].questions.remove(&ask) else { return };
        let Some(parts) = parts else { return self.feed(i, Input::Failed { ask, failure }) };
        let wrong = Input::Failed { ask, failure: Failure::Wrong };
        let input = match question {
            Question::News => {
                let news: News = protocol::codec::decode_control(&parts[0]).unwrap_or_default();
                let now = self.now;
                let opened =
                    news.messages.iter().filter_map(|m| self.nodes[i].peer.open(m, now).ok()).collect();
                Input::Answered { ask, answer: Answer::News(opened) }
            }
            Question::Manifest { expected, .. } => {
                match Manifest::open(&parts[0], &expected, |_| self.cuts.len()) {
                    Ok(manifest) => Input::Answered { ask, answer: Answer::Manifest(Box::new(manifest)) },
                    Err(offence) => {
                        self.feed(i, Input::Offended { peer, offence });
                        wrong
                    }
                }
            }
            Question::Shards { shards, .. } => {
                let mut came = Vec::new();
                for ((index, hash, bytes), part) in shards.iter().zip(&parts) {
                    if content_hash(part) == *hash && part.len() == *bytes as usize {
                        came.push(*index);
                        self.nodes[i].received.insert(*hash, part.clone());
                    }
                }
                if came.len() == shards.len() {
                    Input::Answered { ask, answer: Answer::Shards(came) }
                } else {
                    wrong
                }
            }
        };
        self.feed(i, input);
    }

    fn train(&mut self, i: usize, order: &TrainOrder) {
        let cuts = self.cuts.clone();
        let run = self.charter.run();
        let node = &mut self.nodes[i];
        // Each inner step moves a tenth of the way to the node's own target.
        let keep = 0.9f32.powi(order.plan.inner_steps as i32);
        node.working = node.agreed.iter().zip(&node.target).map(|(x, t)| t + (x - t) * keep).collect();
        let noise = Seed::from_u64(i as u64).fork_index(u64::from(order.step.0));
        let (mut shards, mut norms) = (Vec::new(), Vec::new());
        for (k, range) in cuts.iter().enumerate() {
            let part = &node.working[range.clone()];
            let mut bytes = Vec::new();
            order
                .plan
                .codec
                .encode(part, &noise.fork_index(k as u64), &mut bytes)
                .expect("targets are finite");
            let hash = content_hash(&bytes);
            shards.push((hash, bytes.len() as u32));
            norms.push(part.iter().map(|x| x * x).sum::<f32>().sqrt());
            node.blocks.insert(hash, bytes.into());
        }
        let update = Update { shards, norms, sketch: sketch(&node.working, &Seed::from_bytes(run.0.0)) };
        let trained = Trained {
            step: order.step,
            inner_steps: order.plan.inner_steps,
            dropped: 0,
            samples: u64::from(order.plan.inner_steps),
            loss: 0.0,
            busy: Span::ZERO,
            update,
        };
        self.feed(i, Input::Trained(trained));
    }

    fn mix(&mut self, i: usize, order: &MixOrder) {
        let node = &mut self.nodes[i];
        let mut mixed_all = node.working.clone();
        for ((_, sources), range) in order.sources.iter().zip(&self.cuts) {
            let pulled: Vec<Vec<f32>> = sources
                .iter()
                .map(|source| {
                    let mut theirs = vec![0.0; range.len()];
                    source
                        .codec
                        .decode(&node.received[&source.hash], &mut theirs)
                        .expect("honest shards decode");
                    theirs
                })
                .collect();
            let views: Vec<&[f32]> = pulled.iter().map(Vec::as_slice).collect();
            let out = &mut mixed_all[range.clone()];
            match order.how {
                MixHow::Join => join::median(&views, out).expect("a joiner has sources for every shard"),
                MixHow::Step { rule, byzantine, .. } => {
                    mix(rule, byzantine as usize, &node.working[range.clone()], &views, out)
                        .expect("shapes agree");
                }
            }
        }
        match order.how {
            MixHow::Step { is_settling: false, .. } => {
                node.outer.step(0..mixed_all.len(), &mut node.agreed, &mixed_all);
            }
            _ => node.agreed = mixed_all,
        }
        node.working.clone_from(&node.agreed);
        node.received.clear();
        let mixed = Mixed {
            step: order.step,
            weights: Vec::new(),
            refused: Vec::new(),
            distance: 0.0,
            busy: Span::ZERO,
        };
        self.feed(i, Input::Mixed(mixed));
    }

    fn feed(&mut self, i: usize, input: Input) {
        let mut out = Outbox::default();
        self.nodes[i].peer.handle(self.now, input, &mut out);
        while let Some(output) = out.pop() {
            self.perform(i, output);
        }
        if let Some(wake) = self.nodes[i].peer.next_wake() {
            // Never in the past: a wake that is due at once still lets other happenings of this moment go first.
            let after = wake.since(self.now).max(Span(1));
            self.schedule(i, after, Happening::Wake);
        }
    }

    fn perform(&mut self, i: usize, output: Output) {
        match output {
            Output::Publish(bytes) => {
                let bytes: Arc<[u8]> = bytes.into();
                for j in 0..self.nodes.len() {
                    if self.links.contains(&(i.min(j), i.max(j))) && !self.is_lost() {
                        let after = self.between(self.world.latency);
                        self.schedule(j, after, Happening::Gossip(bytes.clone()));
                    }
                }
            }
            Output::Ask { ask, peer, question, .. } => {
                let want = match &question {
                    Question::News => Want::News,
                    Question::Manifest { expected, .. } => Want::Manifest(expected.hash),
                    Question::Shards { manifest, shards } => {
                        Want::Shards { manifest: *manifest, indices: shards.iter().map(|s| s.0).collect() }
                    }
                };
                self.nodes[i].questions.insert(ask, (peer, question));
                let to = (0..self.nodes.len()).find(|&j| keys(j).peer() == peer);
                let Some(j) = to.filter(|&j| self.links.contains(&(i.min(j), i.max(j)))) else {
                    let failure = Failure::Disconnected;
                    return self.schedule(i, Span::millis(1), Happening::Reply { ask, parts: None, failure });
                };
                if !self.is_lost() {
                    let bytes = Request::new(self.charter.run(), want).to_bytes();
                    let after = self.between(self.world.latency);
                    self.schedule(j, after, Happening::Request { from: i, ask, bytes });
                }
            }
            Output::Answer { inbound, reply } => {
                let Some((to, ask)) = self.inbound.remove(&(i, inbound)) else { return };
                let (parts, failure) = match reply {
                    Reply::Bytes(bytes) => (Some(vec![bytes]), Failure::NotFound),
                    Reply::Blocks(hashes) => {
                        let blocks: Option<Vec<_>> =
                            hashes.iter().map(|h| self.nodes[i].blocks.get(h).cloned()).collect();
                        (blocks, Failure::NotFound)
                    }
                    Reply::Busy(wait) => (None, Failure::Busy(wait)),
                    Reply::NotFound => (None, Failure::NotFound),
                    Reply::Refused => (None, Failure::Refused),
                };
                if !self.is_lost() {
                    let after = self.between(self.world.latency);
                    self.schedule(to, after, Happening::Reply { ask, parts, failure });
                }
            }
            Output::Cancel(ask) => {
                self.nodes[i].questions.remove(&ask);
            }
            Output::Train(order) => {
                let after = if order.plan.inner_steps > 0 {
                    self.between(self.world.training)
                } else {
                    Span::millis(5)
                };
                self.schedule(i, after, Happening::TrainDone(order));
            }
            Output::Mix(order) => self.schedule(i, Span::millis(2), Happening::MixDone(order)),
            Output::Evaluate(step) => {
                let e = Evaluated { step, metric: "loss".to_owned(), score: 0.5, loss: 1.0, samples: 1 };
                self.schedule(i, Span::millis(2), Happening::Input(Box::new(Input::Evaluated(e))));
            }
            Output::Reserve(step) => {
                self.nodes[i].reserved = step.0;
                self.schedule(i, Span::millis(2), Happening::Input(Box::new(Input::Reserved(step))));
            }
            Output::Commit(_) => {
                let node = &mut self.nodes[i];
                node.disk = (node.peer.snapshot(), node.agreed.clone());
            }
            Output::Emit(event) => {
                if let Event::Published { step, manifest, .. } = &event {
                    let before = self.nodes[i].announced.insert(*step, *manifest);
                    assert!(before.is_none(), "node {i} signed two updates for outer step {step}");
                }
                self.nodes[i].events.push(event);
            }
            Output::Forget(hashes) => {
                for hash in hashes {
                    self.nodes[i].blocks.remove(&hash);
                }
            }
            Output::Hangup(peer) | Output::Ban(peer) => {
                if let Some(j) = (0..self.nodes.len()).find(|&j| keys(j).peer() == peer) {
                    self.cut(i, j);
                }
            }
            // Mixing ahead is never ordered: these nodes report whole answers. They answer no queries either.
            Output::Judge { .. }
            | Output::Append(_)
            | Output::Dial { .. }
            | Output::Unban(_)
            | Output::MixAhead(_)
            | Output::Predict { .. } => {}
        }
    }
}
