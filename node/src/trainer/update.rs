//! From parameters to an encoded update, all shards in parallel; the arithmetic of one is `protocol::peer::update`.

use std::ops::Range;
use std::sync::Arc;

use protocol::id::Hash;
use protocol::limits::SKETCH_LEN;
use protocol::peer::input::Update;
use protocol::peer::memory::ShardMemory;
use protocol::peer::update::{EncodeScratch, EncodedShard, encode_shard};
use protocol::rng::Seed;
use protocol::shard::sketch::Sketcher;
use protocol::wire::choice::Codec;
use rayon::prelude::*;

/// Encoded shards, each with its address.
pub type Encoded = Vec<(Hash, Arc<[u8]>)>;

/// Encodes the delta from `genesis` to `working`; `None` when a value is not finite. Every cut has a memory.
///
/// It takes little memory besides the encoded bytes: the delta exists one shard a thread at a time, so it stays near
/// the processor too.
pub fn encode(
    working: &[f32],
    genesis: &[f32],
    cuts: &[Range<usize>],
    memories: &mut [ShardMemory],
    codec: Codec,
    noise: &Seed,
    sketch_seed: &Seed,
) -> Option<(Update, Encoded)> {
    let sketcher = Sketcher::new(sketch_seed.clone());
    let encode = |scratch: &mut EncodeScratch,
                  (index, (range, memory)): (usize, (&Range<usize>, &mut ShardMemory))| {
        let noise = noise.fork_index(index as u64);
        encode_shard(working, genesis, range.clone(), codec, &noise, memory, &sketcher, scratch)
    };
    let encoded: Option<Vec<EncodedShard>> =
        cuts.par_iter().zip(memories).enumerate().map_init(EncodeScratch::default, encode).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::crypto::hash::content_hash;
    use protocol::shard::cut::cut;
    use protocol::shard::distance::norm;
    use protocol::shard::sketch::sketch;

    const LEN: usize = 5_000;

    fn vector(seed: u64) -> Vec<f32> {
        let mut rng = Seed::from_u64(seed).rng();
        (0..LEN).map(|_| rng.unit_f64() as f32 - 0.5).collect()
    }

    fn encoded(working: &[f32], genesis: &[f32], codec: Codec) -> Option<(Update, Encoded)> {
        let (noise, sketch) = (Seed::from_u64(1), Seed::from_u64(2));
        let cuts = cut(LEN, codec);
        let mut memories: Vec<ShardMemory> =
            cuts.iter().map(|cut| ShardMemory::new(codec, cut.len())).collect();
        encode(working, genesis, &cuts, &mut memories, codec, &noise, &sketch)
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
}
