//! Loaders and tokenizers on real corpora, against counts published with them.
//!
//! The corpora are not part of the repository: `STARLING_DATA` names their folder; without it these tests say so and
//! pass.

use std::path::PathBuf;

use model::data::load::{load_tagging_parts, load_text_parts, load_texts};
use model::data::schema::{Column, Schema, TaskKind};
use model::data::scheme::Scheme;
use model::data::split::{Split, split};
use model::data::tokenize::tokenizer::Tokenizer;
use model::seed::Seed;
use model::task::tagging::encode;

/// A path below the data folder, if it is there.
fn data(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("STARLING_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")),
        PathBuf::from,
    );
    let path = root.join(path);
    if !path.exists() {
        eprintln!("skipped: no {} (set STARLING_DATA to the folder with the corpora)", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn conll_2003_has_its_published_sentences_words_and_entities() {
    let Some(folder) = data("conll2003") else { return };
    let parts = load_tagging_parts(&folder, &Schema::new(TaskKind::Tagging)).unwrap();
    assert_eq!((parts.train.len(), parts.dev.len(), parts.score().len()), (14_041, 3_250, 3_250));
    let train = &parts.reports[0];
    assert_eq!((train.words, train.documents, train.scheme), (203_621, 946, Some(Scheme::Iob1)));
    let counts: Vec<(&str, u64)> = train.labels.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(counts, [("LOC", 7_140), ("MISC", 3_438), ("ORG", 6_321), ("PER", 6_600)]);
    assert_eq!(parts.reports[1].labels.values().sum::<u64>(), 5_942);
    assert_eq!((train.bad_rows, train.repaired), (0, 0));

    let documents: Vec<u32> = parts.train.iter().map(|sentence| sentence.document).collect();
    let shares = split(&documents, 5, 100, Split::Contiguous, &Seed::from_u64(0)).unwrap();
    for two in shares.windows(2) {
        let (last, first) = (two[0].last().unwrap(), two[1].first().unwrap());
        assert_ne!(documents[*last], documents[*first], "a document was cut");
    }
}

#[test]
fn wnut_17_has_its_published_sentences_words_and_entities() {
    let Some(folder) = data("wnut17") else { return };
    let parts = load_tagging_parts(&folder, &Schema::new(TaskKind::Tagging)).unwrap();
    assert_eq!((parts.train.len(), parts.dev.len(), parts.score().len()), (3_394, 1_009, 1_287));
    let found: Vec<(u64, u64, u64)> = parts
        .reports
        .iter()
        .map(|report| (report.words, report.labels.values().sum(), report.bad_rows))
        .collect();
    assert_eq!(found, [(62_730, 1_975, 0), (15_733, 836, 0), (23_394, 1_079, 0)]);
    assert_eq!(
        parts.labels.entity_types(),
        ["corporation", "creative-work", "group", "location", "person", "product"]
    );
}

#[test]
fn cluener_has_its_published_entities_but_for_the_row_where_they_overlap() {
    let Some(folder) = data("cluener2020") else { return };
    let parts = load_tagging_parts(&folder, &Schema::new(TaskKind::Tagging)).unwrap();
    assert_eq!((parts.train.len(), parts.dev.len()), (10_747, 1_343));
    assert_eq!(parts.reports[0].bad.iter().map(|row| row.line).collect::<Vec<_>>(), [1_507]);
    let entities: Vec<u64> = parts.reports.iter().map(|report| report.labels.values().sum()).collect();
    assert_eq!(entities, [23_969, 3_072], "{}", parts.reports[0]);
    assert_eq!(parts.labels.entity_types().len(), 10);
}

/// A file, the columns to state, its rows, and the counts of some labels.
type TextCase = (&'static str, &'static [(&'static str, Column)], u64, &'static [(&'static str, u64)]);

#[test]
fn text_corpora_of_several_layouts_have_their_published_rows() {
    let cases: [TextCase; 5] = [
        ("agnews/test.tsv", &[], 7_600, &[]),
        ("sst2/train.tsv", &[], 60_614, &[("1", 33_828)]),
        ("banking77/train.csv", &[], 10_003, &[]),
        ("waimai_10k/waimai_10k.csv", &[], 11_987, &[("0", 7_987), ("1", 4_000)]),
        (
            "sms_spam/SMSSpamCollection",
            &[("text", Column::Number(2)), ("label", Column::Number(1))],
            5_574,
            &[("ham", 4_827), ("spam", 747)],
        ),
    ];
    for (path, columns, rows, labels) in cases {
        let Some(path) = data(path) else { return };
        let mut schema = Schema::new(TaskKind::Classify);
        for (role, column) in columns {
            schema.columns.insert((*role).to_owned(), column.clone());
        }
        let loaded = load_texts(&path, &schema).unwrap();
        assert_eq!((loaded.report.good, loaded.report.bad_rows), (rows, 0), "{}", loaded.report);
        for (label, count) in labels {
            assert_eq!(loaded.report.labels[*label], *count, "{label}");
        }
    }
}

#[test]
fn a_folder_of_texts_is_read_in_parts_with_one_list_of_labels() {
    let Some(folder) = data("sst2") else { return };
    let parts = load_text_parts(&folder, &Schema::new(TaskKind::Classify)).unwrap();
    assert_eq!((parts.train.len(), parts.dev.len(), parts.test.len()), (60_614, 6_735, 872));
    assert_eq!(parts.labels.names(), ["0", "1"]);
}

#[test]
fn every_word_of_conll_2003_is_encoded_with_the_bert_vocabulary() {
    let (Some(vocabulary), Some(folder)) = (data("vocabs/bert-base-uncased-vocab.txt"), data("conll2003"))
    else {
        return;
    };
    let tokenizer = Tokenizer::load(&vocabulary).unwrap();
    assert_eq!(tokenizer.vocabulary(), 30_522);
    let ids = tokenizer.encode_text("The quick brown fox's unaffable coöperation.", 64).unwrap().ids;
    // As Hugging Face's BertTokenizer for bert-base-uncased gives it.
    assert_eq!(ids, [101, 1996, 4248, 2829, 4419, 1005, 1055, 14477, 20961, 3468, 6792, 1012, 102]);
    let parts = load_tagging_parts(&folder, &Schema::new(TaskKind::Tagging)).unwrap();
    let rows = encode(&parts.dev, &tokenizer, 128).unwrap();
    let counted: usize = rows.evaluation_batches(64).map(|(_, batch)| batch.counted()).sum();
    assert_eq!(counted as u64, parts.reports[1].words);
}
