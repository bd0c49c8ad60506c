//! Classification: texts to rows of tokens, logits to a class per text.
//!
//! A text longer than a row is cut at its end.

use crate::data::dataset::Dataset;
use crate::data::example::LabelledText;
use crate::data::tokenize::tokenizer::Tokenizer;
use crate::error::Result;
use crate::task::answers::Answers;
use crate::task::logits::{Choice, Logits, check, choose, softmax};

/// Rows in one batch while predicting.
const ROWS: usize = 64;

/// Encodes texts with their classes into rows of at most `tokens_max` tokens.
///
/// # Errors
/// The tokenizer fails, or `tokens_max` has no room.
pub fn encode(texts: &[LabelledText], tokenizer: &Tokenizer, tokens_max: usize) -> Result<Dataset> {
    let mut rows = Dataset::classified(tokenizer.pad());
    for text in texts {
        rows.push_classified(&ids(&text.text, tokenizer, tokens_max)?, Some(text.label as i32))?;
    }
    Ok(rows)
}

/// Encodes texts to be classified.
///
/// # Errors
/// The tokenizer fails, or `tokens_max` has no room.
pub fn encode_texts<T: AsRef<str>>(texts: &[T], tokenizer: &Tokenizer, tokens_max: usize) -> Result<Dataset> {
    let mut rows = Dataset::unlabelled(tokenizer.pad());
    for text in texts {
        rows.push_classified(&ids(text.as_ref(), tokenizer, tokens_max)?, None)?;
    }
    Ok(rows)
}

/// A tokenizer without special tokens gives nothing for an empty text; a row needs one token.
fn ids(text: &str, tokenizer: &Tokenizer, tokens_max: usize) -> Result<Vec<u32>> {
    let mut ids = tokenizer.encode_text(text, tokens_max)?.ids;
    if ids.is_empty() {
        ids.push(tokenizer.pad());
    }
    Ok(ids)
}

/// Says the class of every row.
///
/// # Errors
/// The model fails, or the logits have another size or are not finite.
pub fn predict(model: &mut impl Logits, rows: &Dataset) -> Result<Vec<Choice>> {
    let labels = model.labels();
    let mut said = vec![Choice { label: 0, probability: 0.0 }; rows.len()];
    for (chosen, batch) in rows.evaluation_batches(ROWS) {
        let logits = model.logits(&batch)?; // (rows, labels)
        check(&logits, batch.rows, labels)?;
        for (row, logits) in chosen.into_iter().zip(logits.chunks_exact(labels.max(1))) {
            if let Some(choice) = choose(logits) {
                said[row] = choice;
            }
        }
    }
    Ok(said)
}

/// The probabilities of every class for every row.
///
/// # Errors
/// As [`predict`].
pub fn answer(model: &mut impl Logits, rows: &Dataset) -> Result<Answers> {
    let labels = model.labels();
    let mut values = vec![0.0; rows.len() * labels];
    for (chosen, batch) in rows.evaluation_batches(ROWS) {
        let logits = model.logits(&batch)?; // (rows, labels)
        check(&logits, batch.rows, labels)?;
        for (row, logits) in chosen.into_iter().zip(logits.chunks_exact(labels.max(1))) {
            softmax(logits, &mut values[row * labels..(row + 1) * labels]);
        }
    }
    Answers::of_texts(labels, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::batch::{Batch, Inputs, Targets};

    fn tokenizer() -> Tokenizer {
        Tokenizer::from_vocabulary(b"[PAD]\n[UNK]\n[CLS]\n[SEP]\ngood\nbad\n", None, "v").unwrap()
    }

    /// Says class 1 where the second token is `good`; with `wrong` gives one number too few.
    struct ByWord {
        wrong: bool,
    }

    impl Logits for ByWord {
        fn labels(&self) -> usize {
            2
        }

        fn logits(&mut self, batch: &Batch) -> Result<Vec<f32>> {
            let Inputs::Tokens { ids, .. } = &batch.inputs else { panic!("token rows expected") };
            let mut logits: Vec<f32> = ids
                .chunks(batch.width)
                .flat_map(|row| if row[1] == 4 { [0.0, 1.0] } else { [1.0, 0.0] })
                .collect();
            if self.wrong {
                logits.pop();
            }
            Ok(logits)
        }
    }

    #[test]
    fn classes_come_back_in_the_order_of_the_texts() {
        let texts = ["good good good", "bad", "good", ""];
        let rows = encode_texts(&texts, &tokenizer(), 32).unwrap();
        let said = predict(&mut ByWord { wrong: false }, &rows).unwrap();
        assert_eq!(said.iter().map(|choice| choice.label).collect::<Vec<_>>(), [1, 0, 1, 0]);
        assert!(predict(&mut ByWord { wrong: true }, &rows).is_err());
        let answers = answer(&mut ByWord { wrong: false }, &rows).unwrap();
        assert_eq!(answers.lengths(), [1; 4]);
        assert!(
            said.iter().enumerate().all(|(k, said)| answers.unit(k)[said.label as usize] == said.probability)
        );
    }

    #[test]
    fn a_text_longer_than_a_row_is_cut_and_labels_become_targets() {
        let texts = [LabelledText { text: "bad bad".into(), label: 1, group: None }];
        let rows = encode(&texts, &tokenizer(), 3).unwrap();
        assert_eq!((rows.len(), rows.width(0)), (1, 3));
        assert_eq!(rows.batch(&[0]).targets, Targets::Classes(vec![1]));
    }
}
