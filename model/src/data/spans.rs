//! Entities given as letters of a text instead of as tags of words.
//!
//! Annotation tools write `{"text": ..., "spans": [{"start": 0, "end": 5, "label": "PER"}]}`, lists of
//! `[start, end, label]`, or labels with their surfaces and positions. All become words with IOB2 tags; a word is cut
//! where an entity begins or ends inside it. Offsets count Unicode letters.

use crate::data::json::Json;
use crate::data::labels::shown;
use crate::data::scheme::{self, Scheme};
use crate::data::words::words;

/// One entity: letters `start..end` of the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LetterSpan {
    /// The first letter.
    pub start: usize,
    /// One past the last letter.
    pub end: usize,
    /// The entity type.
    pub label: String,
}

/// Reads the entities of an object, in whichever of the known forms it has them.
///
/// # Errors
/// The reason why the object has none of the forms.
pub fn read(object: &Json, text: &str) -> Result<Vec<LetterSpan>, String> {
    let listed = ["spans", "entities", "label", "labels"].iter().find_map(|key| object.member(key));
    match listed {
        Some(Json::List(items)) => items.iter().map(read_one).collect(),
        Some(Json::Object(types)) => read_by_surface(types, text),
        Some(other) => Err(format!("expected a list of entities, found {}", other.kind())),
        None => Err("expected `tokens` and `tags`, or `text` and `spans`".into()),
    }
}

/// `{"start": 0, "end": 5, "label": "PER"}` or `[0, 5, "PER"]`, the end not included.
fn read_one(item: &Json) -> Result<LetterSpan, String> {
    let (start, end, label) = match item {
        Json::List(items) if items.len() == 3 => (Some(&items[0]), Some(&items[1]), Some(&items[2])),
        object => {
            (object.member("start"), object.member("end"), object.member("label").or(object.member("type")))
        }
    };
    let (start, end) = (offset(start)?, offset(end)?);
    let label = label.and_then(Json::text).ok_or("an entity needs start, end and label")?;
    Ok(LetterSpan { start, end, label: label.to_owned() })
}

/// `{"PER": {"surface": [[0, 4]]}}`, the end included; the surface must be what stands there.
fn read_by_surface(types: &[(String, Json)], text: &str) -> Result<Vec<LetterSpan>, String> {
    let letters: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    for (label, surfaces) in types {
        let Json::Object(surfaces) = surfaces else {
            return Err(format!("expected surfaces with positions, found {}", surfaces.kind()));
        };
        for (surface, positions) in surfaces {
            for position in positions.list().ok_or("expected a list of [first, last] positions")? {
                let (first, last) = match position.list() {
                    Some([first, last]) => (offset(Some(first))?, offset(Some(last))?),
                    _ => return Err("expected a list of [first, last] positions".into()),
                };
                let there = letters
                    .get(first..last.saturating_add(1))
                    .map(|letters| letters.iter().collect::<String>());
                if there.as_deref() != Some(surface) {
                    return Err(format!("an entity is not at its stated position {first}"));
                }
                found.push(LetterSpan { start: first, end: last + 1, label: label.clone() });
            }
        }
    }
    Ok(found)
}

fn offset(value: Option<&Json>) -> Result<usize, String> {
    match value {
        Some(Json::Integer(number)) => {
            usize::try_from(*number).map_err(|_| format!("expected an offset of at least 0, found {number}"))
        }
        Some(other) => Err(format!("expected an offset, found {}", other.kind())),
        None => Err("an entity needs start, end and label".into()),
    }
}

/// The words of a text with their IOB2 tags.
///
/// # Errors
/// An entity is empty, lies outside the text, holds no word, or overlaps another.
pub fn tag(text: &str, mut spans: Vec<LetterSpan>) -> Result<(Vec<String>, Vec<String>), String> {
    spans.sort();
    spans.dedup();
    // Byte offset of every letter, and of the end.
    let bytes: Vec<usize> = text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect();
    let mut entities = Vec::with_capacity(spans.len());
    let mut end = 0;
    for span in &spans {
        if span.start >= span.end || span.end >= bytes.len() {
            return Err(format!(
                "expected entities inside the {} letters of the text, found {}..{}",
                bytes.len() - 1,
                span.start,
                span.end
            ));
        }
        if span.start < end {
            return Err(format!(
                "the entity `{}` at letter {} overlaps another",
                shown(&span.label),
                span.start
            ));
        }
        end = span.end;
        entities.push((bytes[span.start], bytes[span.end], span.label.as_str()));
    }
    let mut cuts: Vec<usize> = entities.iter().flat_map(|(start, end, _)| [*start, *end]).collect();
    cuts.dedup();
    let mut pieces = Vec::new();
    for word in words(text) {
        let mut start = word.start;
        for cut in &cuts[cuts.partition_point(|cut| *cut <= word.start)..] {
            if *cut >= word.end {
                break;
            }
            pieces.push(start..*cut);
            start = *cut;
        }
        pieces.push(start..word.end);
    }
    let mut found = Vec::with_capacity(entities.len());
    for (start, end, label) in entities {
        let first = pieces.partition_point(|piece| piece.start < start);
        let last = pieces.partition_point(|piece| piece.end <= end);
        if first >= last {
            return Err(format!("an entity `{}` holds no word", shown(label)));
        }
        found.push(scheme::Span { start: first, end: last, entity_type: label });
    }
    let tags = scheme::write(&found, pieces.len(), Scheme::Iob2);
    Ok((pieces.into_iter().map(|piece| text[piece].to_owned()).collect(), tags))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(json: &str) -> Result<(Vec<String>, Vec<String>), String> {
        let object = Json::parse(json).unwrap();
        let text = object.member("text").and_then(Json::text).unwrap().to_owned();
        tag(&text, read(&object, &text)?)
    }

    #[test]
    fn every_known_form_gives_the_same_words_and_tags() {
        for entities in [
            r#""spans":[{"start":0,"end":9,"label":"PER"},{"start":14,"end":18,"label":"LOC"}]"#,
            r#""label":[[14,18,"LOC"],[0,9,"PER"]]"#,
            r#""entities":[{"start":0,"end":9,"type":"PER"},{"start":14,"end":18,"type":"LOC"}]"#,
            r#""label":{"PER":{"Ada Brück":[[0,8]]},"LOC":{"Tors":[[14,17]]}}"#,
        ] {
            let (words, tags) =
                tagged(&format!(r#"{{"text":"Ada Brück in  Torstown.",{entities}}}"#)).unwrap();
            assert_eq!(words, ["Ada", "Brück", "in", "Tors", "town", "."], "{entities}");
            assert_eq!(tags, ["B-PER", "I-PER", "O", "B-LOC", "O", "O"], "{entities}");
        }
    }

    #[test]
    fn chinese_letters_are_words_of_their_own() {
        let (words, tags) = tagged(r#"{"text":"在东京工作","label":{"address":{"东京":[[1,2]]}}}"#).unwrap();
        assert_eq!(words, ["在", "东", "京", "工", "作"]);
        assert_eq!(tags, ["O", "B-address", "I-address", "O", "O"]);
    }

    #[test]
    fn entities_outside_overlapping_empty_or_misplaced_are_refused() {
        for (entities, reason) in [
            (r#""spans":[{"start":0,"end":99,"label":"X"}]"#, "inside the 7 letters"),
            (r#""spans":[{"start":3,"end":3,"label":"X"}]"#, "inside the 7 letters"),
            (r#""spans":[{"start":-1,"end":3,"label":"X"}]"#, "at least 0"),
            (r#""spans":[{"start":3,"end":4,"label":"X"}]"#, "holds no word"),
            (r#""spans":[{"start":0,"end":3,"label":"X"},{"start":2,"end":5,"label":"Y"}]"#, "overlaps"),
            (r#""spans":[{"start":0,"label":"X"}]"#, "needs start, end and label"),
            (r#""label":{"X":{"zzz":[[0,2]]}}"#, "not at its stated position"),
            (r#""label":{"X":{"abc":[[0,9223372036854775807]]}}"#, "not at its stated position"),
            (r#""label":"X""#, "expected a list of entities"),
            (r#""other":1"#, "expected `tokens` and `tags`"),
        ] {
            let found = tagged(&format!(r#"{{"text":"abc def",{entities}}}"#)).unwrap_err();
            assert!(found.contains(reason), "{entities}: {found}");
        }
    }
}
