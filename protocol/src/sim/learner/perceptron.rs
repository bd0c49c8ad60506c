//! A perceptron with one hidden layer of rectified units, or none: softmax regression.
//!
//! Parameters lie flat: input weights (input, hidden), hidden biases, output weights (hidden, class), class biases;
//! without a hidden layer output weights (input, class), class biases.

use crate::rng::Seed;
use crate::sim::learner::data::{CLASSES, INPUTS, Samples};
use crate::sim::learner::number::{exp_f32, ln, normal};

/// The shape of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Perceptron {
    hidden: usize,
}

/// Buffers of one pass.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    hidden: Vec<f32>,
    hidden_slope: Vec<f32>,
    slope: Vec<f32>,
}

impl Perceptron {
    /// A network with `hidden` units; with 0, softmax regression.
    pub fn new(hidden: usize) -> Self {
        Self { hidden }
    }

    /// Number of parameters.
    pub fn parameters(self) -> usize {
        if self.hidden == 0 {
            return (INPUTS + 1) * CLASSES;
        }
        (INPUTS + 1) * self.hidden + (self.hidden + 1) * CLASSES
    }

    /// Seeded start: normal weights of variance two over the fan-in, zero biases; softmax regression starts at zero.
    pub fn genesis(self, seed: &Seed) -> Vec<f32> {
        let mut parameters = vec![0.0; self.parameters()];
        if self.hidden == 0 {
            return parameters;
        }
        let mut rng = seed.rng();
        let (first, rest) = parameters.split_at_mut(INPUTS * self.hidden);
        let mut fill = |part: &mut [f32], fan_in: usize| {
            let size = (2.0 / fan_in as f64).sqrt();
            part.iter_mut().for_each(|w| *w = (normal(&mut rng) * size) as f32);
        };
        fill(first, INPUTS);
        fill(&mut rest[self.hidden..self.hidden + self.hidden * CLASSES], self.hidden);
        parameters
    }

    /// Probabilities of the classes for one input; leaves the hidden values in `scratch`.
    fn forward(self, parameters: &[f32], input: &[f32], scratch: &mut Vec<f32>) -> [f32; CLASSES] {
        let (features, output): (&[f32], &[f32]) = if self.hidden == 0 {
            (input, parameters)
        } else {
            let (weights, rest) = parameters.split_at(INPUTS * self.hidden);
            let (biases, output) = rest.split_at(self.hidden);
            scratch.clear();
            scratch.extend_from_slice(biases);
            for (x, row) in input.iter().zip(weights.chunks_exact(self.hidden)) {
                scratch.iter_mut().zip(row).for_each(|(h, w)| *h += x * w);
            }
            scratch.iter_mut().for_each(|h| *h = h.max(0.0));
            (scratch, output)
        };
        let (weights, biases) = output.split_at(features.len() * CLASSES);
        let mut logits: [f32; CLASSES] = biases.try_into().expect("the last parameters are the class biases");
        for (x, row) in features.iter().zip(weights.as_chunks::<CLASSES>().0) {
            logits.iter_mut().zip(row).for_each(|(z, w)| *z += x * w);
        }
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for z in &mut logits {
            *z = exp_f32(*z - top);
            sum += *z;
        }
        logits.iter_mut().for_each(|p| *p /= sum);
        logits
    }

    /// One step of gradient descent on the mean cross-entropy of a batch; returns that mean before the step.
    ///
    /// `label_of` lets a liar see labels otherwise.
    pub fn step(
        self,
        parameters: &mut [f32],
        batch: &[(&[f32], u8)],
        rate: f32,
        scratch: &mut Scratch,
    ) -> f64 {
        let Scratch { hidden, hidden_slope, slope } = scratch;
        slope.clear();
        slope.resize(parameters.len(), 0.0);
        let mut loss = 0.0;
        for (input, label) in batch {
            let mut error = self.forward(parameters, input, hidden);
            loss -= ln(f64::from(error[*label as usize]).max(1e-30));
            error[*label as usize] -= 1.0;
            let split = if self.hidden == 0 { 0 } else { (INPUTS + 1) * self.hidden };
            let (first, output) = slope.split_at_mut(split);
            let features: &[f32] = if self.hidden == 0 { input } else { hidden };
            let (weights, biases) = output.split_at_mut(features.len() * CLASSES);
            for (x, row) in features.iter().zip(weights.as_chunks_mut::<CLASSES>().0) {
                row.iter_mut().zip(&error).for_each(|(w, e)| *w += x * e);
            }
            biases.iter_mut().zip(&error).for_each(|(b, e)| *b += e);
            if self.hidden == 0 {
                continue;
            }
            hidden_slope.clear();
            let rows = parameters[split..split + self.hidden * CLASSES].as_chunks::<CLASSES>().0;
            hidden_slope.extend(hidden.iter().zip(rows).map(|(h, row)| {
                if *h > 0.0 { row.iter().zip(&error).map(|(w, e)| w * e).sum() } else { 0.0 }
            }));
            let (weights, biases) = first.split_at_mut(INPUTS * self.hidden);
            for (x, row) in input.iter().zip(weights.chunks_exact_mut(self.hidden)) {
                row.iter_mut().zip(hidden_slope.iter()).for_each(|(w, e)| *w += x * e);
            }
            biases.iter_mut().zip(hidden_slope.iter()).for_each(|(b, e)| *b += e);
        }
        let scale = rate / batch.len().max(1) as f32;
        parameters.iter_mut().zip(slope.iter()).for_each(|(p, s)| *p -= scale * s);
        loss / batch.len().max(1) as f64
    }

    /// Share of samples classified as labelled, and mean cross-entropy.
    pub fn score(self, parameters: &[f32], samples: &Samples) -> (f64, f64) {
        let mut hidden = Vec::new();
        let (mut right, mut loss) = (0u32, 0.0);
        for place in 0..samples.len() {
            let (input, label) = samples.at(place);
            let chances = self.forward(parameters, input, &mut hidden);
            let mut best = 0;
            for class in 1..CLASSES {
                if chances[class] > chances[best] {
                    best = class;
                }
            }
            right += u32::from(best == label as usize);
            loss -= ln(f64::from(chances[label as usize]).max(1e-30));
        }
        let count = samples.len().max(1) as f64;
        (f64::from(right) / count, loss / count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::learner::data::Classes;

    #[test]
    fn the_step_follows_the_slope_of_the_loss() {
        let classes = Classes::draw(&Seed::from_u64(1));
        let samples = classes.samples(&[0.1; CLASSES], 8, &mut Seed::from_u64(2).rng());
        let batch: Vec<(&[f32], u8)> = (0..8).map(|i| samples.at(i)).collect();
        for hidden in [0, 7] {
            let network = Perceptron::new(hidden);
            let mut parameters = network.genesis(&Seed::from_u64(3));
            parameters.iter_mut().enumerate().for_each(|(i, p)| *p += (i % 5) as f32 * 0.02);
            let mut moved = parameters.clone();
            let rate = 1e-3;
            network.step(&mut moved, &batch, rate, &mut Scratch::default());
            for place in [0, 33, 200, parameters.len() - 1] {
                let slope = (parameters[place] - moved[place]) / rate;
                let loss_at = |shift: f32| {
                    let mut shifted = parameters.clone();
                    shifted[place] += shift;
                    network.score(&shifted, &samples).1
                };
                let measured = (loss_at(1e-2) - loss_at(-1e-2)) / 2e-2;
                assert!(
                    (f64::from(slope) - measured).abs() < 2e-3 + 0.02 * measured.abs(),
                    "{hidden} {place}: {slope} {measured}"
                );
            }
        }
    }
}
