//! CLINC150's layout: one file with all parts as pairs of text and class, and one that groups the classes by domain.
//!
//! `data_full.json` is `{"train": [["text", "class"], ...], "val": ..., "test": ..., "oos_train": ...}`; `domains.json` is
//! `{"domain": ["class", ...]}`. The domain becomes the group of an example. Texts out of scope (`oos_...`) belong to no
//! class; [`out_of_scope`] reads them apart, so that no model is trained to know them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::data::classes::{self, Row};
use crate::data::example::LabelledText;
use crate::data::json::Json;
use crate::data::parts::Parts;
use crate::data::report::DataReport;
use crate::data::schema::Schema;
use crate::data::source;
use crate::error::{Error, Result};

/// The file of all parts.
const PARTS: &str = "data_full.json";
/// The file of domains.
const DOMAINS: &str = "domains.json";
/// Longest file read whole, bytes.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The file of all parts, where the path is such a file or a folder with one.
pub fn find(path: &Path) -> Option<PathBuf> {
    let file = if path.is_dir() { path.join(PARTS) } else { path.to_owned() };
    (file.file_name().is_some_and(|name| name == PARTS) && file.is_file()).then_some(file)
}

/// Reads the parts with the classes of all of them.
///
/// # Errors
/// A file cannot be read, is not laid out so, or has too many bad rows.
pub fn read(file: &Path, schema: &Schema) -> Result<Parts<LabelledText>> {
    let root = parse(file)?;
    let domains = domains(&file.with_file_name(DOMAINS))?;
    let mut schema = schema.clone();
    let mut read = [Vec::new(), Vec::new(), Vec::new()];
    let mut reports = Vec::new();
    let mut labels = None;
    for (place, key) in ["train", "val", "test"].into_iter().enumerate() {
        let mut report = DataReport::new(format!("{} ({key})", file.display()), "json");
        let mut rows = Vec::new();
        for (number, item) in list(&root, key, file)?.iter().enumerate() {
            // The pairs of such a file do not stand one to a line, so they are counted.
            let line = number as u64 + 1;
            match pair(item) {
                Ok((text, label)) => {
                    let group = domains.get(&label).cloned();
                    rows.push(Row { line, text, answers: vec![label], group });
                }
                Err(reason) => report.skip(line, reason),
            }
        }
        let (examples, found, report) = classes::number(rows, &schema, report)?;
        if let Some(reason) = &report.refused {
            return Err(Error::Data { file: report.file.clone(), line: 0, reason: reason.clone() });
        }
        if labels.is_none() && !examples.is_empty() {
            schema = schema.with_labels(&found);
            labels = Some(found);
        }
        read[place] = examples;
        reports.push(report);
    }
    let labels = labels.ok_or_else(|| Error::file(file, "expected at least one pair, found none"))?;
    let [train, dev, test] = read;
    Ok(Parts { train, dev, test, labels, reports })
}

/// The texts of the test part that belong to no class; empty where the file has none.
///
/// # Errors
/// The file cannot be read or is not laid out so.
pub fn out_of_scope(file: &Path) -> Result<Vec<String>> {
    let root = parse(file)?;
    if root.member("oos_test").is_none() {
        return Ok(Vec::new());
    }
    Ok(list(&root, "oos_test", file)?
        .iter()
        .filter_map(|item| pair(item).ok())
        .map(|(text, _)| text)
        .collect())
}

fn parse(file: &Path) -> Result<Json> {
    source::check_regular(file)?;
    let length = std::fs::metadata(file).map_err(|source| Error::io("open", file, source))?.len();
    if length > FILE_BYTES_MAX {
        return Err(Error::file(file, format!("expected at most {FILE_BYTES_MAX} bytes, found {length}")));
    }
    let text = std::fs::read_to_string(file).map_err(|source| Error::io("read", file, source))?;
    Json::parse(&text).map_err(|reason| Error::file(file, reason))
}

fn list<'a>(root: &'a Json, key: &str, file: &Path) -> Result<&'a [Json]> {
    root.member(key)
        .and_then(Json::list)
        .ok_or_else(|| Error::file(file, format!("expected a list of pairs under `{key}`, found none")))
}

fn pair(item: &Json) -> Result<(String, String), String> {
    match item.list() {
        Some([Json::Text(text), Json::Text(label)]) => Ok((text.clone(), label.clone())),
        _ => Err(format!("expected a pair of text and class, found {}", item.kind())),
    }
}

/// The domain of each class; none where there is no such file.
fn domains(file: &Path) -> Result<BTreeMap<String, String>> {
    if !file.exists() {
        return Ok(BTreeMap::new());
    }
    let Json::Object(members) = parse(file)? else {
        return Err(Error::file(file, "expected an object of domains"));
    };
    let mut domains = BTreeMap::new();
    for (domain, classes) in &members {
        let classes =
            classes.list().ok_or_else(|| Error::file(file, "expected a list of classes per domain"))?;
        for class in classes {
            let class = class.text().ok_or_else(|| Error::file(file, "expected a class to be a text"))?;
            domains.insert(class.to_owned(), domain.clone());
        }
    }
    Ok(domains)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::schema::TaskKind;

    fn folder(parts: &str, domains: Option<&str>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(PARTS), parts).unwrap();
        if let Some(domains) = domains {
            std::fs::write(folder.path().join(DOMAINS), domains).unwrap();
        }
        folder
    }

    #[test]
    fn pairs_become_examples_grouped_by_domain() {
        let parts = r#"{"oos_test":[["why","oos"]],"train":[["pay it","pay"],["rain?","weather"]],
            "val":[["sun?","weather"]],"test":[["pay","pay"]]}"#;
        let folder = folder(parts, Some(r#"{"bank":["pay"],"travel":["weather"]}"#));
        let file = find(folder.path()).unwrap();
        let read = read(&file, &Schema::new(TaskKind::Classify)).unwrap();
        assert_eq!((read.train.len(), read.dev.len(), read.test.len()), (2, 1, 1));
        assert_eq!(read.labels.names(), ["pay", "weather"]);
        assert_eq!(read.train[1].group.as_deref(), Some("travel"));
        assert_eq!(out_of_scope(&file).unwrap(), ["why"]);
    }

    #[test]
    fn a_file_laid_out_otherwise_is_refused_with_the_reason() {
        for (parts, reason) in [
            (r#"{"train":3,"val":[],"test":[]}"#, "a list of pairs under `train`"),
            (r#"{"train":[["a"]],"val":[],"test":[]}"#, "1 of 1 rows are bad"),
            (r#"{"train":[],"val":[],"test":[]}"#, "at least one pair"),
            ("[", "not valid JSON"),
        ] {
            let folder = folder(parts, None);
            let error = read(&find(folder.path()).unwrap(), &Schema::new(TaskKind::Classify)).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
        assert!(find(tempfile::tempdir().unwrap().path()).is_none());
    }
}
