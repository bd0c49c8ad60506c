//! Element-wise activations with their derivative computed in the forward pass.
//!
//! The forward pass replaces its input by the derivative at that input, which is all the backward pass needs: one
//! buffer and one exponential less than computing both apart.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::ops::simd::{exp, fma, vectorized};
use crate::ops::vector::{ROWS, reduce_partial, scratch};

/// An element-wise function between two linear layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// `x Φ(x)` with the exact normal distribution function, BERT's `gelu`.
    #[serde(rename = "gelu")]
    Gelu,
    /// The hyperbolic tangent approximation of GELU, `gelu_new` in Hugging Face files.
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh", alias = "gelu_tanh")]
    GeluTanh,
    /// `max(x, 0)`.
    #[serde(rename = "relu")]
    Relu,
}

impl Activation {
    /// `y = f(x + bias)` for rows of `bias.len()`; `x` becomes `f'(x + bias)`.
    pub fn forward(self, x: &mut [f32], bias: &[f32], y: &mut [f32]) {
        let block = ROWS * bias.len();
        let row = match self {
            Self::Gelu => gelu_row,
            Self::GeluTanh => gelu_tanh_row,
            Self::Relu => relu_row,
        };
        x.par_chunks_mut(block).zip(y.par_chunks_mut(block)).for_each(|(x, y)| {
            for (x, y) in x.chunks_exact_mut(bias.len()).zip(y.chunks_exact_mut(bias.len())) {
                row(x, bias, y);
            }
        });
    }
}

/// `dx = dy * derivative` in place, and the bias gradient as the column sums of `dx` (rows of `width`).
pub fn backward(
    dy: &mut [f32],
    derivative: &[f32],
    width: usize,
    bias_gradient: &mut [f32],
    partial: &mut Vec<f32>,
) {
    let block = ROWS * width;
    let partial = scratch(partial, dy.len().div_ceil(block) * width);
    dy.par_chunks_mut(block).zip(derivative.par_chunks(block)).zip(partial.par_chunks_mut(width)).for_each(
        |((dy, derivative), sums)| {
            sums.fill(0.0);
            for (dy, derivative) in dy.chunks_exact_mut(width).zip(derivative.chunks_exact(width)) {
                backward_row(dy, derivative, sums);
            }
        },
    );
    reduce_partial(partial, width, bias_gradient);
}

#[inline(always)]
fn backward_row_body<const FMA: bool>(dy: &mut [f32], derivative: &[f32], sums: &mut [f32]) {
    for ((dy, derivative), sum) in dy.iter_mut().zip(derivative).zip(sums) {
        *dy *= derivative;
        *sum += *dy;
    }
}

vectorized! { fn backward_row(dy: &mut [f32], derivative: &[f32], sums: &mut [f32]) = backward_row_body }

#[inline(always)]
fn gelu_row_body<const FMA: bool>(x: &mut [f32], bias: &[f32], y: &mut [f32]) {
    const INVERSE_SQRT_2PI: f32 = 0.398_942_3;
    for ((x, bias), y) in x.iter_mut().zip(bias).zip(y) {
        let u = *x + bias;
        let density = exp::<FMA>(-0.5 * u * u);
        let phi = 0.5 + 0.5 * erf_of::<FMA>(u.abs() * std::f32::consts::FRAC_1_SQRT_2, density).copysign(u);
        *y = u * phi;
        *x = fma::<FMA>(u * INVERSE_SQRT_2PI, density, phi);
    }
}

vectorized! { fn gelu_row(x: &mut [f32], bias: &[f32], y: &mut [f32]) = gelu_row_body }

/// erf(z) for z >= 0 when `e^{-z²}` is already known; absolute error 1.5e-7 (Abramowitz and Stegun 7.1.26).
#[inline(always)]
fn erf_of<const FMA: bool>(z: f32, exp_minus_square: f32) -> f32 {
    let t = 1.0 / fma::<FMA>(0.327_591_1, z, 1.0);
    let mut p = 1.061_405_4;
    p = fma::<FMA>(p, t, -1.453_152);
    p = fma::<FMA>(p, t, 1.421_413_8);
    p = fma::<FMA>(p, t, -0.284_496_72);
    p = fma::<FMA>(p, t, 0.254_829_6);
    1.0 - p * t * exp_minus_square
}

#[inline(always)]
fn gelu_tanh_row_body<const FMA: bool>(x: &mut [f32], bias: &[f32], y: &mut [f32]) {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    const CUBIC: f32 = 0.044_715;
    for ((x, bias), y) in x.iter_mut().zip(bias).zip(y) {
        let u = *x + bias;
        let square = u * u;
        let inner = SQRT_2_OVER_PI * u * fma::<FMA>(CUBIC, square, 1.0);
        // tanh z = 1 - 2 / (1 + e^{2z}); the exponential is clamped, so neither end overflows.
        let tanh = 1.0 - 2.0 / (1.0 + exp::<FMA>(2.0 * inner));
        let slope = SQRT_2_OVER_PI * fma::<FMA>(3.0 * CUBIC, square, 1.0);
        *y = 0.5 * u * (1.0 + tanh);
        *x = 0.5 * (1.0 + tanh) + 0.5 * u * (1.0 - tanh * tanh) * slope;
    }
}

vectorized! { fn gelu_tanh_row(x: &mut [f32], bias: &[f32], y: &mut [f32]) = gelu_tanh_row_body }

#[inline(always)]
fn relu_row_body<const FMA: bool>(x: &mut [f32], bias: &[f32], y: &mut [f32]) {
    for ((x, bias), y) in x.iter_mut().zip(bias).zip(y) {
        let u = *x + bias;
        *y = u.max(0.0);
        *x = if u > 0.0 { 1.0 } else { 0.0 };
    }
}

vectorized! { fn relu_row(x: &mut [f32], bias: &[f32], y: &mut [f32]) = relu_row_body }

#[cfg(test)]
mod tests {
    use super::*;

    /// erf by its Taylor series in double precision; enough terms for |x| <= 4.
    fn erf(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..120 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    fn exact(kind: Activation, u: f64) -> f64 {
        match kind {
            Activation::Gelu => 0.5 * u * (1.0 + erf(u / 2.0_f64.sqrt())),
            Activation::GeluTanh => {
                0.5 * u * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (u + 0.044_715 * u.powi(3))).tanh())
            }
            Activation::Relu => u.max(0.0),
        }
    }

    #[test]
    fn values_and_derivatives_agree_with_double_precision() {
        let bias: Vec<f32> = (0..40).map(|k| k as f32 * 0.01 - 0.2).collect();
        let inputs: Vec<f32> = (0..40 * 25).map(|k| (k as f32 - 500.0) * 0.01 + 0.003).collect();
        for kind in [Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
            let (mut x, mut y) = (inputs.clone(), vec![0.0; inputs.len()]);
            kind.forward(&mut x, &bias, &mut y);
            for k in 0..inputs.len() {
                let u = f64::from(inputs[k] + bias[k % 40]);
                let step = 1e-5;
                let slope = (exact(kind, u + step) - exact(kind, u - step)) / (2.0 * step);
                // 1.5e-7 from erf times |u| <= 5.2, and a few roundings.
                assert!((f64::from(y[k]) - exact(kind, u)).abs() < 1.5e-6, "{kind:?} {u}");
                if kind != Activation::Relu || u.abs() > 2.0 * step {
                    assert!((f64::from(x[k]) - slope).abs() < 2e-6, "{kind:?}' {u}: {} {slope}", x[k]);
                }
            }
        }
    }

    #[test]
    fn huge_inputs_stay_finite() {
        for kind in [Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
            let (mut x, mut y) = (vec![-1e18, -40.0, 40.0, 1e18], vec![0.0; 4]);
            kind.forward(&mut x, &[0.0; 4], &mut y);
            assert!(x.iter().chain(&y).all(|v| v.is_finite()), "{kind:?} {x:?} {y:?}");
            assert!(y[1].abs() < 1e-30 && y[2] == 40.0);
        }
    }

    #[test]
    fn the_backward_pass_multiplies_and_sums_columns() {
        let (rows, width) = (ROWS + 3, 5);
        let mut dy: Vec<f32> = (0..rows * width).map(|k| k as f32 % 7.0).collect();
        let derivative: Vec<f32> = (0..rows * width).map(|k| k as f32 % 3.0).collect();
        let products: Vec<f32> = dy.iter().zip(&derivative).map(|(a, b)| a * b).collect();
        let mut sums = vec![0.0; width];
        backward(&mut dy, &derivative, width, &mut sums, &mut Vec::new());
        assert_eq!(dy, products);
        assert_eq!(sums[2], (0..rows).map(|row| products[row * width + 2]).sum::<f32>());
    }
}
