//! Texts without labels: what a model says of them as probabilities, and how they join a training batch.
//!
//! An output is a word when tagging, else a text; outputs are numbered through all rows. It holds inputs only: whose
//! probabilities are learned from is for the caller to say.

use crate::data::batch::{Batch, IGNORE, Inputs, Targets};
use crate::data::dataset::Dataset;
use crate::data::example::TaggedSentence;
use crate::data::tokenize::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::task::logits::{Logits, check, softmax};
use crate::task::{classify, tagging};

/// Rows in one batch while predicting.
const ROWS: usize = 64;

/// Encoded texts.
#[derive(Debug, Clone)]
pub struct Unlabelled {
    rows: Dataset,
    /// For each row, the position of an output in it and the number of that output; empty when rows are outputs.
    places: Vec<Vec<(usize, usize)>>,
    outputs: usize,
    is_tagged: bool,
    pad: u32,
}

/// A training batch with unlabelled rows behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    /// All rows; only the labelled ones count as samples.
    pub batch: Batch,
    /// The target of every output of the batch without padding, [`IGNORE`] where there is none.
    pub targets: Vec<i32>,
    /// Pairs of an output of the batch without padding and the number of the unlabelled output it is.
    pub taught: Vec<(usize, usize)>,
}

impl Unlabelled {
    /// Sentences of words, to be tagged.
    ///
    /// # Errors
    /// The tokenizer fails, or `tokens_max` has no room.
    pub fn tagging(sentences: &[Vec<String>], tokenizer: &Tokenizer, tokens_max: usize) -> Result<Self> {
        // Tags that nobody looks at: what a row is taught comes from elsewhere.
        let tagged: Vec<TaggedSentence> = sentences
            .iter()
            .map(|words| TaggedSentence {
                tokens: words.clone(),
                tags: vec![0; words.len()],
                document: 0,
                topic: None,
            })
            .collect();
        let (rows, places) = tagging::encode_units(&tagged, tokenizer, tokens_max)?;
        let outputs = sentences.iter().map(Vec::len).sum();
        Ok(Self { rows, places, outputs, is_tagged: true, pad: tokenizer.pad() })
    }

    /// Texts, to be classified.
    ///
    /// # Errors
    /// The tokenizer fails, or `tokens_max` has no room.
    pub fn classify<T: AsRef<str>>(texts: &[T], tokenizer: &Tokenizer, tokens_max: usize) -> Result<Self> {
        let rows = classify::encode_texts(texts, tokenizer, tokens_max)?;
        Ok(Self { rows, places: Vec::new(), outputs: texts.len(), is_tagged: false, pad: tokenizer.pad() })
    }

    /// Outputs of all rows.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Rows, each at most as long as the model reads; a long sentence is several.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The model's probabilities, `(outputs, labels)`; uniform for a word without any piece, of which it can say nothing.
    ///
    /// # Errors
    /// The model fails, or the logits have another size or are not finite.
    pub fn probabilities(&self, model: &mut impl Logits) -> Result<Vec<f32>> {
        let labels = model.labels();
        let mut said = vec![1.0 / labels as f32; self.outputs * labels];
        for (chosen, batch) in self.rows.evaluation_batches(ROWS) {
            let logits = model.logits(&batch)?; // (rows, width, labels) or (rows, labels)
            let width = if self.is_tagged { batch.width } else { 1 };
            check(&logits, batch.rows * width, labels)?;
            for (place, row) in chosen.into_iter().enumerate() {
                for (position, output) in self.outputs_of(row) {
                    let from = (place * width + position) * labels;
                    softmax(&logits[from..from + labels], &mut said[output * labels..(output + 1) * labels]);
                }
            }
        }
        Ok(said)
    }

    fn outputs_of(&self, row: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let alone = (!self.is_tagged).then_some((0, row));
        self.places.get(row).into_iter().flatten().copied().chain(alone)
    }

    /// Puts rows behind a batch of token rows with labels.
    ///
    /// # Errors
    /// The batch is not of this task.
    ///
    /// # Panics
    /// If a row is not below [`Unlabelled::rows`]: the caller made it up.
    pub fn join(&self, own: &Batch, chosen: &[usize]) -> Result<Joined> {
        let more = self.rows.batch(chosen);
        let (Inputs::Tokens { ids, lengths }, Inputs::Tokens { ids: more_ids, lengths: more_lengths }) =
            (&own.inputs, &more.inputs)
        else {
            return Err(Error::shape("batch to join", "token rows", "features"));
        };
        let width = own.width.max(more.width);
        let mut all = vec![self.pad; (own.rows + more.rows) * width];
        let old_rows = ids.chunks_exact(own.width.max(1)).chain(more_ids.chunks_exact(more.width.max(1)));
        for (to, from) in all.chunks_exact_mut(width.max(1)).zip(old_rows) {
            to[..from.len()].copy_from_slice(from);
        }
        let lengths: Vec<u32> = lengths.iter().chain(more_lengths).copied().collect();
        let mut targets = Vec::new();
        match (&own.targets, self.is_tagged) {
            (Targets::Tags(tags), true) => {
                for (tags, length) in tags.chunks_exact(own.width.max(1)).zip(&lengths) {
                    targets.extend_from_slice(&tags[..*length as usize]);
                }
            }
            (Targets::Classes(classes), false) => targets.extend_from_slice(classes),
            _ => return Err(Error::shape("batch to join", "labels of the same task", "others or none")),
        }
        let mut taught = Vec::new();
        for (row, length) in chosen.iter().zip(&lengths[own.rows..]) {
            let first = targets.len();
            taught.extend(self.outputs_of(*row).map(|(position, output)| (first + position, output)));
            targets.resize(first + if self.is_tagged { *length as usize } else { 1 }, IGNORE);
        }
        let inputs = Inputs::Tokens { ids: all, lengths };
        let batch =
            Batch { rows: own.rows + more.rows, width, inputs, targets: Targets::None, samples: own.samples };
        Ok(Joined { batch, targets, taught })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::example::LabelledText;

    fn tokenizer() -> Tokenizer {
        Tokenizer::from_vocabulary(b"[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\nriver\n##s\nada\n", None, "v").unwrap()
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// Gives each token the logits `[id, 0]`, each row those of its second token when not tagging.
    struct ById {
        is_tagged: bool,
    }

    impl Logits for ById {
        fn labels(&self) -> usize {
            2
        }

        fn logits(&mut self, batch: &Batch) -> Result<Vec<f32>> {
            let Inputs::Tokens { ids, .. } = &batch.inputs else { panic!("token rows expected") };
            let logit = |id: &u32| [*id as f32, 0.0];
            if self.is_tagged {
                return Ok(ids.iter().flat_map(logit).collect());
            }
            Ok(ids.chunks(batch.width).flat_map(|row| logit(&row[1])).collect())
        }
    }

    fn of(id: f32) -> [f32; 2] {
        let first = 1.0 / (1.0 + (-id).exp());
        [first, 1.0 - first]
    }

    #[test]
    fn every_word_gets_its_probabilities_however_long_the_sentence() {
        let sentences = [words("rivers ada"), words("the \u{200b} the ada the ada")];
        for tokens_max in [4, 7, 64] {
            let asked = Unlabelled::tagging(&sentences, &tokenizer(), tokens_max).unwrap();
            assert_eq!(asked.outputs(), 8);
            let said = asked.probabilities(&mut ById { is_tagged: true }).unwrap();
            let ids = [5.0, 7.0, 4.0, f32::NAN, 4.0, 7.0, 4.0, 7.0];
            for (said, id) in said.chunks(2).zip(ids) {
                let wanted = if id.is_nan() { None } else { Some(of(id)) };
                if let Some(wanted) = wanted {
                    assert!((said[0] - wanted[0]).abs() < 1e-6, "{said:?} {wanted:?}");
                }
                assert!((said[0] + said[1] - 1.0).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn texts_get_theirs_in_order() {
        let asked = Unlabelled::classify(&["ada ada ada", "the"], &tokenizer(), 16).unwrap();
        let said = asked.probabilities(&mut ById { is_tagged: false }).unwrap();
        assert!((said[0] - of(7.0)[0]).abs() < 1e-6 && (said[2] - of(4.0)[0]).abs() < 1e-6);
    }

    #[test]
    fn a_joined_batch_keeps_the_labels_and_knows_where_each_unlabelled_output_is() {
        let own = [TaggedSentence { tokens: words("ada"), tags: vec![3], document: 0, topic: None }];
        let own = tagging::encode(&own, &tokenizer(), 16).unwrap().batch(&[0]);
        let asked = Unlabelled::tagging(&[words("the"), words("rivers ada")], &tokenizer(), 16).unwrap();
        let joined = asked.join(&own, &[1, 0]).unwrap();
        // [CLS] ada [SEP], [CLS] river ##s ada [SEP], [CLS] the [SEP]
        let Inputs::Tokens { ids, lengths } = &joined.batch.inputs else { panic!("token rows expected") };
        assert_eq!(ids, &[2, 7, 3, 0, 0, 2, 5, 6, 7, 3, 2, 4, 3, 0, 0]);
        assert_eq!(lengths, &[3, 5, 3]);
        let none = IGNORE;
        assert_eq!(joined.targets, [none, 3, none, none, none, none, none, none, none, none, none]);
        assert_eq!(joined.taught, [(4, 1), (6, 2), (9, 0)]);
        assert_eq!(joined.batch.samples, 1);

        let own = [LabelledText { text: "ada".into(), label: 1, group: None }];
        let own = classify::encode(&own, &tokenizer(), 16).unwrap().batch(&[0]);
        let texts = Unlabelled::classify(&["the", "ada"], &tokenizer(), 16).unwrap();
        let joined = texts.join(&own, &[1]).unwrap();
        assert_eq!((joined.targets, joined.taught), (vec![1, IGNORE], vec![(1, 1)]));
        assert!(asked.join(&own, &[0]).is_err());
    }
}
