//! One gradient that tells little about any row: clipped row by row, summed, with noise.

use crate::arch::config::Head;
use crate::data::batch::Batch;
use crate::error::Result;
use crate::ops::loss::CrossEntropy;
use crate::seed::{Seed, normal};
use crate::train::engine::Engine;
use crate::train::input::{input_of, targets_of};

/// How the rows of one step are hidden.
#[derive(Debug, Clone, Copy)]
pub struct RowNoise {
    /// Longest gradient of one row (C).
    pub clip: f64,
    /// Standard deviation of the noise over the clipping norm (σ).
    pub multiplier: f64,
    /// Rows a step has on average, by which the sum is divided: the true number is a secret too.
    pub rows_expected: f64,
    /// Seed of the noise of this step; whoever knows it can take the noise off.
    pub secret: Seed,
}

/// Leaves `(Σ clipped gradient of each row + σ C noise) / rows expected` in the engine; answers the mean loss, which is
/// not hidden and must not leave the node.
///
/// # Errors
/// A batch does not fit the model.
pub fn noisy_gradient(
    engine: &mut dyn Engine,
    head: &Head,
    rows: &[Batch],
    noise: &RowNoise,
    seed: &Seed,
) -> Result<CrossEntropy> {
    let total = engine.slots().total();
    let (mut sum, mut own) = (vec![0.0_f32; total], vec![0.0_f32; total]);
    let mut targets = Vec::new();
    let (mut loss, mut counted) = (0.0, 0);
    for (number, row) in rows.iter().enumerate() {
        let input = input_of(row)?;
        let wanted = targets_of(head, row, &mut targets)?;
        let found = engine.gradient(input, wanted, &seed.fork_index(number as u64))?;
        let norm = engine.gradient_norm()?;
        // A row that teaches nothing finite gives nothing; that is a function of this row alone.
        if found.counted == 0 || !norm.is_finite() || !found.loss.is_finite() {
            continue;
        }
        engine.read_gradient(&mut own)?;
        let scale = (noise.clip / norm.max(f64::MIN_POSITIVE)).min(1.0) as f32;
        sum.iter_mut().zip(&own).for_each(|(sum, own)| *sum += scale * own);
        loss += found.loss;
        counted += 1;
    }
    let mut rng = noise.secret.rng();
    let deviation = noise.multiplier * noise.clip;
    for value in &mut sum {
        *value = ((f64::from(*value) + deviation * normal(&mut rng)) / noise.rows_expected) as f32;
    }
    engine.write_gradient(&sum)?;
    Ok(CrossEntropy { loss: if counted == 0 { 0.0 } else { loss / counted as f64 }, counted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::config::{ArchConfig, MlpConfig};
    use crate::data::dataset::Dataset;
    use crate::train::explicit::ExplicitEngine;

    /// An engine and rows of which the last is far off.
    fn engine() -> (ExplicitEngine, Vec<Batch>) {
        let arch = ArchConfig::Mlp(MlpConfig { layers: vec![3, 2] });
        let mut engine = ExplicitEngine::new(&arch, &Head::Classification { labels: 2 }).unwrap();
        let flat = engine.slots().initial(&Seed::from_u64(1));
        engine.write(&flat).unwrap();
        let values = vec![0.1, 0.2, 0.3, -0.2, 0.1, 0.0, 500.0, -500.0, 500.0];
        let rows = Dataset::dense(values, 3, vec![0, 1, 0]).unwrap();
        (engine, (0..3).map(|row| rows.batch(&[row])).collect())
    }

    fn gradient(rows: &[Batch], multiplier: f64, secret: u64) -> Vec<f32> {
        let (mut engine, _) = engine();
        let noise = RowNoise { clip: 0.5, multiplier, rows_expected: 1.0, secret: Seed::from_u64(secret) };
        let head = Head::Classification { labels: 2 };
        noisy_gradient(&mut engine, &head, rows, &noise, &Seed::from_u64(2)).unwrap();
        let mut flat = vec![0.0; engine.slots().total()];
        engine.read_gradient(&mut flat).unwrap();
        flat
    }

    fn distance(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn one_row_moves_the_sum_by_the_clipping_norm_at_most() {
        let (_, rows) = engine();
        let with = gradient(&rows, 0.0, 1);
        let without = gradient(&rows[..2], 0.0, 1);
        let moved = distance(&with, &without);
        assert!(moved <= 0.5 + 1e-6 && moved > 0.0, "{moved}");
    }

    #[test]
    fn noise_has_the_stated_deviation_and_another_secret_gives_another() {
        let (_, rows) = engine();
        let (mut square, draws) = (0.0, 200);
        for secret in 0..draws {
            square += distance(&gradient(&rows, 3.0, secret), &gradient(&rows, 0.0, 0)).powi(2) / 8.0;
        }
        // 1,600 draws of deviation 1.5: the root of their mean square lies within 5 % in all but one run of thousands.
        let deviation = (square / draws as f64).sqrt();
        assert!((deviation / 1.5 - 1.0).abs() < 0.05, "{deviation}");
        assert!(gradient(&[], 1.0, 1).iter().any(|value| *value != 0.0), "no row at all is hidden too");
    }
}
