//! Scores where any number of labels holds: precision, recall and F1 by label, micro and macro, and exact matches.
//!
//! Figures agree with scikit-learn's for an indicator matrix; a label is said where its probability is at least one half.

use crate::data::dataset::Dataset;
use crate::data::labels::LabelSet;
use crate::error::{Error, Result};
use crate::eval::report::{Counts, Report};
use crate::task::logits::Logits;
use crate::task::valued::probabilities;

/// Scores what was said against what holds, both `(texts, labels)` with 1 where a label holds.
///
/// # Errors
/// The sizes do not fit.
pub fn score(labels: &LabelSet, truth: &[f32], said: &[f32]) -> Result<Report> {
    if truth.len() != said.len() || !truth.len().is_multiple_of(labels.len()) {
        let expected = format!("{} for each of {} labels", truth.len() / labels.len(), labels.len());
        return Err(Error::shape("predicted marks", expected, said.len()));
    }
    let mut counts = vec![Counts::default(); labels.len()];
    let mut exact = 0_u64;
    let rows = truth.chunks_exact(labels.len()).zip(said.chunks_exact(labels.len()));
    for (truth, said) in rows {
        exact += u64::from(truth == said);
        for ((truth, said), counts) in truth.iter().zip(said).zip(&mut counts) {
            let (holds, is_said) = (*truth != 0.0, *said != 0.0);
            counts.truth += u64::from(holds);
            counts.predicted += u64::from(is_said);
            counts.hit += u64::from(holds && is_said);
        }
    }
    let samples = (truth.len() / labels.len()) as u64;
    let named: Vec<(String, Counts)> = labels.names().iter().cloned().zip(counts).collect();
    let accuracy = if samples == 0 { 0.0 } else { exact as f64 / samples as f64 };
    Ok(Report::new("label F1 (micro)", &named, true, accuracy, samples))
}

/// Scores a model on rows with the marks `truth (rows, labels)`.
///
/// # Errors
/// The model fails, or the sizes do not fit.
pub fn evaluate(model: &mut impl Logits, rows: &Dataset, truth: &[f32], labels: &LabelSet) -> Result<Report> {
    let said = probabilities(model, rows)?.into_iter().map(|p| f32::from(u8::from(p >= 0.5)));
    score(labels, truth, &said.collect::<Vec<f32>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_agree_with_scikit_learn() {
        // f1_score([[1,0,1],[0,1,0],[0,0,0],[1,1,0]], [[1,0,0],[0,1,1],[0,0,0],[1,0,0]], average=...)
        let labels = LabelSet::classes(["a", "b", "c"]).unwrap();
        let truth = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0];
        let said = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0];
        let report = score(&labels, &truth, &said).unwrap();
        assert!((report.score - 2.0 / 3.0).abs() < 1e-12);
        assert!((report.macro_average.f1 - (1.0 + 2.0 / 3.0) / 3.0).abs() < 1e-12);
        assert_eq!((report.label("a").unwrap().f1, report.label("c").unwrap().f1), (1.0, 0.0));
        assert_eq!((report.accuracy, report.samples), (0.25, 4));
        assert!(report.to_string().contains("micro avg"));
        assert!(score(&labels, &truth, &said[1..]).is_err());
        assert_eq!(score(&labels, &[], &[]).unwrap().score, 0.0);
    }
}
