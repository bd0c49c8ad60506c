//! The work of a node's trainer thread: training, encoding, mixing, evaluating.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::id::{OuterStep, PeerId};
use crate::limits::SKETCH_LEN;
use crate::peer::input::{Evaluated, Input, Mixed, Trained, Update};
use crate::peer::memory::ShardMemory;
use crate::peer::output::{MixHow, MixOrder, TrainOrder};
use crate::peer::update::{EncodeScratch, ShardMix, ShardState, encode_shard, mix_shard};
use crate::sim::ahead::Ahead;
use crate::sim::attack::Attack;
use crate::sim::forgery::poison;
use crate::sim::learner::lesson::Lesson;
use crate::sim::world::World;
use crate::stage::plan::Plan;
use crate::time::Span;
use crate::wire::choice::Codec;

/// An update as it is served: what the manifest says, and the bytes.
pub(super) struct Made {
    pub(super) update: Update,
    pub(super) shards: Vec<Arc<[u8]>>,
}

impl World {
    /// Training is through.
    pub(super) fn trained(&mut self, i: u32, order: &TrainOrder) {
        let node = &mut self.nodes[i as usize];
        let attack = node.lies.as_ref().map(|lies| lies.attack);
        let mut working = std::mem::take(&mut node.working);
        working.copy_from_slice(&node.agreed);
        let taken = node.ahead.resume(order.step, &mut working);
        let inner_steps = order.plan.inner_steps - taken;
        let loss = self.lesson(i, order.step, order.plan, taken, inner_steps, &mut working);
        self.nodes[i as usize].working = working;
        let Some(loss) = loss else { return };
        self.check_finite(i, "training");
        let said = self.lie(i);
        let mut memories = std::mem::take(&mut self.nodes[i as usize].memories);
        let said = said.as_deref().unwrap_or(&self.nodes[i as usize].working);
        let mut made = self.encode(i, order.step, said, order.plan.codec, 0, &mut memories);
        if attack == Some(Attack::NotFinite) {
            poison(&mut made.update, &mut made.shards, order.plan.codec);
        }
        let node = &mut self.nodes[i as usize];
        node.memories = memories;
        node.ahead.begin(order.next, self.now);
        let addresses = made.update.shards.iter().map(|(hash, _)| *hash);
        node.blocks.extend(addresses.zip(made.shards));
        let trained = Trained {
            step: order.step,
            // What a free rider says of its work is not true.
            inner_steps: order.plan.inner_steps,
            dropped: 0,
            samples: u64::from(order.plan.inner_steps) * u64::from(self.scenario.learner.batch),
            loss,
            busy: Span::ZERO,
            encoding: Span::ZERO,
            update: made.update,
        };
        self.feed(i, Input::Trained(trained));
    }

    /// Trains parameters; the mean loss, or nothing when the learner cannot go on.
    pub(super) fn lesson(
        &mut self,
        i: u32,
        step: OuterStep,
        plan: Plan,
        taken: u32,
        inner_steps: u32,
        parameters: &mut [f32],
    ) -> Option<f64> {
        let attack = self.nodes[i as usize].lies.as_ref().map(|lies| lies.attack);
        let lesson = Lesson {
            peer: i,
            step: step.0,
            inner_steps: if attack == Some(Attack::FreeRider) { 0 } else { inner_steps },
            taken,
            inner_start: plan.inner_start + u64::from(taken),
            inner_total: plan.inner_total,
            flips_labels: attack == Some(Attack::LabelFlip),
        };
        self.learner
            .train(lesson, parameters)
            .map_err(|error| self.violated("learner", Some(i), error.to_string()))
            .ok()
    }

    /// Encodes parameters as its `memories` of the shards ask; `version` tells updates for one step apart.
    pub(super) fn encode(
        &self,
        i: u32,
        step: OuterStep,
        parameters: &[f32],
        codec: Codec,
        version: u64,
        memories: &mut [ShardMemory],
    ) -> Made {
        let noise =
            self.seed.fork("rounding").fork_index(i.into()).fork_index(u64::from(step.0) << 8 | version);
        let (mut shards, mut bytes, mut norms) = (Vec::new(), Vec::new(), Vec::new());
        let mut sketch = vec![0.0; SKETCH_LEN];
        let mut scratch = EncodeScratch::default();
        for (k, (range, memory)) in self.cuts.iter().zip(memories).enumerate() {
            let (genesis, range) = (&self.genesis, range.clone());
            let noise = noise.fork_index(k as u64);
            let sketcher = &self.sketcher;
            let shard =
                encode_shard(parameters, genesis, range, codec, &noise, memory, sketcher, &mut scratch)
                    .expect("parameters were checked to be finite, lies are kept finite");
            shards.push((shard.hash, shard.bytes.len() as u32));
            norms.push(shard.norm);
            sketch.iter_mut().zip(&shard.sketch).for_each(|(sum, part)| *sum += part);
            bytes.push(shard.bytes);
        }
        Made { update: Update { shards, norms, sketch }, shards: bytes }
    }

    /// Mixing is through.
    pub(super) fn mixed(&mut self, i: u32, order: &MixOrder) {
        self.train_ahead(i, order);
        let found = self.mix_shards(i, order);
        self.check_weights(i, order, &found);
        for (mix, range) in found.iter().zip(&self.cuts) {
            self.meter.values += (mix.weights.len() * range.len()) as u64;
            self.meter.far += mix.far as u64;
        }
        let node = &mut self.nodes[i as usize];
        match order.how {
            MixHow::Step { is_settling: false, .. } => {
                node.outer.step(0..node.working.len(), &mut node.agreed, &node.working);
            }
            MixHow::Step { .. } | MixHow::Join => {
                node.agreed.copy_from_slice(&node.working);
                node.outer.rest();
            }
        }
        node.received.clear();
        self.check_finite(i, "mixing");
        let result = summary(order.step, found);
        self.mixed_with(i, order, &result.weights);
        self.feed(i, Input::Mixed(result));
    }

    /// Trains what fitted in until this mix, from the parameters that were published and are still the working ones.
    pub(super) fn train_ahead(&mut self, i: u32, order: &MixOrder) {
        let Ahead::Training(plan, since) = std::mem::take(&mut self.nodes[i as usize].ahead) else { return };
        // A joiner takes over the others' parameters; its own training is not carried over to them.
        if matches!(order.how, MixHow::Join) {
            return;
        }
        let whole = self.training_time(i, plan.inner_steps);
        let share = self.now.since(since).as_seconds() / whole.as_seconds().max(1e-9);
        let taken = (share.min(1.0) * f64::from(plan.inner_steps)) as u32;
        if taken == 0 {
            return;
        }
        let mut moved = self.nodes[i as usize].working.clone();
        if self.lesson(i, order.step.next(), plan, 0, taken, &mut moved).is_none() {
            return;
        }
        let node = &mut self.nodes[i as usize];
        moved.iter_mut().zip(&node.working).for_each(|(x, published)| *x -= published);
        node.ahead = Ahead::Taken(order.step.next(), taken, moved);
    }

    /// Mixes every shard in place of the working parameters.
    fn mix_shards(&mut self, i: u32, order: &MixOrder) -> Vec<ShardMix> {
        let node = &mut self.nodes[i as usize];
        if matches!(order.how, MixHow::Join) {
            node.working.copy_from_slice(&node.agreed);
        }
        let genesis = &self.genesis;
        let received = &node.received;
        let mut rest = node.working.as_mut_slice();
        let mut found = Vec::with_capacity(self.cuts.len());
        for (((_, sources), range), memory) in order.sources.iter().zip(&self.cuts).zip(&mut node.memories) {
            let (working, others) = rest.split_at_mut(range.len());
            rest = others;
            let state = ShardState { genesis: &genesis[range.clone()], working, gate: &mut memory.gate };
            let find = |hash: &_| received.get(hash).map(AsRef::as_ref);
            found.push(mix_shard(sources, find, order.how, state, &mut self.mix_scratch));
        }
        found
    }

    /// Evaluation is through.
    pub(super) fn evaluated(&mut self, i: u32, step: OuterStep) {
        let (score, loss) = match self.learner.score(&self.nodes[i as usize].agreed) {
            Ok(judged) => judged,
            Err(error) => return self.violated("learner", Some(i), error.to_string()),
        };
        let evaluated = Evaluated {
            step,
            metric: "score".to_owned(),
            score: score as f32,
            loss: loss as f32,
            samples: 1,
            busy: Span::ZERO,
        };
        self.feed(i, Input::Evaluated(evaluated));
    }
}

/// What the trainer reports of a mix.
fn summary(step: OuterStep, found: Vec<ShardMix>) -> Mixed {
    let mut weights: BTreeMap<PeerId, f32> = BTreeMap::new();
    let mut refused = Vec::new();
    let (mut square, mut count, mut own) = (0.0, 0usize, 0.0);
    let shards = found.len().max(1);
    for shard in found {
        for (peer, weight) in shard.weights {
            *weights.entry(peer).or_default() += weight / shards as f32;
        }
        refused.extend(shard.refused);
        count += shard.distances.len();
        square += shard.distances.iter().sum::<f64>();
        own += shard.own_square;
    }
    refused.sort_unstable();
    refused.dedup();
    let mean = if count == 0 { 0.0 } else { square / count as f64 * shards as f64 };
    Mixed {
        step,
        weights: weights.into_iter().collect(),
        refused,
        distance: if own > 0.0 { (mean / own).sqrt() } else { 0.0 },
        busy: Span::ZERO,
    }
}
