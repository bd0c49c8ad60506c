//! What can be wrong with values to encode and with bytes to decode.

use thiserror::Error;

/// A value to encode is infinite or NaN; nothing was appended. Drop the update and go back to the last good parameters.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("expected finite parameters, found an infinite or NaN value at element {index} of the shard")]
pub struct NotFinite {
    /// Place of the first such value.
    pub index: usize,
}

/// Bytes that are no encoding under this codec; what was written to the output is meaningless.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// Too short or too long.
    #[error("expected {expected} bytes, found {found}")]
    Length {
        /// Bytes an encoding of this many values has.
        expected: usize,
        /// Bytes that came.
        found: usize,
    },
    /// A value is infinite or NaN.
    #[error("expected finite values, found an infinite or NaN value at element {index}")]
    NotFinite {
        /// Its place.
        index: usize,
    },
    /// A scale is negative, infinite or NaN.
    #[error(
        "block {block}: expected a finite scale of at least 0, found the half-precision bits {bits:#06x}"
    )]
    Scale {
        /// The block.
        block: usize,
        /// The bits found.
        bits: u16,
    },
    /// A block can only be read next to values nearer to it than those at hand.
    #[error("block {block}: expected values near the own ones, found them too far away to be read")]
    Far {
        /// The first such block.
        block: usize,
    },
    /// The codec says only some of the values and can only be read next to one's own.
    #[error(
        "expected an encoding of every value, found one that says some of them and needs the own ones beside it"
    )]
    Partial,
    /// Places of values that no encoder writes: not rising, beyond the block, too few, too many, or in the padding.
    #[error("block {block}: expected rising places within the block, as many as it has codes, found others")]
    Place {
        /// The block.
        block: usize,
    },
    /// A code no encoder writes: out of range, not zero under a zero scale, or in the padding.
    #[error("block {block}: expected codes that an encoder writes, found another")]
    Code {
        /// The block.
        block: usize,
    },
}

/// The place of the first infinite or NaN value among `values`, which begin at element `start`.
pub(crate) fn not_finite(values: &[f32], start: usize) -> NotFinite {
    let within = values.iter().position(|value| !value.is_finite()).unwrap_or(0);
    NotFinite { index: start + within }
}
