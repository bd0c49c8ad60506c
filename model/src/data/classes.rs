//! From class names in rows to numbered examples: the last step of the loaders for classification.
//!
//! Rows come with their answers as text; the labels are the schema's when it states them, otherwise all classes of the
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
    /// Its line, or its number where a file has no lines, from 1.
    pub line: u64,
    /// The text.
    pub text: String,
    /// The class name, the names of all labels that hold, or a number.
    pub answers: Vec<String>,
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
    let mut good: Vec<Good> = Vec::with_capacity(rows.len());
    for row in rows {
        let line = row.line;
        match checked(row, schema) {
            Ok(row) => good.push(row),
            Err(reason) => report.skip(line, reason),
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

/// The name of a numbered class; a class that is already named stays, as do all where no names are known.
pub fn name_of(label: &str, names: &[String]) -> Result<String, String> {
    if names.is_empty() || names.iter().any(|name| name == label) {
        return Ok(label.to_owned());
    }
    label
        .parse::<usize>()
        .ok()
        .and_then(|number| names.get(number))
        .cloned()
        .ok_or_else(|| format!("expected a class from 0 to {}, found `{}`", names.len() - 1, shown(label)))
}

/// A row whose text and class were checked.
struct Good {
    line: u64,
    text: String,
    label: String,
    group: Option<String>,
}

fn checked(row: Row, schema: &Schema) -> Result<Good, String> {
    let Ok([answer]) = <[String; 1]>::try_from(row.answers) else {
        return Err("expected one label".into());
    };
    let label = name_of(&answer, &schema.class_names)?;
    check_text(&row.text)?;
    check_label(&label)?;
    Ok(Good { line: row.line, text: row.text, label, group: row.group })
}

/// Refuses what is no text to learn from.
pub fn check_text(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("expected a text, found none".into());
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("expected at most {TEXT_BYTES_MAX} bytes of text, found {}", text.len()));
    }
    if text.contains('\0') {
        return Err("expected text, found a NUL character".into());
    }
    Ok(())
}

/// Refuses what cannot be the name of a label.
pub fn check_label(label: &str) -> Result<(), String> {
    if label.is_empty() || label.len() > LABEL_BYTES_MAX || label.chars().any(char::is_control) {
        return Err(format!("expected a label of 1 to {LABEL_BYTES_MAX} bytes, found `{}`", shown(label)));
    }
    Ok(())
}
