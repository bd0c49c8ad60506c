//! What the peer wants done, done in the world; and the inputs that come back.

use crate::id::OuterStep;
use crate::peer::event::Event;
use crate::peer::input::Input;
use crate::peer::memory::ShardMemory;
use crate::peer::output::{Output, Verdict};
use crate::sim::disk::Generation;
use crate::sim::queue::Happening;
use crate::sim::world::World;
use crate::time::{Span, Time};
use crate::wire::announce::Announce;

/// Time a mix takes.
const MIXING: Span = Span::millis(3);
/// Time an evaluation takes.
const EVALUATING: Span = Span::millis(20);
/// Time training orders without inner steps take: encoding.
const ENCODING: Span = Span::millis(5);
/// Shortest and longest time a write takes to be durable, microseconds.
const DISK: (u64, u64) = (2_000, 40_000);
/// After a full disk ended a node, its keeper tries again so late.
pub(super) const RESTART: Span = Span::seconds(5);

impl World {
    /// Something happens to a node that runs.
    pub(super) fn happen(&mut self, i: u32, what: Happening) {
        match what {
            Happening::Begin | Happening::Wake => self.feed(i, Input::Wake),
            Happening::Input(input) => self.feed(i, *input),
            Happening::Gossip { from, message, is_copy } => self.hear(i, from, &message, is_copy),
            Happening::Request { from, ask, bytes } => self.requested(i, from, ask, &bytes),
            Happening::Serve { to, ask, reply } => self.serve(i, to, ask, *reply),
            Happening::Answer { ask, from, answer } => self.answered(i, from, ask, *answer),
            Happening::Trained(order) => self.trained(i, &order),
            Happening::Mixed(order) => self.mixed(i, &order),
            Happening::Evaluated(step) => self.evaluated(i, step),
            Happening::Reserve(step) => self.reserved(i, step),
            Happening::Committed => self.committed(i),
            Happening::Mischief => self.make_mischief(i),
            Happening::Start(_)
            | Happening::Blow(_)
            | Happening::Mark
            | Happening::Demand
            | Happening::Convict(_)
            | Happening::Link(..)
            | Happening::Dead(..)
            | Happening::Measure => unreachable!("these happen to the world, not to a node"),
        }
    }

    /// Gives a peer an input and does what it asks for.
    pub(super) fn feed(&mut self, i: u32, input: Input) {
        let mut out = self.take_outbox();
        let node = &mut self.nodes[i as usize];
        let time = node.time(self.now);
        node.peer.handle(time, input, &mut out);
        while let Some(output) = out.pop() {
            self.perform(i, output);
        }
        self.give_outbox(out);
        self.plan_wake(i);
    }

    /// Plans the peer's next timer unless an earlier one is planned.
    fn plan_wake(&mut self, i: u32) {
        let node = &self.nodes[i as usize];
        let Some(local) = node.peer.next_wake() else { return };
        // Never in this very moment: other happenings of it go first.
        let at = node.clock.world(local).max(self.now + Span(1));
        if node.wake_at.is_none_or(|planned| at < planned || planned <= self.now) {
            self.nodes[i as usize].wake_at = Some(at);
            self.plan(i, at.since(self.now), Happening::Wake);
        }
    }

    /// Whether the timer that came is the one planned last, and the peer still wants it; a later one is planned anew.
    pub(super) fn is_due(&mut self, i: u32) -> bool {
        let now = self.now;
        let node = &mut self.nodes[i as usize];
        if node.wake_at != Some(now) {
            return false;
        }
        node.wake_at = None;
        let is_due = node.peer.next_wake().is_some_and(|local| local <= node.clock.shows(now));
        if !is_due {
            self.plan_wake(i);
        }
        is_due
    }

    fn perform(&mut self, i: u32, output: Output) {
        match output {
            Output::Publish(bytes) => self.publish(i, bytes.into()),
            Output::Judge { verdict, .. } => {
                if let (Verdict::Accept, Some((from, message))) = (verdict, self.judged.take()) {
                    self.pass_on(i, from, &message);
                }
            }
            Output::Ask { ask, peer, question, deadline } => self.ask(i, ask, &peer, question, deadline),
            Output::Cancel(ask) => {
                self.nodes[i as usize].asking.remove(&ask);
            }
            Output::Answer { inbound, reply } => {
                if let Some((to, ask)) = self.nodes[i as usize].asked.remove(&inbound) {
                    self.answer(i, to, ask, reply);
                }
            }
            Output::Dial { peer, .. } => {
                if let Some(j) = self.place(&peer) {
                    self.dial(i, j);
                }
            }
            Output::Hangup(peer) => {
                if let Some(j) = self.place(&peer) {
                    self.unlink(i, j);
                }
            }
            Output::Ban(peer) => {
                if let Some(j) = self.place(&peer) {
                    self.nodes[i as usize].refuses.insert(j);
                    self.unlink(i, j);
                }
            }
            Output::Unban(peer) => {
                if let Some(j) = self.place(&peer) {
                    self.nodes[i as usize].refuses.remove(&j);
                }
            }
            Output::Train(order) => {
                let taken = self.nodes[i as usize].ahead.taken(order.step);
                let after = self.training_time(i, order.plan.inner_steps - taken);
                self.plan(i, after, Happening::Trained(Box::new(order)));
            }
            // Never ordered here: these nodes report whole answers, their charter allows no queries, lists its members and
            // names no files.
            Output::MixAhead(_)
            | Output::Predict { .. }
            | Output::AnswerFile { .. }
            | Output::Redeem { .. } => {}
            Output::Mix(order) => {
                self.check_sources(i, &order);
                self.plan(i, MIXING, Happening::Mixed(Box::new(order)));
            }
            Output::Evaluate(step) => self.plan(i, EVALUATING, Happening::Evaluated(step)),
            Output::Reserve(step) => {
                let after = self.disk_time();
                self.plan(i, after, Happening::Reserve(step));
            }
            Output::Append(entry) => self.nodes[i as usize].disk.append(entry),
            Output::Commit(_) => self.commit(i),
            Output::Forget(hashes) => {
                let blocks = &mut self.nodes[i as usize].blocks;
                for hash in &hashes {
                    blocks.remove(hash);
                }
            }
            Output::Emit(event) => self.emitted(i, &event),
        }
    }

    /// How long a node trains for so many inner steps.
    pub(super) fn training_time(&mut self, i: u32, inner_steps: u32) -> Span {
        if inner_steps == 0 {
            return ENCODING;
        }
        let jitter = 0.95 + 0.1 * self.rng.unit_f64();
        let slowness = self.nodes[i as usize].slowness;
        Span((f64::from(inner_steps) * self.scenario.compute.inner_step_ms * 1e3 * slowness * jitter) as u64)
    }

    fn disk_time(&mut self) -> Span {
        Span(DISK.0 + self.rng.below(DISK.1 - DISK.0))
    }

    /// A node whose reservation cannot be made durable ends, as the real driver does; its keeper starts it again.
    fn reserved(&mut self, i: u32, step: OuterStep) {
        let disk = &mut self.nodes[i as usize].disk;
        if disk.is_full {
            self.kill(i, false);
            self.queue.push(self.now + RESTART, crate::sim::queue::NOBODY, 0, Happening::Start(i));
            return;
        }
        disk.reserved = disk.reserved.max(step.0);
        self.feed(i, Input::Reserved(step));
    }

    /// Begins a checkpoint unless one is under way.
    fn commit(&mut self, i: u32) {
        self.note_parameters(i as usize);
        let node = &mut self.nodes[i as usize];
        if node.disk.is_writing() {
            return;
        }
        let generation = Generation {
            snapshot: node.peer.snapshot(),
            agreed: node.agreed.as_slice().into(),
            velocity: node.outer.velocity().into(),
            said: ShardMemory::all_said(&node.memories).into(),
        };
        node.disk.begin(generation);
        let after = self.disk_time();
        self.plan(i, after, Happening::Committed);
    }

    fn committed(&mut self, i: u32) {
        self.nodes[i as usize].disk.finish();
        self.check_ledger(i);
    }

    fn emitted(&mut self, i: u32, event: &Event) {
        self.check_event(i, event);
        self.meter.saw(self.nodes[i as usize].is_honest(), event);
        match event {
            Event::Published { step, manifest, .. } => {
                let announce = Announce {
                    step: *step,
                    manifest: *manifest,
                    manifest_bytes: 0,
                    stage: self.nodes[i as usize].peer.progress().stage,
                };
                self.published(i, announce);
            }
            Event::Finished { .. } => {
                self.nodes[i as usize].is_finished = true;
                self.recount(i);
            }
            _ => {}
        }
    }

    /// Counts a node anew among those who are up, and among those who are not through, wherever they are.
    pub(super) fn recount(&mut self, i: u32) {
        let node = &mut self.nodes[i as usize];
        let is_waited_for = node.is_honest() && !node.is_gone && !node.is_finished;
        let counts = (node.counts(), is_waited_for);
        let before = std::mem::replace(&mut node.counted, counts);
        let meter = &mut self.meter;
        for (count, was, is) in
            [(&mut meter.honest_up, before.0, counts.0), (&mut meter.unfinished, before.1, counts.1)]
        {
            *count = *count + usize::from(is) - usize::from(was);
        }
    }

    /// The world's time in seconds.
    pub(super) fn seconds(&self) -> f64 {
        self.now.since(Time(0)).as_seconds()
    }
}
