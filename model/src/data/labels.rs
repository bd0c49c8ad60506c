//! The labels of a task, in the order of the model's outputs.
//!
//! All nodes of a run must use the same list, so its order never depends on the order of a file: discovered labels are
//! sorted. For tagging the list holds IOB2 tags and knows which of them begin, continue or stay outside an entity.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Most labels a task may have.
pub const LABELS_MAX: usize = 10_000;
/// Longest name of a label, in bytes.
pub const LABEL_BYTES_MAX: usize = 200;

/// What one tag says about its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag {
    /// Not part of an entity.
    Outside,
    /// First word of an entity of this type (index into [`LabelSet::entity_types`]).
    Begin(u32),
    /// Further word of an entity of this type.
    Inside(u32),
}

/// An ordered list of label names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct LabelSet {
    names: Vec<String>,
    ids: BTreeMap<String, u32>,
    types: Vec<String>,
    tags: Vec<Tag>,
}

impl LabelSet {
    /// Takes class names in the given order; refuses an empty list, an empty or overlong name and a double.
    pub fn classes(names: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        Self::checked(names.into_iter().map(Into::into).collect())
    }

    /// Makes `O, B-a, I-a, B-b, I-b, ...` from entity types, sorted.
    pub fn tagging(types: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        let types: BTreeSet<String> = types.into_iter().map(Into::into).collect();
        let mut names = vec!["O".to_owned()];
        for entity_type in &types {
            names.push(format!("B-{entity_type}"));
            names.push(format!("I-{entity_type}"));
        }
        Self::checked(names)
    }

    /// Takes a list as a person states it for tagging: entity types, or the full list of IOB2 tags when it holds `O`.
    pub fn stated_for_tagging(names: &[String]) -> Result<Self> {
        if names.iter().any(|name| name == "O") {
            let labels = Self::checked(names.to_vec())?;
            for (id, name) in labels.names.iter().enumerate() {
                if labels.tag(id as u32) == Tag::Outside && name != "O" {
                    return Err(Error::config(
                        "labels",
                        format!("expected O, B-type or I-type in a list with O, found `{}`", shown(name)),
                    ));
                }
            }
            return Ok(labels);
        }
        Self::tagging(names.iter().cloned())
    }

    fn checked(names: Vec<String>) -> Result<Self> {
        if names.is_empty() || names.len() > LABELS_MAX {
            return Err(Error::config(
                "labels",
                format!("expected 1 to {LABELS_MAX}, found {}", names.len()),
            ));
        }
        let mut ids = BTreeMap::new();
        for (id, name) in names.iter().enumerate() {
            if name.is_empty() || name.len() > LABEL_BYTES_MAX || name.chars().any(char::is_control) {
                return Err(Error::config(
                    "labels",
                    format!(
                        "label {id}: expected 1 to {LABEL_BYTES_MAX} printable bytes, found `{}`",
                        shown(name)
                    ),
                ));
            }
            if ids.insert(name.clone(), id as u32).is_some() {
                return Err(Error::config("labels", format!("label `{}` is listed twice", shown(name))));
            }
        }
        let types: BTreeSet<&str> = names.iter().filter_map(|name| split_tag(name)).map(|(_, t)| t).collect();
        let types: Vec<String> = types.into_iter().map(str::to_owned).collect();
        let tags = names
            .iter()
            .map(|name| match split_tag(name) {
                None => Tag::Outside,
                Some((prefix, entity_type)) => {
                    let number =
                        types.binary_search_by(|t| t.as_str().cmp(entity_type)).unwrap_or_default() as u32;
                    if prefix == 'B' { Tag::Begin(number) } else { Tag::Inside(number) }
                }
            })
            .collect();
        Ok(Self { names, ids, types, tags })
    }

    /// Labels in the set.
    #[allow(clippy::len_without_is_empty)] // never empty by construction
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The names in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The name of a label; `?` for a number outside the set.
    pub fn name(&self, id: u32) -> &str {
        self.names.get(id as usize).map_or("?", String::as_str)
    }

    /// The number of a name.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    /// Entity types among `B-` and `I-` labels, sorted; empty for classes.
    pub fn entity_types(&self) -> &[String] {
        &self.types
    }

    /// What a label says about its word; [`Tag::Outside`] for a number outside the set.
    pub fn tag(&self, id: u32) -> Tag {
        self.tags.get(id as usize).copied().unwrap_or(Tag::Outside)
    }

    /// The label that says this, where the set has it.
    pub fn tag_id(&self, tag: Tag) -> Option<u32> {
        self.tags.iter().position(|known| *known == tag).map(|id| id as u32)
    }
}

impl TryFrom<Vec<String>> for LabelSet {
    type Error = Error;

    fn try_from(names: Vec<String>) -> Result<Self> {
        Self::checked(names)
    }
}

impl From<LabelSet> for Vec<String> {
    fn from(labels: LabelSet) -> Self {
        labels.names
    }
}

/// Splits `B-type` or `I-type`.
fn split_tag(name: &str) -> Option<(char, &str)> {
    let (prefix, entity_type) = name.split_once('-')?;
    match prefix {
        "B" if !entity_type.is_empty() => Some(('B', entity_type)),
        "I" if !entity_type.is_empty() => Some(('I', entity_type)),
        _ => None,
    }
}

/// A label or column name made safe and short for a message.
pub fn shown(name: &str) -> String {
    let escaped: String = name.chars().take(40).flat_map(char::escape_debug).collect();
    if name.chars().count() > 40 { format!("{escaped}...") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_types_are_sorted_so_that_all_nodes_number_tags_alike() {
        let labels = LabelSet::tagging(["PER", "LOC", "PER"]).unwrap();
        assert_eq!(labels.names(), ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]);
        assert_eq!(labels, LabelSet::tagging(["LOC", "PER"]).unwrap());
        assert_eq!(labels.tag(3), Tag::Begin(1));
        assert_eq!(labels.tag_id(Tag::Inside(0)), Some(2));
        assert_eq!(labels.name(99), "?");
    }

    #[test]
    fn a_type_may_hold_a_hyphen() {
        let labels = LabelSet::tagging(["creative-work"]).unwrap();
        assert_eq!(labels.entity_types(), ["creative-work"]);
    }

    #[test]
    fn empty_doubled_and_unprintable_lists_are_refused() {
        assert!(LabelSet::classes(Vec::<String>::new()).is_err());
        assert!(LabelSet::classes(["a", "a"]).is_err());
        assert!(LabelSet::classes([""]).is_err());
        assert!(LabelSet::classes(["a\nb"]).is_err());
        assert!(LabelSet::stated_for_tagging(&["O".into(), "PER".into()]).is_err());
        assert!(serde_json::from_str::<LabelSet>("[\"a\",\"a\"]").is_err());
    }

    #[test]
    fn a_list_survives_serde() {
        let labels = LabelSet::stated_for_tagging(&["B-X".into(), "I-X".into(), "O".into()]).unwrap();
        let text = serde_json::to_string(&labels).unwrap();
        assert_eq!(text, r#"["B-X","I-X","O"]"#);
        assert_eq!(serde_json::from_str::<LabelSet>(&text).unwrap(), labels);
    }
}
