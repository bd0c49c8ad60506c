//! The outer step: train, publish, wait, pull, mix, evaluate, and again.

use std::collections::BTreeMap;

use crate::codec::MANIFEST_BYTES_MAX;
use crate::crypto::hash::content_hash;
use crate::crypto::merkle;
use crate::exchange::pull::{Candidate, Next, Pull};
use crate::exchange::serve::Served;
use crate::id::{AskId, Hash, OuterStep, PeerId, ShardIndex};
use crate::ledger::record::{Contribution, Record};
use crate::limits::{LINGER_MAX, NEWS_EVERY, SETTLE_PATIENCE_MIN};
use crate::peer::event::Event;
use crate::peer::input::{Evaluated, Mixed, Trained};
use crate::peer::machine::{About, Peer, Phase};
use crate::peer::output::{MixHow, MixOrder, Outbox, Output, Question, TrainOrder, shard_bytes};
use crate::roster::sample::{Terms, candidates};
use crate::roster::table::{Announced, Entry};
use crate::stage::plan::{codec_at, overlapped, plan};
use crate::time::{Span, Time};
use crate::wire::announce::{Announce, Card};
use crate::wire::choice::Stage;
use crate::wire::manifest::{Expected, Manifest, VERSION};
use crate::wire::message::Body;
use crate::wire::open::Standing;

impl Peer {
    /// Starts the next outer step, joins when far behind, or ends the run.
    pub(super) fn begin_step(&mut self, now: Time, out: &mut Outbox) {
        if self.is_paused {
            self.phase = Phase::Idle;
            return;
        }
        if let Some(others) = self.far_ahead() {
            self.begin_join(others, now, out);
            return;
        }
        self.train_next(now, out);
    }

    /// Orders the training of the next outer step, or ends the run.
    fn train_next(&mut self, now: Time, out: &mut Outbox) {
        // A step that may have been signed before a crash is not signed again: two contents would be equivocation.
        let step = self.step.max(self.reserved).next();
        let plan = plan(self.book.charter(), step);
        self.enter(plan.stage, step, out);
        if plan.stage == Stage::Done {
            self.finish(now, out);
            return;
        }
        if self.linked_members(self.today(now)).next().is_none() {
            out.emit(Event::Alone { step });
        }
        self.phase = Phase::Training { step, done: None };
        out.push(Output::Reserve(step));
        let seconds_max = self.book.charter().schedule.outer_seconds_max;
        let next = overlapped(self.book.charter(), step);
        out.push(Output::Train(TrainOrder { step, plan, seconds_max, next }));
    }

    fn enter(&mut self, stage: Stage, step: OuterStep, out: &mut Outbox) {
        if stage != self.stage || step.0 == 1 {
            self.record(Record::Stage { step, stage }, out);
            out.emit(Event::Stage { stage, step });
        }
        self.stage = stage;
    }

    /// The others' median step, when it is further ahead than updates may be old.
    fn far_ahead(&self) -> Option<OuterStep> {
        let mut steps: Vec<OuterStep> =
            self.table.linked().filter(|(_, e)| e.newest().is_some()).map(|(_, e)| e.step).collect();
        steps.sort_unstable();
        let median = *steps.get(steps.len() / 2)?;
        (median.since(self.step) > self.book.charter().mixing.staleness_max).then_some(median)
    }

    fn begin_join(&mut self, target: OuterStep, now: Time, out: &mut Outbox) {
        self.enter(Stage::Join, self.step, out);
        let candidates = self.candidates(target, true, now);
        let count = 2 * self.book.charter().mixing.byzantine as usize + 3;
        self.start_pull(target, &candidates, count, true, now, now, out);
    }

    pub(super) fn trained(&mut self, trained: Trained, now: Time, out: &mut Outbox) {
        let Phase::Training { step, done } = &mut self.phase else { return };
        if trained.step != *step {
            return;
        }
        out.emit(Event::Trained {
            step: trained.step,
            inner_steps: trained.inner_steps,
            dropped: trained.dropped,
            samples: trained.samples,
            loss: trained.loss,
            seconds: trained.busy.as_seconds(),
            encode_seconds: trained.encoding.as_seconds(),
        });
        *done = Some(trained);
        self.try_publish(now, out);
    }

    /// Publishes once training is through and the step's reservation is durable.
    pub(super) fn try_publish(&mut self, now: Time, out: &mut Outbox) {
        let reserved = self.reserved;
        let Phase::Training { step, done } = &mut self.phase else { return };
        if *step > reserved || done.is_none() {
            return;
        }
        let step = *step;
        let Some(trained) = done.take() else { return };
        let least = self.book.charter().exchange.inner_steps_min;
        // A charter that allows no shards has predictions travel in their place: it must allow one of both.
        if self.stage == Stage::Settle || trained.inner_steps >= least {
            self.publish(&trained, out);
        }
        self.phase = Phase::Waiting { step, since: now, progress: now, news: now };
        self.try_pull(now, out);
    }

    fn publish(&mut self, trained: &Trained, out: &mut Outbox) {
        let charter = self.book.charter();
        let shards: Vec<_> = trained.update.shards.iter().map(|(hash, _)| *hash).collect();
        let manifest = Manifest {
            version: VERSION,
            run: self.config.charter.run(),
            step: trained.step,
            parent: self.parent,
            stage: self.stage,
            codec: plan(charter, trained.step).codec,
            inner_steps: trained.inner_steps,
            samples: trained.samples,
            root: merkle::root(&shards),
            shards,
            norms: trained.update.norms.clone(),
            sketch: trained.update.sketch.clone(),
            ledger: if charter.audit.ledger_head { self.ledger.hash } else { Hash::default() },
            privacy: None,
        };
        let sealed = manifest.seal(&self.keys);
        let bytes = sealed.to_bytes();
        assert!(bytes.len() <= MANIFEST_BYTES_MAX, "limits.rs asserts that the largest manifest fits");
        let hash = content_hash(&bytes);
        let announce = Announce {
            step: trained.step,
            manifest: hash,
            manifest_bytes: bytes.len() as u32,
            stage: self.stage,
        };
        let payload: u64 = trained.update.shards.iter().map(|(_, size)| u64::from(*size)).sum();
        let total = payload + bytes.len() as u64;
        let forgotten = self.serve.add(Served {
            manifest: hash,
            bytes: bytes.into(),
            shards: trained.update.shards.clone(),
        });
        if !forgotten.is_empty() {
            out.push(Output::Forget(forgotten));
        }
        self.parent = hash;
        self.own_news[1] = Some(self.say(Body::Announce(announce), out));
        self.record(Record::Published { step: trained.step, manifest: hash }, out);
        out.emit(Event::Published { step: trained.step, manifest: hash, bytes: total });
    }

    /// How long to wait at this step for peers that make no progress.
    fn patience(&self, step: OuterStep) -> Span {
        let charter = self.book.charter();
        let patience = Span::millis(charter.schedule.patience_ms.into());
        match plan(charter, step).stage {
            Stage::Settle => patience.max(SETTLE_PATIENCE_MIN),
            _ => patience,
        }
    }

    /// When patience with peers at earlier steps ends: while training it is counted from the start of the wait, while
    /// settling or in step from the others' last progress.
    pub(super) fn waits_until(&self, step: OuterStep, since: Time, progress: Time) -> Time {
        let charter = self.book.charter();
        let is_bounded = plan(charter, step).stage == Stage::Train && !charter.schedule.synchronous;
        let counted_from = if is_bounded { since } else { progress };
        counted_from + self.patience(step)
    }

    /// Starts the pull when nobody worth waiting for is at an earlier step, or patience is over.
    pub(super) fn try_pull(&mut self, now: Time, out: &mut Outbox) {
        let Phase::Waiting { step, since, progress, news } = &self.phase else { return };
        let (step, since, progress, news) = (*step, *since, *progress, *news);
        if now < self.waits_until(step, since, progress) && self.late(step, now).next().is_some() {
            if now >= news + NEWS_EVERY {
                let late: Vec<PeerId> = self.late(step, now).collect();
                if let Phase::Waiting { news, .. } = &mut self.phase {
                    *news = now;
                }
                late.iter().for_each(|peer| self.ask_news(*peer, now, out));
            }
            return;
        }
        let late: Vec<PeerId> = self.late(step, now).collect();
        self.laggards.extend(late);
        let is_exact = self.book.charter().schedule.synchronous;
        let candidates = self.candidates(step, false, now);
        let count = if is_exact { candidates.len() } else { self.book.charter().mixing.pulls as usize };
        self.start_pull(step, &candidates, count, false, since, now, out);
    }

    /// Linked members that have not yet announced this step and showed progress lately.
    fn late(&self, step: OuterStep, now: Time) -> impl Iterator<Item = PeerId> {
        let today = self.today(now);
        let is_exact = self.book.charter().schedule.synchronous;
        let is_late = move |peer: &PeerId, e: &Entry| {
            let is_there = if is_exact {
                e.announced_at(step).is_some()
            } else {
                e.newest().is_some_and(|a| a.announce.step >= step)
            };
            // A peer that is through, gone or joining publishes nothing to wait for.
            let is_coming =
                !e.has_left && e.stage != Stage::Done && (e.stage != Stage::Join || e.name.is_empty());
            !is_there
                && is_coming
                && !self.laggards.contains(peer)
                && e.score.is_eligible(now)
                && self.book.standing(peer, today) == Standing::Member
        };
        self.table.linked().filter(move |(p, e)| is_late(p, e)).map(|(p, _)| *p)
    }

    /// Updates that may be pulled, by peer.
    pub(super) fn candidates(
        &self,
        step: OuterStep,
        is_join: bool,
        now: Time,
    ) -> BTreeMap<PeerId, Candidate> {
        let charter = self.book.charter();
        let terms = Terms {
            step,
            staleness_max: charter.mixing.staleness_max,
            is_exact: charter.schedule.synchronous && !is_join,
        };
        let today = self.today(now);
        // Nobody looks at organizations where they are not bounded.
        let is_bounded = charter.mixing.byzantine > 0;
        let organization = |peer: &PeerId| match self.book.organization(peer) {
            Some(name) if is_bounded => content_hash(name.as_bytes()),
            _ => Hash::default(),
        };
        candidates(&self.table, &terms, now)
            .filter(|(peer, _)| self.book.standing(peer, today) == Standing::Member)
            .filter_map(|(peer, announced)| {
                let announce = if is_join { self.readable(&peer)? } else { announced.announce };
                Some((peer, Candidate { announce, organization: organization(&peer) }))
            })
            .collect()
    }

    /// The newest update of a peer that can be read without parameters near its own.
    fn readable(&self, peer: &PeerId) -> Option<Announce> {
        let charter = self.book.charter();
        let announced = &self.table.known(peer)?.announced;
        let is_readable = |a: &&Announced| !codec_at(charter, a.announce.step).is_relative();
        announced.iter().rev().find(is_readable).map(|a| a.announce)
    }

    #[allow(clippy::too_many_arguments)] // one call site per kind of pull; a struct would only rename the same values
    fn start_pull(
        &mut self,
        step: OuterStep,
        candidates: &BTreeMap<PeerId, Candidate>,
        count: usize,
        is_join: bool,
        waited_since: Time,
        now: Time,
        out: &mut Outbox,
    ) {
        let is_bounded = self.book.charter().mixing.byzantine > 0;
        let shards = self.shard_counts.len();
        let pull = Pull::new(step, candidates, shards, count, is_bounded, &mut self.sampling);
        out.emit(Event::Pulling {
            step,
            peers: pull.peers() as u32,
            waited_seconds: now.since(waited_since).as_seconds(),
        });
        self.phase = Phase::Pulling { pull, since: now, is_join };
        self.drive_pull(now, out);
    }

    /// Asks what can be asked; ends the pull when nothing is left.
    pub(super) fn drive_pull(&mut self, now: Time, out: &mut Outbox) {
        let Phase::Pulling { pull, .. } = &mut self.phase else { return };
        let (run, asking) = (self.config.charter.run(), pull.questions());
        let parameters = self.book.charter().exchanged();
        for (peer, next) in asking {
            let question = match next {
                Next::Manifest(a) => Question::Manifest {
                    expected: Expected { run, peer, step: a.step, hash: a.manifest, parameters },
                    bytes: a.manifest_bytes,
                },
                Next::Shards { manifest, codec, shards } => {
                    let size = |i: u32| shard_bytes(codec, self.shard_counts[i as usize]);
                    let shards = shards.into_iter().map(|(i, hash)| (i, hash, size(i))).collect();
                    Question::Shards { manifest, shards }
                }
            };
            let (ask, deadline) = self.new_ask(peer, About::Pull, now);
            if let Phase::Pulling { pull, .. } = &mut self.phase {
                pull.asked(&peer, ask);
            }
            out.push(Output::Ask { ask, peer, question, deadline });
        }
        if matches!(&self.phase, Phase::Pulling { pull, .. } if pull.is_over()) {
            self.order_mix(now, out);
        }
    }

    /// One shard of an answer came: if it was the last for its place, that place can be mixed ahead.
    pub(super) fn arrived(&mut self, ask: AskId, shard: u32, out: &mut Outbox) {
        // Half a join is thrown away, so nothing of it is mixed before the end.
        let Phase::Pulling { pull, is_join: false, .. } = &mut self.phase else { return };
        let step = pull.step();
        let Some(sources) = pull.arrived(ask, shard) else { return };
        let (how, sources) = (self.mix_how(step), vec![(ShardIndex(shard), sources)]);
        out.push(Output::MixAhead(MixOrder { step, sources, how }));
    }

    fn mix_how(&self, step: OuterStep) -> MixHow {
        let charter = self.book.charter();
        let is_settling = plan(charter, step).stage == Stage::Settle;
        MixHow::Step { rule: charter.mixing.rule, byzantine: charter.mixing.byzantine, is_settling }
    }

    fn order_mix(&mut self, now: Time, out: &mut Outbox) {
        let Phase::Pulling { pull, since, is_join } = &self.phase else { return };
        let (step, is_join, pull_time) = (pull.step(), *is_join, now.since(*since));
        let sources = pull.sources();
        let mut parts = Vec::new();
        for (manifest, shards) in pull.taken() {
            let their_step = manifest.manifest.step;
            let shards = shards as u32;
            out.emit(Event::Pulled {
                step,
                peer: manifest.peer,
                their_step,
                staleness: step.since(their_step),
                shards,
            });
            parts.push(Contribution {
                peer: manifest.peer,
                step: their_step,
                manifest: manifest.hash,
                shards,
                weight: 0.0,
            });
        }
        let shards = sources.iter().filter(|(_, from)| !from.is_empty()).count() as u32;
        if is_join && (shards as usize) < sources.len() {
            // Half a model is no model: train on from where we are and try again after the next step.
            self.laggards.clear();
            self.stage = Stage::Train;
            self.train_next(now, out);
            return;
        }
        let how = if is_join { MixHow::Join } else { self.mix_how(step) };
        self.phase = Phase::Mixing { step, parts, shards, pull_time, is_join };
        out.push(Output::Mix(MixOrder { step, sources, how }));
    }

    pub(super) fn mixed(&mut self, mixed: &Mixed, now: Time, out: &mut Outbox) {
        let Phase::Mixing { step, parts, shards, pull_time, is_join } = &mut self.phase else { return };
        if mixed.step != *step {
            return;
        }
        let (step, shards, pull_time, is_join) = (*step, *shards, *pull_time, *is_join);
        let mut parts = std::mem::take(parts);
        for part in &mut parts {
            let weight = mixed.weights.iter().find(|(peer, _)| *peer == part.peer);
            part.weight = weight.map_or(0.0, |(_, w)| *w);
        }
        for (peer, offence) in &mixed.refused {
            self.record(Record::Refused { step, peer: *peer, offence: *offence }, out);
            self.offended(*peer, *offence, now, out);
        }
        let peers = parts.len() as u32;
        let from = std::mem::replace(&mut self.step, step);
        self.record(Record::Mixed { step, from: parts, shards }, out);
        if is_join {
            self.stage = Stage::Train;
            out.emit(Event::Joined { from, step, peers });
        } else {
            out.emit(Event::Mixed {
                step,
                peers,
                distance: mixed.distance,
                pull_seconds: pull_time.as_seconds(),
                mix_seconds: mixed.busy.as_seconds(),
            });
        }
        out.push(Output::Commit(step));
        if plan(self.book.charter(), step).evaluates && !is_join {
            self.phase = Phase::Evaluating;
            out.push(Output::Evaluate(step));
        } else {
            self.begin_step(now, out);
        }
    }

    pub(super) fn evaluated(&mut self, e: &Evaluated, now: Time, out: &mut Outbox) {
        if !matches!(self.phase, Phase::Evaluating) {
            return;
        }
        self.score_last = Some(e.score);
        self.evaluated = Some(e.step);
        let (step, metric, score, loss, samples) = (e.step, e.metric.clone(), e.score, e.loss, e.samples);
        self.record(Record::Evaluated { step, metric: metric.clone(), score, loss }, out);
        if self.book.charter().audit.cards {
            self.say(Body::Card(Card { step, metric: metric.clone(), score, loss, samples }), out);
        }
        out.emit(Event::Evaluated { step, metric, score, loss, samples, seconds: e.busy.as_seconds() });
        self.begin_step(now, out);
    }

    fn finish(&mut self, now: Time, out: &mut Outbox) {
        // The last step may have been skipped after a crash; the final evaluation still belongs to the run.
        if self.evaluated != Some(self.step) && self.step.0 > 0 {
            self.evaluated = Some(self.step);
            self.phase = Phase::Evaluating;
            out.push(Output::Evaluate(self.step));
            return;
        }
        self.phase = Phase::Through;
        self.is_finished = true;
        self.linger_until = Some(now + LINGER_MAX);
        out.emit(Event::Finished { step: self.step });
        out.push(Output::Commit(self.step));
        self.say_hello(now, out);
    }

    /// Through, and every linked member is through as well: nobody needs us any more.
    pub(super) fn try_drain(&mut self, now: Time, out: &mut Outbox) {
        if self.is_drained || !matches!(self.phase, Phase::Through) {
            return;
        }
        let is_through = |(_, e): (&PeerId, &Entry)| e.stage == Stage::Done || e.has_left;
        let all_through = self.linked_members(self.today(now)).all(is_through);
        if all_through || self.linger_until.is_some_and(|t| now >= t) {
            self.is_drained = true;
            out.emit(Event::Drained);
        }
    }
}
