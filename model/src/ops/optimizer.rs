//! One pass over flat parameters, gradients and optimizer state.
//!
//! The formulas and the order of operations are PyTorch's, so that losses can be compared digit by digit.

use rayon::prelude::*;

use crate::ops::simd::vectorized;
use crate::ops::vector::BLOCK;

/// The numbers of one AdamW step (Loshchilov and Hutter 2019).
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    /// Learning rate of this step.
    pub rate: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay, for the ranges that decay.
    pub decay: f64,
    /// Which step this is, from 1.
    pub step: u64,
    /// Factor for the gradient (clipping).
    pub gradient_scale: f32,
}

/// The numbers of one step of stochastic gradient descent, as PyTorch's `SGD`.
#[derive(Debug, Clone, Copy)]
pub struct Sgd {
    /// Learning rate of this step.
    pub rate: f64,
    /// Momentum; 0 needs no velocity.
    pub momentum: f64,
    /// Nesterov's look-ahead.
    pub nesterov: bool,
    /// Decay added to the gradient, for the ranges that decay.
    pub decay: f64,
    /// Factor for the gradient (clipping).
    pub gradient_scale: f32,
}

/// The end of a run of equal elements and whether weight decay applies to it; runs are in order and cover everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecayRun {
    /// One past the run's last element.
    pub end: usize,
    /// Whether weight decay applies.
    pub decays: bool,
}

/// Calls `work(range, decays)` for each part of `block` that lies in one run.
fn for_runs(
    runs: &[DecayRun],
    start: usize,
    length: usize,
    mut work: impl FnMut(std::ops::Range<usize>, bool),
) {
    let end = start + length;
    let first = runs.partition_point(|run| run.end <= start);
    let mut from = start;
    for run in &runs[first..] {
        let to = run.end.min(end);
        work(from - start..to - start, run.decays);
        from = to;
        if from == end {
            break;
        }
    }
}

impl AdamW {
    /// Updates parameters and both moments in place.
    pub fn apply(
        &self,
        parameters: &mut [f32],
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
        runs: &[DecayRun],
    ) {
        let power = |beta: f64| 1.0 - beta.powi(i32::try_from(self.step).unwrap_or(i32::MAX));
        let constants = AdamConstants {
            shrink: (1.0 - self.rate * self.decay) as f32,
            gradient_scale: self.gradient_scale,
            keep1: self.beta1 as f32,
            take1: (1.0 - self.beta1) as f32,
            keep2: self.beta2 as f32,
            take2: (1.0 - self.beta2) as f32,
            inverse_root2: (1.0 / power(self.beta2).sqrt()) as f32,
            epsilon: self.epsilon as f32,
            step_size: (self.rate / power(self.beta1)) as f32,
        };
        parameters
            .par_chunks_mut(BLOCK)
            .zip(gradient.par_chunks(BLOCK))
            .zip(first.par_chunks_mut(BLOCK))
            .zip(second.par_chunks_mut(BLOCK))
            .enumerate()
            .for_each(|(index, (((p, g), m), v))| {
                for_runs(runs, index * BLOCK, p.len(), |range, decays| {
                    let mut constants = constants;
                    if !decays {
                        constants.shrink = 1.0;
                    }
                    let r = || range.clone();
                    adamw_block(&mut p[r()], &g[r()], &mut m[r()], &mut v[r()], constants);
                });
            });
    }
}

#[derive(Clone, Copy)]
struct AdamConstants {
    shrink: f32,
    gradient_scale: f32,
    keep1: f32,
    take1: f32,
    keep2: f32,
    take2: f32,
    inverse_root2: f32,
    epsilon: f32,
    step_size: f32,
}

#[inline(always)]
fn adamw_body<const FMA: bool>(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], c: AdamConstants) {
    for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
        let g = g * c.gradient_scale;
        let mean = *m * c.keep1 + g * c.take1;
        let square = *v * c.keep2 + g * g * c.take2;
        let root = square.sqrt() * c.inverse_root2 + c.epsilon;
        *m = mean;
        *v = square;
        *p = *p * c.shrink - c.step_size * mean / root;
    }
}

vectorized! {
    fn adamw_block(p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], c: AdamConstants) = adamw_body
}

impl Sgd {
    /// Updates parameters, and the velocity if there is momentum, in place. Without momentum `velocity` may be empty.
    ///
    /// The velocity starts at zero, which makes the first step equal to PyTorch's (it copies the first gradient).
    pub fn apply(&self, parameters: &mut [f32], gradient: &[f32], velocity: &mut [f32], runs: &[DecayRun]) {
        let (rate, momentum, scale) = (self.rate as f32, self.momentum as f32, self.gradient_scale);
        let decay_of = |decays: bool| if decays { self.decay as f32 } else { 0.0 };
        if self.momentum == 0.0 {
            parameters.par_chunks_mut(BLOCK).zip(gradient.par_chunks(BLOCK)).enumerate().for_each(
                |(index, (p, g))| {
                    for_runs(runs, index * BLOCK, p.len(), |range, decays| {
                        sgd_block(&mut p[range.clone()], &g[range], rate, decay_of(decays), scale);
                    });
                },
            );
            return;
        }
        parameters
            .par_chunks_mut(BLOCK)
            .zip(gradient.par_chunks(BLOCK))
            .zip(velocity.par_chunks_mut(BLOCK))
            .enumerate()
            .for_each(|(index, ((p, g), u))| {
                for_runs(runs, index * BLOCK, p.len(), |range, decays| {
                    let r = || range.clone();
                    let c = (rate, decay_of(decays), scale, momentum);
                    momentum_block(&mut p[r()], &g[r()], &mut u[r()], c, self.nesterov);
                });
            });
    }
}

#[inline(always)]
fn sgd_body<const FMA: bool>(p: &mut [f32], g: &[f32], rate: f32, decay: f32, scale: f32) {
    for (p, g) in p.iter_mut().zip(g) {
        *p -= rate * (g * scale + decay * *p);
    }
}

vectorized! { fn sgd_block(p: &mut [f32], g: &[f32], rate: f32, decay: f32, scale: f32) = sgd_body }

#[inline(always)]
fn momentum_body<const FMA: bool>(
    p: &mut [f32],
    g: &[f32],
    u: &mut [f32],
    (rate, decay, scale, momentum): (f32, f32, f32, f32),
    nesterov: bool,
) {
    let ahead = if nesterov { momentum } else { 0.0 };
    let own = if nesterov { 1.0 } else { 0.0 };
    let kept = if nesterov { ahead } else { 1.0 };
    for ((p, g), u) in p.iter_mut().zip(g).zip(u) {
        let g = g * scale + decay * *p;
        *u = momentum * *u + g;
        *p -= rate * (own * g + kept * *u);
    }
}

vectorized! {
    fn momentum_block(p: &mut [f32], g: &[f32], u: &mut [f32], c: (f32, f32, f32, f32), nesterov: bool)
        = momentum_body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adamw_agrees_with_its_formula_in_double_precision() {
        let n = BLOCK + 77;
        let runs = [DecayRun { end: 10, decays: false }, DecayRun { end: n, decays: true }];
        let mut p: Vec<f32> = (0..n).map(|k| (k % 17) as f32 / 9.0 - 1.0).collect();
        let (mut m, mut v) = (vec![0.0; n], vec![0.0; n]);
        let mut exact: Vec<(f64, f64, f64)> = p.iter().map(|p| (f64::from(*p), 0.0, 0.0)).collect();
        for step in 1..=4 {
            let g: Vec<f32> = (0..n).map(|k| ((k + step as usize * 3) % 29) as f32 / 14.0 - 1.0).collect();
            let rule = AdamW {
                rate: 1e-2,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                decay: 0.1,
                step,
                gradient_scale: 0.5,
            };
            rule.apply(&mut p, &g, &mut m, &mut v, &runs);
            for k in 0..n {
                let (p, m, v) = &mut exact[k];
                let g = f64::from(g[k]) * 0.5;
                if k >= 10 {
                    *p *= 1.0 - 1e-2 * 0.1;
                }
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.999 * *v + 0.001 * g * g;
                let (m, v) =
                    (*m / (1.0 - 0.9_f64.powi(step as i32)), *v / (1.0 - 0.999_f64.powi(step as i32)));
                *p -= 1e-2 * m / (v.sqrt() + 1e-8);
            }
        }
        for (p, exact) in p.iter().zip(&exact) {
            assert!((f64::from(*p) - exact.0).abs() < 1e-6, "{p} {}", exact.0);
        }
    }

    #[test]
    fn descent_follows_the_rules_of_momentum_and_nesterov() {
        let runs = [DecayRun { end: 1, decays: true }];
        let run = |momentum: f64, nesterov: bool| {
            let (mut p, mut u) = (vec![1.0_f32], vec![0.0_f32]);
            for g in [1.0_f32, 3.0] {
                let rule = Sgd { rate: 0.1, momentum, nesterov, decay: 0.0, gradient_scale: 1.0 };
                rule.apply(&mut p, &[g], &mut u, &runs);
            }
            f64::from(p[0])
        };
        // Plain: 1 - .1 - .3. Momentum .5: velocities 1, 3.5. Nesterov .5: steps 1.5, 3 + .5 * 3.5.
        assert!((run(0.0, false) - 0.6).abs() < 1e-6);
        assert!((run(0.5, false) - 0.55).abs() < 1e-6);
        assert!((run(0.5, true) - (1.0 - 0.15 - 0.475)).abs() < 1e-6);
    }

    #[test]
    fn runs_are_cut_at_blocks_and_cover_every_element_once() {
        let runs = [
            DecayRun { end: 3, decays: true },
            DecayRun { end: 9, decays: false },
            DecayRun { end: 20, decays: true },
        ];
        let mut seen = Vec::new();
        for (start, length) in [(0, 5), (5, 5), (10, 10)] {
            for_runs(&runs, start, length, |range, decays| seen.extend(range.map(|k| (start + k, decays))));
        }
        let expected: Vec<_> = (0..20).map(|k| (k, !(3..9).contains(&k))).collect();
        assert_eq!(seen, expected);
    }
}
