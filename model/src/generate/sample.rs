//! Drawing the next token from logits: temperature, the k likeliest, the likeliest that together have probability p.

use rand_core::Rng;

use crate::error::{Error, Result};
use crate::seed::uniform;

/// How the next token is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Below 1 prefers likely tokens more, above 1 less; 0 always takes the likeliest.
    pub temperature: f64,
    /// Only the k likeliest are drawn from; 0 for all.
    pub top_k: usize,
    /// Only the likeliest whose probabilities together reach p are drawn from; 1 for all (Holtzman and others 2019).
    pub top_p: f64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.8, top_k: 0, top_p: 0.95 }
    }
}

impl Sampling {
    /// Refuses numbers that mean nothing.
    ///
    /// # Errors
    /// Says which setting and what was expected.
    pub fn validate(&self) -> Result<()> {
        if !(0.0..=100.0).contains(&self.temperature) {
            let reason = format!("expected a number from 0 to 100, found {}", self.temperature);
            return Err(Error::config("temperature", reason));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(Error::config(
                "top_p",
                format!("expected above 0 and at most 1, found {}", self.top_p),
            ));
        }
        Ok(())
    }

    /// The next token; nothing when no logit is finite.
    pub fn draw(&self, logits: &[f32], rng: &mut impl Rng) -> Option<u32> {
        let mut order: Vec<usize> = (0..logits.len()).filter(|k| logits[*k].is_finite()).collect();
        // Equal logits stay in the order of their numbers, so that a draw does not depend on the sort.
        order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
        let likeliest = *order.first()?;
        if self.temperature == 0.0 {
            return Some(likeliest as u32);
        }
        if self.top_k > 0 {
            order.truncate(self.top_k);
        }
        let largest = f64::from(logits[likeliest]);
        let mut weights: Vec<f64> =
            order.iter().map(|k| ((f64::from(logits[*k]) - largest) / self.temperature).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mut kept = 0.0;
        let enough = weights.iter().position(|weight| {
            kept += weight / total;
            kept >= self.top_p
        });
        if let Some(last) = enough {
            weights.truncate(last + 1);
        }
        let mut left = uniform(rng) * weights.iter().sum::<f64>();
        for (weight, token) in weights.iter().zip(&order) {
            left -= weight;
            if left < 0.0 {
                return Some(*token as u32);
            }
        }
        // Rounding may leave a crumb behind the last.
        order.get(weights.len().saturating_sub(1)).map(|token| *token as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    fn counts(sampling: Sampling, logits: &[f32]) -> Vec<usize> {
        let mut rng = Seed::from_u64(5).rng();
        let mut counts = vec![0; logits.len()];
        for _ in 0..4000 {
            counts[sampling.draw(logits, &mut rng).unwrap() as usize] += 1;
        }
        counts
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let all = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0 };
        let logits = [0.0, (3.0_f32).ln(), f32::NEG_INFINITY, 0.0];
        let counts = counts(all, &logits);
        // 1/5, 3/5, 0, 1/5 of 4000; four standard deviations are 124.
        assert!(counts[0].abs_diff(800) < 124 && counts[1].abs_diff(2400) < 124, "{counts:?}");
        assert_eq!(counts[2], 0);
    }

    #[test]
    fn temperature_top_k_and_top_p_leave_out_the_unlikely() {
        let logits = [1.0, 3.0, 2.0, -1.0];
        let likeliest = Sampling { temperature: 0.0, ..Sampling::default() };
        assert_eq!(counts(likeliest, &logits), [0, 4000, 0, 0]);
        let two = counts(Sampling { temperature: 1.0, top_k: 2, top_p: 1.0 }, &logits);
        assert!(two[1] > 0 && two[2] > 0 && two[0] == 0 && two[3] == 0);
        // The likeliest alone has .66, with the next it is .90.
        let most = counts(Sampling { temperature: 1.0, top_k: 0, top_p: 0.7 }, &logits);
        assert!(most[1] > 0 && most[2] > 0 && most[0] == 0 && most[3] == 0);
        let cold = counts(Sampling { temperature: 0.2, top_k: 0, top_p: 1.0 }, &logits);
        assert!(cold[1] > 3900);
    }

    #[test]
    fn settings_that_mean_nothing_are_refused_by_name() {
        let wrong = [
            (Sampling { temperature: -1.0, ..Sampling::default() }, "temperature"),
            (Sampling { temperature: f64::NAN, ..Sampling::default() }, "temperature"),
            (Sampling { top_p: 0.0, ..Sampling::default() }, "top_p"),
        ];
        for (sampling, name) in wrong {
            assert!(sampling.validate().unwrap_err().to_string().contains(name));
        }
        assert_eq!(Sampling::default().draw(&[f32::NAN], &mut Seed::from_u64(0).rng()), None);
    }
}
