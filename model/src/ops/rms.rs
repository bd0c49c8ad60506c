//! Root mean square normalisation, `y = γ x / sqrt(mean x² + ε)`, each row for itself (Zhang and Sennrich 2019).
//!
//! The input is kept by the caller, so that only one inverse root per row has to be remembered for the backward pass.

use rayon::prelude::*;

use crate::ops::simd::{fma, vectorized};
use crate::ops::vector::{ROWS, dot, reduce_partial, scratch};

/// The parameters of one normalisation over rows of `gain.len()`.
#[derive(Debug, Clone, Copy)]
pub struct Rms<'a> {
    /// γ, called `weight` in files.
    pub gain: &'a [f32],
    /// ε, added to the mean square.
    pub epsilon: f32,
}

impl Rms<'_> {
    /// Writes `y` and one inverse root mean square per row of `x`.
    pub fn forward(&self, x: &[f32], y: &mut [f32], inverses: &mut [f32]) {
        let width = self.gain.len();
        let block = ROWS * width;
        x.par_chunks(block).zip(y.par_chunks_mut(block)).zip(inverses.par_chunks_mut(ROWS)).for_each(
            |((x, y), inverses)| {
                for ((x, y), inverse) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(inverses) {
                    *inverse = 1.0 / (dot(x, x) / width as f32 + self.epsilon).sqrt();
                    forward_row(x, self.gain, *inverse, y);
                }
            },
        );
    }

    /// Adds the gradient of `x` to `dx` and writes the gradient of γ.
    pub fn backward(
        &self,
        x: &[f32],
        inverses: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        gain_gradient: &mut [f32],
        partial: &mut Vec<f32>,
    ) {
        let width = self.gain.len();
        let block = ROWS * width;
        let partial = scratch(partial, dy.len().div_ceil(block) * width);
        dx.par_chunks_mut(block)
            .zip(x.par_chunks(block))
            .zip(dy.par_chunks(block))
            .zip(inverses.par_chunks(ROWS))
            .zip(partial.par_chunks_mut(width))
            .for_each(|((((dx, x), dy), inverses), sums)| {
                sums.fill(0.0);
                let rows = dx.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(dy.chunks_exact(width));
                for (((dx, x), dy), inverse) in rows.zip(inverses) {
                    backward_row(dx, x, dy, self.gain, *inverse, sums);
                }
            });
        reduce_partial(partial, width, gain_gradient);
    }
}

#[inline(always)]
fn forward_row_body<const FMA: bool>(x: &[f32], gain: &[f32], inverse: f32, y: &mut [f32]) {
    for ((x, y), gain) in x.iter().zip(y).zip(gain) {
        *y = x * inverse * gain;
    }
}

vectorized! { fn forward_row(x: &[f32], gain: &[f32], inverse: f32, y: &mut [f32]) = forward_row_body }

/// `dx += r γ dy - x r³ mean(γ dy x)`; `sums += dy x r`.
#[inline(always)]
fn backward_row_body<const FMA: bool>(
    dx: &mut [f32],
    x: &[f32],
    dy: &[f32],
    gain: &[f32],
    inverse: f32,
    sums: &mut [f32],
) {
    let width = dx.len();
    let (x, dy, gain, sums) = (&x[..width], &dy[..width], &gain[..width], &mut sums[..width]);
    let mut lanes = [0.0_f32; 16];
    let whole = width / 16 * 16;
    for start in (0..whole).step_by(16) {
        for k in 0..16 {
            lanes[k] = fma::<FMA>(gain[start + k] * dy[start + k], x[start + k], lanes[k]);
        }
    }
    let mut inner = lanes.iter().sum::<f32>();
    for k in whole..width {
        inner += gain[k] * dy[k] * x[k];
    }
    let back = -inner * inverse * inverse * inverse / width as f32;
    for k in 0..width {
        sums[k] = fma::<FMA>(dy[k] * inverse, x[k], sums[k]);
        dx[k] += fma::<FMA>(back, x[k], inverse * gain[k] * dy[k]);
    }
}

vectorized! {
    fn backward_row(dx: &mut [f32], x: &[f32], dy: &[f32], gain: &[f32], inverse: f32, sums: &mut [f32])
        = backward_row_body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(k: usize) -> f64 {
        ((k * 7919 + 13) % 1009) as f64 / 504.0 - 1.0
    }

    fn loss(x: &[f64], gain: &[f64], dy: &[f64]) -> f64 {
        let width = gain.len();
        let mut total = 0.0;
        for (x, dy) in x.chunks(width).zip(dy.chunks(width)) {
            let mean = x.iter().map(|x| x * x).sum::<f64>() / width as f64;
            total += (0..width).map(|k| dy[k] * gain[k] * x[k] / (mean + 1e-5).sqrt()).sum::<f64>();
        }
        total
    }

    #[test]
    fn value_and_gradients_agree_with_central_differences_in_double_precision() {
        let (rows, width) = (ROWS + 3, 37);
        let x: Vec<f64> = (0..rows * width).map(number).collect();
        let gain: Vec<f64> = (0..width).map(|k| 1.0 + 0.3 * number(k + 5)).collect();
        let dy: Vec<f64> = (0..rows * width).map(|k| number(k + 77)).collect();
        let single = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<_>>();
        let (x32, gain32, dy32) = (single(&x), single(&gain), single(&dy));
        let rms = Rms { gain: &gain32, epsilon: 1e-5 };
        let (mut y, mut inverses) = (vec![0.0; x.len()], vec![0.0; rows]);
        rms.forward(&x32, &mut y, &mut inverses);
        let ours: f64 = y.iter().zip(&dy).map(|(y, d)| f64::from(*y) * d).sum();
        assert!((ours - loss(&x, &gain, &dy)).abs() < 1e-3);

        let (mut dx, mut dgain) = (vec![1.0; x.len()], vec![9.0; width]);
        rms.backward(&x32, &inverses, &dy32, &mut dx, &mut dgain, &mut Vec::new());
        let slope = |values: &[f64], k: usize, loss: &dyn Fn(&[f64]) -> f64| {
            let mut moved = values.to_vec();
            moved[k] += 1e-5;
            let above = loss(&moved);
            moved[k] -= 2e-5;
            (above - loss(&moved)) / 2e-5
        };
        for k in (0..x.len()).step_by(11) {
            let expected = slope(&x, k, &|x| loss(x, &gain, &dy));
            assert!((f64::from(dx[k]) - 1.0 - expected).abs() < 1e-5, "{k}: {} {expected}", dx[k]);
        }
        for (k, found) in dgain.iter().enumerate() {
            let expected = slope(&gain, k, &|gain| loss(&x, gain, &dy));
            assert!((f64::from(*found) - expected).abs() < 1e-4, "{k}: {found} {expected}");
        }
    }
}
