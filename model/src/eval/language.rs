//! Scores of a language model: perplexity, bits per byte, and how often the likeliest token is the next one.

use crate::data::batch::{IGNORE, Targets};
use crate::data::dataset::Dataset;
use crate::error::{Error, Result};
use crate::eval::report::{LanguageScore, Report};
use crate::task::logits::{Logits, check};

/// Rows in one batch: the logits of a row are as many as its tokens times the vocabulary.
const ROWS: usize = 8;

/// Scores a model on rows with a target per token that stand for `bytes` bytes of text.
///
/// The score is the share of tokens that were the likeliest one, so that more is better as for every other task.
///
/// # Errors
/// The model fails, or the rows have no target per token.
pub fn evaluate(model: &mut impl Logits, rows: &Dataset, bytes: u64) -> Result<Report> {
    let labels = model.labels();
    let (mut surprise, mut right, mut counted) = (0.0_f64, 0_u64, 0_u64);
    for (_, batch) in rows.evaluation_batches(ROWS) {
        let logits = model.logits(&batch)?; // (rows, width, labels)
        check(&logits, batch.rows * batch.width, labels)?;
        let Targets::Tags(targets) = &batch.targets else {
            return Err(Error::shape("targets of a language model", "a token per token", "others"));
        };
        for (row, target) in logits.chunks_exact(labels).zip(targets) {
            if *target == IGNORE {
                continue;
            }
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|logit| f64::from(logit - largest).exp()).sum();
            let own = row
                .get(*target as usize)
                .copied()
                .ok_or_else(|| Error::shape("target token", format!("below {labels}"), target))?;
            surprise += sum.ln() - f64::from(own - largest);
            right += u64::from(own >= largest);
            counted += 1;
        }
    }
    let share = |part: f64, whole: u64| if whole == 0 { 0.0 } else { part / whole as f64 };
    let accuracy = share(right as f64, counted);
    let mut report = Report::new("next token accuracy", &[], false, accuracy, rows.len() as u64);
    report.language = Some(LanguageScore {
        perplexity: share(surprise, counted).exp(),
        bits_per_byte: share(surprise / std::f64::consts::LN_2, bytes),
        tokens: counted,
    });
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::batch::Batch;

    /// Gives every token of three the same logit, the first a little more.
    struct Flat(f32);

    impl Logits for Flat {
        fn labels(&self) -> usize {
            3
        }

        fn logits(&mut self, batch: &Batch) -> Result<Vec<f32>> {
            Ok([self.0, 0.0, 0.0].repeat(batch.rows * batch.width))
        }
    }

    #[test]
    fn a_model_that_knows_nothing_is_as_perplexed_as_its_vocabulary_is_large() {
        let mut rows = Dataset::tagged(0);
        rows.push_tagged(&[1, 2, 0], &[2, 0, 1]).unwrap();
        rows.push_tagged(&[1], &[0]).unwrap();
        let report = evaluate(&mut Flat(1e-6), &rows, 8).unwrap();
        let language = report.language.unwrap();
        assert!((language.perplexity - 3.0).abs() < 1e-5);
        assert!((language.bits_per_byte - 4.0 * 3.0_f64.log2() / 8.0).abs() < 1e-6);
        assert_eq!((report.score, language.tokens, report.samples), (0.5, 4, 2));
        assert!(report.to_string().contains("perplexity"));
        assert!(evaluate(&mut Flat(f32::NAN), &rows, 8).is_err());
    }
}
