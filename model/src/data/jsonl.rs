//! JSON lines: one object per line.
//!
//! For classification `{"text": ..., "label": ...}`, with several labels `"labels": [...]`, with a quantity `"value": 3.5`
//! (keys from the schema; a text under `group` is the group unless the schema names another key), for tagging `{"tokens":
//! [...], "tags": [...]}` or a text with positions of entities. Strict: rubbish after the object, doubled keys, a half last
//! line or a number out of range make a bad row.

use std::io::BufRead;

use crate::data::classes::Row;
use crate::data::conll;
use crate::data::example::{LabelledText, TaggedSentence, ValuedText};
use crate::data::json::Json;
use crate::data::labels::{LabelSet, shown};
use crate::data::report::DataReport;
use crate::data::schema::{Column, Schema, TaskKind};
use crate::data::source::Lines;
use crate::data::spans;
use crate::data::valued::Values;
use crate::error::{Error, Result};

/// Reads texts with their answers as text.
///
/// # Errors
/// The source fails, or the schema is contradictory. Bad rows are in the report.
pub fn read_rows<R: BufRead>(mut lines: Lines<R>, schema: &Schema) -> Result<(Vec<Row>, DataReport)> {
    let mut report = DataReport::new(lines.name(), "jsonl");
    let text_key = key(schema, "text", "text")?;
    let usual = match schema.task {
        TaskKind::Multilabel => "labels",
        TaskKind::Regression => "value",
        _ => "label",
    };
    let label_key = key(schema, "label", usual)?;
    let group_key =
        if schema.columns.contains_key("group") { Some(key(schema, "group", "group")?) } else { None };
    let mut rows = Vec::new();
    each_object(&mut lines, &mut report, |line, object| {
        rows.push(Row {
            line,
            text: scalar(object, &text_key)?,
            answers: match schema.task {
                TaskKind::Multilabel => texts(object, &label_key)?,
                TaskKind::Regression => vec![number(object, &label_key)?],
                _ => vec![scalar(object, &label_key)?],
            },
            group: match &group_key {
                Some(key) => Some(scalar(object, key)?),
                None => object.member("group").and_then(Json::text).map(str::to_owned),
            },
        });
        Ok(())
    })?;
    Ok((rows, report))
}

/// Reads tagged sentences.
///
/// # Errors
/// The source fails, or the schema is contradictory. Bad rows are in the report.
pub fn read_sentences<R: BufRead>(
    mut lines: Lines<R>,
    schema: &Schema,
) -> Result<(Vec<TaggedSentence>, LabelSet, DataReport)> {
    let mut report = DataReport::new(lines.name(), "jsonl");
    let token_key = key(schema, "token", "tokens")?;
    let tag_key = key(schema, "tag", "tags")?;
    let mut sentences = Vec::new();
    each_object(&mut lines, &mut report, |line, object| {
        let (words, tags) = match object.member("text").and_then(Json::text) {
            Some(text) if object.member(&token_key).is_none() => {
                spans::tag(text, spans::read(object, text)?)?
            }
            _ => (texts(object, &token_key)?, texts(object, &tag_key)?),
        };
        if words.is_empty() || words.len() != tags.len() {
            return Err(format!(
                "expected as many tags as words and at least one, found {} words and {} tags",
                words.len(),
                tags.len()
            ));
        }
        let topic = object.member("topic").and_then(Json::text).map(str::to_owned);
        sentences.push(conll::Raw::new(line, words, tags, topic));
        Ok(())
    })?;
    conll::finish(sentences, schema, report)
}

/// Calls `take` with every object; its error makes a bad row.
fn each_object<R: BufRead>(
    lines: &mut Lines<R>,
    report: &mut DataReport,
    mut take: impl FnMut(u64, &Json) -> Result<(), String>,
) -> Result<()> {
    while let Some((number, text)) = lines.next_row(report)? {
        let taken = Json::parse(&text).and_then(|value| match value {
            Json::Object(_) => take(number, &value),
            other => Err(format!("expected an object, found {}", other.kind())),
        });
        if let Err(reason) = taken {
            report.skip(number, reason);
        }
    }
    Ok(())
}

/// The key for a role: from the schema, which must name it, or the usual one.
fn key(schema: &Schema, role: &str, usual: &str) -> Result<String> {
    match schema.columns.get(role) {
        None => Ok(usual.to_owned()),
        Some(Column::Name(name)) => Ok(name.clone()),
        Some(Column::Number(number)) => Err(Error::config(
            format!("columns.{role}"),
            format!("JSON lines have keys, not numbered columns: expected a name, found {number}"),
        )),
    }
}

/// A text, or a whole number or truth value written as one.
fn scalar(object: &Json, key: &str) -> Result<String, String> {
    match object.member(key) {
        None => Err(format!("no key `{}`", shown(key))),
        Some(Json::Text(text)) => Ok(text.clone()),
        Some(Json::Integer(number)) => Ok(number.to_string()),
        Some(Json::Bool(value)) => Ok(value.to_string()),
        Some(other) => Err(format!("key `{}`: expected a text, found {}", shown(key), other.kind())),
    }
}

/// A number as text, in a form that reads back equal.
pub fn number(object: &Json, key: &str) -> Result<String, String> {
    match object.member(key) {
        None => Err(format!("no key `{}`", shown(key))),
        Some(Json::Integer(number)) => Ok(number.to_string()),
        Some(Json::Number(number)) => Ok(number.to_string()),
        Some(other) => Err(format!("key `{}`: expected a number, found {}", shown(key), other.kind())),
    }
}

/// A list of texts.
pub fn texts(object: &Json, key: &str) -> Result<Vec<String>, String> {
    let value = object.member(key).ok_or_else(|| format!("no key `{}`", shown(key)))?;
    let items = value
        .list()
        .ok_or_else(|| format!("key `{}`: expected a list of texts, found {}", shown(key), value.kind()))?;
    items
        .iter()
        .map(|item| {
            item.text().map(str::to_owned).ok_or_else(|| {
                format!("key `{}`: expected a list of texts, found {} in it", shown(key), item.kind())
            })
        })
        .collect()
}

/// Writes labelled texts so that [`read_rows`] gives them back.
pub fn write_texts(
    out: &mut impl std::io::Write,
    texts: &[LabelledText],
    labels: &LabelSet,
) -> std::io::Result<()> {
    for example in texts {
        let mut object = serde_json::Map::new();
        object.insert("text".into(), example.text.clone().into());
        object.insert("label".into(), labels.name(example.label).into());
        if let Some(group) = &example.group {
            object.insert("group".into(), group.clone().into());
        }
        writeln!(out, "{}", serde_json::Value::Object(object))?;
    }
    Ok(())
}

/// Writes texts with several labels or a quantity so that [`read_rows`] gives them back.
pub fn write_valued(
    out: &mut impl std::io::Write,
    texts: &[ValuedText],
    values: &Values,
) -> std::io::Result<()> {
    for example in texts {
        let mut object = serde_json::Map::new();
        object.insert("text".into(), example.text.clone().into());
        let (key, answer) = values.written(&example.values);
        object.insert(key.into(), answer);
        if let Some(group) = &example.group {
            object.insert("group".into(), group.clone().into());
        }
        writeln!(out, "{}", serde_json::Value::Object(object))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::classes;

    fn texts_of(bytes: &[u8], schema: &Schema) -> (Vec<LabelledText>, LabelSet, DataReport) {
        let (rows, report) = read_rows(Lines::new(bytes, "test.jsonl".into()).unwrap(), schema).unwrap();
        classes::number(rows, schema, report).unwrap()
    }

    fn schema() -> Schema {
        Schema { bad_share_max: 1.0, ..Schema::new(TaskKind::Classify) }
    }

    #[test]
    fn a_bad_row_is_skipped_with_line_and_reason() {
        let cases: [(&str, &str); 11] = [
            (r#"{"text":"x","label":"a"} rubbish"#, "trailing characters"),
            (r#"{"text":"x","label":"a""#, "EOF"),
            (r#"{"text":"x","label":"a","n":1e400}"#, "number out of range"),
            (r#"{"text":"x","text":"y","label":"a"}"#, "key `text` is given twice"),
            (r#"{"text":"x"}"#, "no key `label`"),
            (r#"{"text":["x"],"label":"a"}"#, "expected a text, found a list"),
            (r#"["x","a"]"#, "expected an object, found a list"),
            (r#"{"text":"   ","label":"a"}"#, "expected a text, found none"),
            ("{\"text\":\"a\\u0000b\",\"label\":\"a\"}", "NUL character"),
            (r#"{"text":"x","label":""}"#, "expected a label"),
            (r#"{"text":"x","label":1.5}"#, "expected a text, found a number"),
        ];
        for (row, reason) in cases {
            let file =
                format!("{{\"text\":\"good\",\"label\":\"b\"}}\n{row}\n{{\"text\":\"too\",\"label\":3}}\n");
            let (examples, labels, report) = texts_of(file.as_bytes(), &schema());
            assert_eq!(examples.len(), 2, "{row}");
            assert_eq!(labels.names(), ["3", "b"]);
            assert_eq!(report.bad[0].line, 2, "{row}");
            assert!(report.bad[0].reason.contains(reason), "{row}: {}", report.bad[0].reason);
        }
    }

    #[test]
    fn other_keys_and_groups_are_taken_from_the_schema_and_numbers_refused() {
        let mut named = schema();
        named.columns.insert("text".into(), Column::Name("q".into()));
        named.columns.insert("label".into(), Column::Name("y".into()));
        named.columns.insert("group".into(), Column::Name("g".into()));
        let (examples, _, report) = texts_of(b"{\"q\":\"hi\",\"y\":true,\"g\":\"north\",\"z\":[]}\n", &named);
        assert_eq!(examples[0].group.as_deref(), Some("north"));
        assert_eq!(report.labels["true"], 1);
        named.columns.insert("text".into(), Column::Number(1));
        assert!(read_rows(Lines::new(&b""[..], String::new()).unwrap(), &named).is_err());
    }

    #[test]
    fn sentences_are_read_from_token_and_tag_lists() {
        let file = br#"{"tokens":["Ada","went"],"tags":["B-PER","O"],"topic":"law"}
{"tokens":["x"],"tags":["O","O"]}
{"tokens":[1],"tags":["O"]}
{"tokens":["x"],"tags":["Q-1"]}
{"text":"Ada went","spans":[{"start":0,"end":3,"label":"PER"}]}
{"text":"Ada went","spans":[{"start":0,"end":9,"label":"PER"}]}
"#;
        let schema = Schema { bad_share_max: 1.0, ..Schema::new(TaskKind::Tagging) };
        let (sentences, labels, report) =
            read_sentences(Lines::new(&file[..], "t.jsonl".into()).unwrap(), &schema).unwrap();
        assert_eq!(sentences.len(), 2);
        assert_eq!(sentences[0].tokens, sentences[1].tokens);
        assert_eq!(sentences[0].topic.as_deref(), Some("law"));
        assert_eq!(labels.names(), ["O", "B-PER", "I-PER"]);
        assert_eq!(report.bad.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 3, 4, 6]);
    }

    #[test]
    fn written_texts_read_back_equal() {
        let file = b"{\"text\":\"a \\\"b\\\"\\n\",\"label\":\"x\"}\n{\"text\":\"c\",\"label\":\"y\"}\n";
        let (examples, labels, _) = texts_of(file, &schema());
        let mut written = Vec::new();
        write_texts(&mut written, &examples, &labels).unwrap();
        assert_eq!(texts_of(&written, &schema()).0, examples);
    }
}
