//! The way in: from a path to examples.
//!
//! A path is a file or a folder. In a folder the training, development and test files are recognised by their names, so
//! that the usual corpora can be used as they are. Refusal and emptiness are decided here, the reading itself in the
//! rooms of the formats.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::data::classes::{self, Row};
use crate::data::example::{LabelledText, Passage, TaggedSentence, ValuedText};
use crate::data::labels::{LABELS_MAX, LabelSet};
use crate::data::parts::Parts;
use crate::data::report::DataReport;
use crate::data::schema::{Schema, TaskKind};
use crate::data::source::Line;
use crate::data::{conll, delimited, intents, jsonl, parquet, plain, source, valued};
use crate::error::{Error, Result};

/// What a file gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded<T> {
    /// The good rows.
    pub examples: Vec<T>,
    /// The labels, stated or discovered.
    pub labels: LabelSet,
    /// What was found, with every bad row.
    pub report: DataReport,
}

impl<T> Loaded<T> {
    /// Turns a refused file into an error; an empty one passes.
    pub fn accepted(self) -> Result<Self> {
        match &self.report.refused {
            Some(reason) => {
                Err(Error::Data { file: self.report.file.clone(), line: 0, reason: reason.clone() })
            }
            None => Ok(self),
        }
    }

    /// Turns a file without usable rows into an error.
    pub fn not_empty(self) -> Result<Self> {
        if self.examples.is_empty() {
            return Err(Error::Data {
                file: self.report.file.clone(),
                line: 0,
                reason: "expected at least one usable row, found none".into(),
            });
        }
        Ok(self)
    }
}

/// The files of one task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataFiles {
    /// To train on.
    pub train: Option<PathBuf>,
    /// To choose settings by.
    pub dev: Option<PathBuf>,
    /// To report a score on.
    pub test: Option<PathBuf>,
}

impl DataFiles {
    /// The file a score is computed on: the test file if there is one, else the development file.
    pub fn score(&self) -> Option<&Path> {
        self.test.as_deref().or(self.dev.as_deref())
    }
}

/// The only label of a language model: its outputs are the tokens of the tokenizer.
pub const NEXT_TOKEN: &str = "next token";
/// File of a folder that names its numbered classes.
const CLASS_NAMES: &str = "class.txt";
/// Most entries of a folder that are looked at.
pub const FOLDER_ENTRIES_MAX: usize = 10_000;

/// Recognises the files of a folder by their names; a file is its own training file.
///
/// # Errors
/// The path cannot be read, two files claim one part, or a folder has no file that any name fits.
pub fn find(path: &Path) -> Result<DataFiles> {
    let metadata = std::fs::metadata(path).map_err(|source| Error::io("open", path, source))?;
    if !metadata.is_dir() {
        source::check_regular(path)?;
        return Ok(DataFiles { train: Some(path.to_owned()), ..DataFiles::default() });
    }
    let root = path.canonicalize().map_err(|source| Error::io("open", path, source))?;
    let listing = std::fs::read_dir(path).map_err(|source| Error::io("list", path, source))?;
    let mut names: Vec<PathBuf> = Vec::new();
    for entry in listing.take(FOLDER_ENTRIES_MAX) {
        names.push(entry.map_err(|source| Error::io("list", path, source))?.path());
    }
    names.sort(); // a folder has no order of its own
    let mut files = DataFiles::default();
    for candidate in names {
        let Some(part) = candidate.file_name().and_then(|name| part_of(&name.to_string_lossy())) else {
            continue;
        };
        // Links out of the folder, circles, pipes and devices are passed over.
        let inside = candidate.canonicalize().is_ok_and(|real| real.starts_with(&root));
        if !inside || source::check_regular(&candidate).is_err() {
            continue;
        }
        let place = match part {
            Part::Train => &mut files.train,
            Part::Dev => &mut files.dev,
            Part::Test => &mut files.test,
        };
        if let Some(first) = place {
            return Err(Error::file(
                path,
                format!(
                    "two files fit the {part:?} part: {} and {}; name the file itself",
                    first.display(),
                    candidate.display()
                ),
            ));
        }
        *place = Some(candidate);
    }
    if files == DataFiles::default() {
        return Err(Error::file(
            path,
            "expected files named train, dev (valid, testa) or test (testb), found none; name the file itself",
        ));
    }
    Ok(files)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Train,
    Dev,
    Test,
}

/// The part a file name speaks of; nothing for notes and hidden files.
fn part_of(name: &str) -> Option<Part> {
    let name = name.to_lowercase();
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    if name.starts_with('.')
        || matches!(extension, "md" | "py" | "sha256" | "gz" | "zip" | "log" | "toml" | "yaml")
    {
        return None;
    }
    if name.contains("testa") || name.contains("dev") || name.contains("valid") {
        Some(Part::Dev)
    } else if name.contains("train") {
        Some(Part::Train)
    } else if name.contains("test") {
        Some(Part::Test)
    } else {
        None
    }
}

/// Reads a tagging file without judging it: for `starling data check`.
///
/// # Errors
/// The file cannot be read as text at all, or the schema is contradictory.
pub fn examine_tagging(path: &Path, schema: &Schema) -> Result<Loaded<TaggedSentence>> {
    expect_task(schema, TaskKind::Tagging)?;
    let (examples, labels, report) = match extension(path).as_str() {
        "parquet" => parquet::read_sentences(path, schema)?,
        "jsonl" | "json" => jsonl::read_sentences(source::open(path)?, schema)?,
        _ => conll::read(source::open(path)?, schema)?,
    };
    Ok(Loaded { examples, labels, report })
}

/// Reads a tagging file.
///
/// # Errors
/// As [`examine_tagging`], and when more rows are bad than the schema allows. A file without rows is not an error.
pub fn load_tagging(path: &Path, schema: &Schema) -> Result<Loaded<TaggedSentence>> {
    examine_tagging(path, schema)?.accepted()
}

/// Reads a classification file without judging it: for `starling data check`.
///
/// # Errors
/// The file cannot be read as text at all, or the schema is contradictory.
pub fn examine_texts(path: &Path, schema: &Schema) -> Result<Loaded<LabelledText>> {
    expect_task(schema, TaskKind::Classify)?;
    let (rows, report) = read_rows(path, schema)?;
    let (examples, labels, report) = classes::number(rows, schema, report)?;
    Ok(Loaded { examples, labels, report })
}

/// Reads a file of texts with several labels or a quantity without judging it: for `starling data check`.
///
/// # Errors
/// As [`examine_texts`].
pub fn examine_valued(path: &Path, schema: &Schema) -> Result<Loaded<ValuedText>> {
    schema.check()?;
    let (rows, report) = read_rows(path, schema)?;
    let (examples, labels, report) = valued::number_rows(rows, schema, report)?;
    Ok(Loaded { examples, labels, report })
}

/// Texts of a file of any format, with their answers as text.
fn read_rows(path: &Path, schema: &Schema) -> Result<(Vec<Row>, DataReport)> {
    match extension(path).as_str() {
        "parquet" => parquet::read_rows(path, schema),
        "jsonl" | "json" => jsonl::read_rows(source::open(path)?, schema),
        "csv" => delimited::read(source::open(path)?, b',', schema),
        _ => delimited::read(source::open(path)?, b'\t', schema),
    }
}

/// Reads a classification file.
///
/// # Errors
/// As [`examine_texts`], and when more rows are bad than the schema allows. A file without rows is not an error.
pub fn load_texts(path: &Path, schema: &Schema) -> Result<Loaded<LabelledText>> {
    examine_texts(path, schema)?.accepted()
}

/// Reads the files of texts with several labels or a quantity of a file or folder; labels the schema does not state come
/// from the first part with rows.
pub fn load_valued_parts(path: &Path, schema: &Schema) -> Result<Parts<ValuedText>> {
    let load = |file: &Path, schema: &Schema| examine_valued(file, schema)?.accepted();
    load_parts(path, &named_classes(path, schema)?, load, |example| &example.text)
}

/// Reads the tagging files of a file or folder; labels the schema does not state come from the first part with rows.
pub fn load_tagging_parts(path: &Path, schema: &Schema) -> Result<Parts<TaggedSentence>> {
    load_parts(path, schema, load_tagging, |sentence| &sentence.tokens)
}

/// Reads the classification files of a file or folder; labels the schema does not state come from the first part with
/// rows.
///
/// Reads CLINC150's layout too, and takes the names of numbered classes from a `class.txt` in the folder.
pub fn load_text_parts(path: &Path, schema: &Schema) -> Result<Parts<LabelledText>> {
    expect_task(schema, TaskKind::Classify)?;
    if let Some(file) = intents::find(path) {
        return intents::read(&file, schema);
    }
    load_parts(path, &named_classes(path, schema)?, load_texts, |example| &example.text)
}

/// The schema with the names of numbered classes, where the folder has a file of them.
fn named_classes(path: &Path, schema: &Schema) -> Result<Schema> {
    let mut schema = schema.clone();
    let names = path.join(CLASS_NAMES);
    if schema.class_names.is_empty() && names.is_file() {
        schema.class_names = class_names(&names)?;
    }
    Ok(schema)
}

/// Reads the text files of a file or folder.
pub fn load_plain_parts(path: &Path, schema: &Schema) -> Result<Parts<Passage>> {
    expect_task(schema, TaskKind::Language)?;
    let labels = LabelSet::classes([NEXT_TOKEN])?;
    load_parts(
        path,
        schema,
        |file, schema| {
            let (examples, report) = plain::load(file, schema)?;
            Ok(Loaded { examples, labels: labels.clone(), report })
        },
        |passage| &passage.text,
    )
}

/// A name a line, in the order of their numbers.
fn class_names(file: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut lines = source::open(file)?;
    while let Some(line) = lines.next_line()? {
        match line {
            Line::Text(_, text) if text.trim().is_empty() => {}
            Line::Text(_, text) if names.len() < LABELS_MAX => names.push(text.trim().to_owned()),
            Line::Text(number, _) => {
                return Err(Error::line(file, number, format!("expected at most {LABELS_MAX} classes")));
            }
            Line::Bad(number, reason) => return Err(Error::line(file, number, reason)),
        }
    }
    Ok(names)
}

fn load_parts<T, K: Ord>(
    path: &Path,
    schema: &Schema,
    load: impl Fn(&Path, &Schema) -> Result<Loaded<T>>,
    key: impl Fn(&T) -> &K,
) -> Result<Parts<T>> {
    let files = find(path)?;
    let mut schema = schema.clone();
    let mut reports = Vec::new();
    let mut labels: Option<LabelSet> = None;
    let mut last: Option<LabelSet> = None;
    let mut read: [Vec<T>; 3] = [Vec::new(), Vec::new(), Vec::new()]; // train, dev, test
    for (part, file) in [&files.train, &files.dev, &files.test].into_iter().enumerate() {
        let Some(file) = file else { continue };
        let Loaded { examples, labels: found, mut report } = load(file, &schema)?;
        // An empty part says nothing about the labels of the next.
        if labels.is_none() && !examples.is_empty() {
            schema = schema.clone().with_labels(&found);
            labels = Some(found);
        } else {
            last = Some(found);
        }
        warn_doubles(&read[0], &examples, &key, &mut report);
        reports.push(report);
        read[part] = examples;
    }
    let labels =
        labels.or(last).ok_or_else(|| Error::file(path, "expected at least one data file, found none"))?;
    let [train, dev, test] = read;
    Ok(Parts { train, dev, test, labels, reports })
}

/// Warns when examples to score on also occur among those to train on.
fn warn_doubles<T, K: Ord>(trained: &[T], held_out: &[T], key: &impl Fn(&T) -> &K, report: &mut DataReport) {
    let known: BTreeSet<&K> = trained.iter().map(key).collect();
    let doubles = held_out.iter().filter(|example| known.contains(key(example))).count();
    // Short, common sentences recur in every corpus; a tenth is more than chance.
    if doubles * 10 > held_out.len() {
        report.warn(format!(
            "{doubles} of {} examples also occur in the training file: the score will flatter",
            held_out.len()
        ));
    }
}

fn expect_task(schema: &Schema, task: TaskKind) -> Result<()> {
    schema.check()?;
    if schema.task != task {
        return Err(Error::config("task", format!("expected {task:?}, found {:?}", schema.task)));
    }
    Ok(())
}

fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn parts_are_recognised_by_the_usual_names() {
        let cases = [
            ("eng.train", Some(Part::Train)),
            ("eng.testa", Some(Part::Dev)),
            ("eng.testb", Some(Part::Test)),
            ("wnut17train.conll", Some(Part::Train)),
            ("emerging.dev.conll", Some(Part::Dev)),
            ("emerging.test.annotated", Some(Part::Test)),
            ("valid.jsonl", Some(Part::Dev)),
            ("README.md", None),
            (".train.swp", None),
            ("notes.txt", None),
        ];
        for (name, part) in cases {
            assert_eq!(part_of(name), part, "{name}");
        }
    }

    #[test]
    fn a_folder_is_read_with_the_labels_of_its_training_file() {
        let folder = folder(&[
            ("train.conll", "a B-X\n\nb O\n"),
            ("test.conll", "c B-X\n\nd O\n\ne B-X\n"),
            ("README.md", ""),
        ]);
        let schema = Schema::new(TaskKind::Tagging);
        let parts = load_tagging_parts(folder.path(), &schema).unwrap();
        assert_eq!((parts.train.len(), parts.dev.len(), parts.score().len()), (2, 0, 3));
        assert_eq!(parts.labels.names(), ["O", "B-X", "I-X"]);
    }

    #[test]
    fn numbered_classes_are_named_by_the_folder() {
        let folder = folder(&[("dev.txt", "a\t0\nb\t1\nc\tred\n"), ("class.txt", "red\nblue\n")]);
        let schema = Schema { bad_share_max: 1.0, ..Schema::new(TaskKind::Classify) };
        let parts = load_text_parts(folder.path(), &schema).unwrap();
        assert_eq!(parts.labels.names(), ["blue", "red"]);
        assert_eq!(parts.dev.iter().map(|t| t.label).collect::<Vec<_>>(), [1, 0, 1]);
        std::fs::write(folder.path().join("dev.txt"), "a\t2\nb\t1\n").unwrap();
        let report = &load_text_parts(folder.path(), &schema).unwrap().reports[0];
        assert!(report.bad[0].reason.contains("from 0 to 1"), "{report}");
    }

    #[test]
    fn an_empty_training_file_leaves_the_labels_to_the_next_part() {
        let folder = folder(&[("train.tsv", ""), ("test.tsv", "a\tx\nb\ty\n")]);
        let parts = load_text_parts(folder.path(), &Schema::new(TaskKind::Classify)).unwrap();
        assert_eq!((parts.train.len(), parts.test.len(), parts.labels.len()), (0, 2, 2));
    }

    #[test]
    fn examples_shared_by_training_and_test_files_are_warned_about() {
        let folder = folder(&[("train.tsv", "same\tx\nother\ty\n"), ("test.tsv", "same\tx\nnew\ty\n")]);
        let parts = load_text_parts(folder.path(), &Schema::new(TaskKind::Classify)).unwrap();
        assert!(parts.reports[1].warnings[0].contains("1 of 2 examples also occur"));
    }

    #[test]
    fn two_files_for_one_part_and_a_folder_without_parts_are_errors() {
        let schema = Schema::new(TaskKind::Classify);
        let both = folder(&[("train.tsv", "a\tx\n"), ("train.csv", "a,x\n")]);
        assert!(load_text_parts(both.path(), &schema).unwrap_err().to_string().contains("two files fit"));
        let none = folder(&[("notes.md", "")]);
        assert!(load_text_parts(none.path(), &schema).unwrap_err().to_string().contains("found none"));
    }

    #[test]
    fn a_file_with_too_many_bad_rows_is_refused_but_can_be_examined() {
        let folder = folder(&[("x.csv", "text,label\na,x\nb\nc,y\n")]);
        let path = folder.path().join("x.csv");
        let schema = Schema::new(TaskKind::Classify);
        let error = load_texts(&path, &schema).unwrap_err().to_string();
        assert!(error.contains("1 of 3 rows are bad"), "{error}");
        assert_eq!(examine_texts(&path, &schema).unwrap().examples.len(), 2);
        let tolerant = Schema { bad_share_max: 0.5, ..schema };
        assert_eq!(load_texts(&path, &tolerant).unwrap().examples.len(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn links_out_of_the_folder_are_passed_over() {
        let outside = folder(&[("secret.conll", "a B-X\n")]);
        let folder = folder(&[("train.conll", "a B-X\n")]);
        std::os::unix::fs::symlink(outside.path().join("secret.conll"), folder.path().join("test.conll"))
            .unwrap();
        std::os::unix::fs::symlink(folder.path().join("dev.conll"), folder.path().join("dev.conll")).unwrap();
        let files = find(folder.path()).unwrap();
        assert_eq!((files.dev, files.test), (None, None));
        assert!(files.train.is_some());
    }
}
