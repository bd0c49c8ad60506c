//! Tagging: sentences to rows of word pieces, logits to a tag per word.
//!
//! The first piece of a word carries its tag; the others, special tokens and padding are ignored in the loss. A
//! sentence longer than a row becomes several rows, so that every word is trained on and scored. Predicted tags are
//! valid IOB2: an inside tag that continues nothing is read as a beginning, as scoring tools do.

use crate::data::batch::IGNORE;
use crate::data::dataset::Dataset;
use crate::data::example::TaggedSentence;
use crate::data::labels::{LabelSet, Tag};
use crate::data::tokenize::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::task::answers::{Answers, Units};
use crate::task::logits::{Choice, Logits, check, choose, softmax};

/// Rows in one batch while predicting: enough to keep the cores busy, small enough for any model here.
const ROWS: usize = 64;

/// What the model says of one word.
pub type WordTag = Choice;

/// Encodes sentences with their tags into rows of at most `tokens_max` tokens, for training.
///
/// # Errors
/// The tokenizer fails, `tokens_max` has no room, or a sentence has not one tag per word.
pub fn encode(sentences: &[TaggedSentence], tokenizer: &Tokenizer, tokens_max: usize) -> Result<Dataset> {
    Ok(Rows::tagged(sentences, tokenizer, tokens_max)?.dataset)
}

/// Encodes sentences with their tags as [`encode`] does, and says which word every target stands for.
///
/// The list has an entry per row: pairs of a position in the row and the number of a word, counted through all
/// sentences.
///
/// # Errors
/// As [`encode`].
pub fn encode_units(
    sentences: &[TaggedSentence],
    tokenizer: &Tokenizer,
    tokens_max: usize,
) -> Result<(Dataset, Units)> {
    let rows = Rows::tagged(sentences, tokenizer, tokens_max)?;
    let mut first = Vec::with_capacity(sentences.len());
    let mut words = 0;
    for sentence in sentences {
        first.push(words);
        words += sentence.tokens.len();
    }
    let number = |held: &Held| {
        held.words.iter().map(|(word, position)| (*position, first[held.sentence] + word)).collect()
    };
    let numbered = rows.held.iter().map(number).collect();
    Ok((rows.dataset, numbered))
}

/// Tags every word of every sentence. A word without any piece (a lone control character) gets label 0.
///
/// # Errors
/// The tokenizer or the model fails, or the logits have another size or are not finite.
pub fn predict(
    model: &mut impl Logits,
    sentences: &[Vec<String>],
    tokenizer: &Tokenizer,
    tokens_max: usize,
) -> Result<Vec<Vec<WordTag>>> {
    let nothing = Choice { label: 0, probability: 0.0 };
    let mut said: Vec<Vec<WordTag>> = sentences.iter().map(|words| vec![nothing; words.len()]).collect();
    each_word(model, sentences, tokenizer, tokens_max, |sentence, word, logits| {
        if let Some(choice) = choose(logits) {
            said[sentence][word] = choice;
        }
    })?;
    Ok(said)
}

/// The probabilities of every label for every word. A word without any piece has label 0 for certain.
///
/// # Errors
/// As [`predict`].
pub fn answer(
    model: &mut impl Logits,
    sentences: &[Vec<String>],
    tokenizer: &Tokenizer,
    tokens_max: usize,
) -> Result<Answers> {
    let labels = model.labels();
    let lengths: Vec<usize> = sentences.iter().map(Vec::len).collect();
    let mut first = Vec::with_capacity(lengths.len());
    let mut words = 0;
    for length in &lengths {
        first.push(words);
        words += length;
    }
    let mut values = vec![0.0; words * labels];
    values.iter_mut().step_by(labels.max(1)).for_each(|value| *value = 1.0);
    each_word(model, sentences, tokenizer, tokens_max, |sentence, word, logits| {
        softmax(logits, &mut values[(first[sentence] + word) * labels..][..labels]);
    })?;
    Answers::new(labels, &lengths, values)
}

/// Hands out the logits of every word that has pieces: `(sentence, word, logits)`.
fn each_word(
    model: &mut impl Logits,
    sentences: &[Vec<String>],
    tokenizer: &Tokenizer,
    tokens_max: usize,
    mut take: impl FnMut(usize, usize, &[f32]),
) -> Result<()> {
    let mut rows = Rows::new(tokenizer, tokens_max);
    for (number, words) in sentences.iter().enumerate() {
        rows.push(number, words, &[])?;
    }
    let labels = model.labels();
    for (chosen, batch) in rows.dataset.evaluation_batches(ROWS) {
        let logits = model.logits(&batch)?; // (rows, width, labels)
        check(&logits, batch.rows * batch.width, labels)?;
        for (place, row) in chosen.into_iter().enumerate() {
            let row = &rows.held[row];
            for (word, position) in &row.words {
                let start = (place * batch.width + position) * labels;
                take(row.sentence, *word, &logits[start..start + labels]);
            }
        }
    }
    Ok(())
}

/// Turns inside tags that continue nothing into beginnings, as scoring tools read them: what comes out is valid IOB2.
pub fn repair(sentence: &mut [WordTag], labels: &LabelSet) {
    let mut open = None;
    for choice in sentence {
        open = match labels.tag(choice.label) {
            Tag::Outside => None,
            Tag::Begin(number) => Some(number),
            Tag::Inside(number) => {
                if open != Some(number)
                    && let Some(begin) = labels.tag_id(Tag::Begin(number))
                {
                    choice.label = begin;
                }
                Some(number)
            }
        };
    }
}

/// Rows under construction, and where each word went.
struct Rows<'a> {
    tokenizer: &'a Tokenizer,
    tokens_max: usize,
    dataset: Dataset,
    held: Vec<Held>,
}

/// The words of a sentence that one row holds, and the position of the first piece of each.
struct Held {
    sentence: usize,
    words: Vec<(usize, usize)>,
}

impl<'a> Rows<'a> {
    fn new(tokenizer: &'a Tokenizer, tokens_max: usize) -> Self {
        Self { tokenizer, tokens_max, dataset: Dataset::tagged(tokenizer.pad()), held: Vec::new() }
    }

    fn tagged(sentences: &[TaggedSentence], tokenizer: &'a Tokenizer, tokens_max: usize) -> Result<Self> {
        let mut rows = Self::new(tokenizer, tokens_max);
        for (number, sentence) in sentences.iter().enumerate() {
            if sentence.tokens.len() != sentence.tags.len() {
                return Err(Error::shape(
                    format!("tags of sentence {number}"),
                    sentence.tokens.len(),
                    sentence.tags.len(),
                ));
            }
            rows.push(number, &sentence.tokens, &sentence.tags)?;
        }
        Ok(rows)
    }

    /// Adds a sentence; words beyond the tags have none.
    fn push(&mut self, sentence: usize, words: &[String], tags: &[u32]) -> Result<()> {
        let mut start = 0;
        while start < words.len() {
            let encoded = self.tokenizer.encode_words(&words[start..], self.tokens_max)?;
            let mut targets = vec![IGNORE; encoded.ids.len()];
            let mut held = Vec::with_capacity(encoded.words);
            let mut previous = None;
            for (position, word) in encoded.word.iter().enumerate() {
                let Some(word) = *word else { continue };
                if previous == Some(word) {
                    continue;
                }
                previous = Some(word);
                let number = start + word as usize;
                held.push((number, position));
                targets[position] = tags.get(number).map_or(IGNORE, |tag| *tag as i32);
            }
            self.dataset.push_tagged(&encoded.ids, &targets)?;
            self.held.push(Held { sentence, words: held });
            start += encoded.words.max(1); // an end in any case
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::batch::{Batch, Inputs, Targets};

    fn tokenizer() -> Tokenizer {
        let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\nriver\n##s\nada\nlong\n##er\n";
        Tokenizer::from_vocabulary(vocabulary.as_bytes(), None, "v").unwrap()
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// Says a label for a token by its id, and a wrong one for special tokens and later pieces.
    struct ById;

    impl Logits for ById {
        fn labels(&self) -> usize {
            5
        }

        fn logits(&mut self, batch: &Batch) -> Result<Vec<f32>> {
            let Inputs::Tokens { ids, .. } = &batch.inputs else { panic!("token rows expected") };
            let label = |id: &u32| match id {
                4 => 0, // the
                5 => 1, // river
                7 => 3, // ada
                8 => 2, // long
                _ => 4,
            };
            let mut logits = vec![0.0; ids.len() * 5];
            for (place, id) in ids.iter().enumerate() {
                logits[place * 5 + label(id)] = 9.0;
            }
            Ok(logits)
        }
    }

    #[test]
    fn only_the_first_piece_of_a_word_counts() {
        let sentence =
            TaggedSentence { tokens: words("Rivers Ada"), tags: vec![1, 3], document: 0, topic: None };
        let batch = encode(&[sentence], &tokenizer(), 32).unwrap().batch(&[0]);
        assert_eq!(batch.inputs, Inputs::Tokens { ids: vec![2, 5, 6, 7, 3], lengths: vec![5] });
        assert_eq!(batch.targets, Targets::Tags(vec![IGNORE, 1, IGNORE, 3, IGNORE]));
    }

    #[test]
    fn every_word_is_encoded_and_tagged_however_long_the_sentence() {
        let sentences =
            [words("the rivers ada longer the"), words("ada"), words(""), words(&"the ada ".repeat(40))];
        let wanted: [Vec<u32>; 4] = [vec![0, 1, 3, 2, 0], vec![3], vec![], [0, 3].repeat(40)];
        for tokens_max in [4, 5, 7, 64] {
            let said = predict(&mut ById, &sentences, &tokenizer(), tokens_max).unwrap();
            for (said, wanted) in said.iter().zip(&wanted) {
                assert_eq!(
                    said.iter().map(|choice| choice.label).collect::<Vec<_>>(),
                    *wanted,
                    "{tokens_max}"
                );
            }
            let tagged: Vec<TaggedSentence> = sentences
                .iter()
                .map(|tokens| TaggedSentence {
                    tokens: tokens.clone(),
                    tags: vec![0; tokens.len()],
                    document: 0,
                    topic: None,
                })
                .collect();
            let rows = encode(&tagged, &tokenizer(), tokens_max).unwrap();
            let counted: usize = rows.evaluation_batches(8).map(|(_, batch)| batch.counted()).sum();
            assert_eq!(counted, 86, "{tokens_max}");
        }
        assert!(predict(&mut ById, &sentences, &tokenizer(), 2).is_err());
    }

    #[test]
    fn answers_and_targets_are_found_by_word_whatever_the_rows() {
        let sentences = [words("the rivers ada longer the"), words(""), words("ada \u{1} the")];
        let tagged: Vec<TaggedSentence> = sentences
            .iter()
            .map(|tokens| {
                let tags = (0..tokens.len() as u32).collect();
                TaggedSentence { tokens: tokens.clone(), tags, document: 0, topic: None }
            })
            .collect();
        for tokens_max in [4, 64] {
            let answers = answer(&mut ById, &sentences, &tokenizer(), tokens_max).unwrap();
            assert_eq!(answers.lengths(), [5, 0, 3]);
            let said: Vec<usize> =
                (0..8).map(|unit| answers.unit(unit).iter().position(|p| *p > 0.9).unwrap()).collect();
            assert_eq!(said, [0, 1, 3, 2, 0, 3, 0, 0], "{tokens_max}: the control character has label 0");
            let (rows, numbered) = encode_units(&tagged, &tokenizer(), tokens_max).unwrap();
            assert_eq!(rows, encode(&tagged, &tokenizer(), tokens_max).unwrap());
            let mut met = Vec::new();
            for (row, pairs) in numbered.iter().enumerate() {
                let Targets::Tags(tags) = rows.batch(&[row]).targets else { panic!("tags expected") };
                for (position, word) in pairs {
                    assert_eq!(tags[*position] as usize, if *word < 5 { *word } else { *word - 5 });
                    met.push(*word);
                }
            }
            assert_eq!(met, [0, 1, 2, 3, 4, 5, 7], "{tokens_max}");
        }
    }

    #[test]
    fn an_inside_tag_that_continues_nothing_is_repaired_into_a_beginning() {
        let labels = LabelSet::tagging(["LOC", "PER"]).unwrap();
        let mut said: Vec<WordTag> =
            [2, 2, 4, 0, 1, 2, 3].map(|label| WordTag { label, probability: 1.0 }).to_vec();
        repair(&mut said, &labels);
        assert_eq!(said.iter().map(|choice| choice.label).collect::<Vec<_>>(), [1, 2, 3, 0, 1, 2, 3]);
    }

    #[test]
    fn a_sentence_without_a_tag_per_word_is_refused() {
        let wrong = TaggedSentence { tokens: words("the"), tags: vec![], document: 0, topic: None };
        assert!(encode(&[wrong], &tokenizer(), 32).is_err());
    }
}
