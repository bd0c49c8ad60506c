//! The probe set: public texts without labels, one row a line, that travel with the charter.
//!
//! When tagging a row is its words with one space between them; else it is one text. The file has one form, so that
//! its hash names its rows.

use std::path::Path;

use thiserror::Error;

/// Most bytes of the file: its predictions would be far too many long before.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A probe set that cannot be used.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The file cannot be read.
    #[error("could not read the probe set {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It holds no rows, or too many bytes.
    #[error("the probe set {path}: expected {expected}, found {found}")]
    Size {
        /// The file.
        path: String,
        /// What belongs there.
        expected: String,
        /// What stands there.
        found: String,
    },
}

/// Rows as the file holds them.
pub fn to_text(rows: &[Vec<String>]) -> String {
    rows.iter().map(|row| row.join(" ") + "\n").collect()
}

/// The rows of a text: words when tagging, else one text a row; empty lines are passed over.
pub fn parse(text: &str, is_tagging: bool) -> Vec<Vec<String>> {
    let row = |line: &str| -> Vec<String> {
        let words = line.split_whitespace().map(str::to_owned);
        if is_tagging { words.collect() } else { vec![words.collect::<Vec<_>>().join(" ")] }
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(row).collect()
}

/// Outputs of these rows: words when tagging, else rows.
pub fn outputs(rows: &[Vec<String>], is_tagging: bool) -> usize {
    if is_tagging { rows.iter().map(Vec::len).sum() } else { rows.len() }
}

/// Reads a file of rows.
pub fn read(path: &Path, is_tagging: bool) -> Result<Vec<Vec<String>>, ProbeError> {
    let name = || path.display().to_string();
    let io = |source| ProbeError::Io { path: name(), source };
    let bytes = std::fs::metadata(path).map_err(io)?.len();
    if bytes > FILE_BYTES_MAX {
        let expected = format!("at most {FILE_BYTES_MAX} bytes");
        return Err(ProbeError::Size { path: name(), expected, found: bytes.to_string() });
    }
    let rows = parse(&std::fs::read_to_string(path).map_err(io)?, is_tagging);
    if rows.is_empty() {
        let expected = "one text a line".to_owned();
        return Err(ProbeError::Size { path: name(), expected, found: "no text".to_owned() });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back_as_they_were_written_and_odd_spaces_have_no_meaning() {
        let rows = parse("Ada  spoke .\n\n \t\nYes\t!", true);
        assert_eq!(rows, [vec!["Ada", "spoke", "."], vec!["Yes", "!"]]);
        assert_eq!(parse(&to_text(&rows), true), rows);
        assert_eq!((outputs(&rows, true), outputs(&rows, false)), (5, 2));
        let texts = parse("Ada  spoke .\nYes !\n", false);
        assert_eq!(texts, [vec!["Ada spoke ."], vec!["Yes !"]]);
        assert_eq!(parse(&to_text(&texts), false), texts);
    }

    #[test]
    fn a_file_without_a_text_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("probe.txt");
        assert!(matches!(read(&path, true), Err(ProbeError::Io { .. })));
        std::fs::write(&path, "\n \n").unwrap();
        assert!(read(&path, true).unwrap_err().to_string().contains("found no text"));
    }
}
