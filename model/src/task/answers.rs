//! Answers: the probabilities somebody gives to every label of every word or text.
//!
//! They exist so that whoever learns from others or decides with others (distillation, fusion, trading) sees one shape,
//! whatever architecture, tokenizer or machine the answers come from. They do not say who gave them.

use std::ops::Range;

use crate::error::{Error, Result};

/// How far the sum of a row may be from 1: single precision over ten thousand labels, rounded on a wire.
const SUM_TOLERANCE: f32 = 1e-3;

/// By row of a dataset: pairs of a position in the row and the number of the unit that stands there.
pub type Units = Vec<Vec<(usize, usize)>>;

/// Probabilities by example: one row per word when tagging, one row in all when classifying.
#[derive(Debug, Clone, PartialEq)]
pub struct Answers {
    labels: usize,
    starts: Vec<usize>, // units in front of each example, and of the end
    values: Vec<f32>,   // (units, labels)
}

impl Answers {
    /// Takes `values (units, labels)` for examples of `lengths` units each.
    ///
    /// # Errors
    /// The sizes do not fit, or a row is no distribution: a number that is not finite or negative, or a sum off 1.
    pub fn new(labels: usize, lengths: &[usize], values: Vec<f32>) -> Result<Self> {
        let mut starts = Vec::with_capacity(lengths.len() + 1);
        let mut units = 0_usize;
        starts.push(0);
        for length in lengths {
            units = units.saturating_add(*length);
            starts.push(units);
        }
        if labels == 0 || units.checked_mul(labels) != Some(values.len()) {
            let expected = format!("{units} rows of {labels} labels, at least 1");
            return Err(Error::shape("answers", expected, format!("{} numbers", values.len())));
        }
        for (unit, row) in values.chunks_exact(labels).enumerate() {
            let sum: f32 = row.iter().sum();
            // A sum that is not a number fails the comparison too.
            let is_distribution = (sum - 1.0).abs() <= SUM_TOLERANCE && row.iter().all(|p| *p >= 0.0);
            if !is_distribution {
                let found = format!("probabilities that sum to {sum}");
                return Err(Error::shape(format!("answer {unit}"), "probabilities that sum to 1", found));
            }
        }
        Ok(Self { labels, starts, values })
    }

    /// Takes `values (texts, labels)`, one row per text.
    ///
    /// # Errors
    /// As [`Answers::new`].
    pub fn of_texts(labels: usize, values: Vec<f32>) -> Result<Self> {
        // Without labels there is no text, and `new` refuses the numbers.
        let texts = values.len().checked_div(labels).unwrap_or(0);
        Self::new(labels, &vec![1; texts], values)
    }

    /// Labels in a row.
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// Examples: sentences or texts.
    pub fn examples(&self) -> usize {
        self.starts.len() - 1
    }

    /// Rows of all examples together.
    pub fn units(&self) -> usize {
        self.starts[self.examples()]
    }

    /// The rows of one example.
    pub fn units_of(&self, example: usize) -> Range<usize> {
        self.starts[example]..self.starts[example + 1]
    }

    /// Rows of every example, in order.
    pub fn lengths(&self) -> Vec<usize> {
        self.starts.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// One row, `(labels)`.
    pub fn unit(&self, unit: usize) -> &[f32] {
        &self.values[unit * self.labels..(unit + 1) * self.labels]
    }

    /// The rows of one example, `(units, labels)`.
    pub fn example(&self, example: usize) -> &[f32] {
        let units = self.units_of(example);
        &self.values[units.start * self.labels..units.end * self.labels]
    }

    /// All rows, `(units, labels)`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Whether two sets of answers are about the same labels and examples, so that they can be put side by side.
    pub fn fits(&self, other: &Self) -> bool {
        self.labels == other.labels && self.starts == other.starts
    }

    /// The same answers with the labels in another order: label `k` of the result is label `order[k]` here.
    ///
    /// # Panics
    /// If `order` is not a permutation of the labels; the caller made it from names.
    pub fn reordered(&self, order: &[usize]) -> Self {
        assert_eq!(order.len(), self.labels, "an order names every label");
        let rows = self.values.chunks_exact(self.labels);
        let values = rows.flat_map(|row| order.iter().map(|label| row[*label])).collect();
        Self { labels: self.labels, starts: self.starts.clone(), values }
    }

    /// The mean of several answers about the same examples.
    ///
    /// # Errors
    /// There are none, or they do not fit each other.
    pub fn mean(all: &[Self]) -> Result<Self> {
        let Some(first) = all.first() else {
            return Err(Error::shape("answers to average", "at least 1", 0));
        };
        if let Some(other) = all.iter().find(|other| !other.fits(first)) {
            let shape = |a: &Self| format!("{} rows of {} labels", a.units(), a.labels);
            return Err(Error::shape("answers to average", shape(first), shape(other)));
        }
        let share = 1.0 / all.len() as f32;
        let values = (0..first.values.len())
            .map(|place| all.iter().map(|answers| answers.values[place]).sum::<f32>() * share)
            .collect();
        Ok(Self { labels: first.labels, starts: first.starts.clone(), values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_example_and_by_unit() {
        let answers = Answers::new(2, &[2, 0, 1], vec![1.0, 0.0, 0.5, 0.5, 0.25, 0.75]).unwrap();
        assert_eq!((answers.examples(), answers.units(), answers.lengths()), (3, 3, vec![2, 0, 1]));
        assert_eq!(answers.example(0), [1.0, 0.0, 0.5, 0.5]);
        assert!(answers.example(1).is_empty());
        assert_eq!(answers.unit(2), [0.25, 0.75]);
        assert_eq!(answers.reordered(&[1, 0]).unit(2), [0.75, 0.25]);
    }

    #[test]
    fn what_is_no_distribution_is_refused() {
        for row in [[0.5, 0.6], [1.5, -0.5], [f32::NAN, 1.0], [f32::INFINITY, 0.0], [0.0, 0.0]] {
            assert!(Answers::of_texts(2, row.to_vec()).is_err(), "{row:?}");
        }
        assert!(Answers::of_texts(2, vec![1.0]).is_err());
        assert!(Answers::of_texts(0, vec![]).is_err());
        assert!(Answers::new(1, &[usize::MAX, 2], vec![1.0]).is_err());
    }

    #[test]
    fn the_mean_of_answers_is_taken_label_by_label() {
        let a = Answers::of_texts(2, vec![1.0, 0.0]).unwrap();
        let b = Answers::of_texts(2, vec![0.5, 0.5]).unwrap();
        assert_eq!(Answers::mean(&[a.clone(), b]).unwrap().unit(0), [0.75, 0.25]);
        let other = Answers::of_texts(2, vec![1.0, 0.0, 1.0, 0.0]).unwrap();
        assert!(Answers::mean(&[a, other]).is_err() && Answers::mean(&[]).is_err());
    }
}
