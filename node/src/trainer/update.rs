//! From parameters to an encoded update and back: the arithmetic around the codecs, shard by shard, in parallel.

use std::ops::Range;
use std::sync::Arc;

use protocol::crypto::hash::content_hash;
use protocol::exchange::pull::Source;
use protocol::id::{Hash, PeerId};
use protocol::mixing::join;
use protocol::mixing::plausible::Gate;
use protocol::mixing::rule::mix;
use protocol::peer::input::Update;
use protocol::peer::output::MixHow;
use protocol::rng::Seed;
use protocol::shard::distance::distance_squared;
use protocol::shard::sketch::sketch;
use protocol::wire::choice::Codec;
use protocol::wire::offence::Offence;
use rayon::prelude::*;

use crate::trainer::job::ShardBytes;

/// Encoded shards, each with its address.
pub type Encoded = Vec<(Hash, Arc<[u8]>)>;

/// Encodes the delta from `genesis` to `working`; `None` when a value is not finite.
pub fn encode(
    working: &[f32],
    genesis: &[f32],
    cuts: &[Range<usize>],
    codec: Codec,
    noise: &Seed,
    sketch_seed: &Seed,
) -> Option<(Update, Encoded)> {
    let mut delta: Vec<f32> = vec![0.0; working.len()];
    delta
        .par_chunks_mut(1 << 16)
        .zip(working.par_chunks(1 << 16))
        .zip(genesis.par_chunks(1 << 16))
        .for_each(|((d, w), g)| d.iter_mut().zip(w).zip(g).for_each(|((d, w), g)| *d = w - g));
    let encoded: Vec<(Hash, Arc<[u8]>, f32)> = cuts
        .par_iter()
        .enumerate()
        .map(|(index, range)| {
            let part = &delta[range.clone()];
            let mut bytes = Vec::with_capacity(codec.encoded_bytes(part.len()));
            codec.encode(part, &noise.fork_index(index as u64), &mut bytes).ok()?;
            let norm = part.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
            Some((content_hash(&bytes), bytes.into(), norm))
        })
        .collect::<Option<_>>()?;
    let update = Update {
        shards: encoded.iter().map(|(hash, bytes, _)| (*hash, bytes.len() as u32)).collect(),
        norms: encoded.iter().map(|(_, _, norm)| *norm).collect(),
        sketch: sketch(&delta, sketch_seed),
    };
    Some((update, encoded.into_iter().map(|(hash, bytes, _)| (hash, bytes)).collect()))
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
    /// The mix; holds the agreed parameters before, which stay where nothing can be mixed.
    pub mixed: &'a mut [f32],
    /// Gate on implausible distances.
    pub gate: &'a mut Gate,
}

/// Decodes what came for one shard, refuses what is implausible, mixes the rest.
pub fn mix_shard(sources: &[Source], bytes: &ShardBytes, how: MixHow, state: ShardState<'_>) -> ShardMix {
    let own_square =
        state.working.iter().zip(state.genesis).map(|(w, g)| f64::from(w - g).powi(2)).sum::<f64>();
    let mut found = ShardMix { own_square, ..ShardMix::default() };
    let mut decoded: Vec<(PeerId, Vec<f32>)> = Vec::with_capacity(sources.len());
    let mut distances = Vec::with_capacity(sources.len());
    for source in sources {
        let Some(encoded) = bytes.get(&source.hash) else { continue };
        let mut theirs = vec![0.0f32; state.working.len()];
        if source.codec.decode(encoded, &mut theirs).is_err() {
            found.refused.push((source.peer, Offence::Implausible));
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
    found
}
