//! What the block codecs share: largest magnitudes, scales, rounding.

use half::f16;

use crate::shard::fault::DecodeError;

/// Bits of the smallest f32 that is no number; magnitudes at or above it are infinite or NaN.
pub(crate) const INFINITE_BITS: u32 = 0x7f80_0000;

/// 1.5 * 2^23: adding it leaves the nearest integer, ties to even, in the low bits of an f32 below 2^22.
const ROUNDING: f32 = 12_582_912.0;

/// Bits of the largest magnitude; at least [`INFINITE_BITS`] when one value is infinite or NaN.
#[inline]
pub(crate) fn magnitude_bits(values: &[f32]) -> u32 {
    // Signed, because that comparison is the one every vector unit has.
    values.iter().fold(0, |max, value| max.max((value.to_bits() & 0x7fff_ffff) as i32)) as u32
}

/// The nearest integer of `value`, which must lie within ±2^22.
#[inline]
pub(crate) fn nearest(value: f32) -> i32 {
    (value + ROUNDING).to_bits() as i32 - ROUNDING.to_bits() as i32
}

/// The smallest f16 with `scale * levels >= magnitude`; the largest finite one where there is none.
fn scale_for(magnitude: f32, levels: f32) -> f16 {
    let wanted = magnitude / levels;
    if wanted >= f16::MAX.to_f32() {
        return f16::MAX;
    }
    let near = f16::from_f32(wanted);
    if near.to_f32() < wanted { f16::from_bits(near.to_bits() + 1) } else { near }
}

/// A block's scale as it is written, and its inverse (0 for a block of zeros).
///
/// Values of magnitude above the largest scale times `levels` are added to `clipped`.
#[inline]
pub(crate) fn scale_of(block: &[f32], magnitude: f32, levels: f32, clipped: &mut usize) -> ([u8; 2], f32) {
    let scale = scale_for(magnitude, levels);
    let wide = scale.to_f32();
    let reach = wide * levels;
    if magnitude > reach {
        *clipped += block.iter().filter(|value| value.abs() > reach).count();
    }
    (scale.to_le_bytes(), if wide == 0.0 { 0.0 } else { 1.0 / wide })
}

/// The scale a sender wrote: finite and not negative.
pub(crate) fn read_scale(bytes: [u8; 2], block: usize) -> Result<f32, DecodeError> {
    let bits = u16::from_le_bytes(bytes);
    // The sign bit and the exponent of infinities and NaN both lie at or above 0x7c00.
    if bits >= 0x7c00 {
        return Err(DecodeError::Scale { block, bits });
    }
    Ok(f16::from_bits(bits).to_f32())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_reaches_the_largest_magnitude_with_little_to_spare() {
        for magnitude in [1e-9f32, 3e-6, 0.1, 1.0, 127.0, 8_000_000.0] {
            let scale = scale_for(magnitude, 127.0).to_f32();
            assert!(scale * 127.0 >= magnitude * 0.999_999, "{magnitude}");
            assert!(scale * 127.0 <= magnitude * 1.001 + 127.0 * 6e-8, "{magnitude}");
        }
        assert_eq!(scale_for(f32::MAX, 127.0), f16::MAX);
        assert_eq!(scale_for(0.0, 127.0), f16::ZERO);
    }

    #[test]
    fn scales_that_are_no_positive_number_are_refused() {
        for bits in [0x8000u16, 0x8001, 0xbc00, 0x7c00, 0xfc00, 0x7e00, 0xffff] {
            assert_eq!(read_scale(bits.to_le_bytes(), 3), Err(DecodeError::Scale { block: 3, bits }));
        }
        assert_eq!(read_scale([0, 0], 0), Ok(0.0));
        assert_eq!(read_scale(0x3c00u16.to_le_bytes(), 0), Ok(1.0));
    }

    #[test]
    fn rounding_is_to_the_nearest_integer_ties_to_even() {
        for (value, expected) in
            [(0.4, 0), (0.6, 1), (-0.6, -1), (0.5, 0), (1.5, 2), (-126.6, -127), (127.0, 127)]
        {
            assert_eq!(nearest(value), expected, "{value}");
        }
    }
}
