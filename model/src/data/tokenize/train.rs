//! Training a tokenizer on a corpus in memory.
//!
//! Texts are cut into words exactly as the finished tokenizer will cut them; the pieces are learned by
//! [`learn`]. Equal corpora and options give equal files, in every process and on every platform; the order of the
//! texts does not matter.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
};

use crate::data::tokenize::bert::{SPECIALS, byte_level, wordpiece};
use crate::data::tokenize::pieces::{Learning, Pieces, learn};
use crate::data::tokenize::tokenizer::Tokenizer;
use crate::error::{Error, Result};

/// Letters a vocabulary has room for, however small it is; Chinese needs more, and a larger vocabulary.
const LETTERS_MIN: usize = 1000;

/// What to train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainOptions {
    /// Tokens in the vocabulary, with the special ones.
    pub vocabulary: usize,
    /// Whether upper and lower case are one (word pieces only).
    pub lowercase: bool,
    /// A pair of pieces met less often is not joined.
    pub count_min: u64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self { vocabulary: 2000, lowercase: false, count_min: 2 }
    }
}

/// Trains BERT word pieces.
///
/// # Errors
/// The corpus has no words, or the vocabulary is too small for the special tokens and the letters.
pub fn train_wordpiece<'a>(
    corpus: impl IntoIterator<Item = &'a str>,
    options: &TrainOptions,
) -> Result<Tokenizer> {
    let normalizer = BertNormalizer::new(true, true, None, options.lowercase);
    let words = count(corpus, |text| {
        let mut normal = NormalizedString::from(text);
        normalizer.normalize(&mut normal)?;
        let mut cut = PreTokenizedString::from(normal);
        BertPreTokenizer.pre_tokenize(&mut cut)?;
        Ok(cut)
    })?;
    let pieces = learn_pieces(&words, &[], "##", options)?;
    let tokens: Vec<String> = SPECIALS.iter().map(|name| (*name).to_owned()).chain(pieces.tokens).collect();
    let file = wordpiece(&tokens, options.lowercase).map_err(failed)?;
    Tokenizer::from_json(file.to_string().as_bytes(), "(trained)")
}

/// Trains a byte-level BPE, which knows every text.
///
/// # Errors
/// The corpus has no words, or the vocabulary is too small for the special tokens and the 256 bytes.
pub fn train_bpe<'a>(corpus: impl IntoIterator<Item = &'a str>, options: &TrainOptions) -> Result<Tokenizer> {
    let cutter = ByteLevel::new(true, true, true);
    let words = count(corpus, |text| {
        let mut cut = PreTokenizedString::from(text);
        cutter.pre_tokenize(&mut cut)?;
        Ok(cut)
    })?;
    let mut letters: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    letters.sort_unstable(); // the library gives them in hash order
    let pieces = learn_pieces(&words, &letters, "", options)?;
    let tokens: Vec<String> = SPECIALS.iter().map(|name| (*name).to_owned()).chain(pieces.tokens).collect();
    Tokenizer::from_json(byte_level(&tokens, &pieces.merges).to_string().as_bytes(), "(trained)")
}

fn count<'a>(
    corpus: impl IntoIterator<Item = &'a str>,
    cut: impl Fn(&str) -> tokenizers::Result<PreTokenizedString>,
) -> Result<BTreeMap<String, u64>> {
    let mut words: BTreeMap<String, u64> = BTreeMap::new();
    for text in corpus {
        let cut = cut(text).map_err(|error| failed(error.to_string()))?;
        for (word, _, _) in cut.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
            match words.get_mut(word) {
                Some(count) => *count += 1,
                None => drop(words.insert(word.to_owned(), 1)),
            }
        }
    }
    if words.is_empty() {
        return Err(failed("the corpus to train on has no words".into()));
    }
    Ok(words)
}

fn learn_pieces(
    words: &BTreeMap<String, u64>,
    letters: &[char],
    prefix: &'static str,
    options: &TrainOptions,
) -> Result<Pieces> {
    let room = options.vocabulary.saturating_sub(SPECIALS.len());
    let how = Learning {
        tokens_max: room,
        count_min: options.count_min,
        letters_max: (room / 2).max(LETTERS_MIN),
        prefix,
    };
    let pieces = learn(words, letters, &how);
    if pieces.tokens.len() > room {
        return Err(Error::config(
            "vocabulary",
            format!(
                "expected at least {} tokens for the letters of the corpus, found {}",
                pieces.tokens.len() + SPECIALS.len(),
                options.vocabulary
            ),
        ));
    }
    Ok(pieces)
}

fn failed(reason: String) -> Error {
    Error::Tokenizer { file: "(trained)".into(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORPUS: [&str; 4] = [
        "The council met in Aldermoor on Monday.",
        "the council of Aldermoor voted; the motion was carried.",
        "Voting in Aldermoor: 12 for, 3 against.",
        "Café owners met the council.",
    ];

    #[test]
    fn equal_corpora_give_equal_files_whatever_the_order_of_texts() {
        let options = TrainOptions { vocabulary: 150, ..TrainOptions::default() };
        let first = train_wordpiece(CORPUS, &options).unwrap();
        let turned = train_wordpiece(CORPUS.iter().rev().copied(), &options).unwrap();
        assert_eq!(first.hash(), turned.hash());
        let bytes = TrainOptions { vocabulary: 300, ..options };
        assert_eq!(
            train_bpe(CORPUS, &bytes).unwrap().hash(),
            train_bpe(CORPUS.iter().rev().copied(), &bytes).unwrap().hash()
        );
    }

    /// The hash is of a file, so it is the same in every process and on every platform; a change of the trainer or of
    /// the tokenizer library's file format shows here first.
    #[test]
    fn a_trained_file_has_the_hash_it_had_before() {
        let options = TrainOptions { vocabulary: 150, ..TrainOptions::default() };
        let hash = train_wordpiece(CORPUS, &options).unwrap().hash();
        assert_eq!(hash[..8], [0x9a, 0x3b, 0x6e, 0x8c, 0xb3, 0x74, 0x93, 0xcd]);
    }

    #[test]
    fn trained_pieces_cut_known_words_whole_and_unknown_ones_into_parts() {
        let tokenizer =
            train_wordpiece(CORPUS, &TrainOptions { vocabulary: 400, ..Default::default() }).unwrap();
        let words: Vec<String> = ["council", "counted"].map(str::to_owned).to_vec();
        let encoded = tokenizer.encode_words(&words, 32).unwrap();
        assert_eq!(encoded.word.iter().filter(|word| **word == Some(0)).count(), 1);
        assert!(encoded.word.iter().filter(|word| **word == Some(1)).count() > 1);
    }

    #[test]
    fn bytes_give_any_text_back() {
        let tokenizer = train_bpe(CORPUS, &TrainOptions { vocabulary: 300, ..Default::default() }).unwrap();
        let encoded = tokenizer.encode_text("Zürich 東京 🙂", 64).unwrap();
        assert_eq!(tokenizer.decode(&encoded.ids).unwrap().trim(), "Zürich 東京 🙂");
    }

    #[test]
    fn an_empty_corpus_and_a_vocabulary_without_room_are_refused() {
        assert!(train_wordpiece([], &TrainOptions::default()).is_err());
        assert!(train_wordpiece(["  "], &TrainOptions::default()).is_err());
        let small = TrainOptions { vocabulary: 10, ..TrainOptions::default() };
        assert!(train_wordpiece(CORPUS, &small).unwrap_err().to_string().contains("expected at least"));
    }
}
