//! Layer normalisation, fused with the bias and the residual sum before it.
//!
//! `s = x + bias + residual`, `x̂ = (s - mean s) / sqrt(var s + ε)`, `y = γ x̂ + β`, each row for itself (Ba, Kiros and
//! Hinton 2016). The normalised row x̂ overwrites x and is kept for the backward pass.

use rayon::prelude::*;

use crate::ops::simd::{LANES, fma, sum_lanes, vectorized};
use crate::ops::vector::{ROWS, add_slice, reduce_partial, scratch};

/// The parameters of one layer normalisation over rows of `gain.len()`.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// γ, called `weight` in files.
    pub gain: &'a [f32],
    /// β, called `bias` in files.
    pub shift: &'a [f32],
    /// ε, added to the variance.
    pub epsilon: f32,
}

/// What the backward pass writes: γ's and β's gradient and, for the linear layer before, the gradient of its bias.
#[derive(Debug)]
pub struct NormGradient<'a> {
    /// Gradient of γ.
    pub gain: &'a mut [f32],
    /// Gradient of β.
    pub shift: &'a mut [f32],
    /// Column sums of the input's gradient; empty if nobody wants them.
    pub bias: &'a mut [f32],
}

impl Norm<'_> {
    /// Writes `y` and one inverse standard deviation per row; `x` becomes x̂. `bias` and `residual` may be empty.
    pub fn forward(
        &self,
        x: &mut [f32],
        bias: &[f32],
        residual: &[f32],
        y: &mut [f32],
        deviations: &mut [f32],
    ) {
        let width = self.gain.len();
        let block = ROWS * width;
        let task = |first: usize, x: &mut [f32], y: &mut [f32], deviations: &mut [f32]| {
            for (k, ((x, y), deviation)) in
                x.chunks_exact_mut(width).zip(y.chunks_exact_mut(width)).zip(deviations).enumerate()
            {
                if !bias.is_empty() {
                    add_slice(x, bias);
                }
                if !residual.is_empty() {
                    let start = (first + k) * width;
                    add_slice(x, &residual[start..start + width]);
                }
                *deviation = forward_row(x, self.gain, self.shift, self.epsilon, y);
            }
        };
        x.par_chunks_mut(block)
            .zip(y.par_chunks_mut(block))
            .zip(deviations.par_chunks_mut(ROWS))
            .enumerate()
            .for_each(|(index, ((x, y), deviations))| task(index * ROWS, x, y, deviations));
    }

    /// `dy` becomes the gradient of `s` (equal for x, bias rows and residual).
    pub fn backward(
        &self,
        dy: &mut [f32],
        normalized: &[f32],
        deviations: &[f32],
        gradient: NormGradient<'_>,
        partial: &mut Vec<f32>,
    ) {
        let width = self.gain.len();
        let block = ROWS * width;
        let tasks = dy.len().div_ceil(block);
        let partial = scratch(partial, tasks * 3 * width);
        dy.par_chunks_mut(block)
            .zip(normalized.par_chunks(block))
            .zip(deviations.par_chunks(ROWS))
            .zip(partial.par_chunks_mut(3 * width))
            .for_each(|(((dy, normalized), deviations), sums)| {
                sums.fill(0.0);
                let (gain_sums, rest) = sums.split_at_mut(width);
                let (shift_sums, bias_sums) = rest.split_at_mut(width);
                let rows = dy.chunks_exact_mut(width).zip(normalized.chunks_exact(width));
                for ((dy, normalized), deviation) in rows.zip(deviations) {
                    backward_row(dy, normalized, self.gain, *deviation, gain_sums, shift_sums, bias_sums);
                }
            });
        let mut total = vec![0.0; 3 * width];
        reduce_partial(partial, 3 * width, &mut total);
        gradient.gain.copy_from_slice(&total[..width]);
        gradient.shift.copy_from_slice(&total[width..2 * width]);
        if !gradient.bias.is_empty() {
            gradient.bias.copy_from_slice(&total[2 * width..]);
        }
    }
}

#[inline(always)]
fn sum<const FMA: bool>(x: &[f32], f: impl Fn(usize, f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for (c, chunk) in chunks.iter().enumerate() {
        for k in 0..LANES {
            lanes[k] += f(c * LANES + k, chunk[k]);
        }
    }
    let mut sum = sum_lanes(lanes);
    for (k, x) in rest.iter().enumerate() {
        sum += f(chunks.len() * LANES + k, *x);
    }
    sum
}

#[inline(always)]
fn forward_row_body<const FMA: bool>(
    x: &mut [f32],
    gain: &[f32],
    shift: &[f32],
    epsilon: f32,
    y: &mut [f32],
) -> f32 {
    let inverse_width = 1.0 / x.len() as f32;
    let mean = sum::<FMA>(x, |_, x| x) * inverse_width;
    // Two passes: the difference of large squares would lose the small variance of a row with a large mean.
    let variance = sum::<FMA>(x, |_, x| (x - mean) * (x - mean)) * inverse_width;
    let deviation = 1.0 / (variance + epsilon).sqrt();
    for (((x, y), gain), shift) in x.iter_mut().zip(y).zip(gain).zip(shift) {
        *x = (*x - mean) * deviation;
        *y = fma::<FMA>(*x, *gain, *shift);
    }
    deviation
}

vectorized! {
    fn forward_row(x: &mut [f32], gain: &[f32], shift: &[f32], epsilon: f32, y: &mut [f32]) -> f32 = forward_row_body
}

#[inline(always)]
fn backward_row_body<const FMA: bool>(
    dy: &mut [f32],
    normalized: &[f32],
    gain: &[f32],
    deviation: f32,
    gain_sums: &mut [f32],
    shift_sums: &mut [f32],
    bias_sums: &mut [f32],
) {
    let width = dy.len();
    let (normalized, gain) = (&normalized[..width], &gain[..width]);
    let (gain_sums, shift_sums, bias_sums) =
        (&mut gain_sums[..width], &mut shift_sums[..width], &mut bias_sums[..width]);
    let inverse_width = 1.0 / width as f32;
    let mean = sum::<FMA>(dy, |k, dy| dy * gain[k]) * inverse_width;
    let projection = sum::<FMA>(dy, |k, dy| dy * gain[k] * normalized[k]) * inverse_width;
    for k in 0..width {
        gain_sums[k] = fma::<FMA>(dy[k], normalized[k], gain_sums[k]);
        shift_sums[k] += dy[k];
        let dx = deviation * (fma::<FMA>(-projection, normalized[k], dy[k] * gain[k]) - mean);
        bias_sums[k] += dx;
        dy[k] = dx;
    }
}

vectorized! {
    fn backward_row(
        dy: &mut [f32], normalized: &[f32], gain: &[f32], deviation: f32,
        gain_sums: &mut [f32], shift_sums: &mut [f32], bias_sums: &mut [f32],
    ) = backward_row_body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(k: usize) -> f64 {
        ((k * 7919 + 13) % 1009) as f64 / 504.0 - 1.0
    }

    /// sum(dy * norm(x + bias + residual)) in double precision.
    fn loss(x: &[f64], bias: &[f64], residual: &[f64], gain: &[f64], shift: &[f64], dy: &[f64]) -> f64 {
        let width = gain.len();
        let mut total = 0.0;
        for row in 0..x.len() / width {
            let s: Vec<f64> =
                (0..width).map(|k| x[row * width + k] + bias[k] + residual[row * width + k]).collect();
            let mean = s.iter().sum::<f64>() / width as f64;
            let variance = s.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / width as f64;
            for k in 0..width {
                let y = (s[k] - mean) / (variance + 1e-5).sqrt() * gain[k] + shift[k];
                total += dy[row * width + k] * y;
            }
        }
        total
    }

    #[test]
    fn value_and_gradients_agree_with_central_differences_in_double_precision() {
        for width in [6, 33, 70] {
            let rows = ROWS + 2;
            let n = rows * width;
            let make = |count: usize, salt: usize| (0..count).map(|k| number(k + salt)).collect::<Vec<f64>>();
            let mut arguments =
                [make(n, 1), make(width, 2), make(n, 3), make(width, 5000), make(width, 77), make(n, 9)];
            let single: Vec<Vec<f32>> =
                arguments.iter().map(|a| a.iter().map(|v| *v as f32).collect()).collect();
            let norm = Norm { gain: &single[3], shift: &single[4], epsilon: 1e-5 };
            let (mut x, mut y, mut deviations) = (single[0].clone(), vec![0.0; n], vec![0.0; rows]);
            norm.forward(&mut x, &single[1], &single[2], &mut y, &mut deviations);
            let ours: f64 = y.iter().zip(&arguments[5]).map(|(y, d)| f64::from(*y) * d).sum();
            let call = |a: &[Vec<f64>; 6]| loss(&a[0], &a[1], &a[2], &a[3], &a[4], &a[5]);
            assert!((ours - call(&arguments)).abs() < 1e-3, "{ours}");

            let mut dx = single[5].clone();
            let (mut gain, mut shift, mut bias) = (vec![0.0; width], vec![0.0; width], vec![0.0; width]);
            let gradient = NormGradient { gain: &mut gain, shift: &mut shift, bias: &mut bias };
            norm.backward(&mut dx, &x, &deviations, gradient, &mut Vec::new());
            for (which, gradient) in [(0, &dx), (1, &bias), (2, &dx), (3, &gain), (4, &shift)] {
                for k in (0..arguments[which].len()).step_by(7) {
                    let kept = arguments[which][k];
                    arguments[which][k] = kept + 1e-5;
                    let above = call(&arguments);
                    arguments[which][k] = kept - 1e-5;
                    let slope = (above - call(&arguments)) / 2e-5;
                    arguments[which][k] = kept;
                    // Single precision sums of about 35 rows against exact ones.
                    let error = (slope - f64::from(gradient[k])).abs();
                    assert!(error < 3e-5 * (1.0 + slope.abs()), "{which} {k}: {slope} {}", gradient[k]);
                }
            }
        }
    }

    #[test]
    fn a_constant_row_gives_the_shift_and_no_infinity() {
        let (gain, shift) = (vec![2.0; 8], vec![0.25; 8]);
        let norm = Norm { gain: &gain, shift: &shift, epsilon: 1e-12 };
        let (mut x, mut y, mut deviations) = (vec![3.0; 8], vec![0.0; 8], vec![0.0]);
        norm.forward(&mut x, &[], &[], &mut y, &mut deviations);
        assert_eq!(y, shift);
        assert!(deviations[0].is_finite());
    }
}
