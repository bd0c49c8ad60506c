//! Differential privacy of training: how much a number of noisy steps can tell about one example.
//!
//! Each step draws every example with the same chance, clips the gradient of each to one norm and adds normal noise to
//! their sum (Abadi and others 2016). What that costs is counted in Rényi divergences of whole orders (Mironov, Talwar
//! and Zhang 2019) and turned into (ε, δ) as Canonne, Kamath and Steinke (2020) do. Whole orders only: the ε stated is an
//! upper bound, a little above one over all orders.

use crate::error::{Error, Result};

/// The orders looked at.
fn orders() -> impl Iterator<Item = u32> {
    (2..=64).chain([80, 96, 128, 192, 256, 384, 512, 768, 1024])
}

/// How noisy steps are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// Standard deviation over the clipping norm (σ).
    pub multiplier: f64,
    /// Chance of each example to be in a step (q).
    pub chance: f64,
}

impl Noise {
    /// ε after so many steps, at δ.
    pub fn epsilon(&self, steps: u64, delta: f64) -> f64 {
        if steps == 0 {
            return 0.0;
        }
        let of_order = |order: u32| {
            let alpha = f64::from(order);
            let divergence = steps as f64 * self.divergence(order);
            divergence + ((alpha - 1.0) / alpha).ln() - (delta.ln() + alpha.ln()) / (alpha - 1.0)
        };
        orders().map(of_order).fold(f64::INFINITY, f64::min).max(0.0)
    }

    /// Rényi divergence of one step of a whole order α: `ln Σₖ C(α, k) (1 - q)^(α - k) q^k e^((k² - k) / 2σ²) / (α - 1)`.
    fn divergence(&self, order: u32) -> f64 {
        let (q, sigma, alpha) = (self.chance, self.multiplier, f64::from(order));
        if q >= 1.0 {
            return alpha / (2.0 * sigma * sigma);
        }
        let mut binomial = 0.0; // ln C(α, k)
        let mut terms = Vec::with_capacity(order as usize + 1);
        for number in 0..=order {
            let k = f64::from(number);
            terms.push(
                binomial
                    + (alpha - k) * (1.0 - q).ln()
                    + if number == 0 { 0.0 } else { k * q.ln() }
                    + (k * k - k) / (2.0 * sigma * sigma),
            );
            binomial += ((alpha - k) / (k + 1.0)).ln();
        }
        let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = terms.iter().map(|term| (term - largest).exp()).sum();
        (largest + sum.ln()) / (alpha - 1.0)
    }

    /// The least noise with which so many steps cost at most ε at δ.
    ///
    /// # Errors
    /// The numbers mean nothing, or even very much noise costs more.
    pub fn for_budget(epsilon: f64, delta: f64, chance: f64, steps: u64) -> Result<Self> {
        let means_something = epsilon > 0.0 && delta > 0.0 && delta < 1.0 && chance > 0.0 && chance <= 1.0;
        if !means_something || steps == 0 {
            let reason = format!(
                "expected ε above 0, δ and a chance between 0 and 1, and steps, found {epsilon}, {delta}, {chance}, {steps}"
            );
            return Err(Error::config("epsilon_max", reason));
        }
        let cost = |multiplier: f64| Self { multiplier, chance }.epsilon(steps, delta);
        let (mut low, mut high) = (0.05, 1.0);
        while cost(high) > epsilon {
            high *= 2.0;
            if high > 1e4 {
                let reason = format!(
                    "{steps} steps cannot cost as little as {epsilon}: take fewer steps or a larger ε"
                );
                return Err(Error::config("epsilon_max", reason));
            }
        }
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if cost(middle) > epsilon { low = middle } else { high = middle }
        }
        Ok(Self { multiplier: high, chance })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `dp-accounting` 0.6, whose orders need not be whole: ours may lie a little above, never below.
    #[test]
    fn the_cost_is_an_upper_bound_close_to_that_of_dp_accounting() {
        for (chance, multiplier, steps, expected) in
            [(256.0 / 60_000.0, 1.1, 14_062, 2.5966), (0.01, 1.0, 1_000, 2.1014), (0.1, 1.0, 100, 7.9039)]
        {
            let found = Noise { multiplier, chance }.epsilon(steps, 1e-5);
            assert!(found > expected - 1e-3 && found < 1.01 * expected, "{found} for {expected}");
        }
    }

    #[test]
    fn the_cost_falls_with_noise_and_rises_with_steps() {
        let noise = Noise { multiplier: 1.0, chance: 0.02 };
        assert_eq!(noise.epsilon(0, 1e-5), 0.0);
        assert!(noise.epsilon(200, 1e-5) > noise.epsilon(100, 1e-5));
        assert!(Noise { multiplier: 2.0, ..noise }.epsilon(100, 1e-5) < noise.epsilon(100, 1e-5));
        // Without sampling this is the Gaussian mechanism.
        let whole = Noise { multiplier: 5.0, chance: 1.0 };
        assert!((whole.divergence(4) - 4.0 / 50.0).abs() < 1e-12);
        let nearly = Noise { multiplier: 5.0, chance: 1.0 - 1e-12 };
        assert!((whole.divergence(4) - nearly.divergence(4)).abs() < 1e-6);
    }

    #[test]
    fn the_noise_for_a_budget_keeps_it_and_wastes_little() {
        for (epsilon, chance, steps) in [(8.0, 0.05, 400), (1.0, 0.01, 1000), (0.5, 0.2, 50)] {
            let found = Noise::for_budget(epsilon, 1e-5, chance, steps).unwrap();
            let cost = found.epsilon(steps, 1e-5);
            assert!(cost <= epsilon && cost > 0.99 * epsilon, "{cost} of {epsilon}");
        }
        assert!(Noise::for_budget(0.0, 1e-5, 0.1, 10).is_err());
        assert!(Noise::for_budget(1e-9, 1e-5, 1.0, 1_000_000).is_err());
    }
}
