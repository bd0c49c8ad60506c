//! The gate a `tokenizer.json` passes before the tokenizer library sees it.
//!
//! The file may come from a stranger, and the library trusts it: some contents make it panic, allocate without bound or
//! search for ever. Each such content is refused here with a reason; settings that would make encoding depend on chance
//! or on a fixed length are reset. It does not judge whether a tokenizer is a good one.

use std::collections::BTreeSet;

use serde_json::Value;

/// Largest file, in bytes.
pub const FILE_BYTES_MAX: usize = 64 << 20;
/// Most tokens in a vocabulary.
pub const VOCABULARY_MAX: usize = 1 << 21;
/// Longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4096;
/// Longest regular expression, in bytes.
pub const PATTERN_BYTES_MAX: usize = 2048;
/// Most growth that all replacements of a normalizer may cause together.
const GROWTH_MAX: usize = 64;

/// Checks a tokenizer file and resets padding, truncation and dropout.
///
/// # Errors
/// The reason why the file is refused.
pub fn inspect(root: &mut Value) -> Result<(), String> {
    if !root.is_object() {
        return Err("expected a JSON object with a `model`".into());
    }
    let ids = check_model(root.get("model"), root.get("added_tokens"))?;
    check_post_processor(root.get("post_processor"), &ids)?;
    let mut growth = 1;
    for part in ["normalizer", "pre_tokenizer", "post_processor", "decoder"] {
        if let Some(value) = root.get(part) {
            check_part(part, value, &mut growth)?;
        }
    }
    // A fixed padding of 128 (as some packages carry) would waste most of every batch; batches pad themselves.
    root["padding"] = Value::Null;
    root["truncation"] = Value::Null;
    if root["model"].get("dropout").is_some() {
        root["model"]["dropout"] = Value::Null;
    }
    Ok(())
}

/// Ids in use.
struct Ids {
    known: BTreeSet<u64>,
}

fn check_model(model: Option<&Value>, added: Option<&Value>) -> Result<Ids, String> {
    let model = model.filter(|model| model.is_object()).ok_or("expected a `model`, found none")?;
    let kind = model.get("type").and_then(Value::as_str).unwrap_or_else(|| {
        // Files of the oldest form do not say.
        if model.get("merges").is_some() { "BPE" } else { "WordPiece" }
    });
    let mut ids = Ids { known: BTreeSet::new() };
    match kind {
        "WordPiece" | "WordLevel" | "BPE" => check_vocabulary(model, &mut ids)?,
        "Unigram" => check_unigram(model, &mut ids)?,
        other => {
            return Err(format!(
                "expected a model WordPiece, BPE, WordLevel or Unigram, found `{}`",
                short(other)
            ));
        }
    }
    let vocabulary = model.get("vocab").and_then(Value::as_object);
    let holds = |token: &str| vocabulary.is_some_and(|vocabulary| vocabulary.contains_key(token));
    if let Some(unknown) = model.get("unk_token").and_then(Value::as_str)
        && !holds(unknown)
    {
        return Err(format!("the unknown token `{}` is not in the vocabulary", short(unknown)));
    }
    if kind == "WordPiece" && model.get("unk_token").and_then(Value::as_str).is_none() && !holds("[UNK]") {
        return Err("expected an unknown token `[UNK]` in the vocabulary, found none".into());
    }
    if let Some(longest) = model.get("max_input_chars_per_word")
        && longest.as_u64().is_none_or(|longest| longest > 10_000)
    {
        return Err(format!("max_input_chars_per_word: expected at most 10000, found {longest}"));
    }
    if kind == "BPE" {
        check_merges(model, &holds)?;
    }
    check_added(added, vocabulary, &mut ids)?;
    let entries = ids.known.len() as u64;
    let largest = ids.known.last().copied().unwrap_or(0);
    // Models size their tables by the largest id: one id of 2^32 would ask for terabytes.
    if largest >= 2 * entries + 1024 {
        return Err(format!("expected ids without large gaps, found id {largest} among {entries} tokens"));
    }
    Ok(ids)
}

fn check_vocabulary(model: &Value, ids: &mut Ids) -> Result<(), String> {
    let vocabulary =
        model.get("vocab").and_then(Value::as_object).ok_or("expected a vocabulary of token: id")?;
    if vocabulary.is_empty() || vocabulary.len() > VOCABULARY_MAX {
        return Err(format!("expected 1 to {VOCABULARY_MAX} tokens, found {}", vocabulary.len()));
    }
    for (token, id) in vocabulary {
        check_token(token)?;
        let id = id
            .as_u64()
            .filter(|id| *id < u64::from(u32::MAX))
            .ok_or_else(|| format!("token `{}`: expected an id below 2^32, found {id}", short(token)))?;
        if !ids.known.insert(id) {
            return Err(format!("token `{}`: id {id} is given twice", short(token)));
        }
    }
    Ok(())
}

fn check_unigram(model: &Value, ids: &mut Ids) -> Result<(), String> {
    let pieces = model.get("vocab").and_then(Value::as_array).ok_or("expected a list of [token, score]")?;
    if pieces.is_empty() || pieces.len() > VOCABULARY_MAX {
        return Err(format!("expected 1 to {VOCABULARY_MAX} tokens, found {}", pieces.len()));
    }
    for (id, piece) in pieces.iter().enumerate() {
        let token = piece.get(0).and_then(Value::as_str).ok_or("expected a list of [token, score]")?;
        piece
            .get(1)
            .and_then(Value::as_f64)
            .filter(|score| score.is_finite())
            .ok_or("expected finite scores")?;
        check_token(token)?;
        ids.known.insert(id as u64);
    }
    let unknown = model.get("unk_id").and_then(Value::as_u64).ok_or("expected an `unk_id`, found none")?;
    if unknown >= pieces.len() as u64 {
        return Err(format!("unk_id: expected below {}, found {unknown}", pieces.len()));
    }
    Ok(())
}

fn check_token(token: &str) -> Result<(), String> {
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
        return Err(format!("expected tokens of 1 to {TOKEN_BYTES_MAX} bytes, found one of {}", token.len()));
    }
    Ok(())
}

/// Every merge must join two tokens into a third: the library indexes by that without looking.
fn check_merges(model: &Value, holds: &impl Fn(&str) -> bool) -> Result<(), String> {
    let prefix = model.get("continuing_subword_prefix").and_then(Value::as_str).unwrap_or("");
    let merges = model.get("merges").and_then(Value::as_array).ok_or("expected a list of merges")?;
    if merges.len() > VOCABULARY_MAX {
        return Err(format!("expected at most {VOCABULARY_MAX} merges, found {}", merges.len()));
    }
    for (rank, merge) in merges.iter().enumerate() {
        let pair = match merge {
            Value::String(text) => text.split_once(' '),
            Value::Array(items) if items.len() == 2 => items[0].as_str().zip(items[1].as_str()),
            _ => None,
        };
        let (left, right) = pair.ok_or_else(|| format!("merge {rank}: expected two tokens"))?;
        let joined = format!("{left}{}", right.strip_prefix(prefix).unwrap_or(right));
        for token in [left, right, &joined] {
            if !holds(token) {
                return Err(format!("merge {rank}: `{}` is not in the vocabulary", short(token)));
            }
        }
    }
    Ok(())
}

fn check_added(
    added: Option<&Value>,
    vocabulary: Option<&serde_json::Map<String, Value>>,
    ids: &mut Ids,
) -> Result<(), String> {
    let Some(added) = added.filter(|added| !added.is_null()) else { return Ok(()) };
    let tokens = added.as_array().ok_or("added_tokens: expected a list")?;
    if tokens.len() > 100_000 {
        return Err(format!("expected at most 100000 added tokens, found {}", tokens.len()));
    }
    for token in tokens {
        let content =
            token.get("content").and_then(Value::as_str).ok_or("added token: expected a `content`")?;
        check_token(content)?;
        let id = token.get("id").and_then(Value::as_u64).filter(|id| *id < u64::from(u32::MAX));
        let id = id.ok_or_else(|| format!("added token `{}`: expected an id below 2^32", short(content)))?;
        if let Some(known) = vocabulary.and_then(|vocabulary| vocabulary.get(content))
            && known.as_u64() != Some(id)
        {
            return Err(format!(
                "added token `{}`: expected id {known} as in the vocabulary, found {id}",
                short(content)
            ));
        }
        ids.known.insert(id);
    }
    Ok(())
}

/// The special tokens that are put around every text must be known ids.
fn check_post_processor(part: Option<&Value>, ids: &Ids) -> Result<(), String> {
    let Some(part) = part.filter(|part| part.is_object()) else { return Ok(()) };
    for key in ["sep", "cls"] {
        if let Some(pair) = part.get(key) {
            check_special(key, pair.get(1), ids)?;
        }
    }
    if let Some(tokens) = part.get("special_tokens").and_then(Value::as_object) {
        for (name, token) in tokens {
            let listed =
                token.get("ids").and_then(Value::as_array).ok_or("special tokens: expected `ids`")?;
            for id in listed {
                check_special(name, Some(id), ids)?;
            }
        }
    }
    // A sequence of post-processors.
    for inner in part.get("processors").and_then(Value::as_array).into_iter().flatten() {
        check_post_processor(Some(inner), ids)?;
    }
    Ok(())
}

fn check_special(name: &str, id: Option<&Value>, ids: &Ids) -> Result<(), String> {
    let id = id.and_then(Value::as_u64);
    if id.is_none_or(|id| !ids.known.contains(&id)) {
        return Err(format!("special token `{}`: its id is not in the vocabulary", short(name)));
    }
    Ok(())
}

/// Walks a normalizer, pre-tokenizer, post-processor or decoder.
fn check_part(place: &str, value: &Value, growth: &mut usize) -> Result<(), String> {
    match value {
        Value::Array(items) => {
            if items.len() > 4096 {
                return Err(format!("{place}: expected at most 4096 entries, found {}", items.len()));
            }
            items.iter().try_for_each(|item| check_part(place, item, growth))
        }
        Value::Object(members) => {
            if let Some(pattern) = members.get("Regex") {
                check_pattern(place, pattern.as_str().unwrap_or(""))?;
            }
            match members.get("type").and_then(Value::as_str) {
                Some("Precompiled") => {
                    return Err(format!(
                        "{place}: a precompiled character map cannot be checked and is refused; use a tokenizer with \
                         plain normalizers"
                    ));
                }
                Some("FixedLength")
                    if members.get("length").and_then(Value::as_u64).is_none_or(|n| n == 0) =>
                {
                    return Err(format!("{place}: FixedLength: expected a length of at least 1"));
                }
                Some("Replace" | "Prepend") => check_growth(place, members, growth)?,
                _ => {}
            }
            members.values().try_for_each(|member| check_part(place, member, growth))
        }
        _ => Ok(()),
    }
}

/// Replacements multiply: thirty of `a` by `aa` make a gigabyte of one letter.
fn check_growth(
    place: &str,
    members: &serde_json::Map<String, Value>,
    growth: &mut usize,
) -> Result<(), String> {
    let replacement = members.get("content").or_else(|| members.get("prepend")).and_then(Value::as_str);
    let pattern = members.get("pattern").and_then(|pattern| pattern.get("String")).and_then(Value::as_str);
    let length = replacement.map_or(0, str::len);
    let replaced = pattern.map_or(1, |pattern| pattern.len().max(1));
    *growth = growth.saturating_mul(length.div_ceil(replaced).max(1));
    if *growth > GROWTH_MAX {
        return Err(format!(
            "{place}: the replacements can make a text more than {GROWTH_MAX} times as long"
        ));
    }
    Ok(())
}

/// Refuses patterns with an unbounded repetition inside an unbounded repetition: a backtracking search can take
/// exponential time on them.
fn check_pattern(place: &str, pattern: &str) -> Result<(), String> {
    if pattern.is_empty() || pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!(
            "{place}: expected a pattern of 1 to {PATTERN_BYTES_MAX} bytes, found one of {}",
            pattern.len()
        ));
    }
    // Per open group: whether an unbounded repetition occurred in it.
    let mut groups: Vec<bool> = vec![false];
    let mut closed_repeating = false;
    let mut in_class = false;
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        if in_class {
            match letter {
                '\\' => drop(letters.next()),
                ']' => in_class = false,
                _ => {}
            }
            continue;
        }
        let mut just_closed = false;
        match letter {
            '\\' => drop(letters.next()),
            '[' => in_class = true,
            '(' => {
                groups.push(false);
                // `(?` begins a group's kind, not a repetition.
                letters.next_if_eq(&'?');
            }
            ')' => {
                let inner = if groups.len() > 1 { groups.pop().unwrap_or(false) } else { false };
                if inner && let Some(outer) = groups.last_mut() {
                    *outer = true;
                }
                just_closed = inner;
            }
            '*' | '+' | '{' => {
                let unbounded = letter != '{' || {
                    let inside: String = letters.clone().take_while(|letter| *letter != '}').collect();
                    inside.ends_with(',')
                        || inside.split(',').any(|n| n.trim().parse().is_ok_and(|n: u64| n > 16))
                };
                if unbounded && closed_repeating {
                    return Err(format!(
                        "{place}: a pattern repeats a group that repeats without bound; such a search may never end"
                    ));
                }
                if unbounded && let Some(group) = groups.last_mut() {
                    *group = true;
                }
            }
            _ => {}
        }
        closed_repeating = just_closed;
    }
    Ok(())
}

fn short(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wordpiece() -> Value {
        json!({
            "version": "1.0",
            "truncation": {"max_length": 128, "stride": 200, "strategy": "LongestFirst", "direction": "Right"},
            "padding": {"strategy": {"Fixed": 128}},
            "added_tokens": [{"id": 0, "content": "[PAD]"}],
            "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
            "model": {"type": "WordPiece", "unk_token": "[UNK]",
                "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4}}
        })
    }

    fn bpe() -> Value {
        json!({"model": {"type": "BPE", "dropout": 0.5, "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})
    }

    #[test]
    fn padding_truncation_and_dropout_are_reset() {
        let mut file = wordpiece();
        inspect(&mut file).unwrap();
        assert!(file["padding"].is_null() && file["truncation"].is_null());
        let mut file = bpe();
        inspect(&mut file).unwrap();
        assert!(file["model"]["dropout"].is_null());
    }

    #[test]
    fn hostile_files_are_refused_with_a_reason() {
        type Change = fn(&mut Value);
        let cases: [(Change, &str); 20] = [
            (|f| *f = json!([]), "expected a JSON object"),
            (|f| f["model"] = json!(null), "expected a `model`"),
            (|f| f["model"]["type"] = json!("Magic"), "expected a model WordPiece"),
            (|f| f["model"]["vocab"] = json!({}), "expected 1 to"),
            (|f| f["model"]["vocab"]["a"] = json!(-1), "below 2^32"),
            (|f| f["model"]["vocab"]["a"] = json!(1_u64 << 32), "below 2^32"),
            (|f| f["model"]["vocab"]["a"] = json!(4_000_000), "without large gaps"),
            (|f| f["model"]["vocab"]["a"] = json!(1), "given twice"),
            (|f| f["model"]["vocab"][""] = json!(5), "expected tokens of 1"),
            (|f| f["model"]["unk_token"] = json!("[NONE]"), "unknown token"),
            (|f| f["model"]["max_input_chars_per_word"] = json!(1_u64 << 60), "at most 10000"),
            (|f| f["added_tokens"][0]["id"] = json!(7), "expected id 0"),
            (|f| f["added_tokens"][0]["content"] = json!(""), "expected tokens of 1"),
            (|f| f["post_processor"]["sep"] = json!(["[SEP]", 99]), "special token `sep`"),
            (|f| f["pre_tokenizer"] = json!({"type": "FixedLength", "length": 0}), "at least 1"),
            (
                |f| f["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
                "precompiled",
            ),
            (
                |f| f["pre_tokenizer"] = json!({"type": "Split", "pattern": {"Regex": "(a+)+b"}}),
                "repeats a group that repeats",
            ),
            (
                |f| f["pre_tokenizer"] = json!({"type": "Split", "pattern": {"Regex": "((?:x|\\)y*)z)*"}}),
                "repeats a group that repeats",
            ),
            (
                |f| {
                    let double = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
                    f["normalizer"] = json!({"type": "Sequence", "normalizers": vec![double; 30]});
                },
                "times as long",
            ),
            (
                |f| f["pre_tokenizer"] = json!({"type": "Split", "pattern": {"Regex": "x".repeat(5000)}}),
                "expected a pattern of 1 to",
            ),
        ];
        for (change, reason) in cases {
            let mut file = wordpiece();
            change(&mut file);
            let found = inspect(&mut file).unwrap_err();
            assert!(found.contains(reason), "{found} | {reason}");
        }
    }

    #[test]
    fn a_merge_of_unknown_tokens_or_into_an_unknown_token_is_refused() {
        for merge in [json!("a c"), json!("b a"), json!("ab"), json!(["a"]), json!(3)] {
            let mut file = bpe();
            file["model"]["merges"] = json!([merge]);
            assert!(inspect(&mut file).unwrap_err().contains("merge 0"), "{merge}");
        }
    }

    #[test]
    fn patterns_in_common_use_pass() {
        for pattern in [
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ] {
            check_pattern("pre_tokenizer", pattern).unwrap();
        }
    }
}
