//! From answers as text to numbers: marks for the labels that hold, or a quantity on its scale.
//!
//! The last step of the loaders for several labels and for quantities, of texts and of records alike. Labels are the
//! schema's when it states them; otherwise all that occur, sorted, or a scale from the smallest to the largest value.

use std::collections::BTreeSet;

use crate::data::classes::{Row, check_label, check_text, name_of};
use crate::data::example::ValuedText;
use crate::data::labels::{LabelSet, shown};
use crate::data::report::DataReport;
use crate::data::scale::{Scale, number};
use crate::data::schema::{Schema, TaskKind};
use crate::error::Result;

/// What a quantity is called where nobody named it.
const UNNAMED: &str = "value";

/// What the numbers of an example mean.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// 1 where a label holds, 0 where it does not.
    Marks(LabelSet),
    /// One quantity, in its own unit.
    Quantity(Scale),
}

impl Values {
    /// What labels mean: a single one that is a scale is a quantity, all others are marks.
    pub fn meant(labels: &LabelSet) -> Self {
        match Scale::of(labels) {
            Ok(scale) => Self::Quantity(scale),
            Err(_) => Self::Marks(labels.clone()),
        }
    }

    /// What the schema states, else what follows from the answers of a file.
    ///
    /// # Errors
    /// The schema is contradictory, or the labels form no set.
    pub fn found<'a>(schema: &Schema, answers: impl Iterator<Item = &'a [String]>) -> Result<Self> {
        if let Some(labels) = schema.label_set()? {
            return Ok(Self::meant(&labels));
        }
        if schema.task == TaskKind::Regression {
            let values = answers.filter_map(|answer| number(answer.first()?).ok());
            return Ok(Self::Quantity(Scale::spanning(UNNAMED, values)));
        }
        let mut names = BTreeSet::new();
        for name in answers.flatten().filter_map(|name| name_of(name, &schema.class_names).ok()) {
            if check_label(&name).is_ok() {
                names.insert(name);
            }
        }
        // A set is never empty; nothing refers to this one.
        let labels = if names.is_empty() { LabelSet::classes(["none"])? } else { LabelSet::classes(names)? };
        Ok(Self::Marks(labels))
    }

    /// The labels as a charter holds them.
    ///
    /// # Errors
    /// The scale's name is too long to be a label.
    pub fn labels(&self) -> Result<LabelSet> {
        match self {
            Self::Marks(labels) => Ok(labels.clone()),
            Self::Quantity(scale) => scale.labels(),
        }
    }

    /// The numbers of one example.
    ///
    /// # Errors
    /// A label is unknown, named twice, or there is no value near the scale; the reason says which.
    pub fn read(&self, answers: &[String], schema: &Schema) -> Result<Vec<f32>, String> {
        match (self, answers) {
            (Self::Quantity(scale), [value]) => Ok(vec![scale.value(value)?]),
            (Self::Quantity(_), several) => Err(format!("expected one value, found {}", several.len())),
            (Self::Marks(labels), names) => {
                let mut marks = vec![0.0; labels.len()];
                for name in names {
                    let name = name_of(name, &schema.class_names)?;
                    check_label(&name)?;
                    let unknown = || format!("unknown label `{}`", shown(&name));
                    let mark = &mut marks[labels.id(&name).ok_or_else(unknown)? as usize];
                    if *mark != 0.0 {
                        return Err(format!("label `{}` is given twice", shown(&name)));
                    }
                    *mark = 1.0;
                }
                Ok(marks)
            }
        }
    }

    /// Counts one good example.
    pub fn count(&self, values: &[f32], report: &mut DataReport) {
        report.rows += 1;
        report.good += 1;
        if let Self::Marks(labels) = self {
            for (name, _) in labels.names().iter().zip(values).filter(|(_, mark)| **mark != 0.0) {
                *report.labels.entry(name.clone()).or_default() += 1;
            }
        }
    }

    /// Adds what follows from the counts, and decides whether the file is refused.
    pub fn settle(&self, report: &mut DataReport, bad_share_max: f64) {
        match self {
            Self::Marks(_) => report.settle(bad_share_max),
            Self::Quantity(_) => report.settle_plain(bad_share_max),
        }
    }

    /// What an example is about, as far as its numbers say: its first label, or the fifth of the range it lies in.
    pub fn subject(&self, values: &[f32]) -> String {
        match self {
            Self::Marks(labels) => held(labels, values).first().copied().unwrap_or_default().to_owned(),
            Self::Quantity(scale) => {
                let place = values.first().map_or(0.0, |value| 2.5 * (1.0 + scale.inward(*value)));
                format!("{} {}", scale.name, place.clamp(0.0, 4.0) as u32)
            }
        }
    }

    /// The key and the answer as our files have them.
    pub fn written(&self, values: &[f32]) -> (&'static str, serde_json::Value) {
        match self {
            Self::Marks(labels) => ("labels", held(labels, values).into()),
            Self::Quantity(_) => ("value", values.first().copied().map(f64::from).into()),
        }
    }
}

/// Names of the labels that hold.
pub fn held<'a>(labels: &'a LabelSet, marks: &[f32]) -> Vec<&'a str> {
    let all = labels.names().iter().zip(marks);
    all.filter(|(_, mark)| **mark != 0.0).map(|(name, _)| name.as_str()).collect()
}

/// Checks rows, reads their answers, and completes the report.
///
/// # Errors
/// The schema is contradictory.
pub fn number_rows(
    rows: Vec<Row>,
    schema: &Schema,
    mut report: DataReport,
) -> Result<(Vec<ValuedText>, LabelSet, DataReport)> {
    let values = Values::found(schema, rows.iter().map(|row| row.answers.as_slice()))?;
    let mut examples = Vec::with_capacity(rows.len());
    for row in rows {
        let read = check_text(&row.text).and_then(|()| values.read(&row.answers, schema));
        match read {
            Ok(numbers) => {
                values.count(&numbers, &mut report);
                if let Some(group) = &row.group {
                    *report.groups.entry(group.clone()).or_default() += 1;
                }
                examples.push(ValuedText { text: row.text, values: numbers, group: row.group });
            }
            Err(reason) => report.skip(row.line, reason),
        }
    }
    values.settle(&mut report, schema.bad_share_max);
    Ok((examples, values.labels()?, report))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: u64, answers: &[&str]) -> Row {
        let answers = answers.iter().map(|answer| (*answer).to_owned()).collect();
        Row { line, text: "a text".into(), answers, group: None }
    }

    fn schema(task: TaskKind) -> Schema {
        Schema { bad_share_max: 1.0, ..Schema::new(task) }
    }

    #[test]
    fn any_number_of_labels_holds_and_what_is_unknown_or_doubled_is_a_bad_row() {
        let rows = vec![row(1, &["b", "a"]), row(2, &[]), row(3, &["a", "a"]), row(4, &["c"])];
        let (examples, labels, report) =
            number_rows(rows.clone(), &schema(TaskKind::Multilabel), DataReport::default()).unwrap();
        assert_eq!(labels.names(), ["a", "b", "c"]);
        assert_eq!(examples.len(), 3);
        assert_eq!((&examples[0].values, &examples[1].values), (&vec![1.0, 1.0, 0.0], &vec![0.0; 3]));
        assert_eq!((report.bad[0].line, report.labels["a"]), (3, 1));
        let stated = Schema { labels: vec!["b".into(), "a".into()], ..schema(TaskKind::Multilabel) };
        let (examples, _, report) = number_rows(rows, &stated, DataReport::default()).unwrap();
        assert_eq!(held(&LabelSet::classes(["b", "a"]).unwrap(), &examples[0].values), ["b", "a"]);
        assert_eq!(report.bad[1].reason, "unknown label `c`");
    }

    #[test]
    fn a_quantity_keeps_its_unit_and_what_is_far_off_its_scale_is_a_bad_row() {
        let rows = vec![row(1, &["36.6"]), row(2, &["41"]), row(3, &["warm"]), row(4, &["310.1"])];
        let stated = Schema { labels: vec!["fever 35..42".into()], ..schema(TaskKind::Regression) };
        let (examples, labels, report) = number_rows(rows.clone(), &stated, DataReport::default()).unwrap();
        assert_eq!(examples.iter().map(|e| e.values[0]).collect::<Vec<_>>(), [36.6, 41.0]);
        assert_eq!(labels.names(), ["fever 35..42"]);
        assert!(report.bad[0].reason.contains("finite number") && report.bad[1].reason.contains("unit"));
        let (examples, labels, _) =
            number_rows(rows, &schema(TaskKind::Regression), DataReport::default()).unwrap();
        assert_eq!((examples.len(), labels.names()[0].as_str()), (3, "value 36.6..310.1"));
    }
}
