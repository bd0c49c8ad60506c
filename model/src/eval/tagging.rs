//! Entity scores: an entity counts when its words and its type are both right.
//!
//! Two ways to read tags into entities, both as in seqeval 1.2.2: the default one, in which a tag that continues
//! nothing begins an entity (as in conlleval), and the strict IOB2 one, in which only `B-` begins an entity. They
//! differ only on invalid tag sequences.

use serde::{Deserialize, Serialize};

use crate::data::example::TaggedSentence;
use crate::data::labels::{LabelSet, Tag};
use crate::data::tokenize::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::eval::report::{Counts, Report};
use crate::task::logits::Logits;
use crate::task::tagging::predict;

/// How tags are read into entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    /// A tag that continues nothing begins an entity.
    #[default]
    Default,
    /// Only `B-` begins an entity.
    Strict,
}

/// An entity: words `start..end` of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity {
    /// The first word.
    pub start: usize,
    /// One past the last word.
    pub end: usize,
    /// Index into [`LabelSet::entity_types`].
    pub entity_type: u32,
}

/// The entities of one sentence, in order.
pub fn entities(tags: &[u32], labels: &LabelSet, matching: Matching) -> Vec<Entity> {
    let mut found: Vec<Entity> = Vec::new();
    let mut open: Option<u32> = None;
    for (place, tag) in tags.iter().enumerate() {
        let (begins, entity_type) = match labels.tag(*tag) {
            Tag::Outside => {
                open = None;
                continue;
            }
            Tag::Begin(entity_type) => (true, entity_type),
            Tag::Inside(entity_type) if open == Some(entity_type) => {
                if let Some(last) = found.last_mut() {
                    last.end = place + 1;
                }
                continue;
            }
            Tag::Inside(entity_type) => (matching == Matching::Default, entity_type),
        };
        open = begins.then_some(entity_type);
        if begins {
            found.push(Entity { start: place, end: place + 1, entity_type });
        }
    }
    found
}

/// Counts entities sentence by sentence.
#[derive(Debug, Clone)]
pub struct Scorer {
    labels: LabelSet,
    matching: Matching,
    counts: Vec<Counts>,
    words: u64,
    words_right: u64,
    sentences: u64,
}

impl Scorer {
    /// Starts with nothing counted.
    pub fn new(labels: &LabelSet, matching: Matching) -> Self {
        Self {
            labels: labels.clone(),
            matching,
            counts: vec![Counts::default(); labels.entity_types().len()],
            words: 0,
            words_right: 0,
            sentences: 0,
        }
    }

    /// Adds one sentence.
    ///
    /// # Errors
    /// The two have different lengths; nothing is counted then.
    pub fn add(&mut self, truth: &[u32], predicted: &[u32]) -> Result<()> {
        if truth.len() != predicted.len() {
            return Err(Error::shape("predicted tags of a sentence", truth.len(), predicted.len()));
        }
        self.sentences += 1;
        self.words += truth.len() as u64;
        self.words_right += truth.iter().zip(predicted).filter(|(a, b)| a == b).count() as u64;
        let there = entities(truth, &self.labels, self.matching);
        let said = entities(predicted, &self.labels, self.matching);
        for entity in &there {
            self.counts[entity.entity_type as usize].truth += 1;
        }
        for entity in &said {
            self.counts[entity.entity_type as usize].predicted += 1;
            // Entities of a sentence are in order and do not overlap.
            if there.binary_search(entity).is_ok() {
                self.counts[entity.entity_type as usize].hit += 1;
            }
        }
        Ok(())
    }

    /// The scores of what was added.
    pub fn report(&self) -> Report {
        let counts: Vec<(String, Counts)> =
            self.labels.entity_types().iter().cloned().zip(self.counts.iter().copied()).collect();
        let accuracy = if self.words == 0 { 0.0 } else { self.words_right as f64 / self.words as f64 };
        Report::new("entity F1 (micro)", &counts, true, accuracy, self.sentences)
    }
}

/// Scores sentences at once.
///
/// # Errors
/// The numbers of sentences or of words differ.
pub fn score<T: AsRef<[u32]>, P: AsRef<[u32]>>(
    labels: &LabelSet,
    matching: Matching,
    truth: &[T],
    predicted: &[P],
) -> Result<Report> {
    if truth.len() != predicted.len() {
        return Err(Error::shape("predicted sentences", truth.len(), predicted.len()));
    }
    let mut scorer = Scorer::new(labels, matching);
    for (truth, predicted) in truth.iter().zip(predicted) {
        scorer.add(truth.as_ref(), predicted.as_ref())?;
    }
    Ok(scorer.report())
}

/// Scores a model on tagged sentences.
///
/// # Errors
/// The tokenizer or the model fails, or a sentence has not one tag per word.
pub fn evaluate(
    model: &mut impl Logits,
    sentences: &[TaggedSentence],
    labels: &LabelSet,
    tokenizer: &Tokenizer,
    tokens_max: usize,
    matching: Matching,
) -> Result<Report> {
    let words: Vec<Vec<String>> = sentences.iter().map(|sentence| sentence.tokens.clone()).collect();
    let said = predict(model, &words, tokenizer, tokens_max)?;
    let mut scorer = Scorer::new(labels, matching);
    for (sentence, said) in sentences.iter().zip(said) {
        let tags: Vec<u32> = said.iter().map(|choice| choice.label).collect();
        scorer.add(&sentence.tags, &tags)?;
    }
    Ok(scorer.report())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(labels: &LabelSet, tags: &str) -> Vec<u32> {
        tags.split_whitespace().map(|tag| labels.id(tag).unwrap()).collect()
    }

    #[test]
    fn an_inside_tag_that_continues_nothing_is_an_entity_only_in_default_matching() {
        let labels = LabelSet::tagging(["A", "B"]).unwrap();
        let tags = ids(&labels, "I-A I-A O B-B I-A I-A");
        let found = |matching| {
            entities(&tags, &labels, matching)
                .iter()
                .map(|entity| (entity.start, entity.end, entity.entity_type))
                .collect::<Vec<_>>()
        };
        assert_eq!(found(Matching::Default), [(0, 2, 0), (3, 4, 1), (4, 6, 0)]);
        assert_eq!(found(Matching::Strict), [(3, 4, 1)]);
    }

    #[test]
    fn an_entity_with_a_wrong_border_or_type_is_no_hit() {
        let labels = LabelSet::tagging(["A", "B"]).unwrap();
        let truth = ids(&labels, "B-A I-A O B-B");
        for (said, hits) in [("B-A I-A O B-B", 2), ("B-A O O B-B", 1), ("B-B I-B O B-B", 1), ("O O O O", 0)] {
            let report = score(&labels, Matching::Default, &[&truth], &[ids(&labels, said)]).unwrap();
            assert_eq!(report.micro.unwrap().recall, f64::from(hits) / 2.0, "{said}");
        }
    }

    #[test]
    fn nothing_to_find_and_nothing_said_scores_zero_without_a_panic() {
        let labels = LabelSet::tagging(["A"]).unwrap();
        let report = score(&labels, Matching::Default, &[vec![0, 0]], &[vec![0, 0]]).unwrap();
        assert_eq!((report.score, report.accuracy, report.samples), (0.0, 1.0, 1));
        assert!(report.to_string().contains("micro avg"));
        assert!(score(&labels, Matching::Default, &[vec![0]], &[vec![0, 0]]).is_err());
    }
}
