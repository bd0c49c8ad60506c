//! CSV and TSV: one labelled text per row.
//!
//! Columns are named in the first line or counted; usual names are recognised. In CSV a quoted field may span lines, up
//! to a limit: a quote that is never closed spoils its own row and not the rest of the file. In TSV quotes are text.

use std::collections::VecDeque;
use std::io::BufRead;

use crate::data::classes::Row;
use crate::data::labels::shown;
use crate::data::report::DataReport;
use crate::data::schema::{Column, Schema, TaskKind};
use crate::data::source::{Line, Lines};
use crate::error::{Error, Result};

/// Most lines a quoted row may span.
pub const ROW_LINES_MAX: usize = 200;
/// Most bytes in a row.
pub const ROW_BYTES_MAX: usize = 1 << 20;
/// Column names taken for the text when the schema names none, in this order.
pub const TEXT_NAMES: [&str; 8] =
    ["text", "sentence", "review", "content", "utterance", "message", "title", "tweet"];
/// Column names taken for the label when the schema names none, in this order.
pub const LABEL_NAMES: [&str; 7] = ["label", "category", "class", "intent", "sentiment", "target", "topic"];
/// The same for several labels in one field.
pub const LABELS_NAMES: [&str; 4] = ["labels", "tags", "topics", "categories"];
/// The same for a quantity.
pub const VALUE_NAMES: [&str; 6] = ["value", "score", "rating", "stars", "target", "y"];
/// What stands between several labels of a field.
pub const BETWEEN_LABELS: char = ';';

/// Reads texts with their answers as text; `separator` is a comma or a tab.
///
/// # Errors
/// The source fails, the schema is contradictory, or a named column is not in the first line. Bad rows are in the report.
pub fn read<R: BufRead>(lines: Lines<R>, separator: u8, schema: &Schema) -> Result<(Vec<Row>, DataReport)> {
    let mut report = DataReport::new(lines.name(), if separator == b'\t' { "tsv" } else { "csv" });
    let mut rows =
        Rows { lines, pending: VecDeque::new(), quoted: separator != b'\t', separator, width: None };
    let mut places: Option<Places> = None;
    let mut found = Vec::new();
    while let Some(row) = rows.next_row()? {
        let (line, fields) = match row {
            Ok(row) => row,
            Err((line, reason)) => {
                report.skip(line, reason);
                continue;
            }
        };
        let Some(places) = &places else {
            let (found_places, header) = Places::find(&fields, schema, &report.file)?;
            if !header {
                found
                    .extend(found_places.row(line, &fields).map_err(|reason| report.skip(line, reason)).ok());
            }
            places = Some(found_places);
            continue;
        };
        match places.row(line, &fields) {
            Ok(row) => found.push(row),
            Err(reason) => report.skip(line, reason),
        }
    }
    Ok((found, report))
}

/// Where the columns are, from 0.
struct Places {
    text: usize,
    label: usize,
    group: Option<usize>,
    task: TaskKind,
}

impl Places {
    /// Finds the columns from the first row; also says whether that row is a header.
    fn find(first: &[String], schema: &Schema, file: &str) -> Result<(Self, bool)> {
        let named = schema.columns.values().any(|column| matches!(column, Column::Name(_)));
        let lower: Vec<String> = first.iter().map(|field| field.trim().to_lowercase()).collect();
        let usual =
            |names: &[&str]| names.iter().find_map(|name| lower.iter().position(|field| field == name));
        let usual_text = usual(&TEXT_NAMES);
        let usual_label = usual(match schema.task {
            TaskKind::Multilabel => &LABELS_NAMES,
            TaskKind::Regression => &VALUE_NAMES,
            _ => &LABEL_NAMES,
        });
        let header = named || usual_text.is_some() && usual_label.is_some();
        let place = |role: &str, fallback: Option<usize>| -> Result<Option<usize>> {
            let failed = |reason: String| Error::Data { file: file.to_owned(), line: 1, reason };
            match schema.columns.get(role) {
                None => Ok(fallback),
                Some(Column::Number(number)) if *number > 0 => Ok(Some(*number as usize - 1)),
                Some(Column::Number(number)) => {
                    first.len().checked_sub(number.unsigned_abs() as usize).map(Some).ok_or_else(|| {
                        failed(format!("expected a column {number}, found {} columns", first.len()))
                    })
                }
                Some(Column::Name(name)) => {
                    first.iter().position(|field| field.trim() == name).map(Some).ok_or_else(|| {
                        failed(format!(
                            "no column is named `{}`; the first line names: {}",
                            shown(name),
                            first.iter().take(20).map(|field| shown(field)).collect::<Vec<_>>().join(", ")
                        ))
                    })
                }
            }
        };
        let text = place("text", usual_text.filter(|_| header).or(Some(0)))?.unwrap_or(0);
        let label_fallback = usual_label.filter(|_| header).or((!header).then_some(usize::from(text != 1)));
        let label = place("label", label_fallback)?.ok_or_else(|| {
            Error::config(
                "columns.label",
                "the first line names no usual label column; state its name or number",
            )
        })?;
        Ok((Self { text, label, group: place("group", None)?, task: schema.task }, header))
    }

    fn row(&self, line: u64, fields: &[String]) -> Result<Row, String> {
        let field = |place: usize| {
            fields
                .get(place)
                .cloned()
                .ok_or_else(|| format!("expected at least {} columns, found {}", place + 1, fields.len()))
        };
        let answer = field(self.label)?.trim().to_owned();
        let answers = if self.task == TaskKind::Multilabel {
            let names = answer.split(BETWEEN_LABELS).map(str::trim).filter(|name| !name.is_empty());
            names.map(str::to_owned).collect()
        } else {
            vec![answer]
        };
        Ok(Row { line, text: field(self.text)?, answers, group: self.group.map(field).transpose()? })
    }
}

/// Rows of fields, put together from lines.
struct Rows<R> {
    lines: Lines<R>,
    /// Lines read ahead while looking for a closing quote.
    pending: VecDeque<Line>,
    quoted: bool,
    separator: u8,
    /// Columns in the first row.
    width: Option<usize>,
}

type Judged = Result<(u64, Vec<String>), (u64, String)>;

impl<R: BufRead> Rows<R> {
    fn next_row(&mut self) -> Result<Option<Judged>> {
        loop {
            let Some(line) = self.next_line()? else { return Ok(None) };
            let (number, text) = match line {
                Line::Bad(number, reason) => return Ok(Some(Err((number, reason)))),
                Line::Text(number, text) => (number, text),
            };
            if text.trim_matches([' ', '\r']).is_empty() {
                continue;
            }
            if !self.quoted {
                let fields = text.split(self.separator as char).map(str::to_owned).collect();
                return Ok(Some(self.checked(number, fields)));
            }
            return self.quoted_row(number, text).map(Some);
        }
    }

    fn next_line(&mut self) -> Result<Option<Line>> {
        match self.pending.pop_front() {
            Some(line) => Ok(Some(line)),
            None => self.lines.next_line(),
        }
    }

    /// Joins lines until the quotes are closed; gives lines back when they never are, or when joining them made a row
    /// of another width (then the quote was a stray one).
    fn quoted_row(&mut self, number: u64, first: String) -> Result<Judged> {
        let mut joined = first;
        let mut taken: Vec<Line> = Vec::new();
        let mut state = quotes(&joined, self.separator);
        while state == Quotes::Open && taken.len() < ROW_LINES_MAX && joined.len() <= ROW_BYTES_MAX {
            let Some(line) = self.next_line()? else { break };
            if let Line::Text(_, text) = &line {
                joined.push('\n');
                joined.push_str(text);
            }
            let spoiled = matches!(line, Line::Bad(..));
            taken.push(line);
            if spoiled {
                break;
            }
            state = quotes(&joined, self.separator);
        }
        let fault = match state {
            Quotes::Closed => None,
            Quotes::Open => Some(format!(
                "a quote is opened and not closed within {ROW_LINES_MAX} lines or {ROW_BYTES_MAX} bytes"
            )),
            Quotes::Stray => {
                Some("text follows a closing quote; a quote inside a field must be doubled".into())
            }
        };
        if let Some(reason) = fault {
            self.give_back(taken);
            return Ok(Err((number, reason)));
        }
        let judged = match self.parse(&joined) {
            Ok(fields) => self.checked(number, fields),
            Err(reason) => Err((number, reason)),
        };
        if judged.is_err() {
            self.give_back(taken);
        }
        Ok(judged)
    }

    fn give_back(&mut self, lines: Vec<Line>) {
        for line in lines.into_iter().rev() {
            self.pending.push_front(line);
        }
    }

    fn parse(&self, text: &str) -> Result<Vec<String>, String> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.separator)
            .buffer_capacity(text.len().clamp(64, ROW_BYTES_MAX))
            .from_reader(text.as_bytes());
        let mut record = csv::StringRecord::new();
        match reader.read_record(&mut record) {
            Ok(true) => Ok(record.iter().map(str::to_owned).collect()),
            Ok(false) => Err("expected fields, found none".into()),
            Err(error) => Err(format!("not valid CSV: {error}")),
        }
    }

    fn checked(&mut self, number: u64, fields: Vec<String>) -> Judged {
        let width = *self.width.get_or_insert(fields.len());
        if fields.len() != width {
            let reason = format!("expected {width} columns as in the first row, found {}", fields.len());
            return Err((number, reason));
        }
        Ok((number, fields))
    }
}

/// How the quotes of a row stand at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quotes {
    /// Every opened quote is closed.
    Closed,
    /// The row ends inside a quoted field.
    Open,
    /// Text follows a closing quote: one of the two was a stray one.
    Stray,
}

/// Follows the quotes of a row. A quote opens only at the start of a field; a doubled one is text.
fn quotes(text: &str, separator: u8) -> Quotes {
    let mut inside = false;
    let mut field_start = true;
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        if inside {
            if byte == b'"' && bytes.next_if_eq(&b'"').is_none() {
                inside = false;
                if bytes.peek().is_some_and(|next| *next != separator) {
                    return Quotes::Stray;
                }
            }
        } else if byte == b'"' && field_start {
            inside = true;
        }
        field_start = !inside && byte == separator;
    }
    if inside { Quotes::Open } else { Quotes::Closed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::classes;
    use crate::data::example::LabelledText;
    use crate::data::labels::LabelSet;

    fn load(text: &[u8], separator: u8, schema: &Schema) -> (Vec<LabelledText>, LabelSet, DataReport) {
        let (rows, report) = read(Lines::new(text, "test.csv".into()).unwrap(), separator, schema).unwrap();
        classes::number(rows, schema, report).unwrap()
    }

    fn schema() -> Schema {
        Schema { bad_share_max: 1.0, ..Schema::new(TaskKind::Classify) }
    }

    #[test]
    fn a_header_is_recognised_by_its_names_and_a_file_without_one_by_their_absence() {
        let (rows, labels, _) = load(b"label,review\n1,good\n0,bad\n", b',', &schema());
        assert_eq!((rows.len(), rows[0].text.as_str()), (2, "good"));
        assert_eq!(labels.names(), ["0", "1"]);
        let (rows, _, _) = load(b"\"good, really\",1\nbad,0\n", b',', &schema());
        assert_eq!(rows[0].text, "good, really");
        let mut counted = schema();
        counted.columns.insert("text".into(), Column::Number(2));
        counted.columns.insert("label".into(), Column::Number(1));
        let (rows, _, _) = load(b"ham\tsay \"hi\nspam\twin\n", b'\t', &counted);
        assert_eq!(rows[0].text, "say \"hi");
    }

    #[test]
    fn a_quoted_field_may_span_lines_and_hold_quotes_and_separators() {
        let (rows, _, report) = load(b"text,label\n\"a\nb, \"\"c\"\"\",x\nd,y\n", b',', &schema());
        assert_eq!(rows[0].text, "a\nb, \"c\"");
        assert_eq!((report.good, report.bad_rows), (2, 0));
    }

    #[test]
    fn an_unclosed_quote_spoils_one_row_and_not_the_file() {
        let mut file = String::from("text,label\n\"never closed,x\n");
        for number in 0..500 {
            file += &format!("row {number},{}\n", if number % 2 == 0 { "x" } else { "y" });
        }
        let (rows, _, report) = load(file.as_bytes(), b',', &schema());
        assert_eq!((rows.len(), report.bad_rows), (500, 1));
        assert_eq!(report.bad[0].line, 2);
        assert!(report.bad[0].reason.contains("not closed"));

        // A second stray quote further down closes the first: the rows between must come back.
        let (rows, _, report) = load(b"text,label\n\"stray,x\na,x\nb,y\n\"stray,y\nc,x\n", b',', &schema());
        assert_eq!(rows.iter().map(|row| row.text.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(report.bad.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 5]);
    }

    #[test]
    fn ragged_spoiled_and_empty_rows_are_skipped_with_line_and_reason() {
        let cases: [(&[u8], &str); 6] = [
            (b"a", "expected 2 columns as in the first row, found 1"),
            (b"a,b,c", "expected 2 columns as in the first row, found 3"),
            (b"a\0,x", "NUL"),
            (b"caf\xe9,x", "Latin-1"),
            (b",x", "expected a text, found none"),
            (b"a,", "expected a label"),
        ];
        for (row, reason) in cases {
            let mut file = b"text,label\ngood,x\n".to_vec();
            file.extend_from_slice(row);
            file.extend_from_slice(b"\nalso,y\n");
            let (rows, _, report) = load(&file, b',', &schema());
            assert_eq!(rows.len(), 2, "{reason}");
            assert_eq!(report.bad[0].line, 3, "{reason}");
            assert!(report.bad[0].reason.contains(reason), "{}", report.bad[0].reason);
        }
    }

    #[test]
    fn an_empty_file_or_a_lone_header_gives_no_rows_and_says_so() {
        for file in [&b""[..], b"text,label\n", b"\n\n"] {
            let (rows, _, report) = load(file, b',', &schema());
            assert!(rows.is_empty());
            assert!(report.warnings[0].contains("no rows"));
        }
    }

    #[test]
    fn one_class_only_is_warned_about_and_an_unknown_label_is_a_bad_row() {
        let (_, _, report) = load(b"text,label\na,x\nb,x\n", b',', &schema());
        assert!(report.warnings[0].contains("only one label"));
        let stated = Schema { labels: vec!["x".into(), "y".into()], ..schema() };
        let (rows, _, report) = load(b"text,label\na,x\nb,z\n", b',', &stated);
        assert_eq!(rows.len(), 1);
        assert_eq!(report.bad[0].reason, "unknown label `z`");
    }

    #[test]
    fn several_labels_stand_in_one_field_and_a_quantity_stays_text() {
        let several = Schema::new(TaskKind::Multilabel);
        let lines = Lines::new(&b"text,labels\na,x; y\nb,\n"[..], "t.csv".into()).unwrap();
        let (rows, _) = read(lines, b',', &several).unwrap();
        assert_eq!(rows.iter().map(|row| row.answers.len()).collect::<Vec<_>>(), [2, 0]);
        let quantity = Schema::new(TaskKind::Regression);
        let lines = Lines::new(&b"stars\ttext\n4.5\ta\n"[..], "t.tsv".into()).unwrap();
        let (rows, _) = read(lines, b'\t', &quantity).unwrap();
        assert_eq!((rows[0].text.as_str(), &rows[0].answers[..]), ("a", &["4.5".to_owned()][..]));
    }

    #[test]
    fn a_named_column_that_is_absent_is_an_error_that_lists_the_present_ones() {
        let mut named = schema();
        named.columns.insert("label".into(), Column::Name("y".into()));
        let error =
            read(Lines::new(&b"text,label\na,x\n"[..], "t.csv".into()).unwrap(), b',', &named).unwrap_err();
        assert_eq!(error.to_string(), "t.csv:1: no column is named `y`; the first line names: text, label");
    }
}
