//! Noise by counter: a random number for every index, without a state between them.
//!
//! Stochastic rounding and the sketch need one cheap number per parameter; a counter lets the compiler work on
//! several at once and gives the same bits on every platform. It is not for secrets: draws of peers use `rng`.

use crate::rng::Seed;

/// Numbers by index, from 64 bits of a seed. The period is 2^32 indices.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    offset: u32,
    twist: u32,
}

impl Noise {
    /// The numbers of one purpose; fork the seed by purpose first.
    pub fn new(seed: &Seed) -> Self {
        let number = seed.number();
        Self { offset: number as u32, twist: (number >> 32) as u32 }
    }

    /// The 32 bits of an index.
    ///
    /// Two rounds of multiply and shift with the constants of C. Wellons, "Prospecting for hash functions" (2018);
    /// the twist between them makes two seeds different functions and not shifted copies of one.
    #[inline]
    pub fn bits(self, index: u32) -> u32 {
        let mut x = index.wrapping_add(self.offset);
        x ^= x >> 16;
        x = x.wrapping_mul(0x7feb_352d);
        x ^= (x >> 15) ^ self.twist;
        x = x.wrapping_mul(0x846c_a68b);
        x ^ (x >> 16)
    }

    /// A number in `[-0.5, 0.5)`, a multiple of 2^-24.
    #[inline]
    pub fn centred(self, index: u32) -> f32 {
        // 24 bits fit an i32 and an f32 exactly; the signed conversion is the one every processor has.
        (self.bits(index) >> 8) as i32 as f32 * (1.0 / 16_777_216.0) - 0.5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_is_even_and_neighbours_do_not_agree() {
        let noise = Noise::new(&Seed::from_u64(3));
        let mut ones = [0u32; 32];
        let mut changed = 0;
        let n = 1 << 16;
        for i in 0..n {
            let bits = noise.bits(i);
            (0..32).for_each(|b| ones[b] += bits >> b & 1);
            changed += (bits ^ noise.bits(i + 1)).count_ones();
        }
        // Five standard deviations of a fair coin over 65,536 throws are 640.
        assert!(ones.iter().all(|&c| c.abs_diff(n / 2) < 640), "{ones:?}");
        assert!(changed.abs_diff(n * 16) < 640 * 6, "{changed}");
        assert!(Noise::new(&Seed::from_u64(4)).bits(0) != noise.bits(0));
    }

    #[test]
    fn centred_numbers_have_the_moments_of_a_uniform_one() {
        let noise = Noise::new(&Seed::from_u64(9));
        let n = 1 << 18;
        let (mut sum, mut squares) = (0.0f64, 0.0f64);
        for i in 0..n {
            let u = f64::from(noise.centred(i));
            assert!((-0.5..0.5).contains(&u));
            sum += u;
            squares += u * u;
        }
        let n = f64::from(n);
        assert!((sum / n).abs() < 5.0 * (1.0f64 / 12.0 / n).sqrt(), "{}", sum / n);
        assert!((squares / n - 1.0 / 12.0).abs() < 1e-3, "{}", squares / n);
    }
}
