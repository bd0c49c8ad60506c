//! What is wrong with examples as a whole: copies, contradictions, leaks between parts, lopsided classes, missing values.
//!
//! Examples are compared by a hash of what a model would read, so that nothing of their content is kept or shown.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::data::examples::Examples;
use crate::data::labels::LabelSet;
use crate::data::valued::Values;

/// Examples of each kind listed by number; further ones are only counted.
const LISTED: usize = 20;

/// What was found in one part.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Quality {
    /// `train`, `dev` or `test`.
    pub part: String,
    /// Examples.
    pub examples: usize,
    /// Examples of which an equal one came before, with the same answer.
    pub copies: usize,
    /// Examples of which an equal one came before, with another answer.
    pub contradictions: usize,
    /// The first of these, numbers from 0 of both.
    pub contradicting: Vec<(usize, usize)>,
    /// Examples that an earlier part has too: a score on them flatters.
    pub leaked: usize,
    /// The first of these.
    pub leaking: Vec<usize>,
    /// Examples by class, where examples have one.
    pub classes: Vec<(String, usize)>,
    /// 1 where all classes are alike in number, toward 0 where one has all: entropy over its largest value.
    pub balance: f64,
    /// Share of examples without a value, by column or kind of input.
    pub missing: Vec<(String, f64)>,
}

type Key = [u8; 32];

/// Looks at the parts in their order.
pub fn examine(parts: &[(&str, &Examples)], labels: &LabelSet) -> Vec<Quality> {
    let mut before: BTreeSet<Key> = BTreeSet::new();
    let mut all = Vec::new();
    for (name, examples) in parts {
        let rows = keyed(examples);
        let mut quality = Quality { part: (*name).to_owned(), examples: rows.len(), ..Quality::default() };
        let mut own: BTreeMap<Key, (usize, u64)> = BTreeMap::new();
        for (number, (key, answer)) in rows.iter().enumerate() {
            if before.contains(key) {
                quality.leaked += 1;
                if quality.leaking.len() < LISTED {
                    quality.leaking.push(number);
                }
            }
            match own.get(key) {
                Some((_, first)) if first == answer => quality.copies += 1,
                Some((first, _)) => {
                    quality.contradictions += 1;
                    if quality.contradicting.len() < LISTED {
                        quality.contradicting.push((*first, number));
                    }
                }
                None => {
                    own.insert(*key, (number, *answer));
                }
            }
        }
        before.extend(own.into_keys());
        (quality.classes, quality.balance) = classes(examples, labels);
        quality.missing = missing(examples);
        all.push(quality);
    }
    all
}

/// For each example a hash of what is read and a number for what is answered.
fn keyed(examples: &Examples) -> Vec<(Key, u64)> {
    let hash = |parts: &[&[u8]]| {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    };
    let number =
        |key: Key| u64::from_le_bytes([key[0], key[1], key[2], key[3], key[4], key[5], key[6], key[7]]);
    match examples {
        Examples::Tagged(all) => all
            .iter()
            .map(|sentence| {
                let words: Vec<&[u8]> = sentence.tokens.iter().map(String::as_bytes).collect();
                let tags: Vec<u8> = sentence.tags.iter().flat_map(|tag| tag.to_le_bytes()).collect();
                (hash(&words), number(hash(&[&tags])))
            })
            .collect(),
        Examples::Texts(all) => {
            all.iter().map(|text| (hash(&[text.text.trim().as_bytes()]), u64::from(text.label))).collect()
        }
        Examples::Valued(all) => {
            let answer = |values: &[f32]| -> u64 {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                number(hash(&[&bytes]))
            };
            all.iter().map(|text| (hash(&[text.text.trim().as_bytes()]), answer(&text.values))).collect()
        }
        Examples::Plain(all) => all.iter().map(|text| (hash(&[text.text.trim().as_bytes()]), 0)).collect(),
        Examples::Nodes(part) => part
            .nodes
            .iter()
            .map(|node| {
                let features: Vec<u8> =
                    part.graph.features(*node as usize).iter().flat_map(|f| f.to_le_bytes()).collect();
                // A node without features is not a copy of another.
                let own = if features.is_empty() { *node } else { 0 };
                (hash(&[&features, &own.to_le_bytes()]), part.graph.labels[*node as usize] as u64)
            })
            .collect(),
        Examples::Pairs(part) => part
            .pairs
            .iter()
            .map(|pair| (hash(&[&pair.from.to_le_bytes(), &pair.to.to_le_bytes()]), pair.class as u64))
            .collect(),
        Examples::Records(part) => part
            .iter()
            .map(|record| {
                let table: Vec<u8> =
                    record.table.iter().flat_map(|value| value.unwrap_or(f32::NAN).to_le_bytes()).collect();
                let features: Vec<u8> = record.features.iter().flat_map(|f| f.to_le_bytes()).collect();
                let text = record.text.as_deref().unwrap_or_default().as_bytes();
                let image = record.image.as_deref().unwrap_or_default();
                let values: Vec<u8> = record.values.iter().flat_map(|value| value.to_le_bytes()).collect();
                let answer = if values.is_empty() { u64::MAX } else { number(hash(&[&values])) };
                (hash(&[text, image, &table, &features]), record.label.map_or(answer, u64::from))
            })
            .collect(),
    }
}

fn classes(examples: &Examples, labels: &LabelSet) -> (Vec<(String, usize)>, f64) {
    if matches!(Values::meant(labels), Values::Quantity(_)) {
        return (Vec::new(), 1.0);
    }
    let held = |marks: &[f32]| -> Vec<u32> {
        marks.iter().enumerate().filter(|(_, mark)| **mark != 0.0).map(|(label, _)| label as u32).collect()
    };
    let of: Vec<u32> = match examples {
        Examples::Texts(all) => all.iter().map(|text| text.label).collect(),
        Examples::Nodes(part) => part.nodes.iter().map(|n| part.graph.labels[*n as usize] as u32).collect(),
        Examples::Pairs(part) => part.pairs.iter().map(|pair| pair.class as u32).collect(),
        Examples::Records(part) => {
            let classes = part.iter().filter_map(|record| record.label);
            classes.chain(part.iter().flat_map(|record| held(&record.values))).collect()
        }
        Examples::Valued(all) => all.iter().flat_map(|text| held(&text.values)).collect(),
        Examples::Tagged(_) | Examples::Plain(_) => return (Vec::new(), 1.0),
    };
    let mut counts = vec![0_usize; labels.len()];
    for label in &of {
        if let Some(count) = counts.get_mut(*label as usize) {
            *count += 1;
        }
    }
    let total = of.len().max(1) as f64;
    let entropy: f64 = counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| *count as f64 / total)
        .map(|share| -share * share.ln())
        .sum();
    let largest = (labels.len() as f64).ln();
    let balance = if largest > 0.0 { entropy / largest } else { 1.0 };
    (labels.names().iter().cloned().zip(counts).collect(), balance)
}

fn missing(examples: &Examples) -> Vec<(String, f64)> {
    let share = |count: usize, all: usize| count as f64 / all.max(1) as f64;
    match examples {
        Examples::Texts(all) => {
            let blank = all.iter().filter(|text| text.text.trim().is_empty()).count();
            vec![("text".to_owned(), share(blank, all.len()))]
        }
        Examples::Valued(all) => {
            let blank = all.iter().filter(|text| text.text.trim().is_empty()).count();
            vec![("text".to_owned(), share(blank, all.len()))]
        }
        Examples::Nodes(part) => {
            let bare =
                part.nodes.iter().filter(|node| part.graph.features(**node as usize).is_empty()).count();
            vec![("features".to_owned(), share(bare, part.nodes.len()))]
        }
        Examples::Records(part) => {
            let form = &part.records.form;
            let all = part.chosen.len();
            let without = |lacks: &dyn Fn(&crate::data::records::Record) -> bool| {
                share(part.iter().filter(|record| lacks(record)).count(), all)
            };
            let mut found = Vec::new();
            if form.has_text {
                let is_blank = |text: &Option<String>| text.as_deref().unwrap_or_default().trim().is_empty();
                found.push(("text".to_owned(), without(&|record| is_blank(&record.text))));
            }
            if form.image.is_some() {
                found.push(("image".to_owned(), without(&|record| record.image.is_none())));
            }
            for (place, column) in form.columns.iter().enumerate() {
                found.push((
                    column.clone(),
                    without(&|record| record.table.get(place).copied().flatten().is_none()),
                ));
            }
            found
        }
        Examples::Tagged(_) | Examples::Plain(_) | Examples::Pairs(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::example::LabelledText;
    use crate::data::records::{Form, Record, Records};

    fn texts(rows: &[(&str, u32)]) -> Examples {
        let text =
            |(text, label): &(&str, u32)| LabelledText { text: (*text).into(), label: *label, group: None };
        Examples::Texts(rows.iter().map(text).collect())
    }

    #[test]
    fn copies_contradictions_leaks_and_blanks_are_found() {
        let labels = LabelSet::classes(["bad", "good"]).unwrap();
        let train = texts(&[("a", 0), ("b", 1), (" a", 0), ("b", 0), ("", 0)]);
        let test = texts(&[("c", 1), ("b", 1)]);
        let found = examine(&[("train", &train), ("test", &test)], &labels);
        assert_eq!((found[0].copies, found[0].contradictions, found[0].leaked), (1, 1, 0));
        assert_eq!(found[0].contradicting, [(1, 3)]);
        assert_eq!((found[1].leaked, &found[1].leaking[..]), (1, &[1][..]));
        assert_eq!(found[0].classes, [("bad".to_owned(), 4), ("good".to_owned(), 1)]);
        assert!((found[0].balance - 0.7219).abs() < 1e-3, "{}", found[0].balance);
        assert_eq!(found[0].missing, [("text".to_owned(), 0.2)]);
    }

    #[test]
    fn missing_values_are_counted_by_column() {
        let record = |table: Vec<Option<f32>>| Record { table, label: Some(0), ..Record::default() };
        let form = Form { columns: vec!["x".into(), "y".into()], ..Form::default() };
        let all = vec![record(vec![Some(1.0), None]), record(vec![None, None]), record(vec![])];
        let part = Examples::Records(Records { form, all, ..Records::default() }.whole());
        let labels = LabelSet::classes(["a"]).unwrap();
        let found = examine(&[("train", &part)], &labels);
        assert_eq!(found[0].missing, [("x".to_owned(), 2.0 / 3.0), ("y".to_owned(), 1.0)]);
        assert_eq!(found[0].balance, 1.0);
    }
}
