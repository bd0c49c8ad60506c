//! Language modelling: passages to rows of tokens whose target is the next token.
//!
//! All passages stand one behind the other, and the whole is cut into rows of equal length; a row's last target is the
//! next row's first token, so that every token but the first is predicted once.

use crate::data::dataset::Dataset;
use crate::data::example::Passage;
use crate::data::tokenize::tokenizer::Tokenizer;
use crate::error::{Error, Result};

/// What stands between two passages.
const BETWEEN: &str = "\n\n";
/// Bytes encoded at once.
const CHUNK_BYTES: usize = 1 << 16;

/// Rows, and how many bytes of text their targets stand for.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// Rows with a target per token.
    pub rows: Dataset,
    /// Bytes of text behind the targets: for a measure that does not depend on the tokenizer.
    pub bytes: u64,
}

/// Encodes passages into rows of at most `tokens_max` tokens.
///
/// # Errors
/// The tokenizer fails or `tokens_max` is 0.
pub fn encode(passages: &[Passage], tokenizer: &Tokenizer, tokens_max: usize) -> Result<Encoded> {
    if tokens_max == 0 {
        return Err(Error::config("tokens_max", "expected at least 1 token in a row, found 0"));
    }
    let (mut ids, mut bytes) = (Vec::new(), 0_u64);
    let mut chunk = String::new();
    for (number, passage) in passages.iter().enumerate() {
        if number > 0 {
            chunk.push_str(BETWEEN);
        }
        if chunk.len() > CHUNK_BYTES {
            bytes += chunk.len() as u64;
            ids.extend(tokenizer.encode_plain(&chunk)?);
            chunk.clear();
        }
        chunk.push_str(&passage.text);
    }
    bytes += chunk.len() as u64;
    ids.extend(tokenizer.encode_plain(&chunk)?);
    let mut rows = Dataset::tagged(tokenizer.pad());
    let predicted = ids.len().saturating_sub(1);
    for start in (0..predicted).step_by(tokens_max) {
        let end = (start + tokens_max).min(predicted);
        let targets: Vec<i32> = ids[start + 1..=end].iter().map(|id| *id as i32).collect();
        rows.push_tagged(&ids[start..end], &targets)?;
    }
    Ok(Encoded { rows, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::batch::{Inputs, Targets};
    use crate::data::tokenize::train::{TrainOptions, train_bpe};

    #[test]
    fn every_token_but_the_first_is_predicted_once() {
        let options = TrainOptions { vocabulary: 261, ..TrainOptions::default() };
        let tokenizer = train_bpe(["a b"], &options).unwrap();
        let passage = |text: &str| Passage { text: text.into(), topic: None };
        let encoded = encode(&[passage("abcdef"), passage("gh")], &tokenizer, 4).unwrap();
        let whole = tokenizer.encode_plain("abcdef\n\ngh").unwrap();
        assert_eq!(encoded.bytes, 10);
        let (mut read, mut wanted) = (Vec::new(), Vec::new());
        for row in 0..encoded.rows.len() {
            let batch = encoded.rows.batch(&[row]);
            let (Inputs::Tokens { ids, .. }, Targets::Tags(tags)) = (batch.inputs, batch.targets) else {
                panic!("token rows expected")
            };
            assert!(ids.len() <= 4 && ids.len() == tags.len());
            read.extend(ids);
            wanted.extend(tags.into_iter().map(|tag| tag as u32));
        }
        assert_eq!((&read[..], &wanted[..]), (&whole[..whole.len() - 1], &whole[1..]));
        assert!(encode(&[], &tokenizer, 4).unwrap().rows.is_empty());
        assert!(encode(&[], &tokenizer, 0).is_err());
    }
}
