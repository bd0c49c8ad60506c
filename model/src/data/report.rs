//! What a loader found in a file: counts, bad rows, labels, warnings.
//!
//! The report is data first and text second, so that a program and a person read the same facts. It names rows by line
//! and never repeats their text: the data may be private.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::data::scheme::Scheme;

/// Bad rows kept with their reason; further ones are only counted.
pub const BAD_ROWS_KEPT: usize = 100;
/// Warnings kept.
pub const WARNINGS_KEPT: usize = 50;

/// One row that was skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRow {
    /// Its line, from 1.
    pub line: u64,
    /// What was expected and what was found.
    pub reason: String,
}

/// What a loader found in one file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DataReport {
    /// The file as the caller named it.
    pub file: String,
    /// `conll`, `jsonl`, `csv` or `tsv`.
    pub format: String,
    /// Rows met (sentences for `conll`), good and bad.
    pub rows: u64,
    /// Rows that became examples.
    pub good: u64,
    /// Rows that were skipped.
    pub bad_rows: u64,
    /// The first of the skipped rows.
    pub bad: Vec<BadRow>,
    /// Words in the good rows, for tagging.
    pub words: u64,
    /// Documents in the file, for tagging.
    pub documents: u64,
    /// The scheme the tags were read in, for tagging.
    pub scheme: Option<Scheme>,
    /// Tags that continued nothing and were read as beginnings.
    pub repaired: u64,
    /// Entities by type, or rows by class.
    pub labels: BTreeMap<String, u64>,
    /// Rows by topic or group, where the file states one.
    pub groups: BTreeMap<String, u64>,
    /// What a person should look at.
    pub warnings: Vec<String>,
    /// Why the file cannot be used, if it cannot.
    pub refused: Option<String>,
}

impl DataReport {
    /// An empty report for a file.
    pub fn new(file: impl Into<String>, format: &str) -> Self {
        Self { file: file.into(), format: format.to_owned(), ..Self::default() }
    }

    /// Counts a skipped row and keeps its reason while there is room.
    pub fn skip(&mut self, line: u64, reason: impl Into<String>) {
        self.rows += 1;
        self.bad_rows += 1;
        if self.bad.len() < BAD_ROWS_KEPT {
            self.bad.push(BadRow { line, reason: reason.into() });
        }
    }

    /// Adds a warning while there is room.
    pub fn warn(&mut self, warning: impl Into<String>) {
        if self.warnings.len() < WARNINGS_KEPT {
            self.warnings.push(warning.into());
        }
    }

    /// Adds the warnings that follow from the counts and decides whether the file is refused.
    pub fn settle(&mut self, bad_share_max: f64) {
        self.settle_plain(bad_share_max);
        if self.repaired > 0 {
            self.warn(format!(
                "{} tags continued no entity and were read as beginnings; check the scheme",
                self.repaired
            ));
        }
        if self.good > 0 && self.labels.len() == 1 {
            let only = self.labels.keys().next().map_or("", String::as_str);
            self.warn(format!("only one label occurs ({only}): a model learns nothing from that"));
        }
        if self.good > 0 && self.labels.is_empty() {
            self.warn("no entity occurs: a model learns nothing from that");
        }
    }

    /// The same for a file without labels.
    pub fn settle_plain(&mut self, bad_share_max: f64) {
        self.bad.sort_by_key(|row| row.line);
        if self.rows == 0 {
            self.warn("no rows: the file is empty or holds only a header");
        } else if self.good == 0 {
            self.warn("no usable row");
        }
        let share = if self.rows == 0 { 0.0 } else { self.bad_rows as f64 / self.rows as f64 };
        if share > bad_share_max {
            let first = self
                .bad
                .first()
                .map_or(String::new(), |row| format!("; first bad row, line {}: {}", row.line, row.reason));
            self.refused = Some(format!(
                "{} of {} rows are bad ({:.1} %), at most {:.1} % are skipped (bad_share_max){first}",
                self.bad_rows,
                self.rows,
                100.0 * share,
                100.0 * bad_share_max,
            ));
        }
    }
}

impl fmt::Display for DataReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{} ({})", self.file, self.format)?;
        write!(out, "  rows {}, good {}, bad {}", self.rows, self.good, self.bad_rows)?;
        if self.words > 0 {
            write!(out, ", words {}, documents {}", self.words, self.documents)?;
        }
        if let Some(scheme) = self.scheme {
            write!(out, ", scheme {scheme:?}")?;
        }
        writeln!(out)?;
        for (title, counts) in [("labels", &self.labels), ("groups", &self.groups)] {
            if counts.is_empty() {
                continue;
            }
            let shown: Vec<String> = counts.iter().take(20).map(|(name, n)| format!("{name} {n}")).collect();
            let more =
                if counts.len() > 20 { format!(", and {} more", counts.len() - 20) } else { String::new() };
            writeln!(out, "  {title}: {}{more}", shown.join(", "))?;
        }
        for row in self.bad.iter().take(20) {
            writeln!(out, "  {}:{}: {}", self.file, row.line, row.reason)?;
        }
        if self.bad_rows > 20 {
            writeln!(out, "  and {} more bad rows", self.bad_rows - 20)?;
        }
        for warning in &self.warnings {
            writeln!(out, "  warning: {warning}")?;
        }
        if let Some(reason) = &self.refused {
            writeln!(out, "  refused: {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_refused_once_the_bad_share_is_passed_and_not_before() {
        let mut report = DataReport::new("x.csv", "csv");
        report.rows = 19;
        report.good = 19;
        report.labels = BTreeMap::from([("a".into(), 10), ("b".into(), 9)]);
        report.skip(7, "expected 2 columns, found 1");
        let mut at_limit = report.clone();
        at_limit.settle(0.05);
        assert_eq!(at_limit.refused, None);
        report.skip(9, "expected 2 columns, found 3");
        report.settle(0.05);
        assert!(report.refused.as_ref().unwrap().contains("line 7: expected 2 columns, found 1"));
        assert!(report.to_string().contains("x.csv:9: expected 2 columns, found 3"));
    }

    #[test]
    fn only_the_first_bad_rows_keep_their_reason() {
        let mut report = DataReport::new("x", "tsv");
        for line in 0..1000 {
            report.skip(line, "bad");
        }
        assert_eq!((report.bad.len(), report.bad_rows), (BAD_ROWS_KEPT, 1000));
    }
}
