//! Gossip and questions between nodes, and the links they need.

use std::sync::Arc;

use crate::codec::{decode_control, decode_manifest};
use crate::exchange::serve::Reply;
use crate::id::{AskId, GossipId, InboundId, PeerId};
use crate::peer::input::{Failure, Input};
use crate::peer::output::Question;
use crate::sim::meter::Kind;
use crate::sim::network::Fate;
use crate::sim::node::Asking;
use crate::sim::queue::{Answered, Gossip, Happening, NOBODY};
use crate::sim::world::World;
use crate::time::Span;
use crate::wire::message::{Body, Message};
use crate::wire::request::{Request, Want};
use crate::wire::sealed::Sealed;

/// Bytes a message has besides its own: headers of the transports.
const HEADER_BYTES: usize = 60;
/// A link that carries nothing is found dead after so many seconds at least, and at most.
const DEAD_S: (u64, u64) = (5, 15);
/// Discovery tries a lost link again after so many seconds at least, and at most.
const REDIAL_S: (u64, u64) = (3, 8);

impl World {
    /// A node says something to all its links.
    pub(super) fn publish(&mut self, i: u32, bytes: Arc<[u8]>) {
        let body = body_of(&bytes);
        let is_announcement = matches!(body, Some(Body::Announce(_)));
        let is_urgent = matches!(body, Some(Body::Proof(_) | Body::Revocation(_)));
        if is_announcement && self.splits_audience(i) {
            return self.publish_twice(i, &bytes);
        }
        let audience: Vec<u32> = self.network.linked(i).iter().copied().collect();
        self.publish_to(i, bytes, &audience, is_announcement, is_urgent);
    }

    /// Says something to some.
    pub(super) fn publish_to(
        &mut self,
        i: u32,
        bytes: Arc<[u8]>,
        audience: &[u32],
        is_announcement: bool,
        is_urgent: bool,
    ) -> u64 {
        self.messages += 1;
        let number = self.messages;
        let said = self.now;
        let message = Arc::new(Gossip { bytes, number, is_urgent, is_announcement, said });
        self.nodes[i as usize].hears(number);
        if is_announcement {
            self.meter.audience += self.honest_up().saturating_sub(1) as u64;
        }
        for &j in audience {
            self.send_gossip(i, j, &message);
        }
        number
    }

    fn honest_up(&self) -> usize {
        self.meter.honest_up
    }

    fn send_gossip(&mut self, i: u32, j: u32, message: &Arc<Gossip>) {
        let bytes = message.bytes.len() + HEADER_BYTES;
        self.meter.sent(Kind::Gossip, bytes);
        if let Fate::Arrives(at) = self.network.send(i, j, bytes, self.now) {
            let life = self.nodes[j as usize].life;
            let heard = |is_copy| Happening::Gossip { from: i, message: message.clone(), is_copy };
            self.queue.push(at, j, life, heard(false));
            if self.network.doubles(self.now) {
                let later = at + self.network.latency();
                self.queue.push(later, j, life, heard(true));
            }
        }
    }

    /// A heard message goes on to a few links.
    pub(super) fn pass_on(&mut self, i: u32, from: u32, message: &Arc<Gossip>) {
        let fanout = self.scenario.network.fanout;
        let fanout = if message.is_urgent { fanout.max(4) } else { fanout };
        if fanout == 0 {
            return;
        }
        let mut others: Vec<u32> = self.network.linked(i).iter().copied().filter(|j| *j != from).collect();
        for place in 0..(fanout as usize).min(others.len()) {
            let with = place + self.network.choose(others.len() - place);
            others.swap(place, with);
            let j = others[place];
            self.send_gossip(i, j, message);
        }
    }

    /// A message arrives. A copy is one the network made: it reaches the peer, which has to know it for a replay.
    pub(super) fn hear(&mut self, i: u32, from: u32, message: &Arc<Gossip>, is_copy: bool) {
        let now = self.now;
        let node = &mut self.nodes[i as usize];
        if !node.hears(message.number) && !is_copy {
            self.meter.duplicates += 1;
            return;
        }
        let time = node.time(now);
        let link = self.keys[from as usize].peer();
        match node.peer.open(&message.bytes, link, time) {
            Ok(verified) => {
                if message.is_announcement && node.is_honest() && !is_copy {
                    self.meter.heard(now.since(message.said));
                    self.heard_announcement(i, message.number);
                }
                self.overhear(i, &message.bytes);
                self.judged = Some((from, message.clone()));
                self.feed(i, Input::Heard { gossip: GossipId(message.number), message: verified });
                self.judged = None;
            }
            Err(refusal) => {
                self.meter.refused(refusal.offence);
                // As the driver of a node does.
                if let Some(peer) = refusal.culprit {
                    self.feed(i, Input::Offended { peer, offence: refusal.offence });
                }
            }
        }
    }

    /// A node asks another.
    pub(super) fn ask(&mut self, i: u32, ask: AskId, peer: &PeerId, question: Question, deadline: Span) {
        let want = match &question {
            Question::News => Want::News,
            Question::Manifest { expected, .. } => Want::Manifest(expected.hash),
            Question::Shards { manifest, shards } => {
                Want::Shards { manifest: *manifest, indices: shards.iter().map(|s| s.0).collect() }
            }
        };
        let Some(j) = self.place(peer).filter(|j| self.network.is_linked(i, *j)) else {
            return self.fail(i, i, ask, Failure::Disconnected, Span::millis(1));
        };
        let gives_up = self.now + deadline;
        self.nodes[i as usize].asking.insert(ask, Asking { to: j, question, gives_up });
        let bytes = Request::new(self.charter.run(), want).to_bytes();
        let size = bytes.len() + HEADER_BYTES;
        self.meter.sent(Kind::Request, size);
        match self.network.send(i, j, size, self.now) {
            Fate::Arrives(at) => {
                let life = self.nodes[j as usize].life;
                self.queue.push(at, j, life, Happening::Request { from: i, ask, bytes: bytes.into() });
            }
            Fate::Lost => self.fail(i, j, ask, Failure::Timeout, deadline),
        }
    }

    /// Tells a node that its question failed.
    pub(super) fn fail(&mut self, i: u32, from: u32, ask: AskId, failure: Failure, after: Span) {
        self.plan(i, after, Happening::Answer { ask, from, answer: Box::new(Answered::Failed(failure)) });
    }

    /// A question arrives.
    pub(super) fn requested(&mut self, i: u32, from: u32, ask: AskId, bytes: &[u8]) {
        match Request::open(bytes, &self.charter.run()) {
            Ok(request) => {
                if self.deceives(i, from, ask, &request) {
                    return;
                }
                self.inbounds += 1;
                let inbound = InboundId(self.inbounds);
                self.nodes[i as usize].asked.insert(inbound, (from, ask));
                let peer = self.keys[from as usize].peer();
                self.feed(i, Input::Asked { inbound, from: peer, request });
            }
            Err(offence) => {
                let peer = self.keys[from as usize].peer();
                self.feed(i, Input::Offended { peer, offence });
            }
        }
    }

    /// A peer answers; a slow loris takes its time.
    pub(super) fn answer(&mut self, i: u32, to: u32, ask: AskId, reply: Reply) {
        match self.dawdles(i, &reply) {
            Some(after) => self.plan(i, after, Happening::Serve { to, ask, reply: Box::new(reply) }),
            None => self.serve(i, to, ask, reply),
        }
    }

    /// Tries to link two nodes: at once when both are there and hear each other, later when a fault stands between.
    pub(super) fn try_link(&mut self, a: u32, b: u32) {
        let (x, y) = (&self.nodes[a as usize], &self.nodes[b as usize]);
        // Somebody who is down links when it starts; somebody who refuses does not.
        let is_wanted = x.is_up && y.is_up && !x.refuses.contains(&b) && !y.refuses.contains(&a);
        if !is_wanted || self.network.is_linked(a, b) {
            return;
        }
        let most = self.scenario.network.links as usize * 2;
        if self.network.linked(a).len() >= most || self.network.linked(b).len() >= most {
            return;
        }
        if !self.network.passes(a, b) || !self.network.passes(b, a) {
            return self.redial(a, b);
        }
        self.network.link(a, b);
        for (i, j) in [(a, b), (b, a)] {
            let peer = self.keys[j as usize].peer();
            let after = self.network.latency();
            self.plan(i, after, Happening::Input(Box::new(Input::LinkUp(peer))));
        }
    }

    /// A peer dials another.
    pub(super) fn dial(&mut self, a: u32, b: u32) {
        let after = self.network.latency();
        self.queue.push(self.now + after, NOBODY, 0, Happening::Link(a, b));
    }

    /// Discovery tries again after a while.
    fn redial(&mut self, a: u32, b: u32) {
        let after = self.between_seconds(REDIAL_S);
        self.queue.push(self.now + after, NOBODY, 0, Happening::Link(a, b));
    }

    /// Cuts a link: both are told, and what they asked each other fails. Discovery tries again if it named them to each
    /// other.
    pub(super) fn unlink(&mut self, a: u32, b: u32) {
        if !self.network.unlink(a, b) {
            return;
        }
        for (i, j) in [(a, b), (b, a)] {
            let peer = self.keys[j as usize].peer();
            self.plan(i, Span::millis(1), Happening::Input(Box::new(Input::LinkDown(peer))));
            let lost: Vec<AskId> = self.nodes[i as usize]
                .asking
                .iter()
                .filter(|(_, q)| q.to == j)
                .map(|(ask, _)| *ask)
                .collect();
            for ask in lost {
                self.fail(i, j, ask, Failure::Disconnected, Span::millis(1));
            }
        }
        if self.topology.of(a).binary_search(&b).is_ok() {
            self.redial(a, b);
        }
    }

    /// Links on which nothing gets through in one direction at least will be found dead.
    pub(super) fn suspect(&mut self, pairs: &[(u32, u32)]) {
        for &(a, b) in pairs {
            let after = self.between_seconds(DEAD_S);
            self.queue.push(self.now + after, NOBODY, 0, Happening::Dead(a, b));
        }
    }

    /// A suspected link is cut unless it works again.
    pub(super) fn bury(&mut self, a: u32, b: u32) {
        if !self.network.passes(a, b) || !self.network.passes(b, a) {
            self.unlink(a, b);
        }
    }

    fn between_seconds(&mut self, (low, high): (u64, u64)) -> Span {
        Span(low * 1_000_000 + self.rng.below((high - low) * 1_000_000))
    }
}

/// What a sealed message says, if it decodes.
pub(super) fn body_of(bytes: &[u8]) -> Option<Body> {
    let sealed: Sealed = decode_control(bytes).ok()?;
    decode_manifest::<Message>(&sealed.body).ok().map(|message| message.body)
}
