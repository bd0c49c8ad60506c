//! Hits and misses by example, so that a score can be taken on any part of a set without predicting again.
//!
//! One formula serves both tasks: `2 hits / (true + said)` is the micro F1 of entities, and the accuracy where every
//! text has one true and one said class.

use crate::data::labels::LabelSet;
use crate::data::schema::TaskKind;
use crate::eval::tagging::{Matching, entities};
use crate::task::answers::Answers;
use crate::task::decode::{decode_all, likeliest};

/// What one example adds to a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Entities, or classes, in the data.
    pub truth: u32,
    /// Said.
    pub said: u32,
    /// Both.
    pub hits: u32,
}

/// Decodes every example as a whole and compares it with the truth, which has a label for every unit.
///
/// # Panics
/// If the labels are not one per unit; callers check what comes from outside.
pub fn tallies(answers: &Answers, truth: &[u32], kind: TaskKind, labels: &LabelSet) -> Vec<Tally> {
    let decoded = decode_all(answers, kind, labels);
    let said: Vec<Vec<u32>> =
        decoded.iter().map(|choices| choices.iter().map(|choice| choice.label).collect()).collect();
    compare(answers, &said, truth, kind, labels)
}

/// The same with the likeliest label of every unit by itself, as `starling eval` scores a model.
///
/// # Panics
/// As [`tallies`].
pub fn plain_tallies(answers: &Answers, truth: &[u32], kind: TaskKind, labels: &LabelSet) -> Vec<Tally> {
    let said: Vec<Vec<u32>> = (0..answers.examples())
        .map(|example| answers.units_of(example).map(|unit| likeliest(answers.unit(unit)).label).collect())
        .collect();
    compare(answers, &said, truth, kind, labels)
}

/// Compares labels that were decided, by example, with the truth; `answers` gives the shape.
///
/// # Panics
/// As [`tallies`].
pub fn compare(
    answers: &Answers,
    said: &[Vec<u32>],
    truth: &[u32],
    kind: TaskKind,
    labels: &LabelSet,
) -> Vec<Tally> {
    let tally = |(example, said): (usize, &Vec<u32>)| {
        let truth = &truth[answers.units_of(example)];
        if kind == TaskKind::Tagging {
            let truth = entities(truth, labels, Matching::Default);
            let said = entities(said, labels, Matching::Default);
            let hits = said.iter().filter(|entity| truth.contains(entity)).count();
            return Tally { truth: truth.len() as u32, said: said.len() as u32, hits: hits as u32 };
        }
        let hits = truth.iter().zip(said).filter(|(a, b)| a == b).count();
        Tally { truth: truth.len() as u32, said: said.len() as u32, hits: hits as u32 }
    };
    said.iter().enumerate().map(tally).collect()
}

/// The score over examples that count `times` each, 0 to 1; 0 where there is nothing to find and nothing said.
pub fn score(tallies: &[Tally], times: &[f64]) -> f64 {
    let (mut hits, mut both) = (0.0, 0.0);
    for (tally, times) in tallies.iter().zip(times) {
        hits += times * f64::from(tally.hits);
        both += times * f64::from(tally.truth + tally.said);
    }
    if both > 0.0 { 2.0 * hits / both } else { 0.0 }
}

/// The score over all examples.
pub fn total(tallies: &[Tally]) -> f64 {
    score(tallies, &vec![1.0; tallies.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_give_accuracy_and_entities_give_f1() {
        let classes = LabelSet::classes(["a", "b"]).unwrap();
        let answers = Answers::of_texts(2, vec![0.9, 0.1, 0.2, 0.8, 0.6, 0.4, 0.7, 0.3]).unwrap();
        let found = tallies(&answers, &[0, 1, 1, 0], TaskKind::Classify, &classes);
        assert_eq!(total(&found), 0.75);
        assert_eq!(score(&found, &[0.0, 0.0, 3.0, 1.0]), 0.25);

        let tags = LabelSet::tagging(["X"]).unwrap(); // O B-X I-X
        let one = |label: usize| -> Vec<f32> { (0..3).map(|k| f32::from(u8::from(k == label))).collect() };
        let said = [0, 1, 2, 1].map(one).concat();
        let answers = Answers::new(3, &[3, 1], said).unwrap();
        // True: one entity of two words and none; said: that one, and a wrong one.
        let found = tallies(&answers, &[0, 1, 2, 0], TaskKind::Tagging, &tags);
        assert_eq!(found, [Tally { truth: 1, said: 1, hits: 1 }, Tally { truth: 0, said: 1, hits: 0 }]);
        assert!((total(&found) - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(plain_tallies(&answers, &[0, 1, 2, 0], TaskKind::Tagging, &tags), found);
        // An inside tag alone is an entity word by word, and none when decoded as a whole.
        let answers = Answers::new(3, &[1], vec![0.4, 0.0, 0.6]).unwrap();
        assert_eq!(plain_tallies(&answers, &[0], TaskKind::Tagging, &tags)[0].said, 1);
        assert_eq!(tallies(&answers, &[0], TaskKind::Tagging, &tags)[0].said, 0);
        assert_eq!(total(&[]), 0.0);
    }
}
