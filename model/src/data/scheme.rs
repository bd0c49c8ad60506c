//! Tag schemes: how entities are written as one tag per word.
//!
//! Files come in IOB1 (the original CoNLL-2003 form), IOB2 (also called BIO), BIOES/BMES/BILOU and plain types; inside
//! Starling there is only IOB2. Reading is lenient in the way scoring tools are: a tag that continues nothing starts an
//! entity; such repairs are counted so that a loader can warn.

use serde::{Deserialize, Serialize};

/// A way of writing entities as tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// `I-` throughout; `B-` only to part two touching entities of one type.
    Iob1,
    /// `B-` at every beginning, `I-` after it.
    Iob2,
    /// `B-` beginning, `M-` or `I-` middle, `E-` or `L-` end, `S-` or `U-` single word.
    Bmes,
    /// Only the type: touching words of one type are one entity.
    Plain,
}

/// A tag taken apart: its prefix (`O` for outside) and its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// `O`, `B`, `I` (also for `M`), `E` (also for `L`), `S` (also for `U`), or `P` for a plain type.
    pub prefix: char,
    /// The entity type; empty for `O`.
    pub entity_type: &'a str,
}

/// An entity: words `start..end` of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span<'a> {
    /// The first word.
    pub start: usize,
    /// One past the last word.
    pub end: usize,
    /// The entity type.
    pub entity_type: &'a str,
}

/// Takes a tag apart; nothing for a tag that no scheme knows (such as `B-` without a type).
///
/// With `plain` every text other than `O` is a type.
pub fn part(tag: &str, plain: bool) -> Option<Part<'_>> {
    if tag == "O" || tag == "o" {
        return Some(Part { prefix: 'O', entity_type: "" });
    }
    if tag.is_empty() {
        return None;
    }
    if plain {
        return Some(Part { prefix: 'P', entity_type: tag });
    }
    let (prefix, entity_type) = tag.split_once('-').or_else(|| tag.split_once('_'))?;
    if entity_type.is_empty() {
        return None;
    }
    let prefix = match prefix {
        "B" => 'B',
        "I" | "M" => 'I',
        "E" | "L" => 'E',
        "S" | "U" => 'S',
        _ => return None,
    };
    Some(Part { prefix, entity_type })
}

/// Guesses the scheme of a file from the tags of its sentences.
///
/// A file whose tags have no prefix at all is plain; one with end or single tags is BMES; otherwise the first words of
/// entities (those after `O` or at the start of a sentence) vote: `B-` for IOB2, `I-` for IOB1. No entities: IOB2.
pub fn detect<'a>(sentences: impl Iterator<Item = &'a [&'a str]>) -> Scheme {
    let (mut prefixed, mut plain, mut ends, mut begins, mut continues) = (0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
    for tags in sentences {
        let mut after_outside = true;
        for tag in tags {
            match part(tag, false) {
                None => {
                    plain += 1;
                    after_outside = false;
                }
                Some(Part { prefix: 'O', .. }) => after_outside = true,
                Some(found) => {
                    prefixed += 1;
                    match found.prefix {
                        'E' | 'S' => ends += 1,
                        'B' if after_outside => begins += 1,
                        'I' if after_outside => continues += 1,
                        _ => {}
                    }
                    after_outside = false;
                }
            }
        }
    }
    if prefixed == 0 && plain > 0 {
        Scheme::Plain
    } else if ends > 0 {
        Scheme::Bmes
    } else if continues > begins {
        Scheme::Iob1
    } else {
        Scheme::Iob2
    }
}

/// The entities of one sentence, in order, and how many tags had to be repaired.
pub fn spans<'a>(parts: &[Part<'a>], scheme: Scheme) -> (Vec<Span<'a>>, usize) {
    let mut found: Vec<Span<'a>> = Vec::new();
    let mut repaired = 0;
    // The entity type whose entity the previous word belongs to, while it may go on.
    let mut open: Option<&str> = None;
    for (place, word) in parts.iter().enumerate() {
        if word.prefix == 'O' {
            if scheme == Scheme::Bmes && open.is_some() {
                repaired += 1; // an entity without an end tag
            }
            open = None;
            continue;
        }
        let continues = open == Some(word.entity_type) && !matches!(word.prefix, 'B' | 'S');
        if continues {
            if let Some(last) = found.last_mut() {
                last.end = place + 1;
            }
        } else {
            let expected = match scheme {
                Scheme::Iob1 => true,
                Scheme::Plain => word.prefix == 'P',
                Scheme::Iob2 => word.prefix == 'B',
                Scheme::Bmes => matches!(word.prefix, 'B' | 'S') && open.is_none(),
            };
            repaired += usize::from(!expected);
            found.push(Span { start: place, end: place + 1, entity_type: word.entity_type });
        }
        open = if matches!(word.prefix, 'E' | 'S') { None } else { Some(word.entity_type) };
    }
    if scheme == Scheme::Bmes && open.is_some() {
        repaired += 1;
    }
    (found, repaired)
}

/// Writes entities as tags of a scheme; spans must be in order and must not overlap.
pub fn write(spans: &[Span<'_>], words: usize, scheme: Scheme) -> Vec<String> {
    let mut tags = vec!["O".to_owned(); words];
    let mut previous: Option<&Span<'_>> = None;
    for span in spans {
        let touches = previous.is_some_and(|p| p.end == span.start && p.entity_type == span.entity_type);
        for (place, tag) in tags.iter_mut().enumerate().take(span.end).skip(span.start) {
            let first = place == span.start;
            let last = place + 1 == span.end;
            let prefix = match scheme {
                Scheme::Iob1 => Some(if first && touches { 'B' } else { 'I' }),
                Scheme::Iob2 => Some(if first { 'B' } else { 'I' }),
                Scheme::Bmes => Some(match (first, last) {
                    (true, true) => 'S',
                    (true, false) => 'B',
                    (false, false) => 'M',
                    (false, true) => 'E',
                }),
                Scheme::Plain => None,
            };
            *tag = match prefix {
                Some(prefix) => format!("{prefix}-{}", span.entity_type),
                None => span.entity_type.to_owned(),
            };
        }
        previous = Some(span);
    }
    tags
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts<'a>(tags: &'a [&'a str]) -> Vec<Part<'a>> {
        tags.iter().map(|tag| part(tag, false).unwrap()).collect()
    }

    fn found(tags: &[&str], scheme: Scheme) -> (Vec<(usize, usize, String)>, usize) {
        let parts = parts(tags);
        let (spans, repaired) = spans(&parts, scheme);
        (spans.iter().map(|s| (s.start, s.end, s.entity_type.to_owned())).collect(), repaired)
    }

    #[test]
    fn touching_entities_of_one_type_are_parted_by_a_begin_tag_in_iob1() {
        let (spans, repaired) = found(&["I-PER", "I-PER", "B-PER", "O", "I-LOC"], Scheme::Iob1);
        assert_eq!(spans, [(0, 2, "PER".into()), (2, 3, "PER".into()), (4, 5, "LOC".into())]);
        assert_eq!(repaired, 0);
    }

    #[test]
    fn an_inside_tag_without_a_begin_starts_an_entity_and_counts_as_repaired() {
        let (spans, repaired) = found(&["O", "I-PER", "I-LOC", "B-LOC"], Scheme::Iob2);
        assert_eq!(spans, [(1, 2, "PER".into()), (2, 3, "LOC".into()), (3, 4, "LOC".into())]);
        assert_eq!(repaired, 2);
    }

    #[test]
    fn single_and_end_tags_close_an_entity() {
        let tags = ["S-X", "S-X", "B-X", "M-X", "E-X", "B-X", "E-X", "I-X"];
        let (spans, repaired) = found(&tags, Scheme::Bmes);
        let x = || "X".to_owned();
        assert_eq!(spans, [(0, 1, x()), (1, 2, x()), (2, 5, x()), (5, 7, x()), (7, 8, x())]);
        assert_eq!(repaired, 2); // the last I-X neither begins nor ends
    }

    #[test]
    fn a_scheme_is_recognised_by_how_entities_begin() {
        let detect_one = |tags: &[&str]| detect(std::iter::once(tags));
        assert_eq!(detect_one(&["I-PER", "O", "I-LOC", "B-LOC"]), Scheme::Iob1);
        assert_eq!(detect_one(&["B-PER", "O", "B-LOC", "I-LOC"]), Scheme::Iob2);
        assert_eq!(detect_one(&["B-PER", "E-PER"]), Scheme::Bmes);
        assert_eq!(detect_one(&["PER", "PER", "O"]), Scheme::Plain);
        assert_eq!(detect_one(&["O", "O"]), Scheme::Iob2);
    }

    #[test]
    fn a_tag_without_a_type_or_with_an_unknown_prefix_is_no_tag() {
        for tag in ["B-", "X-PER", "PER", "", "-PER", "BI-PER"] {
            assert_eq!(part(tag, false), None, "{tag}");
        }
        assert_eq!(part("B-creative-work", false).unwrap().entity_type, "creative-work");
    }

    /// Sentences as runs: each run is outside words or one entity.
    fn runs() -> impl Strategy<Value = Vec<(Option<usize>, usize)>> {
        prop::collection::vec((prop::option::of(0_usize..3), 1_usize..4), 0..8)
    }

    proptest! {
        #[test]
        fn entities_survive_writing_and_reading_in_every_scheme(runs in runs()) {
            const TYPES: [&str; 3] = ["LOC", "PER", "a-b"];
            let mut place = 0;
            let mut wanted = Vec::new();
            for (entity, length) in runs {
                if let Some(number) = entity {
                    wanted.push(Span { start: place, end: place + length, entity_type: TYPES[number] });
                }
                place += length;
            }
            for scheme in [Scheme::Iob1, Scheme::Iob2, Scheme::Bmes] {
                let tags = write(&wanted, place, scheme);
                let parts: Vec<Part<'_>> = tags.iter().map(|tag| part(tag, false).unwrap()).collect();
                let (read, repaired) = spans(&parts, scheme);
                prop_assert_eq!(&read, &wanted);
                prop_assert_eq!(repaired, 0);
            }
        }

        #[test]
        fn any_tag_sequence_reads_into_ordered_entities_without_overlap(
            tags in prop::collection::vec("(O|[BIMESLU]-[XY])", 0..20),
        ) {
            let parts: Vec<Part<'_>> = tags.iter().map(|tag| part(tag, false).unwrap()).collect();
            for scheme in [Scheme::Iob1, Scheme::Iob2, Scheme::Bmes] {
                let (read, _) = spans(&parts, scheme);
                let mut end = 0;
                for span in &read {
                    prop_assert!(span.start >= end && span.end > span.start && span.end <= tags.len());
                    end = span.end;
                }
                let covered: usize = read.iter().map(|s| s.end - s.start).sum();
                prop_assert_eq!(covered, tags.iter().filter(|tag| *tag != "O").count());
            }
        }
    }
}
