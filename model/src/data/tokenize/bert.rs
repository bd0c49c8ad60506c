//! A `tokenizer.json` text for BERT's word pieces, from a list of tokens.
//!
//! Makes the file that the usual converters make from a `vocab.txt`: BERT's normalizer and pre-tokenizer, word pieces
//! with `##`, `[CLS]` and `[SEP]` around every text. It does not load it.

use serde_json::{Map, Value, json};

/// Special tokens, in the order a trained vocabulary begins with.
pub const SPECIALS: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Builds the file from tokens in id order.
///
/// # Errors
/// A special token is missing or a token is doubled.
pub fn wordpiece(tokens: &[String], lowercase: bool) -> Result<Value, String> {
    let mut vocabulary = Map::new();
    for (id, token) in tokens.iter().enumerate() {
        if vocabulary.insert(token.clone(), id.into()).is_some() {
            let token: String = token.chars().take(40).flat_map(char::escape_debug).collect();
            return Err(format!("line {}: token `{token}` is listed twice", id + 1));
        }
    }
    let mut added = Vec::new();
    for special in SPECIALS {
        match vocabulary.get(special) {
            Some(id) => added.push(json!({
                "id": id, "content": special, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true
            })),
            None if special == "[MASK]" => {}
            None => {
                return Err(format!("expected a token `{special}`, found none; is this a BERT vocabulary?"));
            }
        }
    }
    added.sort_by_key(|token| token["id"].as_u64());
    let special = |name: &str| json!({"id": name, "ids": [vocabulary[name]], "tokens": [name]});
    let around = |name: &str, kind: u32| json!({"SpecialToken": {"id": name, "type_id": kind}});
    let sequence = |name: &str, kind: u32| json!({"Sequence": {"id": name, "type_id": kind}});
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": lowercase
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [around("[CLS]", 0), sequence("A", 0), around("[SEP]", 0)],
            "pair": [
                around("[CLS]", 0), sequence("A", 0), around("[SEP]", 0), sequence("B", 1), around("[SEP]", 1)
            ],
            "special_tokens": {"[CLS]": special("[CLS]"), "[SEP]": special("[SEP]")}
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary
        }
    }))
}

/// Builds the file of a byte-level BPE from tokens in id order (specials first) and merges in rank order.
pub fn byte_level(tokens: &[String], merges: &[(String, String)]) -> Value {
    let vocabulary: Map<String, Value> =
        tokens.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect();
    let added: Vec<Value> = SPECIALS
        .iter()
        .filter_map(|special| {
            vocabulary.get(*special).map(|id| {
                json!({
                    "id": id, "content": special, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true
                })
            })
        })
        .collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "post_processor": {
            "type": "BertProcessing", "sep": ["[SEP]", vocabulary["[SEP]"]], "cls": ["[CLS]", vocabulary["[CLS]"]]
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary,
            "merges": merges.iter().map(|(left, right)| json!([left, right])).collect::<Vec<_>>()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vocabulary_without_specials_or_with_a_double_is_refused() {
        let tokens = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(wordpiece(&tokens(&["a", "b"]), true).unwrap_err().contains("[PAD]"));
        let doubled = tokens(&["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "a"]);
        assert!(wordpiece(&doubled, true).unwrap_err().contains("line 6"));
        assert!(wordpiece(&doubled[..5], true).is_ok());
    }
}
