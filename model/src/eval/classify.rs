//! Scores for one class per text: accuracy, and precision, recall and F1 by class.

use crate::data::dataset::Dataset;
use crate::data::labels::LabelSet;
use crate::error::{Error, Result};
use crate::eval::report::{Counts, Report};
use crate::task::classify::predict;
use crate::task::logits::Logits;

/// Scores predicted classes.
///
/// # Errors
/// The numbers of classes differ, or one is not below the number of labels.
pub fn score(labels: &LabelSet, truth: &[u32], predicted: &[u32]) -> Result<Report> {
    if truth.len() != predicted.len() {
        return Err(Error::shape("predicted classes", truth.len(), predicted.len()));
    }
    let mut counts = vec![Counts::default(); labels.len()];
    let mut right = 0_u64;
    for (truth, predicted) in truth.iter().zip(predicted) {
        let out_of_range = |class: &u32| *class as usize >= counts.len();
        if let Some(class) = [truth, predicted].into_iter().find(|class| out_of_range(class)) {
            return Err(Error::shape("class", format!("below {}", labels.len()), class));
        }
        counts[*truth as usize].truth += 1;
        counts[*predicted as usize].predicted += 1;
        if truth == predicted {
            counts[*truth as usize].hit += 1;
            right += 1;
        }
    }
    let named: Vec<(String, Counts)> = labels.names().iter().cloned().zip(counts).collect();
    let accuracy = if truth.is_empty() { 0.0 } else { right as f64 / truth.len() as f64 };
    Ok(Report::new("accuracy", &named, false, accuracy, truth.len() as u64))
}

/// Scores a model on rows whose true classes are `truth`.
///
/// # Errors
/// The model fails, or the numbers of rows and classes differ.
pub fn evaluate(model: &mut impl Logits, rows: &Dataset, truth: &[u32], labels: &LabelSet) -> Result<Report> {
    let said: Vec<u32> = predict(model, rows)?.iter().map(|choice| choice.label).collect();
    score(labels, truth, &said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_and_scores_by_class_follow_from_the_counts() {
        let labels = LabelSet::classes(["a", "b", "never"]).unwrap();
        let report = score(&labels, &[0, 0, 1, 1], &[0, 1, 1, 1]).unwrap();
        assert_eq!(report.score, 0.75);
        assert_eq!(report.label("b").unwrap().precision, 2.0 / 3.0);
        assert_eq!(report.per_label.len(), 2);
        assert!(score(&labels, &[0], &[3]).is_err());
        assert!(score(&labels, &[0], &[]).is_err());
        assert_eq!(score(&labels, &[], &[]).unwrap().score, 0.0);
    }
}
