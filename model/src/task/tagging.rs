//! Tagging: a label per word, read off the first token of the word.

use crate::data::batch::IGNORE;
use crate::data::dataset::Dataset;
use crate::data::example::TaggedSentence;
use crate::data::labels::LabelSet;
use crate::data::tokenize::tokenizer::Tokenizer;
use crate::error::Result;
use crate::eval::report::Report;
use crate::eval::tagging::{Matching, Scorer};
use crate::session::Session;

/// Rows in one batch while predicting: enough to keep the cores busy, small enough for any model here.
const ROWS: usize = 64;

/// One row per sentence: the first token of a word bears its tag, every other token none.
///
/// Words beyond `tokens_max` are cut off.
pub fn encode(sentences: &[TaggedSentence], tokenizer: &Tokenizer, tokens_max: usize) -> Result<Dataset> {
    let mut dataset = Dataset::tagged(tokenizer.pad());
    for sentence in sentences {
        let encoded = tokenizer.encode_words(&sentence.tokens, tokens_max)?;
        let tags: Vec<i32> = first_tokens(&encoded.word)
            .map(|word| word.and_then(|w| sentence.tags.get(w as usize)).map_or(IGNORE, |tag| *tag as i32))
            .collect();
        dataset.push_tagged(&encoded.ids, &tags)?;
    }
    Ok(dataset)
}

/// For each token the word it begins; nothing for special tokens and the later tokens of a word.
fn first_tokens(words: &[Option<u32>]) -> impl Iterator<Item = Option<u32>> + '_ {
    let mut last = None;
    words.iter().map(move |word| {
        let begins = word.is_some() && *word != last;
        last = *word;
        if begins { *word } else { None }
    })
}

/// What the model says of one word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WordTag {
    /// The label.
    pub tag: u32,
    /// Its probability, 0 to 1; 0 for words that did not fit.
    pub probability: f32,
}

/// Tags sentences of words. Words that did not fit into `tokens_max` tokens are outside (label 0).
pub fn predict(
    session: &mut Session,
    sentences: &[Vec<String>],
    tokenizer: &Tokenizer,
    tokens_max: usize,
) -> Result<Vec<Vec<WordTag>>> {
    let labels = session.head().labels();
    let mut rows = Dataset::unlabelled(tokenizer.pad());
    let mut words = Vec::with_capacity(sentences.len());
    for sentence in sentences {
        let encoded = tokenizer.encode_words(sentence, tokens_max)?;
        rows.push_classified(&encoded.ids, None)?;
        words.push(encoded.word);
    }
    let outside = WordTag { tag: 0, probability: 0.0 };
    let mut said: Vec<Vec<WordTag>> = sentences.iter().map(|s| vec![outside; s.len()]).collect();
    for (chosen, batch) in rows.evaluation_batches(ROWS) {
        let logits = session.logits(&batch)?; // (rows, width, labels)
        for (place, sentence) in chosen.into_iter().enumerate() {
            for (token, word) in first_tokens(&words[sentence]).enumerate() {
                let Some(word) = word else { continue };
                let start = (place * batch.width + token) * labels;
                if let Some(slot) = said[sentence].get_mut(word as usize) {
                    *slot = strongest(&logits[start..start + labels]);
                }
            }
        }
    }
    Ok(said)
}

/// The largest of some logits, with its softmax.
pub(crate) fn strongest(logits: &[f32]) -> WordTag {
    let mut best = 0;
    for (place, value) in logits.iter().enumerate() {
        if *value > logits[best] {
            best = place;
        }
    }
    let sum: f32 = logits.iter().map(|x| (x - logits[best]).exp()).sum();
    WordTag { tag: best as u32, probability: 1.0 / sum }
}

/// Scores the model on tagged sentences, as seqeval does.
pub fn evaluate(
    session: &mut Session,
    sentences: &[TaggedSentence],
    labels: &LabelSet,
    tokenizer: &Tokenizer,
    tokens_max: usize,
    matching: Matching,
) -> Result<Report> {
    let words: Vec<Vec<String>> = sentences.iter().map(|s| s.tokens.clone()).collect();
    let said = predict(session, &words, tokenizer, tokens_max)?;
    let mut scorer = Scorer::new(labels, matching);
    for (sentence, said) in sentences.iter().zip(said) {
        let tags: Vec<u32> = said.iter().map(|word| word.tag).collect();
        scorer.add(&sentence.tags, &tags)?;
    }
    Ok(scorer.report())
}
