//! Fields of signed terms that do not hold: which, what belongs there, what stands there.

/// A field that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadField {
    /// The field, as in the file.
    pub(crate) field: &'static str,
    /// What belongs there.
    pub(crate) expected: String,
    /// What stands there.
    pub(crate) found: String,
}

/// Asks for a relation to hold.
pub(crate) fn need(
    holds: bool,
    field: &'static str,
    expected: &str,
    found: impl std::fmt::Display,
) -> Result<(), BadField> {
    if holds {
        return Ok(());
    }
    Err(BadField { field, expected: expected.to_owned(), found: found.to_string() })
}
