//! From probabilities to labels: the likeliest labels that make sense together.
//!
//! Probabilities of several models put together can favour an inside tag right behind another type's entity. A sentence
//! is therefore decoded as a whole: among all sequences in which every inside tag continues an entity of its own type,
//! the one with the largest product of probabilities (Viterbi 1967). Classes have no neighbours and take the largest.

use crate::data::labels::{LabelSet, Tag};
use crate::data::schema::TaskKind;
use crate::task::answers::Answers;
use crate::task::logits::Choice;

/// Smallest probability that counts: a certain member must not make a whole sentence impossible.
const FLOOR: f32 = 1e-12;

/// The labels of one example from its `probabilities (units, labels)`; valid IOB2 when the labels are tags.
pub fn decode(probabilities: &[f32], labels: &LabelSet) -> Vec<Choice> {
    let count = labels.len();
    let rows: Vec<&[f32]> = probabilities.chunks_exact(count).collect();
    let follows = followers(labels);
    let mut best = vec![0.0_f32; count]; // largest log probability of a sequence that ends in each label
    let mut from: Vec<usize> = Vec::with_capacity(rows.len() * count);
    for (place, row) in rows.iter().enumerate() {
        let mut next = vec![f32::NEG_INFINITY; count];
        for (label, next) in next.iter_mut().enumerate() {
            let before = match (place, &follows[label]) {
                (0, None) => Some((0, 0.0)),
                (0, Some(_)) => None,
                (_, None) => largest(best.iter().copied().enumerate()),
                (_, Some(allowed)) => largest(allowed.iter().map(|label| (*label, best[*label]))),
            };
            let (label_before, log) = before.unwrap_or((0, f32::NEG_INFINITY));
            from.push(label_before);
            *next = log + row[label].max(FLOOR).ln();
        }
        best = next;
    }
    let mut label = largest(best.into_iter().enumerate()).map_or(0, |(label, _)| label);
    let mut said = Vec::with_capacity(rows.len());
    for (place, row) in rows.iter().enumerate().rev() {
        said.push(Choice { label: label as u32, probability: row[label] });
        label = from[place * count + label];
    }
    said.reverse();
    said
}

/// The labels of every example: whole sentences when tagging, the likeliest class of every row else.
pub fn decode_all(answers: &Answers, kind: TaskKind, labels: &LabelSet) -> Vec<Vec<Choice>> {
    let example = |example: usize| {
        if kind == TaskKind::Tagging {
            return decode(answers.example(example), labels);
        }
        answers.units_of(example).map(|unit| likeliest(answers.unit(unit))).collect()
    };
    (0..answers.examples()).map(example).collect()
}

/// The label with the largest probability, the first of equals.
pub fn likeliest(row: &[f32]) -> Choice {
    let (label, probability) = largest(row.iter().copied().enumerate()).unwrap_or((0, 0.0));
    Choice { label: label as u32, probability }
}

/// For every label the labels it may follow; nothing where it may follow any and begin a sentence.
fn followers(labels: &LabelSet) -> Vec<Option<Vec<usize>>> {
    let tags: Vec<Tag> = (0..labels.len()).map(|label| labels.tag(label as u32)).collect();
    let before = |number: u32| {
        let opens = |tag: &Tag| matches!(tag, Tag::Begin(n) | Tag::Inside(n) if *n == number);
        tags.iter().enumerate().filter(|(_, tag)| opens(tag)).map(|(label, _)| label).collect()
    };
    tags.iter()
        .map(|tag| match tag {
            Tag::Inside(number) => Some(before(*number)),
            Tag::Outside | Tag::Begin(_) => None,
        })
        .collect()
}

/// The first of the largest.
fn largest(values: impl Iterator<Item = (usize, f32)>) -> Option<(usize, f32)> {
    values.fold(None, |best, (label, value)| match best {
        Some((_, largest)) if largest >= value => best,
        _ => Some((label, value)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(probabilities: &[f32], labels: &LabelSet) -> Vec<u32> {
        decode(probabilities, labels).iter().map(|choice| choice.label).collect()
    }

    #[test]
    fn an_inside_tag_never_follows_another_type() {
        let labels = LabelSet::tagging(["LOC", "PER"]).unwrap(); // O B-LOC I-LOC B-PER I-PER
        // Word by word I-PER would follow B-LOC; the best valid pair is B-PER I-PER.
        let words = [[0.0, 0.5, 0.0, 0.4, 0.1], [0.1, 0.0, 0.1, 0.1, 0.7]].concat();
        assert_eq!(ids(&words, &labels), [3, 4]);
        // An inside tag cannot begin a sentence.
        assert_eq!(ids(&[0.1, 0.2, 0.7, 0.0, 0.0], &labels), [1]);
        assert!(ids(&[], &labels).is_empty());
    }

    #[test]
    fn classes_take_the_largest_and_the_first_of_equals() {
        let labels = LabelSet::classes(["a", "b", "c"]).unwrap();
        let said = decode(&[0.2, 0.4, 0.4], &labels);
        assert_eq!((said[0].label, said[0].probability), (1, 0.4));
    }

    proptest! {
        #[test]
        fn no_valid_sequence_is_likelier(rows in prop::collection::vec(prop::array::uniform5(0.01_f32..1.0), 1..5)) {
            let labels = LabelSet::tagging(["LOC", "PER"]).unwrap();
            let is_valid = |tags: &[usize]| {
                let mut open = None;
                tags.iter().all(|tag| {
                    let (is_ok, next) = match labels.tag(*tag as u32) {
                        Tag::Outside => (true, None),
                        Tag::Begin(n) => (true, Some(n)),
                        Tag::Inside(n) => (open == Some(n), Some(n)),
                    };
                    open = next;
                    is_ok
                })
            };
            let score = |tags: &[usize]| tags.iter().zip(&rows).map(|(tag, row)| row[*tag].ln()).sum::<f32>();
            let found: Vec<usize> = ids(&rows.concat(), &labels).iter().map(|id| *id as usize).collect();
            prop_assert!(is_valid(&found));
            let mut best = f32::NEG_INFINITY;
            for number in 0..5_usize.pow(rows.len() as u32) {
                let tags: Vec<usize> = (0..rows.len()).map(|k| number / 5_usize.pow(k as u32) % 5).collect();
                if is_valid(&tags) {
                    best = best.max(score(&tags));
                }
            }
            prop_assert!((score(&found) - best).abs() < 1e-4, "{} {best}", score(&found));
        }
    }
}
