//! The parts of a task, read with one list of labels.

use crate::data::labels::LabelSet;
use crate::data::report::DataReport;

/// Examples to train on, to choose settings by, and to score on.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts<T> {
    /// To train on; empty when there is no such file.
    pub train: Vec<T>,
    /// To choose settings by.
    pub dev: Vec<T>,
    /// To report a score on.
    pub test: Vec<T>,
    /// The labels of all parts.
    pub labels: LabelSet,
    /// One report per file.
    pub reports: Vec<DataReport>,
}

impl<T> Parts<T> {
    /// The examples a score is computed on: the test part if there is one, else the development part.
    pub fn score(&self) -> &[T] {
        if self.test.is_empty() { &self.dev } else { &self.test }
    }
}
