//! What became of one member of a decision: its answers, or why there are none.

use model::task::answers::Answers;
use serde::Serialize;

use crate::runtime::asking::ANSWERED;

/// One member and what it did.
#[derive(Clone, Debug, Serialize)]
pub struct Heard {
    /// Key, hexadecimal; nothing for a model on this machine.
    pub peer: Option<String>,
    /// Name for people.
    pub name: String,
    /// Who runs it; empty for a model on this machine.
    pub organization: String,
    /// `answered`, or why not.
    pub outcome: String,
    /// Outer step of its model.
    pub step: u32,
    /// Latencies of its answers, milliseconds, middle and nineteen of twenty; absent where there is none.
    pub latency_ms: Option<[f64; 2]>,
    /// What it says, where it answered every query.
    #[serde(skip)]
    pub answers: Option<Answers>,
}

impl Heard {
    /// A model on this machine answered.
    pub fn here(name: &str, step: u32, latency_ms: f64, answers: Answers) -> Self {
        Self {
            peer: None,
            name: name.to_owned(),
            organization: String::new(),
            outcome: ANSWERED.to_owned(),
            step,
            latency_ms: Some([latency_ms; 2]),
            answers: Some(answers),
        }
    }
}

/// Who did not answer, and why, one a line; names are a stranger's words and must be escaped before they are shown.
pub fn absent(members: &[Heard]) -> Vec<(&str, &str)> {
    members.iter().filter(|m| m.answers.is_none()).map(|m| (m.name.as_str(), m.outcome.as_str())).collect()
}
