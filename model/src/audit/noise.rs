//! Labels that may be wrong: examples whose label a model doubts that never saw them.
//!
//! Cross-fit confidence (confident learning, Northcutt, Jiang and Chuang 2021): a small perceptron on hashed words or on
//! pixels is trained on all folds but one and asked about that one. An example is a candidate when another class is as
//! likely for it as that class is on average for its own examples. A candidate is a reason to look, not a verdict.

use serde::Serialize;

use crate::arch::config::{ArchConfig, Head, MlpConfig};
use crate::data::batcher::{Batcher, Order};
use crate::data::dataset::Dataset;
use crate::data::labels::LabelSet;
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::seed::{Seed, shuffle};
use crate::session::Session;
use crate::task::classify::answer;

/// Folds.
const FOLDS: usize = 4;
/// Passes over the examples of each.
const EPOCHS: usize = 8;
/// Numbers that the words of a text are hashed to.
const BUCKETS: usize = 1024;
/// Hidden numbers.
const HIDDEN: usize = 48;
/// Rows in a batch.
const ROWS: usize = 32;
/// Peak learning rate.
const RATE: f64 = 3e-3;

/// A label that may be wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// Which example, counted from 0.
    pub example: usize,
    /// Its label.
    pub label: String,
    /// How likely that is for a model that never saw it.
    pub probability: f64,
    /// What that model would rather say.
    pub rather: String,
    /// How likely that is.
    pub probability_rather: f64,
}

/// The words of texts, hashed: `(texts, BUCKETS)`, each row of length 1.
pub fn hashed<'a>(texts: impl Iterator<Item = &'a str>) -> (Vec<f32>, usize) {
    let mut values = Vec::new();
    for text in texts {
        let mut row = vec![0.0_f32; BUCKETS];
        for word in text.split_whitespace() {
            let word = word.to_lowercase();
            let hash = blake3::hash(word.trim_matches(|c: char| !c.is_alphanumeric()).as_bytes());
            let bytes = hash.as_bytes();
            row[usize::from(u16::from_le_bytes([bytes[0], bytes[1]])) % BUCKETS] = 1.0;
        }
        let norm = row.iter().sum::<f32>().sqrt().max(1.0);
        values.extend(row.into_iter().map(|value| value / norm));
    }
    (values, BUCKETS)
}

/// Looks for labels that may be wrong among rows of numbers, the most doubtful first.
///
/// # Errors
/// There are too few rows for every fold to have some, or the sizes do not fit.
pub fn candidates(
    values: &[f32],
    width: usize,
    truth: &[u32],
    labels: &LabelSet,
    seed: &Seed,
) -> Result<Vec<Candidate>> {
    if truth.len() < FOLDS * labels.len().max(2) {
        let least = FOLDS * labels.len().max(2);
        return Err(Error::config(
            "data",
            format!("expected at least {least} examples, found {}", truth.len()),
        ));
    }
    let odds = cross_fit(values, width, truth, labels.len(), seed)?;
    // How sure the models are of a class on average, over the examples that have it.
    let mut sure = vec![(0.0_f64, 0_u32); labels.len()];
    for (row, label) in truth.iter().enumerate() {
        let (sum, count) = &mut sure[*label as usize];
        *sum += f64::from(odds[row * labels.len() + *label as usize]);
        *count += 1;
    }
    let mean = |label: usize| if sure[label].1 == 0 { 1.0 } else { sure[label].0 / f64::from(sure[label].1) };
    let mut found = Vec::new();
    for (example, label) in truth.iter().enumerate() {
        let own = &odds[example * labels.len()..(example + 1) * labels.len()];
        let best = (0..labels.len()).max_by(|a, b| own[*a].total_cmp(&own[*b])).unwrap_or(0);
        if best == *label as usize || f64::from(own[best]) < mean(best) {
            continue;
        }
        found.push(Candidate {
            example,
            label: labels.name(*label).to_owned(),
            probability: f64::from(own[*label as usize]),
            rather: labels.name(best as u32).to_owned(),
            probability_rather: f64::from(own[best]),
        });
    }
    found.sort_by(|a, b| a.probability.total_cmp(&b.probability).then(a.example.cmp(&b.example)));
    Ok(found)
}

/// Probabilities `(rows, labels)`, each row answered by a model that never saw it.
fn cross_fit(values: &[f32], width: usize, truth: &[u32], labels: usize, seed: &Seed) -> Result<Vec<f32>> {
    let mut order: Vec<usize> = (0..truth.len()).collect();
    shuffle(&mut seed.fork("folds").rng(), &mut order);
    let part = |rows: &[usize]| -> Result<Dataset> {
        let chosen: Vec<f32> =
            rows.iter().flat_map(|row| &values[row * width..(row + 1) * width]).copied().collect();
        Dataset::dense(chosen, width, rows.iter().map(|row| truth[*row] as i32).collect())
    };
    let arch = ArchConfig::Mlp(MlpConfig { layers: vec![width, HIDDEN, labels] });
    let head = Head::Classification { labels };
    let mut odds = vec![0.0; truth.len() * labels];
    for fold in 0..FOLDS {
        let (mut seen, mut unseen) = (Vec::new(), Vec::new());
        for (place, row) in order.iter().enumerate() {
            if place % FOLDS == fold { unseen.push(*row) } else { seen.push(*row) }
        }
        let own = seed.fork("fold").fork_index(fold as u64);
        let mut session = Session::new(&arch, &head, &DeviceChoice::Cpu, own)?;
        let mut batches = Batcher::new(part(&seen)?, ROWS, Order::Shuffled, own)?;
        let steps = EPOCHS * batches.batches_per_epoch();
        for step in 0..steps {
            session.train_step(&batches.next_batch(), RATE * (1.0 - step as f64 / steps as f64))?;
        }
        let said = answer(&mut session, &part(&unseen)?)?;
        for (place, row) in unseen.iter().enumerate() {
            odds[row * labels..(row + 1) * labels].copy_from_slice(said.unit(place));
        }
    }
    Ok(odds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapped_labels_are_found_and_right_ones_mostly_left_alone() {
        let words = [["river", "lake", "sea"], ["iron", "copper", "tin"]];
        let texts: Vec<String> =
            (0..200).map(|k| words[k % 2].map(|w| format!("{w} {}", k % 7)).join(" ")).collect();
        let mut truth: Vec<u32> = (0..200).map(|k| k % 2).collect();
        let swapped = [10, 33, 77, 120, 155, 198];
        swapped.iter().for_each(|k| truth[*k] = 1 - truth[*k]);
        let labels = LabelSet::classes(["metal", "water"]).unwrap();
        let (values, width) = hashed(texts.iter().map(String::as_str));
        let found = candidates(&values, width, &truth, &labels, &Seed::from_u64(1)).unwrap();
        let right = found.iter().filter(|candidate| swapped.contains(&candidate.example)).count();
        assert!(right >= 5 && found.len() <= right + 3, "{found:?}");
        assert!(candidates(&values[..width * 4], width, &truth[..4], &labels, &Seed::from_u64(1)).is_err());
    }
}
