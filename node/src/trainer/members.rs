//! Several models that answer the same questions.
//!
//! Members may have other architectures, sizes and tokenizers; what they share is the task and the set of labels. Their
//! answers come in one order of labels, whatever order each of them has.

use std::path::{Path, PathBuf};

use model::data::labels::LabelSet;
use model::data::schema::TaskKind;
use model::error::{Error, Result};
use model::task::answers::Answers;

use crate::trainer::answerer::Answerer;
use crate::trainer::examples::{Inputs, Modality};
use crate::trainer::translate::TranslateError;

/// Files of a model folder that its answers depend on.
const ANSWERING_FILES: [&str; 4] = ["model.safetensors", "config.json", "tokenizer.json", "starling.json"];

/// Models with one task and one set of labels.
pub struct Members {
    /// The task.
    pub kind: TaskKind,
    /// The labels, in the first member's order.
    pub labels: LabelSet,
    list: Vec<Member>,
}

/// One of them.
pub struct Member {
    /// Its name in tables.
    pub name: String,
    /// Its folder.
    pub dir: PathBuf,
    /// The model.
    pub answerer: Answerer,
    /// For each label of all, its place among this member's.
    places: Vec<usize>,
}

impl Members {
    /// Opens the models of some folders.
    pub fn open(dirs: &[PathBuf], device: &str, threads: usize) -> Result<Self, TranslateError> {
        let names = names(dirs);
        let mut list: Vec<Member> = Vec::new();
        for (dir, name) in dirs.iter().zip(names) {
            let answerer = Answerer::open(dir, device, threads)?;
            let places = match list.first() {
                None => (0..answerer.labels.len()).collect(),
                Some(first) => places(&first.answerer, &answerer)
                    .ok_or_else(|| unlike(dir, &first.answerer, &answerer))?,
            };
            list.push(Member { name, dir: dir.clone(), answerer, places });
        }
        let Some(first) = list.first() else {
            return Err(Error::shape("members of a fusion", "at least 1", 0).into());
        };
        Ok(Self { kind: first.answerer.kind, labels: first.answerer.labels.clone(), list })
    }

    /// The members.
    pub fn list(&self) -> &[Member] {
        &self.list
    }

    /// What they read.
    pub fn modality(&self) -> Modality {
        self.list[0].answerer.modality()
    }

    /// What every member says, labels in the common order; `observe` is told how many have answered.
    pub fn answer(&mut self, inputs: &Inputs, observe: &mut dyn FnMut(usize)) -> Result<Vec<Answers>> {
        let mut all = Vec::with_capacity(self.list.len());
        for (number, member) in self.list.iter_mut().enumerate() {
            all.push(member.answerer.answer(inputs)?.reordered(&member.places));
            observe(number + 1);
        }
        Ok(all)
    }
}

/// For each label of the first model, its place in the other's list; nothing where they do not mean the same.
fn places(first: &Answerer, other: &Answerer) -> Option<Vec<usize>> {
    let is_alike = first.kind == other.kind
        && first.modality() == other.modality()
        && first.labels.len() == other.labels.len();
    let places = first.labels.names().iter().map(|name| other.labels.id(name).map(|id| id as usize));
    if is_alike { places.collect() } else { None }
}

fn unlike(dir: &Path, first: &Answerer, other: &Answerer) -> TranslateError {
    let describe = |model: &Answerer| {
        let names: Vec<&str> = model.labels.names().iter().take(6).map(String::as_str).collect();
        let count = model.labels.len();
        format!("{} of {count} labels ({}, ...)", model.facts.task, names.join(", "))
    };
    Error::shape(format!("the member {}", dir.display()), describe(first), describe(other)).into()
}

/// Short names: the last part of each path, with the part before it where two are the same, else numbered.
fn names(dirs: &[PathBuf]) -> Vec<String> {
    let tail = |dir: &PathBuf, parts: usize| -> String {
        let all: Vec<String> = dir
            .components()
            .filter_map(|part| match part {
                std::path::Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
                _ => None,
            })
            .collect();
        all[all.len().saturating_sub(parts)..].join("/")
    };
    (0..dirs.len())
        .map(|k| {
            for parts in 1..=2 {
                let name = tail(&dirs[k], parts);
                if !name.is_empty()
                    && dirs.iter().map(|dir| tail(dir, parts)).filter(|other| *other == name).count() == 1
                {
                    return name;
                }
            }
            format!("{} ({})", tail(&dirs[k], 1), k + 1)
        })
        .collect()
}

/// The hash of everything in a model folder that its answers depend on, in hexadecimal.
pub fn hash_model(dir: &Path) -> Result<String> {
    let mut hasher = blake3::Hasher::new_derive_key("starling model folder v1");
    for name in ANSWERING_FILES {
        let path = dir.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => {
                hasher.update(name.as_bytes());
                hasher.update(&(bytes.len() as u64).to_le_bytes());
                hasher.update(&bytes);
            }
            // Models of images have no tokenizer.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::io("read", &path, source)),
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_short_names_that_tell_them_apart() {
        let dirs: Vec<PathBuf> =
            ["a/half", "b/half", "c/tiny/", ".", "x/m/n", "y/m/n"].map(Into::into).to_vec();
        assert_eq!(names(&dirs), ["a/half", "b/half", "tiny", " (4)", "n (5)", "n (6)"]);
    }

    #[test]
    fn the_hash_of_a_folder_changes_with_every_file_that_matters_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("model.safetensors", "weights");
        write("config.json", "{}");
        let mut seen = vec![hash_model(dir.path()).unwrap()];
        write("README.md", "notes");
        assert_eq!(hash_model(dir.path()).unwrap(), seen[0]);
        for (name, text) in
            [("tokenizer.json", "t"), ("config.json", "{ }"), ("model.safetensors", "Weights")]
        {
            write(name, text);
            let hash = hash_model(dir.path()).unwrap();
            assert!(!seen.contains(&hash), "{name}");
            seen.push(hash);
        }
    }
}
