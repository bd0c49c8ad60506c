//! Why a model of text says what it says, word by word.

use serde::Serialize;

use crate::arch::input::Input;
use crate::audit::explain::{Question, explain};
use crate::data::tokenize::tokenizer::{Encoded, Tokenizer};
use crate::error::Result;
use crate::session::Session;

/// How much one word speaks for an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WordShare {
    /// The word as the tokenizer reads it.
    pub word: String,
    /// Its share of the log-probability of the answer; below 0 speaks against it.
    pub share: f64,
}

/// An answer with what speaks for and against it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// The answer.
    pub label: String,
    /// Its probability.
    pub probability: f64,
    /// Its probability when every word is blank.
    pub probability_blank: f64,
    /// Words in order.
    pub words: Vec<WordShare>,
    /// How far the shares miss the change of the log-probability they explain.
    pub gap: f64,
}

/// Explains the class of a text.
///
/// # Errors
/// The model is no encoder that classifies, or the tokenizer fails.
pub fn of_text(
    session: &Session,
    tokenizer: &Tokenizer,
    text: &str,
    tokens_max: usize,
    label: (u32, &str),
) -> Result<Evidence> {
    of_tokens(session, tokenizer, &tokenizer.encode_text(text, tokens_max)?, 0, label)
}

/// Explains the tag of one word of a sentence; nothing where it has no piece or does not fit a row.
///
/// # Errors
/// As [`of_text`], of a model that tags.
pub fn of_word(
    session: &Session,
    tokenizer: &Tokenizer,
    words: &[String],
    word: usize,
    tokens_max: usize,
    label: (u32, &str),
) -> Result<Option<Evidence>> {
    let encoded = tokenizer.encode_words(words, tokens_max)?;
    let Some(place) = encoded.word.iter().position(|own| *own == Some(word as u32)) else { return Ok(None) };
    of_tokens(session, tokenizer, &encoded, place, label).map(Some)
}

fn of_tokens(
    session: &Session,
    tokenizer: &Tokenizer,
    encoded: &Encoded,
    output: usize,
    (label, name): (u32, &str),
) -> Result<Evidence> {
    // What is not part of a word, such as the first token, is there whatever the text says.
    let blank: Vec<u32> = encoded
        .ids
        .iter()
        .zip(&encoded.word)
        .map(|(id, word)| if word.is_some() { tokenizer.pad() } else { *id })
        .collect();
    let lengths = [encoded.ids.len() as u32];
    let row = |ids| Input::Tokens { ids, lengths: &lengths, width: encoded.ids.len() };
    let question = Question { input: row(&encoded.ids), baseline: row(&blank), output, label };
    let found = explain(session.arch(), session.head(), &session.tensors()?, &question)?;
    let mut words: Vec<(u32, WordShare)> = Vec::new();
    for ((id, word), share) in encoded.ids.iter().zip(&encoded.word).zip(&found.shares) {
        let Some(word) = *word else { continue };
        let piece = tokenizer.token(*id).unwrap_or_default();
        match words.last_mut() {
            Some((last, whole)) if *last == word => {
                whole.word.push_str(piece.strip_prefix("##").unwrap_or(&piece));
                whole.share += share;
            }
            _ => words.push((word, WordShare { word: piece, share: *share })),
        }
    }
    Ok(Evidence {
        label: name.to_owned(),
        probability: found.with.exp(),
        probability_blank: found.without.exp(),
        words: words.into_iter().map(|(_, share)| share).collect(),
        gap: found.gap(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::config::{ArchConfig, EncoderConfig, Head};
    use crate::data::example::LabelledText;
    use crate::device::DeviceChoice;
    use crate::seed::Seed;
    use crate::task::classify::encode;

    #[test]
    fn the_word_a_class_hangs_on_has_the_largest_share() {
        let vocabulary = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\nfilm\nwas\ngo\n##od\nbad\n";
        let tokenizer = Tokenizer::from_vocabulary(vocabulary, None, "v").unwrap();
        let arch = ArchConfig::Encoder(EncoderConfig {
            hidden_size: 16,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            intermediate_size: 16,
            ..EncoderConfig::small(tokenizer.vocabulary())
        });
        let head = Head::Classification { labels: 2 };
        let mut session = Session::new(&arch, &head, &DeviceChoice::Cpu, Seed::from_u64(1)).unwrap();
        let text = |text: &str, label| LabelledText { text: text.into(), label, group: None };
        let texts = [text("the film was good", 1), text("the film was bad", 0)];
        let batch = encode(&texts, &tokenizer, 16).unwrap().batch(&[0, 1]);
        for _ in 0..60 {
            session.train_step(&batch, 0.01).unwrap();
        }
        // One of the two words can be the model's default, which blanks say too; the other one carries the difference.
        let asked = [("the film was good", 1, "praise"), ("the film was bad", 0, "blame")];
        let found = asked
            .map(|(text, label, name)| of_text(&session, &tokenizer, text, 16, (label, name)).unwrap())
            .into_iter()
            .max_by(|a, b| b.probability_blank.total_cmp(&a.probability_blank))
            .unwrap();
        assert!(found.probability > 0.9 && found.probability_blank < 0.9, "{found:?}");
        let last = if found.label == "praise" { "good" } else { "bad" };
        let words: Vec<&str> = found.words.iter().map(|word| word.word.as_str()).collect();
        assert_eq!(words, ["the", "film", "was", last]);
        let best = found.words.iter().max_by(|a, b| a.share.total_cmp(&b.share)).unwrap();
        assert_eq!(best.word, last, "{found:?}");
        // This model turns from one class to the other within a hundredth of the way: steps miss it, and the gap says so.
        let shares: f64 = found.words.iter().map(|word| word.share).sum();
        let change = (found.probability / found.probability_blank).ln();
        assert!((shares - change - found.gap).abs() < 1e-6, "{found:?}");
    }
}
