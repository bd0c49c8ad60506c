//! What stands beside a saved model: labels, tokenizer, where it comes from.

use std::path::Path;

use model::data::schema::TaskKind;
use model::data::tokenize::tokenizer::Tokenizer;
use model::session::Session;
use protocol::id::OuterStep;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::trainer::private::Spent;

/// File of lineage and task beside a model.
pub const LINEAGE: &str = "starling.json";

/// What a saved model needs to be used without its charter.
#[derive(Clone)]
pub struct Card {
    /// Facts that are written to `starling.json`.
    pub facts: Facts,
    /// Name of the headline metric.
    pub metric: String,
    /// The tokenizer, for models of text.
    pub tokenizer: Option<Box<Tokenizer>>,
}

/// The contents of `starling.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Name of the run.
    pub run_name: String,
    /// The run; empty for a model trained outside one.
    pub run: String,
    /// What the run is for.
    pub purpose: String,
    /// The outer step the parameters belong to.
    pub outer_step: u32,
    /// `tagging`, `classify` and so on, as the model crate names it.
    pub task: String,
    /// Labels in order.
    pub labels: Vec<String>,
    /// Longest input in tokens.
    pub tokens_max: u32,
    /// Key of the node that wrote it.
    pub peer_id: String,
    /// What this node's training may tell about its rows, where the charter sets a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<Spent>,
}

/// Whether a model folder says that it is for this task.
pub fn is_for(dir: &Path, task: &str) -> bool {
    let text = std::fs::read_to_string(dir.join(LINEAGE)).unwrap_or_default();
    serde_json::from_str::<Facts>(&text).is_ok_and(|facts| facts.task == task)
}

impl Card {
    /// Writes the model folder: weights, config, tokenizer, lineage, card.
    pub fn save(&self, session: &Session, dir: &Path, step: OuterStep) -> Result<(), String> {
        let labels = &self.facts.labels;
        let id2label: serde_json::Map<_, _> =
            labels.iter().enumerate().map(|(i, l)| (i.to_string(), json!(l))).collect();
        let label2id: serde_json::Map<_, _> =
            labels.iter().enumerate().map(|(i, l)| (l.clone(), json!(i))).collect();
        let mut extra = json!({ "id2label": id2label, "label2id": label2id });
        // What Hugging Face calls the loss of a head that classifies.
        if let Some(problem) = match TaskKind::named(&self.facts.task) {
            Some(TaskKind::Multilabel) => Some("multi_label_classification"),
            Some(TaskKind::Regression) => Some("regression"),
            _ => None,
        } {
            extra["problem_type"] = json!(problem);
        }
        session.save(dir, &extra).map_err(|e| e.to_string())?;
        if let Some(tokenizer) = &self.tokenizer {
            tokenizer.save(dir).map_err(|e| e.to_string())?;
        }
        let facts = Facts { outer_step: step.0, ..self.facts.clone() };
        let text = serde_json::to_string_pretty(&facts).map_err(|e| e.to_string())?;
        let write =
            |name: &str, text: &str| std::fs::write(dir.join(name), text).map_err(|e| format!("{name}: {e}"));
        write(LINEAGE, &text)?;
        write("README.md", &self.readme(&facts, session.parameter_count()))
    }

    fn readme(&self, facts: &Facts, parameters: usize) -> String {
        format!(
            "# {}\n\n{}\n\nTrained together with Starling; no node's data left its owner.\n\n\
             - task: {} ({} labels), metric {}\n- parameters: {parameters}\n- run: {}\n- outer step: {}\n\n\
             Use it: `starling predict --model DIR TEXT`, or load the folder with any program that reads the Hugging Face layout.\n\n\
             Scores hold for data like that it was tested on; measure it on your own before you rely on it.\n",
            facts.run_name,
            facts.purpose,
            facts.task,
            facts.labels.len(),
            self.metric,
            facts.run,
            facts.outer_step,
        )
    }
}
