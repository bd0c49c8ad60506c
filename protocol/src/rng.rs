//! Seeded randomness with labelled forks.
//!
//! One [`Seed`] per peer; each room forks its own by label, so a new draw in one room does not shift another room's
//! stream. There is deliberately no way to make a seed from the environment: the driver brings it.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng};

/// 32 bytes from which streams of random numbers are made.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed([u8; 32]);

/// A stream of random numbers: ChaCha with 8 rounds.
#[derive(Clone)]
pub struct Rng(ChaCha8Rng);

impl Seed {
    /// A seed from 32 bytes that the driver drew.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A seed from a number, for tests and simulations.
    pub fn from_u64(number: u64) -> Self {
        Self(blake3::derive_key("starling/seed/number/1", &number.to_le_bytes()))
    }

    /// The seed of one purpose, named by `label`.
    pub fn fork(&self, label: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("starling/seed/fork/1");
        hasher.update(&self.0).update(label.as_bytes());
        Self(*hasher.finalize().as_bytes())
    }

    /// The seed of the `index`-th of several equal purposes.
    pub fn fork_index(&self, index: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("starling/seed/index/1");
        hasher.update(&self.0).update(&index.to_le_bytes());
        Self(*hasher.finalize().as_bytes())
    }

    /// The stream that belongs to this seed.
    pub fn rng(&self) -> Rng {
        Rng(ChaCha8Rng::from_seed(self.0))
    }

    /// The first 64 bits of the stream.
    pub fn number(&self) -> u64 {
        self.rng().next_u64()
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(hidden)")
    }
}

impl Rng {
    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..end`, without bias (Lemire's method with rejection).
    pub fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "a draw needs at least one possible outcome");
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(end);
            let low = wide as u64;
            if low >= end || low >= end.wrapping_neg() % end {
                return (wide >> 64) as u64;
            }
        }
    }

    /// A number in `[0, 1)` with 53 random bits.
    pub fn unit_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Draws at most `count` distinct items, uniformly; the result is sorted.
    pub fn draw<T: Copy + Ord>(&mut self, from: &[T], count: usize) -> Vec<T> {
        let mut order: Vec<T> = from.to_vec();
        let count = count.min(order.len());
        for i in 0..count {
            let j = i + self.below((order.len() - i) as u64) as usize;
            order.swap(i, j);
        }
        order.truncate(count);
        order.sort_unstable();
        order
    }

    /// Puts `items` in random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i as u64 + 1) as usize;
            items.swap(i, j);
        }
    }
}

impl std::fmt::Debug for Rng {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rng(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forks_of_one_seed_differ_and_repeat() {
        let seed = Seed::from_u64(7);
        assert_eq!(seed.fork("a").number(), Seed::from_u64(7).fork("a").number());
        assert_ne!(seed.fork("a").number(), seed.fork("b").number());
        assert_ne!(seed.fork_index(0).number(), seed.fork_index(1).number());
    }

    #[test]
    fn draws_stay_in_range_and_reach_every_outcome() {
        let mut rng = Seed::from_u64(1).rng();
        let mut seen = [0u32; 7];
        for _ in 0..7_000 {
            seen[rng.below(7) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| (800..1_200).contains(&n)), "{seen:?}");
        let mut items: Vec<u32> = (0..50).collect();
        rng.shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn every_item_is_drawn_equally_often() {
        let mut rng = Seed::from_u64(3).rng();
        let items: Vec<usize> = (0..10).collect();
        let mut counts = [0u32; 10];
        for _ in 0..10_000 {
            let drawn = rng.draw(&items, 3);
            assert!(drawn.is_sorted_by(|a, b| a < b) && drawn.len() == 3);
            drawn.iter().for_each(|&i| counts[i] += 1);
        }
        assert!(counts.iter().all(|n| (2_800..3_200).contains(n)), "{counts:?}");
    }
}
