//! The probabilities a model gives every class of every row.

use crate::data::dataset::Dataset;
use crate::error::Result;
use crate::task::logits::{Logits, check};

/// Rows in one batch.
const ROWS: usize = 64;

/// Softmax probabilities `(rows, labels)`, in the order of the rows.
///
/// # Errors
/// The model fails, or its logits have another size or are not finite.
pub fn odds(model: &mut impl Logits, rows: &Dataset) -> Result<Vec<Vec<f64>>> {
    let labels = model.labels();
    let mut all = vec![Vec::new(); rows.len()];
    for (chosen, batch) in rows.evaluation_batches(ROWS) {
        let logits = model.logits(&batch)?;
        check(&logits, batch.rows, labels)?;
        for (row, logits) in chosen.into_iter().zip(logits.chunks_exact(labels.max(1))) {
            let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let exponentials: Vec<f64> = logits.iter().map(|x| f64::from(x - largest).exp()).collect();
            let sum: f64 = exponentials.iter().sum();
            all[row] = exponentials.into_iter().map(|x| x / sum).collect();
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::batch::{Batch, Inputs};

    struct Echo;

    impl Logits for Echo {
        fn labels(&self) -> usize {
            2
        }

        fn logits(&mut self, batch: &Batch) -> Result<Vec<f32>> {
            match &batch.inputs {
                Inputs::Dense { values } => Ok(values.clone()),
                _ => panic!("features expected"),
            }
        }
    }

    #[test]
    fn probabilities_sum_to_one_and_keep_the_order_of_the_rows() {
        let rows =
            Dataset::dense(vec![0.0, 0.0, 0.0, (3.0_f32).ln(), 500.0, -500.0], 2, vec![0, 1, 0]).unwrap();
        let found = odds(&mut Echo, &rows).unwrap();
        assert_eq!(found[0], [0.5, 0.5]);
        assert!((found[1][1] - 0.75).abs() < 1e-6 && found[2][0] > 0.999);
    }
}
