//! What a data file holds: the task, its labels, its columns.
//!
//! Stated once in the cooperation's settings, so that every node reads its own files in the same way. Everything has a
//! default that fits the common files; an unknown key is an error, because a misspelt one would silently change the data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::data::labels::LabelSet;
use crate::data::scale::Scale;
use crate::data::scheme::Scheme;
use crate::error::{Error, Result};

/// What the model learns to say about an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// A tag per word (entities).
    Tagging,
    /// A class per text.
    Classify,
    /// Any number of labels per text or record.
    Multilabel,
    /// A quantity per text or record.
    Regression,
    /// The next token of plain text.
    Language,
    /// A class per node of a graph.
    Nodes,
    /// A class per pair of nodes, by which one side is ranked for the other.
    Pairs,
    /// A class per record of text, image, columns and relations.
    Records,
}

impl TaskKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Tagging,
        Self::Classify,
        Self::Multilabel,
        Self::Regression,
        Self::Language,
        Self::Nodes,
        Self::Pairs,
        Self::Records,
    ];

    /// The name a charter and a model folder have for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tagging => "tagging",
            Self::Classify => "classify",
            Self::Multilabel => "multilabel",
            Self::Regression => "regression",
            Self::Language => "language",
            Self::Nodes => "nodes",
            Self::Pairs => "pairs",
            Self::Records => "records",
        }
    }

    /// The task of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether an answer is several numbers or one, not one label of several.
    pub fn is_valued(self) -> bool {
        matches!(self, Self::Multilabel | Self::Regression)
    }

    /// All names, for a message.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

/// Where a column is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Column {
    /// Counted from 1; -1 is the last, -2 the one before.
    Number(i32),
    /// Named in the first line, or the key in a JSON object.
    Name(String),
}

/// How to read the files of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// The task.
    pub task: TaskKind,
    /// Class names, entity types, full IOB2 tags, or a quantity with its range (`stars 1..5`); discovered from the training
    /// file when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Columns by what they hold: `token` and `tag`, or `text`, `label` (also for several labels and for a quantity) and
    /// `group`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, Column>,
    /// Names of classes that the files number from 0; a `class.txt` in a folder states them too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_names: Vec<String>,
    /// The tag scheme of the files; detected when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
    /// Share of rows that may be skipped as bad before the file is refused, 0 to 1.
    #[serde(default = "bad_share_max_default")]
    pub bad_share_max: f64,
}

/// One row in twenty: enough for a few odd rows, too little to hide a wrong column.
pub const BAD_SHARE_MAX_DEFAULT: f64 = 0.05;

fn bad_share_max_default() -> f64 {
    BAD_SHARE_MAX_DEFAULT
}

impl Schema {
    /// The defaults for a task.
    pub fn new(task: TaskKind) -> Self {
        Self {
            task,
            labels: Vec::new(),
            columns: BTreeMap::new(),
            class_names: Vec::new(),
            scheme: None,
            bad_share_max: BAD_SHARE_MAX_DEFAULT,
        }
    }

    /// The same schema with its labels stated.
    pub fn with_labels(mut self, labels: &LabelSet) -> Self {
        self.labels = labels.names().to_vec();
        self
    }

    /// Checks what serde cannot: known column roles, numbers in range, labels that form a set.
    pub fn check(&self) -> Result<()> {
        if !(0.0..=1.0).contains(&self.bad_share_max) {
            return Err(Error::config(
                "bad_share_max",
                format!("expected a share from 0 to 1, found {}", self.bad_share_max),
            ));
        }
        let roles: &[&str] = match self.task {
            TaskKind::Tagging => &["token", "tag"],
            TaskKind::Classify | TaskKind::Multilabel | TaskKind::Regression => &["text", "label", "group"],
            TaskKind::Language | TaskKind::Nodes | TaskKind::Pairs | TaskKind::Records => &[],
        };
        for (role, column) in &self.columns {
            if !roles.contains(&role.as_str()) {
                return Err(Error::config(
                    format!("columns.{role}"),
                    format!("expected one of {} for this task", roles.join(", ")),
                ));
            }
            if *column == Column::Number(0) {
                return Err(Error::config(
                    format!("columns.{role}"),
                    "columns count from 1 (and -1 is the last), found 0",
                ));
            }
        }
        self.label_set().map(|_| ())
    }

    /// The stated labels, or nothing when they are to be discovered.
    pub fn label_set(&self) -> Result<Option<LabelSet>> {
        if self.labels.is_empty() {
            return Ok(None);
        }
        match self.task {
            TaskKind::Tagging => LabelSet::stated_for_tagging(&self.labels).map(Some),
            TaskKind::Regression => {
                let labels = LabelSet::classes(self.labels.iter().cloned())?;
                Scale::of(&labels).map(|_| Some(labels))
            }
            TaskKind::Multilabel => {
                let labels = LabelSet::classes(self.labels.iter().cloned())?;
                if Scale::of(&labels).is_ok() {
                    let reason = "expected names of labels, found a scale: that is a task of regression";
                    return Err(Error::config("labels", reason));
                }
                Ok(Some(labels))
            }
            TaskKind::Classify
            | TaskKind::Language
            | TaskKind::Nodes
            | TaskKind::Pairs
            | TaskKind::Records => LabelSet::classes(self.labels.iter().cloned()).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_refused() {
        assert!(serde_json::from_str::<Schema>(r#"{"task":"tagging","colums":{}}"#).is_err());
        let schema: Schema =
            serde_json::from_str(r#"{"task":"classify","columns":{"text":2,"label":"y"}}"#).unwrap();
        assert_eq!(schema.columns["text"], Column::Number(2));
        assert_eq!(schema.columns["label"], Column::Name("y".into()));
        schema.check().unwrap();
    }

    #[test]
    fn a_role_of_another_task_a_column_zero_and_a_share_above_one_are_refused() {
        let mut schema = Schema::new(TaskKind::Tagging);
        schema.columns.insert("text".into(), Column::Number(1));
        assert!(schema.check().is_err());
        schema.columns.clear();
        schema.columns.insert("token".into(), Column::Number(0));
        assert!(schema.check().is_err());
        schema.columns.clear();
        schema.bad_share_max = 1.5;
        assert!(schema.check().is_err());
        schema.bad_share_max = f64::NAN;
        assert!(schema.check().is_err());
    }
}
