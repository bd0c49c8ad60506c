//! How much each peer's update would help this node: the loss on a few local validation rows before and after mixing in
//! that update alone.
//!
//! Peers whose data are like ours lower it, others raise it; so the figures show who learns from whom. They stay at home
//! and decide nothing. Measured with the evaluation of an outer step, because each peer costs one look at those rows and
//! no mix should wait for it. It deliberately takes the own parameters as they were published, so that what is compared does not depend on the rule.

use std::collections::BTreeMap;
use std::ops::Range;

use protocol::exchange::pull::Source;
use protocol::id::{PeerId, ShardIndex};
use protocol::peer::output::MixOrder;

use crate::trainer::job::ShardBytes;
use crate::trainer::learner::{Learner, LearnerError};

/// Validation rows the loss is taken on.
const ROWS_MAX: usize = 64;

/// What is held from the update to the evaluation of an outer step that is measured.
#[derive(Default)]
pub(super) struct Affinity {
    /// Parameters as published; empty where nothing is measured.
    own: Vec<f32>,
    /// Whose shards were mixed.
    sources: Vec<(ShardIndex, Vec<Source>)>,
    /// Their bytes.
    came: ShardBytes,
}

impl Affinity {
    /// An update of these parameters was encoded in an outer step that is measured or not.
    pub(super) fn begin(&mut self, is_due: bool, published: &[f32]) {
        *self = Self::default();
        if is_due {
            self.own = published.to_vec();
        }
    }

    /// Keeps the bytes of what is mixed.
    pub(super) fn keep(&mut self, bytes: &ShardBytes) {
        if !self.own.is_empty() {
            self.came.extend(bytes.iter().map(|(place, block)| (*place, block.clone())));
        }
    }

    /// The outer step is mixed.
    pub(super) fn mixed(&mut self, order: &MixOrder, bytes: &ShardBytes) {
        self.keep(bytes);
        if !self.own.is_empty() {
            self.sources.clone_from(&order.sources);
        }
    }

    /// By how much the loss falls, for each peer, when every shard it sent is replaced by the mean of ours and its own.
    /// Leaves the learner with other parameters. `None` where nothing is measured, or the learner has no loss to show.
    ///
    /// # Errors
    /// The learner does not take parameters or fails on the rows.
    pub(super) fn measure(
        &mut self,
        learner: &mut dyn Learner,
        genesis: &[f32],
        cuts: &[Range<usize>],
    ) -> Result<Option<Vec<(PeerId, f64)>>, LearnerError> {
        let Self { own, sources, came } = std::mem::take(self);
        if own.is_empty() {
            return Ok(None);
        }
        let Some(before) = learner.glance(&own, ROWS_MAX)? else { return Ok(None) };
        let mut of_peer: BTreeMap<PeerId, Vec<(usize, _)>> = BTreeMap::new();
        for (shard, sources) in &sources {
            for source in sources {
                if let Some(block) = came.get(&(*shard, source.hash)) {
                    of_peer.entry(source.peer).or_default().push((shard.0 as usize, (source.codec, block)));
                }
            }
        }
        let mut found = Vec::new();
        let (mut mixed, mut near, mut theirs) = (own.clone(), Vec::new(), Vec::new());
        for (peer, shards) in of_peer {
            mixed.copy_from_slice(&own);
            for (shard, (codec, block)) in shards {
                let Some(range) = cuts.get(shard).cloned() else { continue };
                let (own, genesis) = (&own[range.clone()], &genesis[range.clone()]);
                near.clear();
                near.extend(own.iter().zip(genesis).map(|(own, genesis)| own - genesis));
                theirs.resize(range.len(), 0.0);
                // What does not decode was refused where it was mixed.
                if codec.decode_near(block, &near, &mut theirs).is_ok() {
                    for ((x, near), theirs) in mixed[range].iter_mut().zip(&near).zip(&theirs) {
                        *x += (theirs - near) / 2.0;
                    }
                }
            }
            if let Some(after) = learner.glance(&mixed, ROWS_MAX)?
                && (before - after).is_finite()
            {
                found.push((peer, before - after));
            }
        }
        Ok(Some(found))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::trainer::learner::{Judged, Learned, Lesson};
    use protocol::id::{Hash, OuterStep};
    use protocol::peer::output::MixHow;
    use protocol::wire::choice::{Codec, Rule};

    /// Its loss is the distance of the first parameter from one.
    struct Wishes;

    impl Learner for Wishes {
        fn parameters(&self) -> usize {
            4
        }
        fn read(&self, _: &mut [f32]) {}
        fn model(&self) -> Option<Vec<f32>> {
            None
        }
        fn write(&mut self, _: &[f32]) -> Result<(), LearnerError> {
            Ok(())
        }
        fn train(&mut self, _: Lesson, _: &dyn Fn() -> bool) -> Result<Learned, LearnerError> {
            unreachable!("nothing is trained here")
        }
        fn glance(&mut self, flat: &[f32], rows_max: usize) -> Result<Option<f64>, LearnerError> {
            assert_eq!((flat.len(), rows_max), (4, ROWS_MAX));
            Ok(Some(f64::from((flat[0] - 1.0).abs())))
        }
        fn evaluate(&mut self) -> Result<Judged, LearnerError> {
            unreachable!("nothing is evaluated here")
        }
        fn export(&self, _: &Path, _: OuterStep) -> Result<(), LearnerError> {
            unreachable!("nothing is exported here")
        }
        fn state(&self) -> Vec<(String, Vec<u8>)> {
            Vec::new()
        }
        fn restore(&mut self, _: &[(String, Vec<u8>)]) -> Result<(), LearnerError> {
            Ok(())
        }
    }

    fn peer(i: u8) -> PeerId {
        PeerId([i; 32])
    }

    /// An order with one shard of two values from each peer for each of the places, and its bytes.
    fn pulled(shards: &[(u32, u8, [f32; 2])]) -> (MixOrder, ShardBytes) {
        let mut bytes = ShardBytes::new();
        let mut sources: Vec<(ShardIndex, Vec<Source>)> =
            (0..2).map(|i| (ShardIndex(i), Vec::new())).collect();
        for (number, (shard, from, values)) in (1..).zip(shards) {
            let hash = Hash([number; 32]);
            let block: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
            sources[*shard as usize].1.push(Source {
                peer: peer(*from),
                step: OuterStep(1),
                hash,
                codec: Codec::F32,
            });
            bytes.insert((ShardIndex(*shard), hash), block.into());
        }
        let how = MixHow::Step { rule: Rule::Mean, byzantine: 0, is_settling: false };
        (MixOrder { step: OuterStep(1), sources, how }, bytes)
    }

    #[test]
    fn a_peer_that_brings_us_nearer_to_our_own_data_has_a_positive_affinity() {
        let genesis = [0.5, 0.0, 0.0, 0.0];
        let own = [0.5, 0.0, 2.0, 0.0];
        // Their deltas: to .9, to .1, and nothing of the first shard.
        let (order, bytes) =
            pulled(&[(0, 1, [0.4, 9.0]), (0, 2, [-0.4, 0.0]), (1, 3, [5.0, 5.0]), (1, 1, [0.0, 0.0])]);
        let cuts = [0..2, 2..4];
        let mut affinity = Affinity::default();
        affinity.begin(true, &own);
        // One shard came early, the others with the order; bytes that are in neither count for nobody.
        let (early, mut late): (ShardBytes, ShardBytes) =
            bytes.into_iter().partition(|((_, hash), _)| *hash == Hash([1; 32]));
        affinity.keep(&early);
        late.remove(&(ShardIndex(1), Hash([4; 32])));
        affinity.mixed(&order, &late);
        let found = affinity.measure(&mut Wishes, &genesis, &cuts).unwrap().unwrap();
        let rounded: Vec<(PeerId, i32)> =
            found.iter().map(|(p, x)| (*p, (x * 100.0).round() as i32)).collect();
        assert_eq!(rounded, [(peer(1), 20), (peer(2), -20), (peer(3), 0)]);
        assert!(affinity.measure(&mut Wishes, &genesis, &cuts).unwrap().is_none(), "once");
        affinity.begin(false, &own);
        affinity.mixed(&order, &late);
        assert!(affinity.measure(&mut Wishes, &genesis, &cuts).unwrap().is_none());
    }
}
