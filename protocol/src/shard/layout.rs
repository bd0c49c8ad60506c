//! The order of a model's parameters in one flat vector.
//!
//! Named tensors sorted by name, each a contiguous range; the hash of names, shapes and order is in the charter, so two
//! nodes never mix vectors of different meaning. It holds no values.

use std::ops::Range;

use thiserror::Error;

use crate::crypto::hash::blake3_of;
use crate::id::Hash;
use crate::limits::{SHARDS_MAX, TEXT_BYTES_MAX};
use crate::shard::cut::SHARD_BYTES_AIM;

/// Tensors of one layout: a hundred layers with a hundred tensors each fit several times.
pub const SLOTS_MAX: usize = 65_536;
/// Dimensions of one tensor.
pub const RANK_MAX: usize = 8;
/// Bytes of one tensor's name: nested modules give long names, but not pages.
pub const SLOT_NAME_BYTES_MAX: usize = 512;
/// Parameters of one layout: an update at 32 bits still keeps the cap on shards.
pub const PARAMETERS_MAX: u64 = (SHARDS_MAX * (SHARD_BYTES_AIM / 4)) as u64;

const _: () = assert!(SLOT_NAME_BYTES_MAX <= TEXT_BYTES_MAX, "a name is shorter than a text");

/// One tensor's place in the flat vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Name, unique in the layout.
    pub name: String,
    /// Shape, outermost dimension first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Its elements in the flat vector, row-major.
    pub range: Range<usize>,
}

/// All tensors of a model, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    slots: Vec<Slot>,
    len: usize,
    hash: Hash,
}

/// Tensors that cannot form a layout.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum LayoutError {
    /// No tensor at all.
    #[error("expected at least one tensor, found none")]
    Empty,
    /// More tensors than a layout may have.
    #[error("expected at most {SLOTS_MAX} tensors, found {found}")]
    TooManySlots {
        /// Tensors given.
        found: usize,
    },
    /// A name is empty, too long or cannot be printed.
    #[error("expected printable tensor names of 1 to {SLOT_NAME_BYTES_MAX} bytes, found {name:?}")]
    Name {
        /// The name, its first 80 characters.
        name: String,
    },
    /// Two tensors have one name.
    #[error("expected every tensor name once, found {name:?} twice")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A tensor has too many dimensions or one of size 0.
    #[error("tensor {name:?}: expected at most {RANK_MAX} dimensions, none of size 0, found {shape:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape, at most the first `RANK_MAX + 1` dimensions.
        shape: Vec<usize>,
    },
    /// The parameters together are more than a run can exchange.
    #[error("expected at most {PARAMETERS_MAX} parameters, found more at tensor {name:?}")]
    TooManyParameters {
        /// The tensor with which the sum went over.
        name: String,
    },
}

impl Layout {
    /// Lays out tensors given as name and shape, in any order.
    ///
    /// Refuses names that occur twice, dimensions of size 0 and sums over the caps.
    pub fn new(mut tensors: Vec<(String, Vec<usize>)>) -> Result<Self, LayoutError> {
        if tensors.is_empty() {
            return Err(LayoutError::Empty);
        }
        if tensors.len() > SLOTS_MAX {
            return Err(LayoutError::TooManySlots { found: tensors.len() });
        }
        tensors.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        if let Some(pair) = tensors.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(LayoutError::Duplicate { name: shown(&pair[0].0) });
        }
        let mut slots = Vec::with_capacity(tensors.len());
        let mut len = 0usize;
        for (name, shape) in tensors {
            let end = end_of(&name, &shape, len)?;
            slots.push(Slot { name, shape, range: len..end });
            len = end;
        }
        let hash = hash_of(&slots);
        Ok(Self { slots, len, hash })
    }

    /// The tensors, sorted by name.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The tensor of this name.
    pub fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.binary_search_by(|slot| slot.name.as_str().cmp(name)).ok().map(|at| &self.slots[at])
    }

    /// Parameters in all; never 0.
    #[allow(clippy::len_without_is_empty, reason = "a layout is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Hash of names, shapes and order.
    pub fn hash(&self) -> Hash {
        self.hash
    }
}

/// Where a tensor that starts at `start` ends.
fn end_of(name: &str, shape: &[usize], start: usize) -> Result<usize, LayoutError> {
    if name.is_empty() || name.len() > SLOT_NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(LayoutError::Name { name: shown(name) });
    }
    if shape.len() > RANK_MAX || shape.contains(&0) {
        let shape = shape.iter().copied().take(RANK_MAX + 1).collect();
        return Err(LayoutError::Shape { name: shown(name), shape });
    }
    shape
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))
        .and_then(|elements| start.checked_add(elements))
        .filter(|&end| end as u64 <= PARAMETERS_MAX)
        .ok_or_else(|| LayoutError::TooManyParameters { name: shown(name) })
}

fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

fn hash_of(slots: &[Slot]) -> Hash {
    let shapes: Vec<Vec<u8>> = slots
        .iter()
        .map(|slot| slot.shape.iter().flat_map(|&size| (size as u64).to_le_bytes()).collect())
        .collect();
    let mut parts = Vec::with_capacity(2 * slots.len());
    for (slot, shape) in slots.iter().zip(&shapes) {
        parts.push(slot.name.as_bytes());
        parts.push(shape.as_slice());
    }
    blake3_of("starling/layout/1", &parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SHARD_BYTES_MAX;
    use crate::shard::cut::{count, cut};
    use crate::wire::choice::Codec;

    fn tensor(name: &str, shape: &[usize]) -> (String, Vec<usize>) {
        (name.to_owned(), shape.to_vec())
    }

    #[test]
    fn tensors_stand_in_the_order_of_their_names() {
        let given = vec![tensor("b.weight", &[3, 2]), tensor("a.bias", &[4]), tensor("scale", &[])];
        let layout = Layout::new(given.clone()).unwrap();
        let ranges: Vec<_> = layout.slots().iter().map(|s| (s.name.as_str(), s.range.clone())).collect();
        assert_eq!(ranges, [("a.bias", 0..4), ("b.weight", 4..10), ("scale", 10..11)]);
        assert_eq!(layout.len(), 11);
        assert_eq!(layout.slot("b.weight").unwrap().shape, [3, 2]);
        assert_eq!(layout.slot("c"), None);
        let mut turned = given;
        turned.reverse();
        assert_eq!(Layout::new(turned).unwrap().hash(), layout.hash());
    }

    #[test]
    fn names_and_shapes_both_enter_the_hash() {
        let hash = |tensors| Layout::new(tensors).unwrap().hash();
        let base = hash(vec![tensor("a", &[2, 3]), tensor("b", &[1])]);
        assert_ne!(base, hash(vec![tensor("a", &[3, 2]), tensor("b", &[1])]));
        assert_ne!(base, hash(vec![tensor("a", &[6]), tensor("b", &[1])]));
        assert_ne!(base, hash(vec![tensor("a", &[2, 3]), tensor("c", &[1])]));
        assert_ne!(base, hash(vec![tensor("a", &[2, 3])]));
    }

    #[test]
    fn tensors_that_cannot_be_laid_out_are_refused() {
        let refused = |tensors| Layout::new(tensors).unwrap_err();
        assert_eq!(refused(vec![]), LayoutError::Empty);
        assert!(matches!(refused(vec![tensor("a", &[1]), tensor("a", &[2])]), LayoutError::Duplicate { .. }));
        assert!(matches!(refused(vec![tensor("a", &[3, 0])]), LayoutError::Shape { .. }));
        assert!(matches!(refused(vec![tensor("a", &[1; RANK_MAX + 1])]), LayoutError::Shape { .. }));
        assert!(matches!(refused(vec![tensor("", &[1])]), LayoutError::Name { .. }));
        assert!(matches!(refused(vec![tensor("a\nb", &[1])]), LayoutError::Name { .. }));
        assert!(matches!(refused(vec![tensor(&"x".repeat(600), &[1])]), LayoutError::Name { .. }));
        let huge = refused(vec![tensor("a", &[usize::MAX, 2])]);
        assert!(matches!(huge, LayoutError::TooManyParameters { .. }));
        let wraps = refused(vec![tensor("a", &[1 << 32, 1 << 32])]);
        assert!(matches!(wraps, LayoutError::TooManyParameters { .. }));
        let many = (0..=SLOTS_MAX).map(|i| tensor(&i.to_string(), &[1])).collect();
        assert_eq!(refused(many), LayoutError::TooManySlots { found: SLOTS_MAX + 1 });
    }

    #[test]
    fn the_largest_layout_keeps_the_cap_on_shards() {
        let len = usize::try_from(PARAMETERS_MAX).unwrap();
        for &codec in Codec::ALL {
            assert!(count(len, codec) <= SHARDS_MAX, "{codec}: {}", count(len, codec));
            // The range of a shard keeps the cap on bytes when it is encoded at 32 bits instead.
            let range = cut(len, codec).remove(0);
            assert!(Codec::F32.encoded_bytes(range.len()) <= SHARD_BYTES_MAX, "{codec}");
        }
    }
}
