//! The tokenizer: loaded from a file or folder, hashed, used.
//!
//! Wraps the tokenizer library so that a hostile file or an odd text gives an error and never ends the node: files pass
//! [`inspect`], and calls are fenced against panics. Texts are never padded here.

use std::fmt;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde_json::Value;
use tokenizers::{Encoding, InputSequence, PostProcessor, TruncationDirection};

use crate::data::source::check_regular;
use crate::data::tokenize::bert::wordpiece;
use crate::data::tokenize::inspect::{FILE_BYTES_MAX, TOKEN_BYTES_MAX, VOCABULARY_MAX, inspect};
use crate::error::{Error, Result};

/// Longest text that is encoded, in bytes; the rest is cut off.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Names a padding token usually has.
const PAD_NAMES: [&str; 4] = ["[PAD]", "<pad>", "<|pad|>", "<|endoftext|>"];

/// Ids of one text with its special tokens, not padded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Token ids.
    pub ids: Vec<u32>,
    /// For each token the word it is part of; nothing for special tokens.
    pub word: Vec<Option<u32>>,
    /// For each token the text of a pair it is part of, 0 or 1.
    pub types: Vec<u32>,
    /// Words that were encoded; the words after them did not fit.
    pub words: usize,
}

/// Turns words into ids and back.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    json: Vec<u8>,
    hash: [u8; 32],
    pad: u32,
    file: String,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Tokenizer({}, {} tokens)", self.file, self.vocabulary())
    }
}

impl Tokenizer {
    /// Loads from a folder (`tokenizer.json`, else `vocab.txt` with `tokenizer_config.json`) or from one such file.
    ///
    /// # Errors
    /// There is no such file, or it is refused.
    pub fn load(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(|source| Error::io("open", path, source))?;
        if metadata.is_dir() {
            let json = path.join("tokenizer.json");
            if json.exists() {
                return Self::load(&json);
            }
            let vocabulary = path.join("vocab.txt");
            if vocabulary.exists() {
                return Self::load(&vocabulary);
            }
            return Err(Error::Tokenizer {
                file: path.display().to_string(),
                reason: "expected tokenizer.json or vocab.txt in the folder, found neither".into(),
            });
        }
        let bytes = read(path)?;
        let name = path.display().to_string();
        if path.extension().is_some_and(|extension| extension == "json") {
            return Self::from_json(&bytes, &name);
        }
        let lowercase = match path.parent().map(|folder| folder.join("tokenizer_config.json")) {
            Some(config) if config.exists() => stated_lowercase(&config)?,
            _ => None,
        };
        Self::from_vocabulary(&bytes, lowercase, &name)
    }

    /// Loads the bytes of a `tokenizer.json`; `file` is used in messages.
    ///
    /// # Errors
    /// The file is refused by the gate or by the library.
    pub fn from_json(bytes: &[u8], file: &str) -> Result<Self> {
        let failed = |reason: String| Error::Tokenizer { file: file.to_owned(), reason };
        if bytes.len() > FILE_BYTES_MAX {
            return Err(failed(format!("expected at most {FILE_BYTES_MAX} bytes, found {}", bytes.len())));
        }
        let mut root: Value =
            serde_json::from_slice(bytes).map_err(|error| failed(format!("not valid JSON: {error}")))?;
        inspect(&mut root).map_err(failed)?;
        let checked = root.to_string();
        let inner = fence(|| tokenizers::Tokenizer::from_bytes(checked.as_bytes())).map_err(failed)?;
        let json = fence(|| inner.to_string(false)).map_err(failed)?.into_bytes();
        let pad = PAD_NAMES.iter().find_map(|name| inner.token_to_id(name)).unwrap_or(0);
        let hash = *blake3::hash(&json).as_bytes();
        let tokenizer = Self { inner, json, hash, pad, file: file.to_owned() };
        // Whatever else is wrong with a file shows on a few odd texts, before a run depends on it.
        for probe in ["", " ", "a", "Straße 12, 東京\u{301}\u{200b} e\u{0}x \u{10ffff}", &"x".repeat(300)]
        {
            let encoded = tokenizer.encode_text(probe, 64)?;
            tokenizer.decode(&encoded.ids)?;
        }
        Ok(tokenizer)
    }

    /// Builds BERT word pieces from the bytes of a `vocab.txt`, one token per line.
    ///
    /// When the case is not stated it is found out: a vocabulary without a single token with a capital A to Z is
    /// lower-case (symbols such as `ℝ` count as upper case and occur in lower-case vocabularies too).
    ///
    /// # Errors
    /// The list is not text, lacks a special token, holds a token twice, or is refused by the gate.
    pub fn from_vocabulary(bytes: &[u8], lowercase: Option<bool>, file: &str) -> Result<Self> {
        let failed = |reason: String| Error::Tokenizer { file: file.to_owned(), reason };
        let text = std::str::from_utf8(bytes).map_err(|error| {
            failed(format!("expected UTF-8, found other bytes at byte {}", error.valid_up_to()))
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut tokens: Vec<String> = Vec::new();
        for line in text.lines() {
            let token = line.trim_end_matches('\r');
            if token.len() > TOKEN_BYTES_MAX || tokens.len() > VOCABULARY_MAX {
                return Err(failed("expected one token per line; too many or too long lines".into()));
            }
            if token.is_empty() {
                return Err(failed(format!("line {}: expected a token, found none", tokens.len() + 1)));
            }
            tokens.push(token.to_owned());
        }
        let lowercase = lowercase.unwrap_or_else(|| {
            !tokens
                .iter()
                .any(|token| !token.starts_with('[') && token.bytes().any(|byte| byte.is_ascii_uppercase()))
        });
        let root = wordpiece(&tokens, lowercase).map_err(failed)?;
        Self::from_json(root.to_string().as_bytes(), file)
    }

    /// blake3 of the canonical file: equal on all nodes that tokenize alike.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The canonical `tokenizer.json`.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// Writes `tokenizer.json` into a folder.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join("tokenizer.json");
        fs::write(&path, &self.json).map_err(|source| Error::io("write", &path, source))
    }

    /// Ids a model must know: one more than the largest.
    pub fn vocabulary(&self) -> usize {
        let largest = self.inner.get_vocab(true).into_values().max();
        largest.map_or(0, |id| id as usize + 1)
    }

    /// The id that fills short rows; 0 where the tokenizer has none (it is masked in any case).
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// The id of a token.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Encodes words, with special tokens, into at most `tokens_max` tokens, cut between words where possible.
    ///
    /// # Errors
    /// There is no room for special tokens and one more, or the library fails.
    pub fn encode_words(&self, words: &[String], tokens_max: usize) -> Result<Encoded> {
        let room = self.room(tokens_max, false)?;
        // A token comes from at least one word at most: words far beyond the room need not be looked at, except those
        // that give no token at all, which are rare.
        let looked = words.len().min(room.saturating_mul(4).saturating_add(64));
        let input: Vec<String> = words[..looked].iter().map(|word| cut(word).to_owned()).collect();
        let mut encoding = self.encode(InputSequence::from(input))?;
        let mut covered = looked;
        if encoding.len() > room {
            let of = encoding.get_word_ids();
            let mut end = room;
            while end > 0 && of[end] == of[end - 1] {
                end -= 1;
            }
            // One word longer than the whole room is cut inside and counts as encoded.
            covered = of[if end == 0 { room - 1 } else { end }].map_or(looked, |word| word as usize);
            if end == 0 {
                end = room;
                covered += 1;
            }
            encoding.truncate(end, 0, TruncationDirection::Right);
        }
        self.finish(encoding, None, covered)
    }

    /// Encodes a text, with special tokens, into at most `tokens_max` tokens.
    ///
    /// # Errors
    /// There is no room for special tokens and one more, or the library fails.
    pub fn encode_text(&self, text: &str, tokens_max: usize) -> Result<Encoded> {
        let room = self.room(tokens_max, false)?;
        let mut encoding = self.encode(InputSequence::from(cut(text)))?;
        if encoding.len() > room {
            encoding.truncate(room, 0, TruncationDirection::Right);
        }
        let words = words_of(&encoding);
        self.finish(encoding, None, words)
    }

    /// Encodes a text without special tokens, for a model that continues it.
    ///
    /// # Errors
    /// The library fails.
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.encode(InputSequence::from(cut(text)))?.get_ids().to_vec())
    }

    /// Encodes two texts as one sequence, shortening the longer one until both fit into `tokens_max` tokens.
    ///
    /// # Errors
    /// There is no room for special tokens and two more, or the library fails.
    pub fn encode_pair(&self, first: &str, second: &str, tokens_max: usize) -> Result<Encoded> {
        let room = self.room(tokens_max, true)?;
        let mut a = self.encode(InputSequence::from(cut(first)))?;
        let mut b = self.encode(InputSequence::from(cut(second)))?;
        if a.len() + b.len() > room {
            let half = room / 2;
            let (a_length, b_length) = match (a.len() > half, b.len() > room - half) {
                (true, true) => (half, room - half),
                (true, false) => (room - b.len(), b.len()),
                _ => (a.len(), room - a.len()),
            };
            a.truncate(a_length, 0, TruncationDirection::Right);
            b.truncate(b_length, 0, TruncationDirection::Right);
        }
        let words = words_of(&a) + words_of(&b);
        self.finish(a, Some(b), words)
    }

    /// The text of ids, without special tokens.
    ///
    /// # Errors
    /// The library fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        fence(|| self.inner.decode(ids, true)).map_err(|reason| self.failed(reason))
    }

    fn encode(&self, input: InputSequence<'_>) -> Result<Encoding> {
        fence(|| self.inner.encode(input, false)).map_err(|reason| self.failed(reason))
    }

    fn finish(&self, first: Encoding, second: Option<Encoding>, words: usize) -> Result<Encoded> {
        let full =
            fence(|| self.inner.post_process(first, second, true)).map_err(|reason| self.failed(reason))?;
        let special = full.get_special_tokens_mask();
        let word = full
            .get_word_ids()
            .iter()
            .zip(special)
            .map(|(word, special)| word.filter(|_| *special == 0))
            .collect();
        Ok(Encoded { ids: full.get_ids().to_vec(), word, types: full.get_type_ids().to_vec(), words })
    }

    /// Tokens left beside the special ones.
    fn room(&self, tokens_max: usize, pair: bool) -> Result<usize> {
        let special = self.inner.get_post_processor().map_or(0, |part| part.added_tokens(pair));
        tokens_max.checked_sub(special).filter(|room| *room > usize::from(pair)).ok_or_else(|| {
            Error::config(
                "tokens_max",
                format!("expected more than the {special} special tokens, found {tokens_max}"),
            )
        })
    }

    fn failed(&self, reason: String) -> Error {
        Error::Tokenizer { file: self.file.clone(), reason }
    }
}

/// Words that gave at least one token.
fn words_of(encoding: &Encoding) -> usize {
    encoding.get_word_ids().iter().flatten().max().map_or(0, |word| *word as usize + 1)
}

/// The beginning of a text that is not too long, at a letter's end.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Calls the library; a panic becomes an error.
fn fence<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(format!("the tokenizer library refused it: {error}")),
        Err(_) => Err("the tokenizer library failed on it; the file is damaged or hostile".into()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    check_regular(path)?;
    let length = fs::metadata(path).map_err(|source| Error::io("open", path, source))?.len();
    if length > FILE_BYTES_MAX as u64 {
        return Err(Error::Tokenizer {
            file: path.display().to_string(),
            reason: format!("expected at most {FILE_BYTES_MAX} bytes, found {length}"),
        });
    }
    fs::read(path).map_err(|source| Error::io("read", path, source))
}

/// `do_lower_case` of a `tokenizer_config.json`.
fn stated_lowercase(path: &Path) -> Result<Option<bool>> {
    let config: Value = serde_json::from_slice(&read(path)?).map_err(|error| Error::Tokenizer {
        file: path.display().to_string(),
        reason: format!("not valid JSON: {error}"),
    })?;
    Ok(config.get("do_lower_case").and_then(Value::as_bool))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: &str =
        "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nriver\n##s\nfalls\nlong\n##er\na\n##b\n##c\n.\n";

    fn tokenizer() -> Tokenizer {
        Tokenizer::from_vocabulary(VOCABULARY.as_bytes(), None, "vocab.txt").unwrap()
    }

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn words_become_pieces_that_know_their_word() {
        let encoded = tokenizer().encode_words(&words(&["The", "rivers", "??"]), 32).unwrap();
        assert_eq!(encoded.ids, [2, 5, 6, 7, 1, 1, 3]);
        assert_eq!(encoded.word, [None, Some(0), Some(1), Some(1), Some(2), Some(2), None]);
        assert_eq!(encoded.words, 3);
    }

    #[test]
    fn a_long_sentence_is_cut_between_words() {
        let tokenizer = tokenizer();
        let encoded = tokenizer.encode_words(&words(&["the", "rivers", "falls"]), 4).unwrap();
        // Room for two: `rivers` needs two and does not fit after `the`.
        assert_eq!((encoded.ids.as_slice(), encoded.words), (&[2, 5, 3][..], 1));
        let encoded = tokenizer.encode_words(&words(&["abc", "the"]), 4).unwrap();
        assert_eq!((encoded.ids.len(), encoded.words), (4, 1));
        assert!(tokenizer.encode_words(&words(&["the"]), 2).is_err());
        assert_eq!(tokenizer.encode_words(&[], 8).unwrap().ids, [2, 3]);
    }

    #[test]
    fn a_pair_marks_its_second_text_and_shortens_the_longer_one() {
        let tokenizer = tokenizer();
        let encoded = tokenizer.encode_pair("the river", "falls .", 32).unwrap();
        assert_eq!(encoded.ids, [2, 5, 6, 3, 8, 14, 3]);
        assert_eq!(encoded.types, [0, 0, 0, 0, 1, 1, 1]);
        let encoded = tokenizer.encode_pair("the", "the the the the the the", 8).unwrap();
        assert_eq!(encoded.ids, [2, 5, 3, 5, 5, 5, 5, 3]);
        let encoded = tokenizer.encode_pair("the the the the", "the the the the", 8).unwrap();
        assert_eq!(encoded.ids.len(), 8);
    }

    #[test]
    fn case_is_found_out_from_the_vocabulary() {
        let cased = VOCABULARY.replace("the\n", "The\n");
        let cased = Tokenizer::from_vocabulary(cased.as_bytes(), None, "v").unwrap();
        assert_eq!(cased.encode_words(&words(&["The", "the"]), 9).unwrap().ids, [2, 5, 1, 3]);
        assert_eq!(tokenizer().decode(&[2, 5, 6, 7, 3]).unwrap(), "the rivers");
    }

    #[test]
    fn a_saved_tokenizer_loads_back_with_the_same_hash() {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = tokenizer();
        tokenizer.save(folder.path()).unwrap();
        let again = Tokenizer::load(folder.path()).unwrap();
        assert_eq!(again.hash(), tokenizer.hash());
        assert_eq!((again.pad(), again.vocabulary()), (0, 15));
    }

    #[test]
    fn a_folder_of_the_old_form_is_read_with_its_stated_case() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Tokenizer::load(folder.path()).unwrap_err().to_string().contains("found neither"));
        fs::write(folder.path().join("vocab.txt"), VOCABULARY).unwrap();
        fs::write(folder.path().join("tokenizer_config.json"), r#"{"do_lower_case": false}"#).unwrap();
        let tokenizer = Tokenizer::load(folder.path()).unwrap();
        assert_eq!(tokenizer.encode_words(&words(&["The"]), 9).unwrap().ids, [2, 1, 3]);
    }

    #[test]
    fn a_fixed_padding_in_the_file_does_not_pad() {
        let mut root: Value = serde_json::from_slice(tokenizer().json()).unwrap();
        root["padding"] = serde_json::json!({"strategy": {"Fixed": 128}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"});
        let loaded = Tokenizer::from_json(root.to_string().as_bytes(), "t").unwrap();
        assert_eq!(loaded.encode_text("the river", 64).unwrap().ids.len(), 4);
        assert_eq!(loaded.hash(), tokenizer().hash());
    }

    #[test]
    fn rubbish_gives_an_error_and_never_ends_the_process() {
        let json = String::from_utf8(tokenizer().json().to_vec()).unwrap();
        let cuts = (0..json.len()).step_by(97).filter(|end| json.is_char_boundary(*end));
        for end in cuts {
            assert!(Tokenizer::from_json(&json.as_bytes()[..end], "t").is_err());
        }
        for text in [
            "",
            "null",
            "{}",
            r#"{"model":{}}"#,
            r#"{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a","a"]]}}"#,
        ] {
            assert!(Tokenizer::from_json(text.as_bytes(), "t").is_err(), "{text}");
        }
    }
}
