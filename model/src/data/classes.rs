//! From class names in rows to numbered examples: the last step of the loaders for classification.
//!
//! Rows come with their class as text; the labels are the schema's when it states them, otherwise all classes of the
//! file, sorted.

use std::collections::BTreeSet;

use crate::data::example::LabelledText;
use crate::data::labels::{LABEL_BYTES_MAX, LabelSet, shown};
use crate::data::report::DataReport;
use crate::data::schema::Schema;
use crate::error::Result;

/// Longest text, in bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// A row as in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its line, from 1.
    pub line: u64,
    /// The text.
    pub text: String,
    /// The class name.
    pub label: String,
    /// The group, where a column is named for it.
    pub group: Option<String>,
}

/// Checks rows, numbers their classes, and completes the report.
///
/// # Errors
/// The schema is contradictory.
pub fn number(
    rows: Vec<Row>,
    schema: &Schema,
    mut report: DataReport,
) -> Result<(Vec<LabelledText>, LabelSet, DataReport)> {
    let mut good: Vec<Row> = Vec::with_capacity(rows.len());
    for mut row in rows {
        if !schema.class_names.is_empty() {
            match name_of(&row.label, &schema.class_names) {
                Ok(name) => row.label = name,
                Err(reason) => {
                    report.skip(row.line, reason);
                    continue;
                }
            }
        }
        match fault(&row) {
            Some(reason) => report.skip(row.line, reason),
            None => good.push(row),
        }
    }
    let labels = if let Some(labels) = schema.label_set()? {
        labels
    } else {
        let names: BTreeSet<&str> = good.iter().map(|row| row.label.as_str()).collect();
        // A set is never empty; nothing refers to this one.
        if names.is_empty() { LabelSet::classes(["none"])? } else { LabelSet::classes(names)? }
    };
    let mut examples = Vec::with_capacity(good.len());
    for row in good {
        let Some(label) = labels.id(&row.label) else {
            report.skip(row.line, format!("unknown label `{}`", shown(&row.label)));
            continue;
        };
        report.rows += 1;
        report.good += 1;
        *report.labels.entry(row.label).or_default() += 1;
        if let Some(group) = &row.group {
            *report.groups.entry(group.clone()).or_default() += 1;
        }
        examples.push(LabelledText { text: row.text, label, group: row.group });
    }
    report.settle(schema.bad_share_max);
    Ok((examples, labels, report))
}

/// The name of a numbered class; a class that is already named stays.
fn name_of(label: &str, names: &[String]) -> Result<String, String> {
    if names.iter().any(|name| name == label) {
        return Ok(label.to_owned());
    }
    label
        .parse::<usize>()
        .ok()
        .and_then(|number| names.get(number))
        .cloned()
        .ok_or_else(|| format!("expected a class from 0 to {}, found `{}`", names.len() - 1, shown(label)))
}

fn fault(row: &Row) -> Option<String> {
    if row.text.trim().is_empty() {
        return Some("expected a text, found none".into());
    }
    if row.text.len() > TEXT_BYTES_MAX {
        return Some(format!("expected at most {TEXT_BYTES_MAX} bytes of text, found {}", row.text.len()));
    }
    if row.text.contains('\0') {
        return Some("expected text, found a NUL character".into());
    }
    if row.label.is_empty() || row.label.len() > LABEL_BYTES_MAX || row.label.chars().any(char::is_control) {
        return Some(format!(
            "expected a label of 1 to {LABEL_BYTES_MAX} bytes, found `{}`",
            shown(&row.label)
        ));
    }
    None
}
