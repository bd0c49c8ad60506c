//! Fusing rankings: several members score the same items, one order comes out.
//!
//! Scores of different members have different scales, so they are standardised by query before they are added (Z-score
//! fusion, Fox and Shaw 1994). Ranks alone can be fused too (reciprocal ranks, Cormack and others 2009), where a member's
//! scores are not to be trusted as numbers.

use crate::error::{Error, Result};

/// The constant of reciprocal ranks, as in the paper.
const RANK_OFFSET: f64 = 60.0;

/// The weighted sum of standardised scores of one query's items, one list per member.
///
/// A member that gives all items the same score adds nothing.
///
/// # Errors
/// The members do not score the same items, a score is not finite, or the weights do not fit.
pub fn fuse_scores(members: &[&[f32]], weights: &[f64]) -> Result<Vec<f64>> {
    let items = check(members, weights)?;
    let mut fused = vec![0.0; items];
    for (scores, weight) in members.iter().zip(weights) {
        let mean = scores.iter().map(|s| f64::from(*s)).sum::<f64>() / items as f64;
        let variance = scores.iter().map(|s| (f64::from(*s) - mean).powi(2)).sum::<f64>() / items as f64;
        let deviation = variance.sqrt();
        if deviation > 0.0 {
            let each = fused.iter_mut().zip(*scores);
            each.for_each(|(sum, score)| *sum += weight * (f64::from(*score) - mean) / deviation);
        }
    }
    Ok(fused)
}

/// The weighted sum of `1 / (60 + rank)` of one query's items, one list of scores per member; the best has rank 1, and
/// equal scores share the mean of their ranks.
///
/// # Errors
/// As [`fuse_scores`].
pub fn fuse_ranks(members: &[&[f32]], weights: &[f64]) -> Result<Vec<f64>> {
    let items = check(members, weights)?;
    let mut fused = vec![0.0; items];
    for (scores, weight) in members.iter().zip(weights) {
        let mut order: Vec<usize> = (0..items).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        for equals in order.chunk_by(|a, b| scores[*a] == scores[*b]) {
            let first = order.iter().position(|item| *item == equals[0]).unwrap_or(0);
            let rank = first as f64 + 1.0 + (equals.len() - 1) as f64 / 2.0;
            equals.iter().for_each(|item| fused[*item] += weight / (RANK_OFFSET + rank));
        }
    }
    Ok(fused)
}

fn check(members: &[&[f32]], weights: &[f64]) -> Result<usize> {
    if members.is_empty() || members.len() != weights.len() {
        return Err(Error::shape("weights of a ranking", members.len().max(1), weights.len()));
    }
    let items = members[0].len();
    if let Some(other) = members.iter().find(|scores| scores.len() != items) {
        return Err(Error::shape("scored items of a member", items, other.len()));
    }
    if members.iter().any(|scores| scores.iter().any(|score| !score.is_finite()))
        || weights.iter().any(|weight| !weight.is_finite())
    {
        let remedy = "leave that member out".into();
        return Err(Error::NotFinite { what: "a score or weight of a ranking".into(), remedy });
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_members_scale_does_not_matter() {
        let (a, b): ([f32; 3], [f32; 3]) = ([3.0, 1.0, 2.0], [0.1, 0.3, 0.2]);
        let loud: Vec<f32> = a.iter().map(|s| 1000.0 * s - 7.0).collect();
        let fused = fuse_scores(&[&a, &b], &[0.7, 0.3]).unwrap();
        let again = fuse_scores(&[&loud, &b], &[0.7, 0.3]).unwrap();
        assert!(fused.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-4));
        assert!(fused[0] > fused[2] && fused[2] > fused[1]);
        let silent = fuse_scores(&[&a, &[5.0; 3]], &[0.5, 0.5]).unwrap();
        assert!((silent[0] - 0.5 * 1.5_f64.sqrt()).abs() < 1e-6, "{silent:?}");
    }

    #[test]
    fn reciprocal_ranks_follow_the_formula_and_equal_scores_share_their_ranks() {
        let fused = fuse_ranks(&[&[9.0, 1.0, 5.0], &[2.0, 2.0, 1.0]], &[1.0, 1.0]).unwrap();
        let expected = [1.0 / 61.0 + 1.0 / 61.5, 1.0 / 63.0 + 1.0 / 61.5, 1.0 / 62.0 + 1.0 / 63.0];
        assert!(fused.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{fused:?}");
    }

    #[test]
    fn members_that_score_other_items_are_refused() {
        assert!(fuse_scores(&[&[1.0], &[1.0, 2.0]], &[0.5, 0.5]).is_err());
        assert!(fuse_scores(&[&[f32::NAN]], &[1.0]).is_err());
        assert!(fuse_ranks(&[], &[]).is_err());
        assert!(fuse_ranks(&[&[1.0]], &[]).is_err());
        assert!(fuse_ranks(&[&[]], &[1.0]).unwrap().is_empty());
    }
}
