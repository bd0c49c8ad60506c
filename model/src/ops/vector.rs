//! Loops over long vectors: norm, scale, column sums, comparison with zero.
//!
//! Every sum runs in blocks of a fixed size, and the blocks are added in order, so the result does not depend on the
//! number of threads.

use rayon::prelude::*;

use crate::ops::simd::{LANES, fma, sum_lanes, vectorized};

/// Elements per task: small enough to balance, large enough that a task costs more than its scheduling.
pub const BLOCK: usize = 1 << 15;

/// Rows per task in kernels that go row by row and keep partial column sums.
pub const ROWS: usize = 32;

/// The sum of squares, each block in single precision lanes and the blocks in double precision.
pub fn square_sum(values: &[f32]) -> f64 {
    let blocks: Vec<f64> = values.par_chunks(BLOCK).map(square_sum_block).collect();
    blocks.iter().sum()
}

#[inline(always)]
fn square_sum_body<const FMA: bool>(values: &[f32]) -> f64 {
    // Double precision lanes: the squares of a gradient span many orders of magnitude, and a block is short.
    let mut lanes = [0.0_f64; 16];
    let mut chunks = values.chunks_exact(16);
    for chunk in &mut chunks {
        for k in 0..16 {
            let x = f64::from(chunk[k]);
            lanes[k] += x * x;
        }
    }
    let mut sum = lanes.iter().sum::<f64>();
    for x in chunks.remainder() {
        sum += f64::from(*x) * f64::from(*x);
    }
    sum
}

vectorized! { fn square_sum_block(values: &[f32]) -> f64 = square_sum_body }

/// Whether every value is a number and finite.
pub fn all_finite(values: &[f32]) -> bool {
    values.par_chunks(BLOCK).all(finite_block)
}

#[inline(always)]
fn finite_body<const FMA: bool>(values: &[f32]) -> bool {
    // A reduction without an early exit, so that it runs at the speed of memory.
    let mut bad = 0_u32;
    for x in values {
        bad |= u32::from(x.to_bits() & 0x7f80_0000 == 0x7f80_0000);
    }
    bad == 0
}

vectorized! { fn finite_block(values: &[f32]) -> bool = finite_body }

/// `y += x`.
pub fn add(y: &mut [f32], x: &[f32]) {
    y.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK)).for_each(|(y, x)| add_slice(y, x));
}

#[inline(always)]
fn add_body<const FMA: bool>(y: &mut [f32], x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

vectorized! {
    /// `y += x` on the calling thread.
    pub fn add_slice(y: &mut [f32], x: &[f32]) = add_body
}

#[inline(always)]
fn add_scaled_body<const FMA: bool>(y: &mut [f32], x: &[f32], factor: f32) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = fma::<FMA>(factor, *x, *y);
    }
}

vectorized! {
    /// `y += factor x` on the calling thread.
    pub fn add_scaled(y: &mut [f32], x: &[f32], factor: f32) = add_scaled_body
}

#[inline(always)]
fn dot_body<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for k in 0..LANES {
            lanes[k] = fma::<FMA>(a[k], b[k], lanes[k]);
        }
    }
    let mut sum = sum_lanes(lanes);
    for (a, b) in a_rest.iter().zip(b_rest) {
        sum += a * b;
    }
    sum
}

vectorized! {
    /// The inner product of two vectors of equal length.
    pub fn dot(a: &[f32], b: &[f32]) -> f32 = dot_body
}

/// Column sums of `x` `(rows, width)` into `sums` `(width)`, replacing what is there.
///
/// `partial` is scratch space; it grows to `ceil(rows / ROWS) * width` once and stays.
pub fn column_sums(x: &[f32], width: usize, sums: &mut [f32], partial: &mut Vec<f32>) {
    let tasks = x.len().div_ceil(ROWS * width);
    let partial = scratch(partial, tasks * width);
    partial.par_chunks_mut(width).zip(x.par_chunks(ROWS * width)).for_each(|(sums, x)| {
        sums.fill(0.0);
        for row in x.chunks_exact(width) {
            add_slice(sums, row);
        }
    });
    reduce_partial(partial, width, sums);
}

/// Adds the rows of `partial` `(tasks, width)` in order into `sums` `(width)`, replacing what is there.
pub fn reduce_partial(partial: &[f32], width: usize, sums: &mut [f32]) {
    sums.fill(0.0);
    for row in partial.chunks_exact(width) {
        add_slice(sums, row);
    }
}

/// The first `length` elements of a buffer that only ever grows.
pub fn scratch(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(n: usize) -> Vec<f32> {
        (0..n).map(|k| ((k * 7919) % 1013) as f32 / 1013.0 - 0.4).collect()
    }

    #[test]
    fn sums_agree_with_double_precision_for_lengths_around_the_block_size() {
        for n in [0, 1, 15, 16, 17, 100, BLOCK - 1, BLOCK + 3, 3 * BLOCK + 5] {
            let x = ramp(n);
            let exact: f64 = x.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
            assert!((square_sum(&x) - exact).abs() <= 1e-12 * exact, "{n}");
            // Single precision lanes: error grows like the square root of the additions per lane.
            let inner = f64::from(dot(&x, &x));
            assert!((inner - exact).abs() <= 2e-5 * exact, "{n}: {inner} {exact}");
        }
    }

    #[test]
    fn one_bad_value_anywhere_is_found() {
        let mut x = ramp(2 * BLOCK + 9);
        assert!(all_finite(&x));
        for place in [0, BLOCK, 2 * BLOCK + 8] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let kept = std::mem::replace(&mut x[place], bad);
                assert!(!all_finite(&x));
                x[place] = kept;
            }
        }
    }

    #[test]
    fn column_sums_do_not_depend_on_the_number_of_threads() {
        let (rows, width) = (ROWS * 3 + 5, 37);
        let x = ramp(rows * width);
        let sums = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut sums = vec![9.0; width];
            pool.install(|| column_sums(&x, width, &mut sums, &mut Vec::new()));
            sums
        };
        let one = sums(1);
        assert_eq!(one, sums(4));
        let exact: f64 = (0..rows).map(|row| f64::from(x[row * width + 5])).sum();
        assert!((f64::from(one[5]) - exact).abs() < 1e-4);
    }
}
