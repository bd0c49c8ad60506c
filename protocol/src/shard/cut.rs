//! Where an update is cut into shards.
//!
//! Contiguous ranges of about [`SHARD_BYTES_AIM`] encoded bytes and at least `limits::SHARDS_MIN` of them, so that
//! small models too are drawn shard by shard. The cut follows from length and codec alone; nothing is sent about it.

use std::ops::Range;

use crate::limits::{SHARD_BYTES_MAX, SHARDS_MIN};
use crate::wire::choice::Codec;

/// Encoded bytes a shard of a large update comes close to.
pub const SHARD_BYTES_AIM: usize = 1 << 20;
/// Every boundary is a multiple of this many elements: whole blocks of every codec that says all values.
pub const CUT_ELEMENTS: usize = 64;
/// Most elements of a shard, whatever the codec. A run keeps the cut of its training codec in settle steps too, where
/// the same range may be encoded at 32 bits.
const SHARD_ELEMENTS_MAX: usize = SHARD_BYTES_MAX / 4;

const _: () = assert!(SHARD_BYTES_AIM <= SHARD_BYTES_MAX, "a shard keeps its cap");

/// The shards of an update of `len` parameters, in order; together they cover `0..len` exactly.
///
/// Sizes differ by at most one block of [`CUT_ELEMENTS`]. An update of fewer than `SHARDS_MIN` blocks has one shard a
/// block; one of no parameters has none.
pub fn cut(len: usize, codec: Codec) -> Vec<Range<usize>> {
    let blocks = len.div_ceil(CUT_ELEMENTS);
    let count = count(len, codec);
    let mut shards = Vec::with_capacity(count);
    let mut start = 0;
    for index in 0..count {
        let of_this = blocks / count + usize::from(index < blocks % count);
        let end = start + of_this * CUT_ELEMENTS;
        shards.push(start..end.min(len));
        start = end;
    }
    shards
}

/// Number of shards [`cut`] gives, without cutting.
pub fn count(len: usize, codec: Codec) -> usize {
    let blocks = len.div_ceil(CUT_ELEMENTS);
    let blocks_per_shard =
        (SHARD_BYTES_AIM / codec.encoded_bytes(CUT_ELEMENTS)).min(SHARD_ELEMENTS_MAX / CUT_ELEMENTS);
    blocks.div_ceil(blocks_per_shard).max(SHARDS_MIN).min(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_cover_every_parameter_once_at_whole_blocks() {
        for &codec in Codec::ALL {
            for len in [1, 63, 64, 65, 511, 512, 513, 1_000, 262_144 * 8, 10_000_001, 22_713_216] {
                let shards = cut(len, codec);
                assert_eq!(shards.len(), count(len, codec));
                assert_eq!(shards.first().map(|s| s.start), Some(0));
                assert_eq!(shards.last().map(|s| s.end), Some(len));
                assert!(shards.windows(2).all(|w| w[0].end == w[1].start && w[0].end % CUT_ELEMENTS == 0));
                assert!(shards.iter().all(|s| !s.is_empty()));
                let bytes: Vec<_> = shards.iter().map(|s| codec.encoded_bytes(s.len())).collect();
                assert!(bytes.iter().all(|&b| b <= SHARD_BYTES_AIM), "{codec} {len}: {bytes:?}");
                let elements = || shards.iter().map(|s| s.len().div_ceil(CUT_ELEMENTS));
                assert!(elements().max().unwrap() - elements().min().unwrap() <= 1);
            }
        }
    }

    #[test]
    fn small_updates_still_have_eight_shards_and_tiny_ones_a_shard_a_block() {
        assert_eq!(cut(0, Codec::Int8), []);
        assert_eq!(cut(64, Codec::Int8).len(), 1);
        assert_eq!(cut(65, Codec::Int8), [0..64, 64..65]);
        assert_eq!(cut(512, Codec::F32).len(), 8);
        assert_eq!(cut(100_000, Codec::Int4).len(), 8);
    }
}
