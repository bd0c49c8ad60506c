//! Scores of a quantity: how far answers miss, how much of its spread they explain, and whether they order it rightly.
//!
//! Everything is in the unit of the data. Errors are also told apart by where the truth lies on the scale: a model that
//! answers the middle for everything looks good in the middle alone.

use crate::data::dataset::Dataset;
use crate::data::scale::Scale;
use crate::error::{Error, Result};
use crate::eval::report::{QuantityScore, RangeError, Report};
use crate::task::logits::Logits;
use crate::task::valued::quantities;

/// Parts of the scale that are looked at apart.
const RANGES: usize = 5;

/// Scores answers against the truth, both in the unit of the scale. The score is R², 0 where it is below.
///
/// # Errors
/// There are not as many of both.
pub fn score(scale: &Scale, truth: &[f32], said: &[f32]) -> Result<Report> {
    if truth.len() != said.len() {
        return Err(Error::shape("predicted quantities", truth.len(), said.len()));
    }
    let (truth, said): (Vec<f64>, Vec<f64>) = (widened(truth), widened(said));
    let misses: Vec<f64> = said.iter().zip(&truth).map(|(said, truth)| said - truth).collect();
    let mean_square = mean(misses.iter().map(|miss| miss * miss));
    let centre = mean(truth.iter().copied());
    let spread = mean(truth.iter().map(|truth| (truth - centre).powi(2)));
    // Without any spread there is nothing to explain.
    let r2 = if spread > 0.0 { 1.0 - mean_square / spread } else { 0.0 };
    let mut report = Report::new("R2", &[], false, 0.0, truth.len() as u64);
    report.score = r2.max(0.0);
    report.quantity = Some(QuantityScore {
        quantity: scale.name.clone(),
        mean_square_error: mean_square,
        mean_absolute_error: mean(misses.iter().map(|miss| miss.abs())),
        r2,
        spearman: correlation(&ranks(&truth), &ranks(&said)),
        by_range: by_range(scale, &truth, &misses),
    });
    Ok(report)
}

/// Scores a model on rows whose true quantities are `truth`.
///
/// # Errors
/// The model fails, or has more than one output.
pub fn evaluate(model: &mut impl Logits, rows: &Dataset, truth: &[f32], scale: &Scale) -> Result<Report> {
    score(scale, truth, &quantities(model, rows, scale)?)
}

fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

/// 0 of nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_u64), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / count as f64 }
}

/// Errors by fifth of the scale; what lies beyond its ends belongs to the outermost.
fn by_range(scale: &Scale, truth: &[f64], misses: &[f64]) -> Vec<RangeError> {
    let width = (scale.most - scale.least) / RANGES as f64;
    let range_of = |truth: f64| ((truth - scale.least) / width).clamp(0.0, RANGES as f64 - 1.0) as usize;
    let range = |place: usize| {
        let own = || truth.iter().zip(misses).filter(|(t, _)| range_of(**t) == place).map(|(_, miss)| *miss);
        let from = scale.least + place as f64 * width;
        RangeError {
            from,
            to: from + width,
            support: own().count() as u64,
            mean_absolute_error: mean(own().map(f64::abs)),
            bias: mean(own()),
        }
    };
    (0..RANGES).map(range).filter(|range| range.support > 0).collect()
}

/// Ranks from 1; equal values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let is_equal = |place: &&usize| values[**place] == values[order[start]];
        let count = order[start..].iter().take_while(is_equal).count();
        let shared = start as f64 + f64::midpoint(count as f64, 1.0);
        order[start..start + count].iter().for_each(|place| ranks[*place] = shared);
        start += count;
    }
    ranks
}

/// Pearson's correlation; 0 where one side does not vary.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let (centre_a, centre_b) = (mean(a.iter().copied()), mean(b.iter().copied()));
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| f(a - centre_a, b - centre_b)).sum()
    };
    let spread = (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt();
    if spread > 0.0 { sum(&|a, b| a * b) / spread } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_agree_with_scikit_learn_and_scipy() {
        // mean_squared_error, mean_absolute_error, r2_score, scipy.stats.spearmanr
        let scale = Scale::stated("stars 1..5").unwrap();
        let report = score(&scale, &[3.0, -0.5, 2.0, 7.0], &[2.5, 0.0, 2.0, 8.0]).unwrap();
        let found = report.quantity.as_ref().unwrap();
        assert_eq!((found.mean_square_error, found.mean_absolute_error), (0.375, 0.5));
        assert!((found.r2 - 0.948_608_137_044_967_8).abs() < 1e-12);
        assert_eq!((found.spearman, report.score), (1.0, found.r2));
        let tied = score(&scale, &[1.0, 2.0, 2.0, 4.0], &[3.0, 1.0, 2.0, 4.0]).unwrap();
        assert!((tied.quantity.unwrap().spearman - 0.316_227_766_016_837_94).abs() < 1e-12);
        assert!(report.to_string().contains("Spearman"), "{report}");
    }

    #[test]
    fn errors_are_told_apart_by_where_the_truth_lies() {
        let scale = Scale::stated("stars 0..5").unwrap();
        let report = score(&scale, &[0.5, 0.2, 9.0, 2.5], &[2.5, 2.2, 2.0, 2.5]).unwrap();
        let ranges = report.quantity.unwrap().by_range;
        assert_eq!(ranges.iter().map(|r| r.support).collect::<Vec<_>>(), [2, 1, 1]);
        assert!((ranges[0].bias - 2.0).abs() < 1e-6 && (ranges[2].bias + 7.0).abs() < 1e-6);
        assert_eq!(report.score, 0.0, "worse than the mean is no score below 0");
    }

    #[test]
    fn nothing_and_what_does_not_vary_give_no_number_that_is_none() {
        let scale = Scale::stated("stars 0..5").unwrap();
        for (truth, said) in [(vec![], vec![]), (vec![2.0, 2.0], vec![1.0, 3.0])] {
            let found = score(&scale, &truth, &said).unwrap().quantity.unwrap();
            assert!(found.r2 == 0.0 && found.spearman == 0.0 && found.mean_square_error.is_finite());
        }
        assert!(score(&scale, &[1.0], &[]).is_err());
    }
}
