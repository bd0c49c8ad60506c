//! How much every parameter of a model matters for some data.
//!
//! The loss without a parameter `w` differs from the loss with it by about `g w` in first order, with g the gradient; the
//! square of that, averaged over batches, is the importance (Molchanov and others 2019). It needs labelled examples and
//! one backward pass per batch.

use crate::data::batcher::{Batcher, Order};
use crate::data::dataset::Dataset;
use crate::error::Result;
use crate::seed::Seed;
use crate::session::Session;

/// Rows in a batch; more average differences away that should count.
const ROWS: usize = 16;

/// Importance of every parameter in flat order, from at most `batches` batches of labelled rows in seeded order.
///
/// # Errors
/// The rows do not fit the model, or there are none.
pub fn importance(session: &mut Session, rows: &Dataset, batches: usize, seed: Seed) -> Result<Vec<f32>> {
    let mut batcher = Batcher::new(rows.clone(), ROWS, Order::Shuffled, seed)?;
    let count = session.parameter_count();
    let (mut parameters, mut gradient, mut importance) =
        (vec![0.0; count], vec![0.0; count], vec![0.0; count]);
    session.read(&mut parameters)?;
    for _ in 0..batches.clamp(1, batcher.batches_per_epoch()) {
        let loss = session.measure_gradient(&batcher.next_batch())?;
        if loss.counted == 0 {
            continue;
        }
        session.read_gradient(&mut gradient)?;
        for ((sum, w), g) in importance.iter_mut().zip(&parameters).zip(&gradient) {
            *sum += w * w * g * g;
        }
    }
    Ok(importance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::config::{ArchConfig, Head, MlpConfig};
    use crate::device::DeviceChoice;

    #[test]
    fn parameters_of_an_input_that_is_always_zero_do_not_matter() {
        let arch = ArchConfig::Mlp(MlpConfig { layers: vec![3, 4, 2] });
        let head = Head::Classification { labels: 2 };
        let mut session = Session::new(&arch, &head, &DeviceChoice::Cpu, Seed::from_u64(1)).unwrap();
        let values = (0..90).map(|k| if k % 3 == 1 { 0.0 } else { (k % 7) as f32 - 3.0 }).collect();
        let rows = Dataset::dense(values, 3, (0..30).map(|k| k % 2).collect()).unwrap();
        let before = session.steps();
        let found = importance(&mut session, &rows, 10, Seed::from_u64(2)).unwrap();
        assert_eq!(session.steps(), before, "measuring is not training");
        // The flat order begins with the first matrix, (4, 3).
        assert!((0..4).all(|row| found[3 * row + 1] == 0.0));
        assert!(found[..12].iter().any(|value| *value > 0.0) && found.iter().all(|value| *value >= 0.0));
    }
}
