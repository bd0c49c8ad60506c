//! From parameters to an encoded shard and back: the arithmetic around codecs, gate and rule, one shard at a time.
//!
//! It exists so that the node's trainer and the simulator turn training into updates and updates into a mix with the
//! same bits. It deliberately holds no threads and no store: who calls it decides what runs beside what, and where bytes
//! are kept.

use std::ops::Range;
use std::sync::Arc;

use crate::crypto::hash::content_hash;
use crate::exchange::pull::Source;
use crate::id::{Hash, PeerId};
use crate::limits::SKETCH_LEN;
use crate::mixing::join;
use crate::mixing::plausible::Gate;
use crate::mixing::rule::mix;
use crate::mixing::streamed::{self, CodedShard, Measured};
use crate::peer::memory::ShardMemory;
use crate::peer::output::MixHow;
use crate::rng::Seed;
use crate::shard::codec::Known;
use crate::shard::distance::{distance_squared, norm_squared};
use crate::shard::sketch::Sketcher;
use crate::wire::choice::{Codec, Rule};
use crate::wire::offence::Offence;

/// Elements measured at a time; they stay in the first-level cache.
const PIECE: usize = 8_192;

/// What encoding one shard yields.
#[derive(Clone, Debug)]
pub struct EncodedShard {
    /// Address of the bytes.
    pub hash: Hash,
    /// The bytes that are served.
    pub bytes: Arc<[u8]>,
    /// Norm of the shard's delta.
    pub norm: f32,
    /// The shard's part of the update's sketch, `SKETCH_LEN` values.
    pub sketch: Vec<f32>,
}

/// Buffers used from shard to shard.
#[derive(Debug, Default)]
pub struct EncodeScratch {
    delta: Vec<f32>,
    bytes: Vec<u8>,
    told: Vec<f32>,
}

/// Encodes the delta from `genesis` to `working` (whole vectors) in `range`; `None` when a value is not finite.
///
/// `noise` and `memory` must be this shard's own. The memory knows how far others are and what was said before, which
/// relative codecs need, and notes what is said now.
#[allow(clippy::too_many_arguments)] // what a shard is made of; callers hold each of them apart
pub fn encode_shard(
    working: &[f32],
    genesis: &[f32],
    range: Range<usize>,
    codec: Codec,
    noise: &Seed,
    memory: &mut ShardMemory,
    sketcher: &Sketcher,
    scratch: &mut EncodeScratch,
) -> Option<EncodedShard> {
    let EncodeScratch { delta, bytes, told } = scratch;
    delta.clear();
    let (mut sketch, mut square) = (vec![0.0; SKETCH_LEN], 0.0);
    // Measured and projected a piece at a time, while it is near the processor.
    for start in range.clone().step_by(PIECE) {
        let place = start..range.end.min(start + PIECE);
        let measured = delta.len();
        delta.extend(working[place.clone()].iter().zip(&genesis[place]).map(|(w, g)| w - g));
        sketcher.add(start, &delta[measured..], &mut sketch);
        square += norm_squared(&delta[measured..]);
    }
    bytes.clear();
    let spread = if codec.is_relative() { memory.gate.spread(delta.len()) } else { None };
    codec.encode_knowing(delta, Known { spread, said: &memory.said }, noise, bytes).ok()?;
    if !memory.said.is_empty() {
        told.resize(delta.len(), 0.0);
        codec.decode_near(bytes, &memory.said, told).expect("what was just encoded decodes");
        std::mem::swap(told, &mut memory.said);
    }
    let hash = content_hash(bytes);
    Some(EncodedShard { hash, bytes: bytes.as_slice().into(), norm: square.sqrt() as f32, sketch })
}

/// What mixing one shard found.
#[derive(Debug, Default)]
pub struct ShardMix {
    /// Share of the own vector; with the weights it sums to one. 0 for a joiner, who takes over the others'.
    pub own_weight: f64,
    /// Weight of each peer whose shard was mixed.
    pub weights: Vec<(PeerId, f32)>,
    /// Refused, and why.
    pub refused: Vec<(PeerId, Offence)>,
    /// Sum of squared distances from our own, and how many.
    pub distances: Vec<f64>,
    /// Squared norm of our own delta.
    pub own_square: f64,
    /// Values of what came that could not be read next to ours, under a relative codec; ours stand in their place.
    pub far: usize,
}

/// What mixing reads and changes, cut to one shard.
pub struct ShardState<'a> {
    /// Genesis.
    pub genesis: &'a [f32],
    /// Working parameters after training; the mix takes their place.
    pub working: &'a mut [f32],
    /// Gate on implausible distances.
    pub gate: &'a mut Gate,
}

/// Buffers one thread uses from shard to shard: fresh memory costs more than the arithmetic.
#[derive(Debug, Default)]
pub struct MixScratch {
    mixed: Vec<f32>,
    decoded: Vec<Vec<f32>>,
    near: Vec<f32>,
}

/// Decodes what came for one shard, refuses what is implausible, mixes the rest.
///
/// `find` yields the bytes of a shard by hash.
pub fn mix_shard<'b>(
    sources: &[Source],
    find: impl Fn(&Hash) -> Option<&'b [u8]>,
    how: MixHow,
    state: ShardState<'_>,
    scratch: &mut MixScratch,
) -> ShardMix {
    let came: Vec<Came<'_>> = sources
        .iter()
        .filter_map(|s| Some((s.peer, CodedShard { codec: s.codec, bytes: find(&s.hash)? })))
        .collect();
    scratch.mixed.resize(state.working.len(), 0.0);
    match how {
        MixHow::Step { rule: Rule::Mean, .. } => mean_shard(came, state, scratch),
        MixHow::Step { .. } | MixHow::Join => mix_decoded(&came, how, state, scratch),
    }
}

/// A shard and whose it is.
type Came<'a> = (PeerId, CodedShard<'a>);

/// The mean needs no decoded vectors: it takes every shard block by block.
fn mean_shard(mut came: Vec<Came<'_>>, state: ShardState<'_>, scratch: &mut MixScratch) -> ShardMix {
    let ShardState { genesis, working, gate } = state;
    let mut found = ShardMix::default();
    let mut measured = mean_of(&mut came, working, genesis, &mut found.refused, &mut scratch.mixed);
    found.own_square = measured.own_square;
    found.far = measured.far.iter().sum();
    let distances: Vec<f64> = measured.squares.iter().map(|square| square.sqrt()).collect();
    let judged = gate.judge_read(&distances, &measured.far, found.own_square.sqrt(), working.len());
    if judged.iter().any(Result::is_err) {
        let mut verdicts = judged.iter();
        came.retain(|(peer, _)| {
            let is_plausible = verdicts.next().is_some_and(Result::is_ok);
            if !is_plausible {
                found.refused.push((*peer, Offence::Implausible));
            }
            is_plausible
        });
        measured = mean_of(&mut came, working, genesis, &mut found.refused, &mut scratch.mixed);
    }
    found.distances = measured.squares;
    // What passed the gate has a mean within 32 bits; should it not, the own parameters stay.
    if measured.is_finite {
        found.own_weight = 1.0 / (came.len() + 1) as f64;
        found.weights = came.iter().map(|(peer, _)| (*peer, found.own_weight as f32)).collect();
        working.copy_from_slice(&scratch.mixed);
    } else {
        found.own_weight = 1.0;
    }
    found
}

/// The mean of own and all shards that decode; the others are taken out and refused.
fn mean_of(
    came: &mut Vec<Came<'_>>,
    own: &[f32],
    genesis: &[f32],
    refused: &mut Vec<(PeerId, Offence)>,
    out: &mut [f32],
) -> Measured {
    loop {
        let shards: Vec<CodedShard<'_>> = came.iter().map(|(_, shard)| *shard).collect();
        match streamed::mean(own, genesis, &shards, out) {
            Ok(measured) => return measured,
            Err(undecodable) => {
                let (peer, _) = came.remove(undecodable.place);
                refused.push((peer, Offence::Implausible));
            }
        }
    }
}

/// Rules that compare vectors with each other, and joining, decode all of them first.
fn mix_decoded(came: &[Came<'_>], how: MixHow, state: ShardState<'_>, scratch: &mut MixScratch) -> ShardMix {
    let ShardState { genesis, working, gate } = state;
    let MixScratch { mixed, decoded: spare, near } = scratch;
    near.clear();
    if came.iter().any(|(_, shard)| shard.codec.is_relative()) {
        near.extend(working.iter().zip(genesis).map(|(own, genesis)| own - genesis));
    }
    let own_square = distance_squared(working, genesis);
    let mut found = ShardMix { own_square, ..ShardMix::default() };
    let mut decoded: Vec<(PeerId, Vec<f32>)> = Vec::with_capacity(came.len());
    let (mut distances, mut unread) = (Vec::with_capacity(came.len()), Vec::with_capacity(came.len()));
    for (peer, shard) in came {
        let mut theirs = spare.pop().unwrap_or_default();
        theirs.resize(working.len(), 0.0);
        // A joiner is near nobody.
        let read = match how {
            MixHow::Join => shard.codec.decode(shard.bytes, &mut theirs).map(|()| 0),
            MixHow::Step { .. } => shard.codec.decode_near(shard.bytes, near, &mut theirs),
        };
        let Ok(far) = read else {
            found.refused.push((*peer, Offence::Implausible));
            spare.push(theirs);
            continue;
        };
        unread.push(far);
        theirs.iter_mut().zip(genesis).for_each(|(y, g)| *y += g);
        distances.push(distance_squared(&theirs, working).sqrt());
        decoded.push((*peer, theirs));
    }
    found.far = unread.iter().sum();
    // A joiner is far from everybody: distance says nothing about the others there.
    let is_plausible: Vec<bool> = match how {
        MixHow::Join => distances.iter().map(|d| d.is_finite()).collect(),
        MixHow::Step { .. } => {
            let judged = gate.judge_read(&distances, &unread, own_square.sqrt(), working.len());
            judged.iter().map(Result::is_ok).collect()
        }
    };
    let mut pulled: Vec<(PeerId, Vec<f32>)> = Vec::with_capacity(decoded.len());
    for (((peer, theirs), distance), is_plausible) in decoded.into_iter().zip(distances).zip(is_plausible) {
        if is_plausible {
            found.distances.push(distance * distance);
            pulled.push((peer, theirs));
        } else {
            found.refused.push((peer, Offence::Implausible));
            spare.push(theirs);
        }
    }
    let views: Vec<&[f32]> = pulled.iter().map(|(_, y)| y.as_slice()).collect();
    let weights = match how {
        MixHow::Join => {
            let share = 1.0 / views.len().max(1) as f64;
            join::median(&views, mixed).map(|()| (0.0, vec![share; views.len()])).ok()
        }
        MixHow::Step { rule, byzantine, .. } => {
            let mixed = mix(rule, byzantine as usize, working, &views, mixed);
            mixed.map(|stats| (stats.own_weight, stats.weights)).ok()
        }
    };
    // Finite vectors of one length always mix; should they not, the own parameters stay.
    if let Some((own, weights)) = weights {
        found.own_weight = own;
        found.weights = pulled.iter().map(|(peer, _)| *peer).zip(weights.iter().map(|w| *w as f32)).collect();
        working.copy_from_slice(mixed);
    } else {
        found.own_weight = 1.0;
    }
    spare.extend(pulled.into_iter().map(|(_, theirs)| theirs));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::keys::Keypair;
    use crate::crypto::merkle;
    use crate::id::{OuterStep, RunId};
    use crate::shard::cut::cut;
    use crate::wire::choice::Stage;
    use crate::wire::manifest::{Manifest, VERSION};

    const LEN: usize = 5_000;

    fn vector(seed: u64) -> Vec<f32> {
        let mut rng = Seed::from_u64(seed).rng();
        (0..LEN).map(|_| rng.unit_f64() as f32 - 0.5).collect()
    }

    fn first_shard(working: &[f32], genesis: &[f32], range: Range<usize>) -> EncodedShard {
        let (noise, sketcher) = (Seed::from_u64(1), Sketcher::new(Seed::from_u64(2)));
        let mut scratch = EncodeScratch::default();
        let mut memory = ShardMemory::default();
        encode_shard(working, genesis, range, Codec::F32, &noise, &mut memory, &sketcher, &mut scratch)
            .unwrap()
    }

    /// Mixes the first shard alone; answers the mix and what was found.
    fn mixed_with(
        own: &[f32],
        updates: &[Vec<f32>],
        genesis: &[f32],
        rule: Rule,
        scratch: &mut MixScratch,
    ) -> (Vec<f32>, ShardMix) {
        let range = cut(LEN, Codec::F32).remove(0);
        let shards: Vec<EncodedShard> =
            updates.iter().map(|theirs| first_shard(theirs, genesis, range.clone())).collect();
        let source = |(peer, shard): (u8, &EncodedShard)| Source {
            peer: PeerId([peer; 32]),
            step: OuterStep(1),
            hash: shard.hash,
            codec: Codec::F32,
        };
        let sources: Vec<Source> = (1..).zip(&shards).map(source).collect();
        let find = |hash: &Hash| shards.iter().find(|s| s.hash == *hash).map(|s| &*s.bytes);
        let mut working = own[range.clone()].to_vec();
        let state = ShardState { genesis: &genesis[range], working: &mut working, gate: &mut Gate::new() };
        let how = MixHow::Step { rule, byzantine: 0, is_settling: false };
        let found = mix_shard(&sources, find, how, state, scratch);
        (working, found)
    }

    #[test]
    fn two_updates_mix_to_the_mean_with_buffers_used_before() {
        let (own, theirs, genesis) = (vector(1), vector(3), vector(2));
        // Buffers from a longer shard, full of something else.
        let mut scratch = MixScratch {
            mixed: vec![f32::NAN; LEN],
            decoded: vec![vec![f32::NAN; LEN]],
            near: vec![f32::NAN; LEN],
        };
        for rule in [Rule::Mean, Rule::Trimmed] {
            let (mixed, found) =
                mixed_with(&own, std::slice::from_ref(&theirs), &genesis, rule, &mut scratch);
            assert_eq!(found.weights, [(PeerId([1; 32]), 0.5)]);
            assert!(found.refused.is_empty());
            for ((mixed, own), theirs) in mixed.iter().zip(&own).zip(&theirs) {
                assert!((mixed - f32::midpoint(*own, *theirs)).abs() < 1e-6);
            }
        }
        assert_eq!(scratch.decoded.len(), 1);
    }

    #[test]
    fn what_is_far_from_all_others_is_refused_and_the_mean_is_that_of_the_rest() {
        let (own, genesis) = (vector(1), vector(2));
        let mut updates: Vec<Vec<f32>> = (3..8).map(vector).collect();
        let (expected, _) = mixed_with(&own, &updates, &genesis, Rule::Mean, &mut MixScratch::default());
        let far: Vec<f32> = vector(8).iter().map(|x| x * 1e3).collect();
        updates.push(far);
        for rule in [Rule::Mean, Rule::Nearest] {
            let (mixed, found) = mixed_with(&own, &updates, &genesis, rule, &mut MixScratch::default());
            assert_eq!(found.refused, [(PeerId([6; 32]), Offence::Implausible)]);
            assert_eq!((found.weights.len(), found.distances.len()), (5, 5));
            assert_eq!(mixed, expected);
        }
    }

    #[test]
    fn bytes_that_do_not_decode_are_refused_and_the_own_parameters_stay_without_others() {
        let (own, genesis) = (vector(1), vector(2));
        let range = cut(LEN, Codec::F32).remove(0);
        let peer = PeerId([1; 32]);
        let source = Source { peer, step: OuterStep(1), hash: Hash([9; 32]), codec: Codec::F32 };
        let bytes = vec![0xff; 4 * range.len()];
        for rule in [Rule::Mean, Rule::Median] {
            let mut working = own[range.clone()].to_vec();
            let state = ShardState {
                genesis: &genesis[range.clone()],
                working: &mut working,
                gate: &mut Gate::new(),
            };
            let how = MixHow::Step { rule, byzantine: 0, is_settling: false };
            let found = mix_shard(&[source], |_| Some(&bytes), how, state, &mut MixScratch::default());
            assert_eq!(found.refused, [(peer, Offence::Implausible)]);
            assert!(found.weights.is_empty());
            assert_eq!(working, own[range.clone()]);
        }
    }

    /// Bytes of an update's shards and of its sealed manifest.
    fn update_bytes(len: usize, codec: Codec) -> usize {
        let (working, genesis) = (vec![0.01; len], vec![0.0; len]);
        let (noise, sketcher) = (Seed::from_u64(1), Sketcher::new(Seed::from_u64(2)));
        let mut scratch = EncodeScratch::default();
        let encoded: Vec<EncodedShard> = cut(len, codec)
            .into_iter()
            .map(|range| {
                let mut memory = ShardMemory::new(codec, range.len());
                encode_shard(&working, &genesis, range, codec, &noise, &mut memory, &sketcher, &mut scratch)
                    .unwrap()
            })
            .collect();
        let shards: Vec<Hash> = encoded.iter().map(|shard| shard.hash).collect();
        let manifest = Manifest {
            version: VERSION,
            run: RunId(Hash([1; 32])),
            step: OuterStep(1),
            parent: Hash([2; 32]),
            stage: Stage::Train,
            codec,
            inner_steps: 1,
            samples: 1,
            root: merkle::root(&shards),
            shards,
            norms: encoded.iter().map(|shard| shard.norm).collect(),
            sketch: encoded[0].sketch.clone(),
            ledger: Hash([3; 32]),
            privacy: None,
        };
        let sealed = manifest.seal(&Keypair::from_secret([4; 32])).to_bytes();
        encoded.iter().map(|shard| shard.bytes.len()).sum::<usize>() + sealed.len()
    }

    #[test]
    fn an_author_remembers_what_its_updates_told_and_says_next_what_they_left_out() {
        let (working, genesis) = (vector(1), vec![0.0; LEN]);
        let range = cut(LEN, Codec::Topk).remove(0);
        let (noise, sketcher) = (Seed::from_u64(1), Sketcher::new(Seed::from_u64(2)));
        let mut memory = ShardMemory::new(Codec::Topk, range.len());
        let mut scratch = EncodeScratch::default();
        let mut says = |codec, memory: &mut ShardMemory| {
            encode_shard(&working, &genesis, range.clone(), codec, &noise, memory, &sketcher, &mut scratch)
                .unwrap()
        };
        // A reader that hears all of it holds what the author remembers.
        let mut heard = vec![0.0; range.len()];
        for codec in [Codec::Topk, Codec::Topk, Codec::Int8, Codec::Topk] {
            let shard = says(codec, &mut memory);
            let before = heard.clone();
            codec.decode_near(&shard.bytes, &before, &mut heard).unwrap();
            assert_eq!(memory.said, heard);
        }
        let left_out = ShardMemory::new(Codec::Topk, range.len()).said;
        let told = |said: &[f32]| said.iter().zip(&left_out).filter(|(said, zero)| said != zero).count();
        let mut sparse = ShardMemory::new(Codec::Topk, range.len());
        says(Codec::Topk, &mut sparse);
        let once = told(&sparse.said);
        says(Codec::Topk, &mut sparse);
        assert_eq!((once, told(&sparse.said)), (range.len().div_ceil(16), 2 * range.len().div_ceil(16)));
        // Codecs that say everything keep nothing.
        let mut none = ShardMemory::new(Codec::Int8, range.len());
        says(Codec::Int8, &mut none);
        assert!(none.said.is_empty());
    }

    #[test]
    fn an_update_of_a_million_parameters_has_3_85_times_fewer_bytes_as_int8_manifest_included() {
        let (wide, narrow) = (update_bytes(1 << 20, Codec::F32), update_bytes(1 << 20, Codec::Int8));
        assert!(wide * 100 >= narrow * 385, "{wide} {narrow}");
    }
}
