//! Files that are damaged, odd or hostile: loaders give examples and reasons, never a panic.

use std::io::Write;

use model::data::classes::{self, Row};
use model::data::load::{examine_tagging, examine_texts, load_tagging, load_texts};
use model::data::report::DataReport;
use model::data::schema::{Schema, TaskKind};
use model::data::source::Lines;
use model::data::tokenize::tokenizer::Tokenizer;
use model::data::valued::number_rows;
use model::data::{conll, delimited, jsonl};
use model::error::Error;
use proptest::prelude::*;

fn schema(task: TaskKind) -> Schema {
    Schema { bad_share_max: 1.0, ..Schema::new(task) }
}

/// Bytes that look like data and go wrong in many places.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        "[a-c\",\t {}:\\[\\]]{0,6}".prop_map(String::into_bytes),
        Just(b"\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"w\tB-X\n".to_vec()),
        Just(b"w I-Y\n".to_vec()),
        Just(b"-DOCSTART- O\n".to_vec()),
        Just(b"# topic = t\n".to_vec()),
        Just(br#"{"text":"a","label":"b"}"#.to_vec()),
        Just(br#"{"tokens":["a"],"tags":["O"]}"#.to_vec()),
        Just(b"text,label\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_give_a_report_whose_counts_add_up(bytes in soup()) {
        let lines = || Lines::new(&bytes[..], "soup".into());
        if lines().is_err() {
            return Ok(()); // taken for 16-bit text
        }
        let tagging = schema(TaskKind::Tagging);
        let classify = schema(TaskKind::Classify);
        let numbered = |read: Result<(Vec<Row>, DataReport), Error>| {
            let (rows, report) = read?;
            let (rows, labels, report) = classes::number(rows, &classify, report)?;
            Ok((rows.len(), labels, report))
        };
        let valued = |task| {
            let (rows, report) = delimited::read(lines()?, b',', &schema(task))?;
            let (rows, labels, report) = number_rows(rows, &schema(task), report)?;
            Ok((rows.len(), labels, report))
        };
        for found in [
            conll::read(lines().unwrap(), &tagging).map(|(rows, labels, report)| (rows.len(), labels, report)),
            jsonl::read_sentences(lines().unwrap(), &tagging).map(|(rows, labels, report)| (rows.len(), labels, report)),
            numbered(jsonl::read_rows(lines().unwrap(), &classify)),
            numbered(delimited::read(lines().unwrap(), b',', &classify)),
            numbered(delimited::read(lines().unwrap(), b'\t', &classify)),
            valued(TaskKind::Multilabel),
            valued(TaskKind::Regression),
        ] {
            // A header without a usual label column is an error of the file, not of a row.
            let Ok((rows, _, report)) = found else { continue };
            prop_assert_eq!(report.good, rows as u64);
            prop_assert_eq!(report.rows, report.good + report.bad_rows);
            prop_assert!(report.bad.is_sorted_by_key(|row| row.line));
            prop_assert!(!report.to_string().is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_tokenizer_file_with_any_bytes_changed_loads_or_is_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        text in "\\PC{0,40}",
    ) {
        let vocabulary = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nriver\n##s\na\n##b\n";
        let mut json = Tokenizer::from_vocabulary(vocabulary, None, "v").unwrap().json().to_vec();
        for (place, byte) in changes {
            let place = place.index(json.len());
            json[place] = byte;
        }
        if let Ok(tokenizer) = Tokenizer::from_json(&json, "changed") {
            let encoded = tokenizer.encode_text(&text, 64);
            prop_assert!(encoded.is_err() || encoded.unwrap().ids.len() <= 64);
        }
    }
}

#[test]
fn whole_files_of_the_wrong_kind_are_refused_or_empty_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        path
    };
    // 16-bit text, with and without its mark.
    let wide: Vec<u8> = "text,label\na,x\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [&[0xff, 0xfe][..], &wide].concat();
    for bytes in [&wide, &marked] {
        let path = write("wide.csv", bytes);
        assert!(
            load_texts(&path, &Schema::new(TaskKind::Classify)).unwrap_err().to_string().contains("UTF-8")
        );
    }
    // Latin-1 throughout: most rows are bad, so the file is refused and says what to do.
    let latin: Vec<u8> = "text,label\n".bytes().chain(b"caf\xe9,x\nol\xe9,y\n".repeat(20)).collect();
    let path = write("latin.csv", &latin);
    let error = load_texts(&path, &Schema::new(TaskKind::Classify)).unwrap_err().to_string();
    assert!(error.contains("40 of 41 rows are bad") || error.contains("Latin-1"), "{error}");
    // Nothing at all, or only a header: no error, no rows, a warning.
    for (name, bytes) in
        [("empty.csv", &b""[..]), ("header.csv", b"text,label\n"), ("mark.csv", b"\xef\xbb\xbf")]
    {
        let loaded = load_texts(&write(name, bytes), &Schema::new(TaskKind::Classify)).unwrap();
        assert!(loaded.examples.is_empty() && !loaded.report.warnings.is_empty(), "{name}");
        assert!(loaded.not_empty().unwrap_err().to_string().contains("at least one usable row"));
    }
    let loaded = load_tagging(&write("empty.conll", b"\n\n"), &Schema::new(TaskKind::Tagging)).unwrap();
    assert!(loaded.examples.is_empty());
    // A picture named like data.
    let png = write("picture.conll", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0");
    assert!(examine_tagging(&png, &Schema::new(TaskKind::Tagging)).is_err());
    // A file for another task.
    let csv = write("texts.csv", b"text,label\na,x\n");
    assert!(examine_texts(&csv, &Schema::new(TaskKind::Tagging)).unwrap_err().to_string().contains("task"));
}
