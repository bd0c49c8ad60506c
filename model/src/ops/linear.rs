//! The linear layer `y = x W^T + b` with `W (out, in)` as PyTorch stores it.

use rayon::prelude::*;

use crate::ops::gemm::{Into, View, product};
use crate::ops::vector::ROWS;

/// Sizes of a linear layer.
#[derive(Debug, Clone, Copy)]
pub struct Linear {
    /// Features read.
    pub inputs: usize,
    /// Features written.
    pub outputs: usize,
}

impl Linear {
    /// `y (rows, out) = x (rows, in) W^T`, without the bias: the next kernel adds it in the same pass.
    pub fn forward(&self, weight: &[f32], x: &[f32], y: &mut [f32]) {
        let rows = x.len() / self.inputs;
        let x = View::new(x, rows, self.inputs);
        product(y, Into::Replace, 1.0, x, self.view(weight).transposed());
    }

    /// `y (rows, out) = x (rows, in) W^T + b`.
    pub fn forward_bias(&self, weight: &[f32], bias: &[f32], x: &[f32], y: &mut [f32]) {
        y.par_chunks_mut(ROWS * self.outputs).for_each(|y| {
            for row in y.chunks_exact_mut(self.outputs) {
                row.copy_from_slice(bias);
            }
        });
        let rows = x.len() / self.inputs;
        product(y, Into::Add, 1.0, View::new(x, rows, self.inputs), self.view(weight).transposed());
    }

    /// `dW (out, in) = dy^T x`, replacing what is there.
    pub fn backward_weight(&self, x: &[f32], dy: &[f32], weight_gradient: &mut [f32]) {
        let rows = x.len() / self.inputs;
        let dy = View::new(dy, rows, self.outputs).transposed();
        product(weight_gradient, Into::Replace, 1.0, dy, View::new(x, rows, self.inputs));
    }

    /// `dx (rows, in) = dy (rows, out) W`, or added to what is there.
    pub fn backward_input(&self, weight: &[f32], dy: &[f32], dx: &mut [f32], into: Into) {
        let rows = dy.len() / self.outputs;
        product(dx, into, 1.0, View::new(dy, rows, self.outputs), self.view(weight));
    }

    fn view<'a>(&self, weight: &'a [f32]) -> View<'a> {
        View::new(weight, self.outputs, self.inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::vector::column_sums;

    #[test]
    fn gradients_agree_with_central_differences() {
        let (rows, layer) = (5, Linear { inputs: 7, outputs: 3 });
        let number = |k: usize| ((k * 31 + 7) % 53) as f32 / 26.0 - 1.0;
        let x: Vec<f32> = (0..rows * 7).map(number).collect();
        let weight: Vec<f32> = (0..21).map(|k| number(k + 100)).collect();
        let bias: Vec<f32> = (0..3).map(|k| number(k + 200)).collect();
        let dy: Vec<f32> = (0..rows * 3).map(|k| number(k + 300)).collect();
        // The loss sum(dy * y) is linear in each argument, so differences are exact up to rounding.
        let loss = |x: &[f32], weight: &[f32], bias: &[f32]| -> f64 {
            let mut y = vec![0.0; rows * 3];
            layer.forward_bias(weight, bias, x, &mut y);
            y.iter().zip(&dy).map(|(y, d)| f64::from(*y) * f64::from(*d)).sum()
        };
        let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; 21], vec![0.0; 3]);
        layer.backward_input(&weight, &dy, &mut dx, Into::Replace);
        layer.backward_weight(&x, &dy, &mut dw);
        column_sums(&dy, 3, &mut db, &mut Vec::new());
        let check = |values: &[f32], gradient: &[f32], loss: &dyn Fn(&[f32]) -> f64| {
            for k in 0..values.len() {
                let mut moved = values.to_vec();
                moved[k] += 0.5;
                let above = loss(&moved);
                moved[k] -= 1.0;
                let slope = above - loss(&moved);
                assert!((slope - f64::from(gradient[k])).abs() < 1e-5, "{k}: {slope} {}", gradient[k]);
            }
        };
        check(&x, &dx, &|x| loss(x, &weight, &bias));
        check(&weight, &dw, &|w| loss(&x, w, &bias));
        check(&bias, &db, &|b| loss(&x, &weight, b));
    }
}
