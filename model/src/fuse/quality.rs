//! How good probabilities are: score, log loss, calibration, squared error.

use serde::{Deserialize, Serialize};

use crate::data::labels::LabelSet;
use crate::data::schema::TaskKind;
use crate::error::Result;
use crate::fuse::evidence::check_truth;
use crate::fuse::pool::vote;
use crate::fuse::tally::{tallies, total};
use crate::task::answers::Answers;

/// Bins of confidence, as usual since Guo and others 2017.
const BINS: usize = 15;

/// Smallest probability given to the truth.
const FLOOR: f32 = 1e-9;

/// Measures of one member or of one fusion on labelled examples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Micro F1 of entities, or accuracy, 0 to 1.
    pub score: f64,
    /// Mean over units of `−ln p(truth)`, with p at least 1e-9.
    pub nll: f64,
    /// Expected calibration error over 15 equal bins: mean gap between confidence and accuracy, weighted by size.
    pub ece: f64,
    /// Mean over units of `‖p − y‖²`, the loss that fusion minimises.
    pub squared: f64,
}

/// Measures answers against the truth, which has a label for every unit.
///
/// # Errors
/// The labels do not fit the answers.
pub fn measure(answers: &Answers, truth: &[u32], kind: TaskKind, labels: &LabelSet) -> Result<Quality> {
    check_truth(answers, truth)?;
    let (mut nll, mut squared) = (0.0, 0.0);
    let mut bins = [(0.0_f64, 0.0_f64); BINS]; // (confidence, hits)
    for (unit, label) in truth.iter().enumerate() {
        let row = answers.unit(unit);
        let p = row[*label as usize];
        nll -= f64::from(p.max(FLOOR)).ln();
        squared += row.iter().map(|p| f64::from(*p) * f64::from(*p)).sum::<f64>() - 2.0 * f64::from(p) + 1.0;
        let said = vote(row);
        let confidence = f64::from(row[said]);
        let bin = ((confidence * BINS as f64) as usize).min(BINS - 1);
        bins[bin].0 += confidence;
        bins[bin].1 += f64::from(u8::from(said == *label as usize));
    }
    let units = truth.len().max(1) as f64;
    let ece = bins.iter().map(|(confidence, hits)| (confidence - hits).abs()).sum::<f64>() / units;
    let score = total(&tallies(answers, truth, kind, labels));
    Ok(Quality { score, nll: nll / units, ece, squared: squared / units })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_follow_from_their_definitions() {
        let labels = LabelSet::classes(["a", "b"]).unwrap();
        let answers = Answers::of_texts(2, vec![0.9, 0.1, 0.9, 0.1, 0.4, 0.6, 0.3, 0.7]).unwrap();
        let quality = measure(&answers, &[0, 1, 1, 1], TaskKind::Classify, &labels).unwrap();
        assert_eq!(quality.score, 0.75);
        let nll = -(0.9_f64.ln() + 0.1_f64.ln() + 0.6_f64.ln() + 0.7_f64.ln()) / 4.0;
        assert!((quality.nll - nll).abs() < 1e-6);
        assert!((quality.squared - 2.0 * (0.01 + 0.81 + 0.16 + 0.09) / 4.0).abs() < 1e-6);
        // Two say .9 and one is right, the others say .6 and .7 (bins 9 and 10) and both are right.
        assert!((quality.ece - (0.8 + 0.4 + 0.3) / 4.0).abs() < 1e-6, "{}", quality.ece);
        assert!(measure(&answers, &[0, 1], TaskKind::Classify, &labels).is_err());
        assert!(measure(&answers, &[0, 1, 2, 0], TaskKind::Classify, &labels).is_err());
    }
}
