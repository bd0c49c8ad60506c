//! Rotary places: each pair `(x[k], x[k + d/2])` of a head is turned by the angle `place · θ^(-2k/d)` (Su and others
//! 2021), in the half-split order of Hugging Face's Llama.
//!
//! A turn keeps lengths, so the backward pass is the turn by the opposite angle.

use rayon::prelude::*;

use crate::ops::vector::ROWS;

/// Cosines and sines by place, `(places, size / 2)` each.
#[derive(Debug, Clone, Default)]
pub struct Rotation {
    half: usize,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

/// Which way to turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Forward pass.
    Forth,
    /// Backward pass.
    Back,
}

impl Rotation {
    /// The table for heads of `size` features (even) and base `theta`.
    pub fn new(places: usize, size: usize, theta: f64) -> Self {
        let half = size / 2;
        let mut rotation = Self { half, cosines: Vec::new(), sines: Vec::new() };
        for place in 0..places {
            for k in 0..half {
                // Angles in double precision: at place 2000 a single has lost three digits.
                let angle = place as f64 * theta.powf(-2.0 * k as f64 / size as f64);
                rotation.cosines.push(angle.cos() as f32);
                rotation.sines.push(angle.sin() as f32);
            }
        }
        rotation
    }

    /// Turns the first `heads` heads of every row of `x` (rows of `stride`), each at its place.
    ///
    /// # Panics
    /// If a place is beyond the table: callers check what comes from outside.
    pub fn apply(&self, x: &mut [f32], stride: usize, heads: usize, places: &[u32], turn: Turn) {
        let half = self.half;
        let sign = if turn == Turn::Forth { 1.0 } else { -1.0 };
        x.par_chunks_mut(ROWS * stride).zip(places.par_chunks(ROWS)).for_each(|(x, places)| {
            for (row, place) in x.chunks_exact_mut(stride).zip(places) {
                let table = *place as usize * half..(*place as usize + 1) * half;
                let (cosines, sines) = (&self.cosines[table.clone()], &self.sines[table]);
                for head in row[..heads * 2 * half].chunks_exact_mut(2 * half) {
                    let (first, second) = head.split_at_mut(half);
                    for (((a, b), cosine), sine) in first.iter_mut().zip(second).zip(cosines).zip(sines) {
                        let sine = sign * sine;
                        (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_back_undoes_a_turn_and_leaves_the_other_columns() {
        let rotation = Rotation::new(9, 4, 10_000.0);
        let start: Vec<f32> = (0..30).map(|k| (k as f32 * 0.7).sin()).collect();
        let mut x = start.clone();
        rotation.apply(&mut x, 10, 2, &[0, 3, 8], Turn::Forth);
        assert_eq!(x[..10], start[..10], "place 0 is no turn");
        assert_eq!(x[18..20], start[18..20], "values are not turned");
        assert!(x[10..18].iter().zip(&start[10..18]).all(|(a, b)| a != b));
        rotation.apply(&mut x, 10, 2, &[0, 3, 8], Turn::Back);
        assert!(x.iter().zip(&start).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn the_product_of_two_turned_vectors_depends_on_their_distance_only() {
        let rotation = Rotation::new(40, 8, 100.0);
        let product = |first: u32, second: u32| {
            let mut x: Vec<f32> = (0..16).map(|k| ((k * 5) % 7) as f32 - 3.0).collect();
            rotation.apply(&mut x, 8, 1, &[first, second], Turn::Forth);
            x[..8].iter().zip(&x[8..]).map(|(a, b)| a * b).sum::<f32>()
        };
        assert!((product(3, 7) - product(30, 34)).abs() < 1e-4);
        assert!((product(3, 7) - product(3, 8)).abs() > 1e-2);
    }
}
