//! The gated unit of Llama's feed-forward part, `silu(gate) · up` (Shazeer 2020), `silu(x) = x / (1 + e^-x)`.
//!
//! Gate and up lie side by side in one row, because one matrix product makes both.

use rayon::prelude::*;

use crate::ops::simd::{exp, fma, vectorized};
use crate::ops::vector::ROWS;

/// `y (rows, inner)` from `x (rows, 2 inner)`.
pub fn forward(x: &[f32], inner: usize, y: &mut [f32]) {
    x.par_chunks(ROWS * 2 * inner).zip(y.par_chunks_mut(ROWS * inner)).for_each(|(x, y)| {
        for (x, y) in x.chunks_exact(2 * inner).zip(y.chunks_exact_mut(inner)) {
            let (gate, up) = x.split_at(inner);
            forward_row(gate, up, y);
        }
    });
}

/// `x (rows, 2 inner)` becomes its own gradient, given `dy (rows, inner)`.
pub fn backward(x: &mut [f32], inner: usize, dy: &[f32]) {
    x.par_chunks_mut(ROWS * 2 * inner).zip(dy.par_chunks(ROWS * inner)).for_each(|(x, dy)| {
        for (x, dy) in x.chunks_exact_mut(2 * inner).zip(dy.chunks_exact(inner)) {
            let (gate, up) = x.split_at_mut(inner);
            backward_row(gate, up, dy);
        }
    });
}

#[inline(always)]
fn forward_row_body<const FMA: bool>(gate: &[f32], up: &[f32], y: &mut [f32]) {
    for ((gate, up), y) in gate.iter().zip(up).zip(y) {
        *y = gate / (1.0 + exp::<FMA>(-gate)) * up;
    }
}

vectorized! { fn forward_row(gate: &[f32], up: &[f32], y: &mut [f32]) = forward_row_body }

#[inline(always)]
fn backward_row_body<const FMA: bool>(gate: &mut [f32], up: &mut [f32], dy: &[f32]) {
    for ((gate, up), dy) in gate.iter_mut().zip(up).zip(dy) {
        let sigmoid = 1.0 / (1.0 + exp::<FMA>(-*gate));
        let silu = *gate * sigmoid;
        // silu' = σ + x σ (1 - σ) = σ + silu (1 - σ)
        let slope = fma::<FMA>(silu, 1.0 - sigmoid, sigmoid);
        *gate = dy * *up * slope;
        *up = dy * silu;
    }
}

vectorized! { fn backward_row(gate: &mut [f32], up: &mut [f32], dy: &[f32]) = backward_row_body }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_and_gradient_agree_with_central_differences_in_double_precision() {
        let (rows, inner) = (ROWS + 2, 19);
        let number = |k: usize| ((k * 7919 + 3) % 997) as f64 / 100.0 - 5.0;
        let x: Vec<f64> = (0..rows * 2 * inner).map(number).collect();
        let dy: Vec<f64> = (0..rows * inner).map(|k| number(k + 5) / 5.0).collect();
        let value = |gate: f64, up: f64| gate / (1.0 + (-gate).exp()) * up;
        let mut single: Vec<f32> = x.iter().map(|v| *v as f32).collect();
        let dy_single: Vec<f32> = dy.iter().map(|v| *v as f32).collect();
        let mut y = vec![0.0; rows * inner];
        forward(&single, inner, &mut y);
        backward(&mut single, inner, &dy_single);
        for row in 0..rows {
            for k in 0..inner {
                let (g, u) = (row * 2 * inner + k, row * 2 * inner + inner + k);
                let (gate, up, d) = (x[g], x[u], dy[row * inner + k]);
                assert!((f64::from(y[row * inner + k]) - value(gate, up)).abs() < 2e-5);
                let slope = d * (value(gate + 1e-5, up) - value(gate - 1e-5, up)) / 2e-5;
                assert!((f64::from(single[g]) - slope).abs() < 2e-5, "{gate} {up}: {} {slope}", single[g]);
                assert!((f64::from(single[u]) - d * value(gate, 1.0)).abs() < 2e-5);
            }
        }
    }

    #[test]
    fn huge_gates_stay_finite() {
        let mut x = vec![-1e30, 1e30, 2.0, 2.0];
        let mut y = vec![0.0; 2];
        forward(&x, 2, &mut y);
        backward(&mut x, 2, &[1.0, 1.0]);
        assert!(y.iter().chain(&x).all(|v| v.is_finite()), "{y:?} {x:?}");
    }
}
