//! Scores of rankings: for each first side the second sides by how likely the first label is.
//!
//! A list counts when it has something to find and something else. Among equal scores what is to be found stands last, so
//! that a model that says the same of everything gains nothing.

use std::collections::BTreeMap;

use crate::data::dataset::Dataset;
use crate::data::labels::LabelSet;
use crate::data::pairs::Pair;
use crate::error::{Error, Result};
use crate::eval::classify::score;
use crate::eval::report::{DEPTH, RankingScore, Report};
use crate::task::classify::answer;
use crate::task::logits::Logits;

/// One list: what was ranked, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// The first side.
    pub from: u32,
    /// Second sides and whether each was to be found.
    pub order: Vec<(u32, bool)>,
    /// Gain of the first places over the largest possible.
    pub ndcg: f64,
    /// Whether something to be found is in the first places.
    pub is_hit: bool,
    /// Chance that what is to be found stands before what is not.
    pub auc: f64,
}

/// Ranks the second sides of each first side by `wanted`, the likelihood of the first label for each pair.
///
/// # Errors
/// There is not one number per pair.
pub fn rank(pairs: &[Pair], wanted: &[f32]) -> Result<Vec<Ranked>> {
    if pairs.len() != wanted.len() {
        return Err(Error::shape("scores of pairs", pairs.len(), wanted.len()));
    }
    let mut lists: BTreeMap<u32, Vec<(f32, u32, bool)>> = BTreeMap::new();
    for (pair, wanted) in pairs.iter().zip(wanted) {
        lists.entry(pair.from).or_default().push((*wanted, pair.to, pair.class == 0));
    }
    let mut ranked = Vec::new();
    for (from, mut list) in lists {
        let found = list.iter().filter(|(.., is_wanted)| *is_wanted).count();
        if found == 0 || found == list.len() {
            continue;
        }
        list.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.2.cmp(&b.2)).then(a.1.cmp(&b.1)));
        let discount = |place: usize| 1.0 / ((place + 2) as f64).log2();
        let gain: f64 = (0..list.len().min(DEPTH)).filter(|k| list[*k].2).map(discount).sum();
        let ideal: f64 = (0..found.min(DEPTH)).map(discount).sum();
        ranked.push(Ranked {
            from,
            ndcg: gain / ideal,
            is_hit: gain > 0.0,
            auc: auc(&list),
            order: list.iter().map(|(_, to, is_wanted)| (*to, *is_wanted)).collect(),
        });
    }
    Ok(ranked)
}

/// Of a list sorted by falling score.
fn auc(list: &[(f32, u32, bool)]) -> f64 {
    let (mut before, mut won, mut positives) = (0.0, 0.0, 0.0);
    let others = list.iter().filter(|(.., is_wanted)| !is_wanted).count() as f64;
    for run in list.chunk_by(|a, b| a.0 == b.0) {
        let own = run.iter().filter(|(.., is_wanted)| *is_wanted).count() as f64;
        let alike = run.len() as f64 - own;
        won += own * (others - before - alike / 2.0);
        before += alike;
        positives += own;
    }
    won / (positives * others)
}

/// Means over lists; all 0 without any.
pub fn mean(ranked: &[Ranked]) -> RankingScore {
    let n = ranked.len().max(1) as f64;
    RankingScore {
        ndcg: ranked.iter().map(|list| list.ndcg).sum::<f64>() / n,
        hit_rate: ranked.iter().filter(|list| list.is_hit).count() as f64 / n,
        auc: ranked.iter().map(|list| list.auc).sum::<f64>() / n,
        lists: ranked.len() as u64,
    }
}

/// The likelihood of the first label for each row.
///
/// # Errors
/// The model fails.
pub fn wanted(model: &mut impl Logits, rows: &Dataset) -> Result<Vec<f32>> {
    let answers = answer(model, rows)?;
    Ok((0..rows.len()).map(|row| answers.unit(row)[0]).collect())
}

/// Scores a model on pairs, which `rows` holds in the same order: the score is the NDCG.
///
/// # Errors
/// The model fails, or the numbers of rows and pairs differ.
pub fn evaluate(
    model: &mut impl Logits,
    rows: &Dataset,
    pairs: &[Pair],
    labels: &LabelSet,
) -> Result<Report> {
    let answers = answer(model, rows)?;
    let (mut truth, mut said) = (Vec::new(), Vec::new());
    for (row, pair) in pairs.iter().enumerate().take(answers.units()) {
        let best = answers.unit(row).iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
        truth.push(pair.class as u32);
        said.push(best.map_or(0, |(label, _)| label as u32));
    }
    let wanted: Vec<f32> = (0..answers.units()).map(|row| answers.unit(row)[0]).collect();
    let found = mean(&rank(pairs, &wanted)?);
    let mut report = score(labels, &truth, &said)?;
    report.metric = format!("NDCG at {DEPTH}");
    report.score = found.ndcg;
    report.ranking = Some(found);
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(classes: &[(u32, i32)]) -> Vec<Pair> {
        classes
            .iter()
            .enumerate()
            .map(|(k, (from, class))| Pair { from: *from, to: k as u32, class: *class })
            .collect()
    }

    #[test]
    fn a_ranking_is_scored_by_where_the_wanted_stand() {
        let list = pairs(&[(7, 0), (7, 1), (7, 1), (7, 0)]);
        let found = rank(&list, &[0.9, 0.8, 0.1, 0.5]).unwrap();
        // Places 1 and 3: (1 + 1/2) / (1 + 1/log2 3).
        let ideal = 1.0 + 1.0 / 3.0_f64.log2();
        assert!((found[0].ndcg - 1.5 / ideal).abs() < 1e-12);
        assert_eq!((found[0].auc, found[0].is_hit), (0.75, true));
        assert_eq!(found[0].order[0], (0, true));
    }

    #[test]
    fn saying_the_same_of_everything_gains_nothing_and_half_an_auc() {
        let mut list = pairs(&[(1, 1); 12]);
        list[3].class = 0;
        let found = mean(&rank(&list, &[0.5; 12]).unwrap());
        assert_eq!((found.ndcg, found.hit_rate, found.auc, found.lists), (0.0, 0.0, 0.5, 1));
    }

    #[test]
    fn lists_with_nothing_to_find_or_nothing_else_do_not_count() {
        let list = pairs(&[(1, 0), (2, 1), (3, 0), (3, 1)]);
        assert_eq!(mean(&rank(&list, &[0.1, 0.2, 0.9, 0.3]).unwrap()).lists, 1);
        assert!(rank(&list, &[0.1]).is_err());
    }
}
