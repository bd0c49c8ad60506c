//! The examples a model is scored on, ready for it.

use model::data::dataset::Dataset;
use model::data::example::TaggedSentence;
use model::data::labels::LabelSet;
use model::data::pairs::Pair;
use model::data::tokenize::tokenizer::Tokenizer;
use model::data::valued::Values;
use model::error::Result;
use model::eval::report::Report;
use model::eval::tagging::Matching;
use model::eval::{classify, language, marks, quantity, ranking, tagging};
use model::session::Session;
use model::task::language::Encoded;

/// Rows in one batch while the loss is taken.
const ROWS: usize = 64;

/// Examples of one task.
pub enum Scored {
    /// Tagged sentences.
    Tagging {
        /// The sentences.
        sentences: Vec<TaggedSentence>,
        /// The same, as rows.
        rows: Dataset,
        /// The labels.
        labels: LabelSet,
        /// The tokenizer.
        tokenizer: Box<Tokenizer>,
        /// Longest input in tokens.
        tokens_max: usize,
    },
    /// Rows with a class each.
    Classes {
        /// The rows.
        rows: Dataset,
        /// Their classes.
        truth: Vec<u32>,
        /// The labels.
        labels: LabelSet,
    },
    /// Rows with several labels or a quantity each.
    Values {
        /// The rows.
        rows: Dataset,
        /// Their numbers, in the unit of the data, row by row.
        truth: Vec<f32>,
        /// What the numbers mean.
        values: Values,
    },
    /// Pairs of nodes, by which the second sides are ranked.
    Pairs {
        /// The pairs as rows.
        rows: Dataset,
        /// The same in that order.
        pairs: Vec<Pair>,
        /// The labels.
        labels: LabelSet,
    },
    /// Rows with the next token behind each.
    Language(Encoded),
    /// No examples: the score says so by its number of samples.
    Nothing,
}

impl Scored {
    /// Scores by label and their averages.
    pub fn report(&self, session: &mut Session) -> Result<Report> {
        match self {
            Self::Tagging { sentences, labels, tokenizer, tokens_max, .. } => {
                tagging::evaluate(session, sentences, labels, tokenizer, *tokens_max, Matching::Default)
            }
            Self::Classes { rows, truth, labels } => classify::evaluate(session, rows, truth, labels),
            Self::Values { rows, truth, values: Values::Marks(labels) } => {
                marks::evaluate(session, rows, truth, labels)
            }
            Self::Values { rows, truth, values: Values::Quantity(scale) } => {
                quantity::evaluate(session, rows, truth, scale)
            }
            Self::Pairs { rows, pairs, labels } => ranking::evaluate(session, rows, pairs, labels),
            Self::Language(encoded) => language::evaluate(session, &encoded.rows, encoded.bytes),
            Self::Nothing => Ok(Report::new("none", &[], false, 0.0, 0)),
        }
    }

    fn rows(&self) -> Option<&Dataset> {
        match self {
            Self::Tagging { rows, .. }
            | Self::Classes { rows, .. }
            | Self::Values { rows, .. }
            | Self::Pairs { rows, .. }
            | Self::Language(Encoded { rows, .. }) => Some(rows),
            Self::Nothing => None,
        }
    }

    /// Mean loss over the targets of at most so many rows, spread evenly over all; `None` where they have none.
    pub fn glance(&self, session: &mut Session, rows_max: usize) -> Result<Option<f64>> {
        let Some(rows) = self.rows().filter(|rows| !rows.is_empty()) else { return Ok(None) };
        let some: Vec<usize> = (0..rows.len()).step_by(rows.len().div_ceil(rows_max.max(1))).collect();
        let loss = session.evaluate_loss(&rows.batch(&some))?;
        Ok((loss.counted > 0).then_some(loss.loss))
    }

    /// Mean loss over all targets.
    pub fn loss(&self, session: &mut Session) -> Result<f64> {
        let Some(rows) = self.rows() else { return Ok(0.0) };
        let (mut sum, mut counted) = (0.0, 0u64);
        for (_, batch) in rows.evaluation_batches(ROWS) {
            let loss = session.evaluate_loss(&batch)?;
            if loss.counted == 0 {
                continue;
            }
            sum += loss.loss * loss.counted as f64;
            counted += loss.counted as u64;
        }
        Ok(if counted == 0 { 0.0 } else { sum / counted as f64 })
    }
}
