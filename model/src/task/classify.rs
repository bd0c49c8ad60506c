//! Classification: one label per text, or per row of numbers.

use crate::data::dataset::Dataset;
use crate::data::example::LabelledText;
use crate::data::labels::LabelSet;
use crate::data::tokenize::tokenizer::Tokenizer;
use crate::error::Result;
use crate::eval::classify::score;
use crate::eval::report::Report;
use crate::session::Session;
use crate::task::tagging::{WordTag, strongest};

/// Rows in one batch while predicting.
const ROWS: usize = 64;

/// One row per text.
pub fn encode(texts: &[LabelledText], tokenizer: &Tokenizer, tokens_max: usize) -> Result<Dataset> {
    let mut dataset = Dataset::classified(tokenizer.pad());
    for text in texts {
        let encoded = tokenizer.encode_text(&text.text, tokens_max)?;
        dataset.push_classified(&encoded.ids, Some(text.label as i32))?;
    }
    Ok(dataset)
}

/// Says the class of every row, with its probability.
pub fn predict(session: &mut Session, rows: &Dataset) -> Result<Vec<WordTag>> {
    let labels = session.head().labels();
    let mut said = vec![WordTag { tag: 0, probability: 0.0 }; rows.len()];
    for (chosen, batch) in rows.evaluation_batches(ROWS) {
        let logits = session.logits(&batch)?; // (rows, labels)
        for (row, logits) in chosen.into_iter().zip(logits.chunks_exact(labels)) {
            said[row] = strongest(logits);
        }
    }
    Ok(said)
}

/// Scores the model on rows whose true classes are `truth`.
pub fn evaluate(session: &mut Session, rows: &Dataset, truth: &[u32], labels: &LabelSet) -> Result<Report> {
    let said: Vec<u32> = predict(session, rows)?.iter().map(|s| s.tag).collect();
    score(labels, truth, &said)
}
