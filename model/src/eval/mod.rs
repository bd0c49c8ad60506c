//! Evaluation: from predictions to scores.
//!
//! Scores agree digit for digit with the tools others report with (seqeval for entities, scikit-learn for classes), so
//! that a number printed here can be put beside a number from a paper.

pub mod classify;
pub mod language;
pub mod marks;
pub mod quantity;
pub mod ranking;
pub mod report;
pub mod separation;
pub mod tagging;
