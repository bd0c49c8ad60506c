//! From parameters to an encoded update and back: the arithmetic around the codecs, shard by shard, in parallel.

use std::ops::Range;
use std::sync::Arc;

use protocol::crypto::hash::content_hash;
use protocol::exchange::pull::Source;
use protocol::id::{Hash, PeerId};
use protocol::limits::SKETCH_LEN;
use protocol::mixing::join;
use protocol::mixing::plausible::Gate;
use protocol::mixing::rule::mix;
use protocol::peer::input::Update;
use protocol::peer::output::MixHow;
use protocol::rng::Seed;
use protocol::shard::distance::{distance_squared, norm};
use protocol::shard::sketch::Sketcher;
use protocol::wire::choice::Codec;
use protocol::wire::offence::Offence;
use rayon::prelude::*;

use crate::trainer::job::ShardBytes;

/// Encoded shards, each with its address.
pub type Encoded = Vec<(Hash, Arc<[u8]>)>;

/// What encoding one shard yields.
struct EncodedShard {
    hash: Hash,
    bytes: Arc<[u8]>,
    norm: f32,
    sketch: Vec<f32>,
}

/// Encodes the delta from `genesis` to `working`; `None` when a value is not finite.
///
/// It takes little memory besides the encoded bytes: the delta exists one shard a thread at a time, so it stays near
/// the processor too.
pub fn encode(
    working: &[f32],
    genesis: &[f32],
    cuts: &[Range<usize>],
    codec: Codec,
    noise: &Seed,
    sketch_seed: &Seed,
) -> Option<(Update, Encoded)> {
    let sketcher = Sketcher::new(sketch_seed.clone());
    let encode_shard = |(delta, bytes): &mut (Vec<f32>, Vec<u8>), (index, range): (usize, &Range<usize>)| {
        delta.clear();
        delta.extend(working[range.clone()].iter().zip(&genesis[range.clone()]).map(|(w, g)| w - g));
        bytes.clear();
        codec.encode(delta, &noise.fork_index(index as u64), bytes).ok()?;
        let mut sketch = vec![0.0; SKETCH_LEN];
        sketcher.add(range.start, delta, &mut sketch);
        let hash = content_hash(bytes);
        Some(EncodedShard { hash, bytes: bytes.as_slice().into(), norm: norm(delta) as f32, sketch })
    };
    let encoded: Option<Vec<EncodedShard>> = cuts
        .par_iter()
        .enumerate()
        .map_init(Default::default, |scratch, shard| encode_shard(scratch, shard))
        .collect();
    let encoded = encoded?;
    // Added in the order of the shards, so that the sketch does not depend on the threads.
    let mut sketch = vec![0.0; SKETCH_LEN];
    for shard in &encoded {
        sketch.iter_mut().zip(&shard.sketch).for_each(|(sum, part)| *sum += part);
    }
    let update = Update {
        shards: encoded.iter().map(|shard| (shard.hash, shard.bytes.len() as u32)).collect(),
        norms: encoded.iter().map(|shard| shard.norm).collect(),
        sketch,
    };
    Some((update, encoded.into_iter().map(|shard| (shard.hash, shard.bytes)).collect()))
}

/// What mixing one shard found.
#[derive(Debug, Default)]
pub struct ShardMix {
    /// Weight of each peer whose shard was mixed.
    pub weights: Vec<(PeerId, f32)>,
    /// Refused, and why.
    pub refused: Vec<(PeerId, Offence)>,
    /// Sum of squared distances from our own, and how many.
    pub distances: Vec<f64>,
    /// Squared norm of our own delta.
    pub own_square: f64,
}

/// What mixing reads and changes, cut to one shard.
pub struct ShardState<'a> {
    /// Genesis.
    pub genesis: &'a [f32],
    /// Working parameters after training.
    pub working: &'a [f32],
    /// The mix; every value is written.
    pub mixed: &'a mut [f32],
    /// Gate on implausible distances.
    pub gate: &'a mut Gate,
}

/// Decodes what came for one shard, refuses what is implausible, mixes the rest.
///
/// `spare` holds buffers from shard to shard: fresh memory costs more than the arithmetic.
pub fn mix_shard(
    sources: &[Source],
    bytes: &ShardBytes,
    how: MixHow,
    state: ShardState<'_>,
    spare: &mut Vec<Vec<f32>>,
) -> ShardMix {
    let own_square = distance_squared(state.working, state.genesis);
    let mut found = ShardMix { own_square, ..ShardMix::default() };
    let mut decoded: Vec<(PeerId, Vec<f32>)> = Vec::with_capacity(sources.len());
    let mut distances = Vec::with_capacity(sources.len());
    for source in sources {
        let Some(encoded) = bytes.get(&source.hash) else { continue };
        let mut theirs = spare.pop().unwrap_or_default();
        theirs.resize(state.working.len(), 0.0);
        if source.codec.decode(encoded, &mut theirs).is_err() {
            found.refused.push((source.peer, Offence::Implausible));
            spare.push(theirs);
            continue;
        }
        theirs.iter_mut().zip(state.genesis).for_each(|(y, g)| *y += g);
        distances.push(distance_squared(&theirs, state.working).sqrt());
        decoded.push((source.peer, theirs));
    }
    // A joiner is far from everybody: distance says nothing about the others there.
    let is_plausible: Vec<bool> = match how {
        MixHow::Join => distances.iter().map(|d| d.is_finite()).collect(),
        MixHow::Step { .. } => {
            let judged = state.gate.judge_all(&distances, own_square.sqrt(), state.working.len());
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
            join::median(&views, state.mixed).map(|()| vec![share; views.len()]).ok()
        }
        MixHow::Step { rule, byzantine, .. } => {
            mix(rule, byzantine as usize, state.working, &views, state.mixed).map(|stats| stats.weights).ok()
        }
    };
    // Finite vectors of one length always mix; should they not, the own parameters stay.
    match weights {
        Some(weights) => {
            found.weights =
                pulled.iter().map(|(peer, _)| *peer).zip(weights.iter().map(|w| *w as f32)).collect();
        }
        None => state.mixed.copy_from_slice(state.working),
    }
    spare.extend(pulled.into_iter().map(|(_, theirs)| theirs));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::id::OuterStep;
    use protocol::shard::cut::cut;
    use protocol::shard::sketch::sketch;
    use protocol::wire::choice::Rule;

    const LEN: usize = 5_000;

    fn vector(seed: u64) -> Vec<f32> {
        let mut rng = Seed::from_u64(seed).rng();
        (0..LEN).map(|_| rng.unit_f64() as f32 - 0.5).collect()
    }

    fn encoded(working: &[f32], genesis: &[f32], codec: Codec) -> Option<(Update, Encoded)> {
        let (noise, sketch) = (Seed::from_u64(1), Seed::from_u64(2));
        encode(working, genesis, &cut(LEN, codec), codec, &noise, &sketch)
    }

    #[test]
    fn an_update_tells_size_norm_and_sketch_of_the_difference_from_genesis() {
        let (working, genesis) = (vector(1), vector(2));
        let (update, blocks) = encoded(&working, &genesis, Codec::F32).unwrap();
        let delta: Vec<f32> = working.iter().zip(&genesis).map(|(w, g)| w - g).collect();
        let whole = sketch(&delta, &Seed::from_u64(2));
        for (found, expected) in update.sketch.iter().zip(&whole) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
        let square: f64 = update.norms.iter().map(|n| f64::from(*n).powi(2)).sum();
        assert!((square.sqrt() - norm(&delta)).abs() < 1e-4);
        let bytes: Vec<u8> = blocks.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect();
        let sent: Vec<u8> = delta.iter().flat_map(|d| d.to_le_bytes()).collect();
        assert_eq!(bytes, sent);
        for ((hash, size), (address, bytes)) in update.shards.iter().zip(&blocks) {
            assert_eq!((hash, *size as usize), (address, bytes.len()));
            assert_eq!(content_hash(bytes), *address);
        }
    }

    #[test]
    fn a_value_that_is_no_number_is_not_encoded() {
        let mut working = vector(1);
        working[LEN - 1] = f32::NAN;
        assert!(encoded(&working, &vector(2), Codec::F16).is_none());
    }

    #[test]
    fn two_updates_mix_to_the_mean_with_buffers_used_before() {
        let (own, theirs, genesis) = (vector(1), vector(3), vector(2));
        let (update, blocks) = encoded(&theirs, &genesis, Codec::F32).unwrap();
        let bytes: ShardBytes = blocks.into_iter().collect();
        let peer = PeerId([7; 32]);
        let mut mixed = vec![f32::NAN; LEN];
        // A buffer from a longer shard, full of something else.
        let mut spare = vec![vec![f32::NAN; LEN]];
        for (range, (hash, _)) in cut(LEN, Codec::F32).into_iter().zip(&update.shards) {
            let source = Source { peer, step: OuterStep(1), hash: *hash, codec: Codec::F32 };
            let state = ShardState {
                genesis: &genesis[range.clone()],
                working: &own[range.clone()],
                mixed: &mut mixed[range],
                gate: &mut Gate::new(),
            };
            let how = MixHow::Step { rule: Rule::Mean, byzantine: 0, is_settling: false };
            let found = mix_shard(&[source], &bytes, how, state, &mut spare);
            assert_eq!(found.weights, [(peer, 0.5)]);
            assert!(found.refused.is_empty());
        }
        for ((mixed, own), theirs) in mixed.iter().zip(&own).zip(&theirs) {
            assert!((mixed - f32::midpoint(*own, *theirs)).abs() < 1e-6);
        }
        assert_eq!(spare.len(), 1);
    }
}
