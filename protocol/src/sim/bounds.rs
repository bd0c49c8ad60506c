//! The check of one field of a scenario: within bounds, or an error that names what belongs there.

use thiserror::Error;

/// A scenario that cannot be run.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{field}: expected {expected}, found {found}")]
pub struct ScenarioError {
    /// The field, as in the file.
    pub field: &'static str,
    /// What belongs there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

pub(super) fn need(
    holds: bool,
    field: &'static str,
    expected: &str,
    found: impl std::fmt::Display,
) -> Result<(), ScenarioError> {
    if holds {
        return Ok(());
    }
    Err(ScenarioError { field, expected: expected.to_owned(), found: found.to_string() })
}

pub(super) fn share(field: &'static str, value: f64) -> Result<(), ScenarioError> {
    need((0.0..=1.0).contains(&value), field, "0 to 1", value)
}
