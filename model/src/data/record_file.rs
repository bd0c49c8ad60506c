//! Records in a file: JSON lines.
//!
//! The first line is the form, `{"form": {"has_text": true, "image": [1, 8, 8], "columns": ["age"], "features": 3}}`. A
//! record is `{"class": "7", "group": "north", "text": "...", "image": "00ff...", "table": [0.5, null], "features": [1]}`,
//! where everything may be absent and pixels are two hexadecimal digits each. Where records have any number of labels it is
//! `"labels": ["7", "blurred"]` in place of the class, where they have a quantity `"value": 3.5`. A record without any only
//! stands beside those it is related to. A relation is `{"edge": [0, 5, "contact"]}` with the numbers of two records,
//! counted from 0 in the order of the file.

use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use std::path::Path;

use crate::data::json::Json;
use crate::data::jsonl;
use crate::data::labels::{LabelSet, shown};
use crate::data::records::{Form, Record, RecordPart, Records, Relation};
use crate::data::report::DataReport;
use crate::data::schema::{Schema, TaskKind};
use crate::data::source::{self, Lines};
use crate::data::valued::Values;
use crate::error::{Error, Result};

/// What a file gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The good records.
    pub records: Records,
    /// The classes.
    pub labels: LabelSet,
    /// What was found.
    pub report: DataReport,
}

/// A record as in a file.
struct Draft {
    line: u64,
    /// The class, the labels that hold, or the quantity, as text.
    answers: Option<Vec<String>>,
    record: Record,
}

/// Reads a file of records.
///
/// # Errors
/// The file cannot be read, does not begin with a form, or more rows are bad than the schema allows.
pub fn read(path: &Path, schema: &Schema) -> Result<Read> {
    let mut read = examine(source::open(path)?, path, schema)?;
    if let Some(reason) = read.report.refused.take() {
        return Err(Error::file(path, reason));
    }
    Ok(read)
}

fn examine<R: BufRead>(mut lines: Lines<R>, path: &Path, schema: &Schema) -> Result<Read> {
    let mut report = DataReport::new(lines.name(), "records");
    let mut form: Option<Form> = None;
    let mut drafts: Vec<Draft> = Vec::new();
    let mut edges: Vec<(u64, i64, i64, String)> = Vec::new();
    while let Some((number, text)) = lines.next_row(&mut report)? {
        let Some(known) = &form else {
            form = Some(read_form(&text).map_err(|reason| Error::line(path, number, reason))?);
            continue;
        };
        match Json::parse(&text) {
            Ok(json) if json.member("edge").is_some() => match edge(&json) {
                Ok((from, to, kind)) => edges.push((number, from, to, kind)),
                Err(reason) => report.skip(number, reason),
            },
            Ok(json) => match record(&json, known, schema.task) {
                Ok((answers, record)) => drafts.push(Draft { line: number, answers, record }),
                // Relations count records, so one that is left out would shift them all.
                Err(reason) if known.features > 0 => return Err(Error::line(path, number, reason)),
                Err(reason) => report.skip(number, reason),
            },
            Err(reason) => report.skip(number, reason),
        }
    }
    let form =
        form.ok_or_else(|| Error::file(path, "expected a form in the first line, found an empty file"))?;
    let answers = Answers::found(schema, &drafts)?;
    let mut all = Vec::with_capacity(drafts.len());
    for draft in drafts {
        match answers.answered(&draft, schema, &mut report) {
            Ok((label, values)) => {
                if let Some(group) = &draft.record.group {
                    *report.groups.entry(group.clone()).or_default() += 1;
                }
                all.push(Record { label, values, ..draft.record });
            }
            Err(reason) if form.features > 0 => return Err(Error::line(path, draft.line, reason)),
            Err(reason) => report.skip(draft.line, reason),
        }
    }
    let kinds: BTreeSet<&str> = edges.iter().map(|(.., kind)| kind.as_str()).collect();
    let kinds: Vec<String> = kinds.into_iter().map(str::to_owned).collect();
    let mut relations = Vec::with_capacity(edges.len());
    for (line, from, to, kind) in &edges {
        let place = |number: &i64| u32::try_from(*number).ok().filter(|place| (*place as usize) < all.len());
        let kind = kinds.binary_search(kind).unwrap_or_default() as u16;
        match (place(from), place(to)) {
            (Some(from), Some(to)) => relations.push(Relation { from, to, kind }),
            _ => {
                report.skip(*line, format!("expected two records below {}, found another number", all.len()));
            }
        }
    }
    let labels = match &answers {
        Answers::Classes(labels) => {
            report.settle(schema.bad_share_max);
            labels.clone()
        }
        Answers::Values(values) => {
            values.settle(&mut report, schema.bad_share_max);
            values.labels()?
        }
    };
    Ok(Read { records: Records { form, all, kinds, relations }, labels, report })
}

/// How the answers of a file become numbers.
enum Answers {
    /// A class each.
    Classes(LabelSet),
    /// Any number of labels, or a quantity.
    Values(Values),
}

impl Answers {
    /// What the schema states, else what follows from all records.
    fn found(schema: &Schema, drafts: &[Draft]) -> Result<Self> {
        let known = drafts.iter().filter_map(|draft| draft.answers.as_deref());
        if schema.task.is_valued() {
            return Values::found(schema, known).map(Self::Values);
        }
        if let Some(labels) = schema.label_set()? {
            return Ok(Self::Classes(labels));
        }
        let names: BTreeSet<&str> = known.flatten().map(String::as_str).collect();
        // A set is never empty; nothing refers to this one.
        let labels = if names.is_empty() { LabelSet::classes(["none"])? } else { LabelSet::classes(names)? };
        Ok(Self::Classes(labels))
    }

    /// Class and numbers of one record, which is counted.
    fn answered(
        &self,
        draft: &Draft,
        schema: &Schema,
        report: &mut DataReport,
    ) -> Result<(Option<u32>, Vec<f32>), String> {
        match (self, draft.answers.as_deref()) {
            (Self::Classes(labels), Some([class])) => {
                let label = labels.id(class).ok_or_else(|| format!("unknown class `{}`", shown(class)))?;
                *report.labels.entry(class.clone()).or_default() += 1;
                report.rows += 1;
                report.good += 1;
                Ok((Some(label), Vec::new()))
            }
            (Self::Values(values), Some(answers)) => {
                let numbers = values.read(answers, schema)?;
                values.count(&numbers, report);
                Ok((None, numbers))
            }
            (_, _) => {
                report.rows += 1;
                report.good += 1;
                Ok((None, Vec::new()))
            }
        }
    }
}

fn read_form(text: &str) -> Result<Form, String> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct First {
        form: Form,
    }
    let First { form } = serde_json::from_str(text)
        .map_err(|error| format!("expected a form, as in {{\"form\": {{\"has_text\": true}}}}: {error}"))?;
    let sizes = form.image.unwrap_or([1, 1, 1]);
    if sizes.iter().any(|size| *size == 0 || *size > 4096) || form.pixels() > 1 << 18 {
        return Err(format!("expected images of 1 to {} values, found sizes {sizes:?}", 1 << 18));
    }
    if form.columns.len() > 4096 || form.features > 1 << 24 {
        return Err("expected at most 4096 columns and 16777216 features, found more".to_owned());
    }
    Ok(form)
}

fn record(json: &Json, form: &Form, task: TaskKind) -> Result<(Option<Vec<String>>, Record), String> {
    let Json::Object(members) = json else { return Err("expected an object".to_owned()) };
    let mut record = Record::default();
    let mut answers = None;
    for (key, value) in members {
        let wrong = || format!("{key}: expected another kind of value, found {}", value.kind());
        match key.as_str() {
            "class" if !task.is_valued() => {
                let class = value.text().filter(|text| !text.is_empty()).ok_or_else(wrong)?;
                answers = Some(vec![class.to_owned()]);
            }
            "labels" if task == TaskKind::Multilabel => answers = Some(jsonl::texts(json, key)?),
            "value" if task == TaskKind::Regression => answers = Some(vec![jsonl::number(json, key)?]),
            "group" => record.group = Some(value.text().ok_or_else(wrong)?.to_owned()),
            "text" if form.has_text => record.text = Some(value.text().ok_or_else(wrong)?.to_owned()),
            "image" => record.image = Some(pixels(value.text().ok_or_else(wrong)?, form)?),
            "table" => record.table = columns(value.list().ok_or_else(wrong)?, form)?,
            "features" => record.features = features(value.list().ok_or_else(wrong)?, form)?,
            other => return Err(format!("unknown key `{}` for this form", shown(other))),
        }
    }
    if answers.is_none() && form.features == 0 {
        let expected = match task {
            TaskKind::Multilabel => "labels",
            TaskKind::Regression => "a value",
            _ => "a class",
        };
        return Err(format!("expected {expected}, found none"));
    }
    Ok((answers, record))
}

fn pixels(text: &str, form: &Form) -> Result<Vec<u8>, String> {
    let expected = form.pixels();
    if text.len() != 2 * expected {
        return Err(format!("expected {expected} pixels of two digits, found {} digits", text.len()));
    }
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| Some(16 * digit(pair[0])? + digit(pair[1])?))
        .collect::<Option<_>>()
        .ok_or_else(|| "expected hexadecimal digits in an image, found others".to_owned())
}

fn columns(items: &[Json], form: &Form) -> Result<Vec<Option<f32>>, String> {
    if items.len() != form.columns.len() {
        return Err(format!("expected {} columns, found {}", form.columns.len(), items.len()));
    }
    let value = |item: &Json| match item {
        Json::Null => Ok(None),
        Json::Integer(number) => Ok(Some(*number as f32)),
        Json::Number(number) if (*number as f32).is_finite() => Ok(Some(*number as f32)),
        other => Err(format!("expected numbers or null in a table, found {}", other.kind())),
    };
    items.iter().map(value).collect()
}

fn features(items: &[Json], form: &Form) -> Result<Vec<u32>, String> {
    let feature = |item: &Json| match item {
        Json::Integer(number) => {
            u32::try_from(*number).ok().filter(|feature| (*feature as usize) < form.features)
        }
        _ => None,
    };
    items
        .iter()
        .map(feature)
        .collect::<Option<_>>()
        .ok_or_else(|| format!("expected features below {}, found others", form.features))
}

fn edge(json: &Json) -> Result<(i64, i64, String), String> {
    match json.member("edge").and_then(Json::list) {
        Some([Json::Integer(from), Json::Integer(to), Json::Text(kind)]) => Ok((*from, *to, kind.clone())),
        _ => Err("expected an edge as [0, 5, \"contact\"]".to_owned()),
    }
}

/// Writes records with their relations; only the examples of the part get an answer. Where records are not related nothing
/// but the examples is written: the others say nothing about them.
///
/// # Errors
/// The writer fails.
pub fn write(out: &mut impl Write, part: &RecordPart, labels: &LabelSet) -> std::io::Result<()> {
    let records = &part.records;
    writeln!(out, "{}", serde_json::json!({ "form": records.form }))?;
    let is_related = records.form.features > 0;
    let values = Values::meant(labels);
    for (number, record) in records.all.iter().enumerate() {
        let is_example = part.chosen.binary_search(&(number as u32)).is_ok();
        if !is_related && !is_example {
            continue;
        }
        let mut line = serde_json::Map::new();
        let mut put = |key: &str, value: serde_json::Value| {
            line.insert(key.to_owned(), value);
        };
        if let Some(label) = record.label.filter(|_| is_example) {
            put("class", labels.name(label).into());
        }
        if !record.values.is_empty() && is_example {
            let (key, answer) = values.written(&record.values);
            put(key, answer);
        }
        if let Some(group) = &record.group {
            put("group", group.as_str().into());
        }
        if let Some(text) = &record.text {
            put("text", text.as_str().into());
        }
        if let Some(pixels) = &record.image {
            put("image", hex(pixels).into());
        }
        if !record.table.is_empty() {
            put("table", record.table.clone().into());
        }
        if !record.features.is_empty() {
            put("features", record.features.clone().into());
        }
        writeln!(out, "{}", serde_json::Value::Object(line))?;
    }
    for relation in records.relations.iter().filter(|_| is_related) {
        let kind = &records.kinds[relation.kind as usize];
        writeln!(out, "{}", serde_json::json!({ "edge": [relation.from, relation.to, kind] }))?;
    }
    Ok(())
}

fn hex(pixels: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits =
        |pixel: &u8| [DIGITS[usize::from(pixel >> 4)] as char, DIGITS[usize::from(pixel & 15)] as char];
    pixels.iter().flat_map(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::schema::TaskKind;

    const TEXT: &str = r#"{"form": {"has_text": true, "image": [1, 1, 2], "columns": ["age"], "features": 3}}
{"class": "sick", "group": "north", "text": "coughs", "image": "00ff", "table": [0.5], "features": [0, 2]}
{"class": "well", "table": [null]}
{"group": "north", "features": [1]}
{"edge": [0, 2, "contact"]}
"#;

    fn examined(text: &str) -> Result<Read> {
        let lines = Lines::new(text.as_bytes(), "a.records".into()).unwrap();
        examine(lines, Path::new("a.records"), &Schema::new(TaskKind::Records))
    }

    #[test]
    fn what_is_read_is_written_back_and_read_again() {
        let first = examined(TEXT).unwrap();
        assert_eq!(first.labels.names(), ["sick", "well"]);
        assert_eq!(first.records.all[0].image, Some(vec![0, 255]));
        assert_eq!((first.records.all[2].label, first.records.relations.len()), (None, 1));
        let part = first.records.clone().whole();
        assert_eq!(part.chosen, [0, 1]);
        let mut bytes = Vec::new();
        write(&mut bytes, &part, &first.labels).unwrap();
        let again = examined(std::str::from_utf8(&bytes).unwrap()).unwrap();
        assert_eq!((again.records, again.labels), (first.records, first.labels));
    }

    #[test]
    fn labels_and_quantities_are_read_and_written_back() {
        let cases = [
            (TaskKind::Multilabel, r#""labels": ["b", "a"]"#, r#""labels": []"#, "a b", vec![1.0, 1.0]),
            (TaskKind::Regression, r#""value": 2"#, r#""value": 5.5"#, "value 2..5.5", vec![2.0]),
        ];
        for (task, first, second, labels, values) in cases {
            let form = r#"{"form": {"columns": ["age"]}}"#;
            let text = format!(
                "{form}\n{{\"table\": [1], {first}}}\n{{\"table\": [2], {second}}}\n{{\"table\": [3]}}\n"
            );
            let read = |text: &str| {
                let lines = Lines::new(text.as_bytes(), "a.records".into()).unwrap();
                let schema = Schema { bad_share_max: 0.5, ..Schema::new(task) };
                examine(lines, Path::new("a.records"), &schema).unwrap()
            };
            let found = read(&text);
            assert_eq!(found.labels.names().join(" "), labels);
            assert_eq!((found.report.good, found.report.bad_rows), (2, 1));
            assert_eq!(found.records.all[0].values, values);
            let part = found.records.clone().whole();
            assert_eq!(part.chosen, [0, 1]);
            let mut bytes = Vec::new();
            write(&mut bytes, &part, &found.labels).unwrap();
            assert_eq!(read(std::str::from_utf8(&bytes).unwrap()).records, found.records);
        }
    }

    #[test]
    fn a_part_of_records_without_relations_is_written_without_the_others() {
        let text = "{\"form\": {\"has_text\": true}}\n{\"class\": \"a\", \"text\": \"x\"}\n{\"class\": \"b\", \"text\": \"y\"}\n";
        let whole = examined(text).unwrap();
        let part = RecordPart { chosen: vec![1], ..whole.records.whole() };
        let mut bytes = Vec::new();
        write(&mut bytes, &part, &whole.labels).unwrap();
        let again = examined(std::str::from_utf8(&bytes).unwrap()).unwrap();
        assert_eq!((again.records.all.len(), again.report.bad_rows), (1, 0));
        assert_eq!(again.records.all[0].text.as_deref(), Some("y"));
    }

    #[test]
    fn what_does_not_fit_the_form_is_refused_by_line() {
        for (wrong, said) in [
            (r#"{"class": "a", "image": "00"}"#, "expected 2 pixels"),
            (r#"{"class": "a", "image": "00zz"}"#, "hexadecimal"),
            (r#"{"class": "a", "table": [1, 2]}"#, "expected 1 columns"),
            (r#"{"class": "a", "features": [3]}"#, "below 3"),
            (r#"{"class": "a", "colour": 3}"#, "unknown key"),
        ] {
            let error = examined(&format!("{TEXT}{wrong}\n")).unwrap_err().to_string();
            assert!(error.contains(":6:") && error.contains(said), "{error}");
        }
        assert!(examined("{}\n").is_err());
        let loose =
            "{\"form\": {\"has_text\": true}}\n{\"class\": \"a\", \"text\": \"x\"}\n{\"text\": \"y\"}\n";
        assert_eq!(examined(loose).unwrap().report.bad_rows, 1);
    }
}
