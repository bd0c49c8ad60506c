//! Parquet: files of other programs and of our own library are read, damaged and hostile ones refused, whatever the byte.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::data::load::{examine_tagging, examine_texts, examine_valued, load_texts};
use model::data::schema::{Column, Schema, TaskKind};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/parquet").join(name)
}

fn schema(task: TaskKind) -> Schema {
    Schema { bad_share_max: 1.0, ..Schema::new(task) }
}

#[test]
fn files_of_pyarrow_are_read_however_they_are_laid_out() {
    for file in ["texts.parquet", "texts_plain.parquet"] {
        let found = examine_texts(&golden(file), &schema(TaskKind::Classify)).unwrap();
        assert_eq!(found.labels.names(), ["blue", "green", "red"], "{file}");
        assert_eq!((found.report.good, found.report.bad_rows, found.report.bad[0].line), (39, 1, 8));
        assert_eq!(found.report.groups["north"], 19);
        let example = &found.examples[16];
        assert_eq!((example.text.as_str(), example.group.as_deref()), ("text 17 is blue — ä", Some("north")));
        assert_eq!(found.examples[20].group, None);

        let found = examine_valued(&golden(file), &schema(TaskKind::Multilabel)).unwrap();
        assert_eq!(found.examples[3].values, [1.0, 1.0, 1.0]);
        assert_eq!((&found.examples[4].values, &found.examples[5].values), (&vec![0.0; 3], &vec![0.0; 3]));

        let found = examine_valued(&golden(file), &schema(TaskKind::Regression)).unwrap();
        assert_eq!(found.labels.names(), ["value 0..4.875"]);
        assert_eq!(found.examples[3].values, [0.375]);
        let mut counted = schema(TaskKind::Regression);
        counted.columns.insert("label".into(), Column::Name("count".into()));
        assert_eq!(examine_valued(&golden(file), &counted).unwrap().examples[3].values, [3.0]);
    }
}

#[test]
fn sentences_are_read_from_two_lists_and_numbered_tags_by_their_names() {
    let found = examine_tagging(&golden("sentences.parquet"), &schema(TaskKind::Tagging)).unwrap();
    assert_eq!(found.examples[0].tokens, ["Ada", "went"]);
    assert_eq!(found.labels.names(), ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]);
    assert_eq!(found.report.bad.iter().map(|row| row.line).collect::<Vec<_>>(), [3, 5]);
    let mut numbered = schema(TaskKind::Tagging);
    numbered.columns.insert("tag".into(), Column::Name("ner_tags".into()));
    numbered.class_names = ["O", "B-PER", "I-PER", "B-LOC"].map(str::to_owned).to_vec();
    assert_eq!(examine_tagging(&golden("sentences.parquet"), &numbered).unwrap().examples, found.examples);
}

#[test]
fn what_is_not_read_is_refused_with_what_to_do() {
    let cases = [
        ("texts_zstd.parquet", "write the file anew"),
        ("nested.parquet", "expected texts or lists of texts"),
        ("sentences.parquet", "state columns.text in a schema"),
    ];
    for (file, reason) in cases {
        let error = examine_texts(&golden(file), &schema(TaskKind::Classify)).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains(file), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train.parquet");
    for bytes in [&b""[..], b"PAR1", b"text,label\na,b\n"] {
        std::fs::write(&path, bytes).unwrap();
        assert!(load_texts(&path, &schema(TaskKind::Classify)).is_err());
    }
}

/// Writes columns of texts with the library's own writer.
fn written(path: &Path, message: &str, columns: &[Vec<ByteArray>]) {
    let message = Arc::new(parse_message_type(message).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), message, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for values in columns {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(values, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn a_file_of_our_own_library_is_read_and_bytes_that_are_no_text_spoil_one_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train.parquet");
    let message = "message m { required binary text (UTF8); required binary label; }";
    let texts = [&b"good"[..], b"caf\xe9", b"too"].map(|text| ByteArray::from(text.to_vec()));
    written(&path, message, &[texts.to_vec(), ["a", "a", "b"].map(ByteArray::from).to_vec()]);
    let found = examine_texts(&path, &schema(TaskKind::Classify)).unwrap();
    assert_eq!(found.examples.iter().map(|row| row.text.as_str()).collect::<Vec<_>>(), ["good", "too"]);
    assert!(found.report.bad[0].reason.contains("UTF-8"));
}

#[test]
fn one_long_text_said_thousands_of_times_by_a_dictionary_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train.parquet");
    let long = ByteArray::from(vec![b'x'; 1 << 19]);
    let message = "message m { required binary text (UTF8); required binary label; }";
    let rows = 2_000;
    written(&path, message, &[vec![long; rows], vec![ByteArray::from("a"); rows]]);
    assert!(std::fs::metadata(&path).unwrap().len() < 4 << 20, "the dictionary holds it once");
    let error = examine_texts(&path, &schema(TaskKind::Classify)).unwrap_err().to_string();
    assert!(error.contains("in proportion to the file"), "{error}");
}

#[test]
fn any_byte_may_be_wrong_and_any_part_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train.parquet");
    let bytes = std::fs::read(golden("texts.parquet")).unwrap();
    let whole = examine_texts(&golden("texts.parquet"), &schema(TaskKind::Classify)).unwrap();
    let (mut refused, mut differing) = (0, 0);
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= [0xff, 0x01, 0x80][place % 3];
        std::fs::write(&path, &changed).unwrap();
        match examine_texts(&path, &schema(TaskKind::Classify)) {
            Err(_) => refused += 1,
            Ok(found) => differing += usize::from(found.examples != whole.examples),
        }
    }
    for end in 0..bytes.len() {
        std::fs::write(&path, &bytes[..end]).unwrap();
        assert!(examine_texts(&path, &schema(TaskKind::Classify)).is_err(), "cut at {end}");
    }
    assert!(refused > bytes.len() / 4, "checksums tell: {refused} refused of {}", bytes.len());
    // What no checksum covers is what names columns and counts rows.
    assert!(differing < bytes.len() / 4, "{differing} read as something else");
}
