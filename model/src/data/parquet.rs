//! Parquet: columns of texts with their answers, or of lists of words and tags.
//!
//! A column is found by the names that the other formats use, or by the schema. The library is asked for one column at a
//! time, behind a gate ([`parquet_gate`]) and a fence against its panics; nothing else in this crate names it.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use crate::data::classes::{Row, TEXT_BYTES_MAX, name_of};
use crate::data::conll;
use crate::data::delimited::{LABEL_NAMES, LABELS_NAMES, TEXT_NAMES, VALUE_NAMES};
use crate::data::example::TaggedSentence;
use crate::data::labels::{LabelSet, shown};
use crate::data::parquet_gate;
use crate::data::report::DataReport;
use crate::data::schema::{Column, Schema, TaskKind};
use crate::data::source::{FILE_BYTES_MAX, check_regular};
use crate::error::{Error, Result};

/// Records read at once.
const BATCH: usize = 1024;
/// Bytes of text that a byte of the file may become: a word of a dictionary is written once and read many times.
const GROWTH_MAX: u64 = 100;
/// Bytes of text that any file may hold.
const TEXT_BYTES_FREE: u64 = 256 << 20;
/// Names of the column of words, and of that of tags, when the schema names none.
const WORD_NAMES: [&str; 2] = ["tokens", "words"];
const TAG_NAMES: [&str; 3] = ["tags", "ner_tags", "labels"];
const GROUP_NAMES: [&str; 1] = ["group"];

/// The texts of one record in one column: one or none where the column is flat, else those of its list; or what is wrong.
type Cells = Result<Vec<String>, String>;

/// Reads texts with their answers as text.
///
/// # Errors
/// The file is refused, or lacks a column. Bad rows are in the report, by their number from 1.
pub fn read_rows(path: &Path, schema: &Schema) -> Result<(Vec<Row>, DataReport)> {
    let mut report = DataReport::new(path.display().to_string(), "parquet");
    let mut table = Table::open(path)?;
    let usual: &[&str] = match schema.task {
        TaskKind::Multilabel => &LABELS_NAMES,
        TaskKind::Regression => &VALUE_NAMES,
        _ => &LABEL_NAMES,
    };
    let texts = table.role(schema, "text", &TEXT_NAMES)?;
    let answers = table.role(schema, "label", usual)?;
    let groups = table.optional(schema, "group", &GROUP_NAMES)?.unwrap_or_default();
    let mut rows = Vec::with_capacity(texts.len());
    for (number, (text, answers)) in texts.into_iter().zip(answers).enumerate() {
        let line = number as u64 + 1;
        let group = groups.get(number).and_then(|cells| cells.as_ref().ok()?.first().cloned());
        match (one(text), answers) {
            (Ok(text), Ok(answers)) => rows.push(Row { line, text, answers, group }),
            (Err(reason), _) | (_, Err(reason)) => report.skip(line, reason),
        }
    }
    Ok((rows, report))
}

/// Reads sentences from two columns of lists.
///
/// # Errors
/// As [`read_rows`].
pub fn read_sentences(path: &Path, schema: &Schema) -> Result<(Vec<TaggedSentence>, LabelSet, DataReport)> {
    let mut report = DataReport::new(path.display().to_string(), "parquet");
    let mut table = Table::open(path)?;
    let words = table.role(schema, "token", &WORD_NAMES)?;
    let tags = table.role(schema, "tag", &TAG_NAMES)?;
    let mut sentences = Vec::with_capacity(words.len());
    for (number, pair) in words.into_iter().zip(tags).enumerate() {
        let line = number as u64 + 1;
        match pair {
            (Ok(words), Ok(tags)) if words.len() == tags.len() && !words.is_empty() => {
                let named = tags.iter().map(|tag| name_of(tag, &schema.class_names));
                match named.collect::<Result<Vec<String>, String>>() {
                    Ok(tags) => sentences.push(conll::Raw::new(line, words, tags, None)),
                    Err(reason) => report.skip(line, reason),
                }
            }
            (Ok(words), Ok(tags)) => report.skip(
                line,
                format!(
                    "expected as many tags as words and at least one, found {} words and {} tags",
                    words.len(),
                    tags.len()
                ),
            ),
            (Err(reason), _) | (_, Err(reason)) => report.skip(line, reason),
        }
    }
    conll::finish(sentences, schema, report)
}

/// Whether a file has a column of words, so that it is probably one of tags.
pub fn has_words(path: &Path) -> bool {
    let is_usual = |name: &String| WORD_NAMES.iter().any(|usual| name.eq_ignore_ascii_case(usual));
    Table::open(path).is_ok_and(|table| table.names.iter().any(is_usual))
}

fn one(cells: Cells) -> Result<String, String> {
    cells?.into_iter().next().ok_or_else(|| "expected a text, found none".into())
}

/// An open file.
struct Table<'a> {
    path: &'a Path,
    reader: SerializedFileReader<File>,
    /// Names of the outermost columns, in order.
    names: Vec<String>,
    /// Bytes of text that may still be read.
    left: u64,
}

impl<'a> Table<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        check_regular(path)?;
        let mut file = File::open(path).map_err(|source| Error::io("open", path, source))?;
        let length = file.metadata().map_err(|source| Error::io("open", path, source))?.len();
        parquet_gate::inspect(&mut file, length).map_err(|reason| Error::file(path, reason))?;
        let reader = fence(path, || SerializedFileReader::new(file))?;
        let fields = reader.metadata().file_metadata().schema().get_fields();
        let names = fields.iter().map(|field| field.name().to_owned()).collect();
        let left = length.saturating_mul(GROWTH_MAX).clamp(TEXT_BYTES_FREE, FILE_BYTES_MAX);
        Ok(Self { path, reader, names, left })
    }

    /// The column of a role, which must be there.
    fn role(&mut self, schema: &Schema, role: &str, usual: &[&str]) -> Result<Vec<Cells>> {
        let found = self.optional(schema, role, usual)?;
        found.ok_or_else(|| {
            let names: Vec<String> = self.names.iter().take(20).map(|name| shown(name)).collect();
            let expected = usual.join(", ");
            let reason = format!(
                "expected a column named {expected}, found {}; state columns.{role} in a schema",
                names.join(", ")
            );
            Error::file(self.path, reason)
        })
    }

    /// The column of a role: the schema's, else the first with a usual name.
    fn optional(&mut self, schema: &Schema, role: &str, usual: &[&str]) -> Result<Option<Vec<Cells>>> {
        let place = match schema.columns.get(role) {
            None => usual
                .iter()
                .find_map(|usual| self.names.iter().position(|name| name.eq_ignore_ascii_case(usual))),
            Some(Column::Name(name)) => self.names.iter().position(|known| known == name),
            Some(Column::Number(number)) => {
                let number = i64::from(*number);
                let place = if number > 0 { number - 1 } else { self.names.len() as i64 + number };
                usize::try_from(place).ok().filter(|place| *place < self.names.len())
            }
        };
        match place {
            Some(place) => self.column(place).map(Some),
            None if schema.columns.contains_key(role) => {
                let reason = format!("columns.{role} names no column; there are {}", self.names.join(", "));
                Err(Error::file(self.path, shown_all(&reason)))
            }
            None => Ok(None),
        }
    }

    /// All records of an outermost column.
    fn column(&mut self, place: usize) -> Result<Vec<Cells>> {
        let described = self.reader.metadata().file_metadata().schema_descr_ptr();
        let own = |leaf: &usize| described.get_column_root(*leaf).name() == self.names[place];
        let leaves: Vec<usize> = (0..described.num_columns()).filter(own).collect();
        let name = shown(&self.names[place]);
        let [leaf] = leaves[..] else {
            let reason = format!("column {name}: expected texts or lists of texts, found several inside it");
            return Err(Error::file(self.path, reason));
        };
        let column = described.column(leaf);
        if column.max_rep_level() > 1 {
            let reason = format!("column {name}: expected texts or lists of texts, found lists of lists");
            return Err(Error::file(self.path, reason));
        }
        let mut all = Vec::new();
        let (reader, left) = (&self.reader, &mut self.left);
        fence(self.path, || {
            for group in 0..reader.num_row_groups() {
                let group = reader.get_row_group(group)?;
                match group.get_column_reader(leaf)? {
                    ColumnReader::ByteArrayColumnReader(from) => take(from, &column, left, &mut all, text),
                    ColumnReader::BoolColumnReader(from) => take(from, &column, left, &mut all, plain),
                    ColumnReader::Int32ColumnReader(from) => take(from, &column, left, &mut all, plain),
                    ColumnReader::Int64ColumnReader(from) => take(from, &column, left, &mut all, plain),
                    ColumnReader::FloatColumnReader(from) => take(from, &column, left, &mut all, plain),
                    ColumnReader::DoubleColumnReader(from) => take(from, &column, left, &mut all, plain),
                    ColumnReader::Int96ColumnReader(_) | ColumnReader::FixedLenByteArrayColumnReader(_) => {
                        let found: Type = column.physical_type();
                        let reason = format!("column {name}: expected texts or numbers, found {found}");
                        Err(ParquetError::General(reason))
                    }
                }?;
            }
            Ok(())
        })?;
        Ok(all)
    }
}

/// Reads a column of a row group to its end.
fn take<T: DataType>(
    mut from: ColumnReaderImpl<T>,
    column: &ColumnDescriptor,
    left: &mut u64,
    all: &mut Vec<Cells>,
    say: fn(&T::T) -> Result<String, String>,
) -> Result<(), ParquetError> {
    let (deepest, is_list) = (column.max_def_level(), column.max_rep_level() > 0);
    let (mut levels, mut starts, mut values) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        levels.clear();
        starts.clear();
        values.clear();
        let (records, ..) = from.read_records(BATCH, Some(&mut levels), Some(&mut starts), &mut values)?;
        if records == 0 {
            return Ok(());
        }
        let mut values = values.iter();
        // Where nothing may be missing no levels are written.
        let places = if deepest == 0 { records } else { levels.len() };
        for place in 0..places {
            let level = if deepest == 0 { 0 } else { levels[place] };
            if !is_list || starts[place] == 0 {
                all.push(Ok(Vec::new()));
            }
            let said = if level == deepest {
                let value = values.next();
                let value = value.ok_or_else(|| ParquetError::General("a value is missing".to_owned()))?;
                say(value)
            } else if is_list && column.self_type().is_optional() && level + 1 == deepest {
                Err("expected a text, found none in a list".to_owned())
            } else {
                continue; // no value, or an empty list
            };
            let bytes = said.as_ref().map_or(0, |text| text.len() as u64 + 24);
            *left = left.checked_sub(bytes).ok_or_else(|| {
                let reason = "expected texts in proportion to the file, found far more: it may be hostile";
                ParquetError::General(reason.to_owned())
            })?;
            match (all.last_mut(), said) {
                (Some(Ok(cells)), Ok(text)) => cells.push(text),
                (Some(cells), Err(reason)) => *cells = Err(reason),
                (Some(Err(_)) | None, Ok(_)) | (None, Err(_)) => {}
            }
        }
    }
}

// Of the form that texts need, which may be refused.
#[expect(clippy::unnecessary_wraps)]
fn plain(value: &impl ToString) -> Result<String, String> {
    Ok(value.to_string())
}

fn text(value: &ByteArray) -> Result<String, String> {
    let bytes = value.data();
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(format!("expected at most {TEXT_BYTES_MAX} bytes of text, found {}", bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "expected UTF-8, found another encoding".to_owned())?;
    Ok(text.to_owned())
}

fn shown_all(text: &str) -> String {
    text.chars().take(400).flat_map(char::escape_debug).collect()
}

/// Calls the library; what it refuses and what it panics at becomes an error of the file.
fn fence<T>(path: &Path, call: impl FnOnce() -> Result<T, ParquetError>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Error::file(path, shown_all(&error.to_string()))),
        Err(_) => Err(Error::file(path, "the Parquet library failed on it; the file is damaged or hostile")),
    }
}
