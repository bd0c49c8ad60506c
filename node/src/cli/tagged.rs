//! A tagged text as commands show it.

use model::data::labels::LabelSet;
use model::data::words::is_ideograph;
use model::eval::tagging::{Matching, entities};
use model::task::tagging::WordTag;
use serde_json::{Value, json};

use crate::telemetry::escape;

/// One tagged text: its words with their tags, its entities, and a line that shows them in their place.
pub(super) fn tagged(text: &str, words: &[String], said: &[WordTag], labels: &LabelSet) -> Value {
    let tags: Vec<u32> = said.iter().map(|w| w.label).collect();
    let found = entities(&tags, labels, Matching::Default);
    let mut shown = String::new();
    let mut list = Vec::new();
    for (i, word) in words.iter().enumerate() {
        let entity = found.iter().find(|e| e.start <= i && i < e.end);
        if i > 0 {
            shown += between(&words[i - 1], word);
        }
        if entity.is_some_and(|e| e.start == i) {
            shown.push('[');
        }
        shown += &escape::line(word);
        if let Some(entity) = entity.filter(|e| e.end == i + 1) {
            shown += &format!("]{}", labels.entity_types()[entity.entity_type as usize]);
        }
    }
    for e in &found {
        let span = &said[e.start..e.end];
        let probability = span.iter().map(|w| w.probability).fold(1.0f32, f32::min);
        list.push(json!({
            "type": labels.entity_types()[e.entity_type as usize],
            "text": joined(&words[e.start..e.end]),
            "start_word": e.start,
            "end_word": e.end,
            "probability": probability,
        }));
    }
    let tags: Vec<&str> = tags.iter().map(|t| labels.name(*t)).collect();
    json!({ "text": text, "words": words, "tags": tags, "entities": list, "shown": shown })
}

/// Words as one text.
fn joined(words: &[String]) -> String {
    let mut text = String::new();
    for (i, word) in words.iter().enumerate() {
        if i > 0 {
            text += between(&words[i - 1], word);
        }
        text += word;
    }
    text
}

/// What stands between two words: Chinese is written without spaces.
fn between(before: &str, after: &str) -> &'static str {
    let is_letter = |letter: Option<char>| letter.is_some_and(is_ideograph);
    if is_letter(before.chars().next_back()) && is_letter(after.chars().next()) { "" } else { " " }
}
