//! Faults carried out, and everything else that happens to the world and not to one node.

use crate::crypto::signed::Domain;
use crate::id::PeerId;
use crate::peer::input::{Command, Input};
use crate::peer::memory::ShardMemory;
use crate::sim::fault::Blow;
use crate::sim::members::TODAY;
use crate::sim::perform::RESTART;
use crate::sim::queue::{Happening, NOBODY};
use crate::sim::world::World;
use crate::time::{Span, UnixSeconds};
use crate::wire::certificate::Revocation;
use crate::wire::message::{Body, Message};
use crate::wire::sealed::CoSigned;

impl World {
    /// Something happens to the world.
    pub(super) fn world_happens(&mut self, what: Happening) {
        match what {
            Happening::Start(i) => self.start(i),
            Happening::Blow(index) => {
                let blow = self.timetable.blows[index as usize].1.clone();
                self.strike(blow);
            }
            Happening::Link(a, b) => self.try_link(a, b),
            Happening::Dead(a, b) => self.bury(a, b),
            Happening::Measure => self.measure(),
            Happening::Mark => self.mark(),
            Happening::Demand => self.demand(),
            Happening::Convict(index) => self.demand_conviction(index),
            _ => unreachable!("these happen to a node, not to the world"),
        }
    }

    fn strike(&mut self, blow: Blow) {
        match blow {
            Blow::Part { groups, one_way } => {
                self.network.part(groups, one_way);
                let pairs: Vec<(u32, u32)> = self.cut_pairs();
                self.suspect(&pairs);
            }
            Blow::Heal => self.network.heal(),
            Blow::Clog { from, to } => {
                self.network.clog(from, to, true);
                if self.network.is_linked(from, to) {
                    self.suspect(&[(from, to)]);
                }
            }
            Blow::Unclog { from, to } => self.network.clog(from, to, false),
            Blow::Kill(i) => {
                let is_machine = self.rng.below(2) == 0;
                self.kill(i, is_machine);
            }
            Blow::Start(i) => self.start(i),
            Blow::Leave(i) => {
                if self.nodes[i as usize].is_up {
                    self.feed(i, Input::Command(Command::Leave));
                }
                self.nodes[i as usize].is_gone = true;
                self.kill(i, false);
                self.recount(i);
            }
            Blow::Freeze(i, span) => self.nodes[i as usize].frozen_until = self.now + span,
            Blow::Leap(i, by) => {
                self.nodes[i as usize].clock.leap(by);
                // Timers that lie in the past now are due.
                if self.nodes[i as usize].is_up {
                    self.feed(i, Input::Wake);
                }
            }
            Blow::Full(i, is_full) => self.nodes[i as usize].disk.is_full = is_full,
            Blow::Revoke(peers) => self.revoke(&peers),
        }
    }

    /// Links over which one direction at least is cut.
    fn cut_pairs(&self) -> Vec<(u32, u32)> {
        let mut pairs = Vec::new();
        for a in 0..self.nodes.len() as u32 {
            for &b in self.network.linked(a).range(a + 1..) {
                if !self.network.passes(a, b) || !self.network.passes(b, a) {
                    pairs.push((a, b));
                }
            }
        }
        pairs
    }

    /// Starts a process from what its disk holds.
    pub(super) fn start(&mut self, i: u32) {
        let node = &mut self.nodes[i as usize];
        if node.is_up || node.is_gone {
            return;
        }
        if node.disk.is_full {
            // The count of starts cannot be made durable.
            self.queue.push(self.now + RESTART, NOBODY, 0, Happening::Start(i));
            return;
        }
        node.disk.starts += 1;
        node.life += 1;
        node.is_up = true;
        node.forget();
        let found = node.disk.newest().clone();
        node.agreed.copy_from_slice(&found.agreed);
        node.working.copy_from_slice(&found.agreed);
        node.clock = crate::sim::clock::Clock::starting(self.now, node.drift_ppm);
        let (starts, reserved) = (node.disk.starts, node.disk.reserved);
        let date = UnixSeconds(TODAY.0.saturating_add_signed(self.nodes[i as usize].date_error))
            .0
            .saturating_add(self.now.0 / 1_000_000);
        let mut outer = self.make_outer();
        let is_restored = outer.restore(found.velocity.to_vec()).is_ok();
        assert!(is_restored, "the disk keeps what the optimizer gave");
        let is_recalled = ShardMemory::recall(&mut self.nodes[i as usize].memories, &found.said);
        assert!(is_recalled, "the disk keeps what was said");
        let mut snapshot = found.snapshot;
        snapshot.ledger = self.ledger_end(i);
        let is_finished = snapshot.is_finished;
        let peer = self.make_peer(i as usize, starts, UnixSeconds(date), snapshot, reserved);
        let node = &mut self.nodes[i as usize];
        node.outer = outer;
        node.peer = peer;
        node.is_finished = is_finished;
        self.checks.begins(i, self.now);
        self.plan(i, Span(1), Happening::Begin);
        let address = format!("/sim/{i}");
        self.plan(i, Span(2), Happening::Input(Box::new(Input::Listening(vec![address]))));
        self.begin_mischief(i);
        let others: Vec<u32> = self.topology.of(i).to_vec();
        for j in others {
            if self.nodes[j as usize].is_up {
                self.dial(i, j);
            }
        }
        self.recount(i);
    }

    /// Ends a process as kill -9 would, or with it the machine.
    pub(super) fn kill(&mut self, i: u32, is_machine: bool) {
        let node = &mut self.nodes[i as usize];
        if !node.is_up {
            return;
        }
        node.is_up = false;
        node.disk.crash(is_machine, &mut self.rng);
        let linked: Vec<u32> = self.network.linked(i).iter().copied().collect();
        for j in linked {
            self.unlink(i, j);
        }
        self.nodes[i as usize].life += 1;
        self.checks.ends(i);
        self.recount(i);
    }

    /// The founder signs a longer list of revoked keys and one honest node spreads it.
    fn revoke(&mut self, peers: &[u32]) {
        // The founder cannot be spared, and revokes nobody when only it is drawn.
        let peers: Vec<u32> = peers.iter().copied().filter(|peer| *peer != 0).collect();
        // Any member may pass a list on. Said with a key that is heard for the last time, so that no sequence is used up.
        let Some(&speaker) = peers.iter().find(|peer| self.nodes[**peer as usize].is_up) else { return };
        for &peer in &peers {
            self.nodes[peer as usize].is_gone = true;
            self.revoked.insert(peer);
            self.recount(peer);
        }
        let mut revoked: Vec<PeerId> =
            self.revoked.iter().map(|peer| self.keys[*peer as usize].peer()).collect();
        revoked.sort_unstable();
        self.revocations += 1;
        let list = Revocation { run: self.charter.run(), version: self.revocations, revoked };
        let mut sealed = CoSigned::unsigned(&list);
        sealed.sign(&self.keys[0], Domain::Revocation);
        let sequence = u64::from(u32::MAX) << 32;
        let message = Message::new(self.charter.run(), sequence, Body::Revocation(sealed));
        let bytes = message.seal(&self.keys[speaker as usize]).into();
        let audience: Vec<u32> = self.network.linked(speaker).iter().copied().collect();
        self.publish_to(speaker, bytes, &audience, false, true);
    }
}
