//! A change of key that was begun and not finished: nothing starts in such a directory but `starling key rotate`.

use std::path::Path;

use crate::cli::output::{CliError, ExitCode};

/// The new key until everything else is in place.
pub(super) const NEXT: &str = "identity.next";

/// A node does not start between two keys.
pub(super) fn refuse_unfinished(dir: &Path) -> Result<(), CliError> {
    if !dir.join(NEXT).exists() {
        return Ok(());
    }
    let why = "a change of key was begun here and did not come to its end";
    Err(CliError::new(ExitCode::Refused, "the node does not start", why, "give `starling key rotate` again"))
}
