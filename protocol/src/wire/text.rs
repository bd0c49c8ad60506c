//! Names and texts that strangers write: bounded, printable, one form.

use thiserror::Error;

use crate::limits::NAME_BYTES_MAX;

/// A text that cannot be shown safely or is too long.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum BadText {
    /// Empty where something must stand.
    #[error("{field}: expected a text, found nothing")]
    Empty {
        /// Where it was found.
        field: &'static str,
    },
    /// Over the cap.
    #[error("{field}: expected at most {max} bytes, found {found}")]
    TooLong {
        /// Where it was found.
        field: &'static str,
        /// The cap.
        max: usize,
        /// Bytes found.
        found: usize,
    },
    /// Holds control characters or characters that reorder what is shown.
    #[error("{field}: expected printable text, found the character U+{code:04X}")]
    Unprintable {
        /// Where it was found.
        field: &'static str,
        /// The character.
        code: u32,
    },
}

/// Checks a one-line name.
pub fn check_name(field: &'static str, text: &str) -> Result<(), BadText> {
    if text.trim().is_empty() {
        return Err(BadText::Empty { field });
    }
    check_text(field, text, NAME_BYTES_MAX)
}

/// Checks a text of at most `max` bytes; line feeds are refused too, so that it stays one line in a log.
pub fn check_text(field: &'static str, text: &str, max: usize) -> Result<(), BadText> {
    if text.len() > max {
        return Err(BadText::TooLong { field, max, found: text.len() });
    }
    // The listed ranges are Unicode's bidirectional and zero-width controls: they make one text look like another.
    let bad = |c: &char| {
        c.is_control()
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
    };
    match text.chars().find(bad) {
        Some(c) => Err(BadText::Unprintable { field, code: c as u32 }),
        None => Ok(()),
    }
}
