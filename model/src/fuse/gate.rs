//! The gate: a candidate comes in only if it does not lose.
//!
//! Candidate and incumbent are compared on the same validation examples. What decides is the difference of their scores
//! against a margin stated beforehand; the interval of the difference says how far chance could move it, for whoever
//! reads the verdict. The gate does not know what the two are: students, fusions, checkpoints.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fuse::fit::{DRAWS, Interval, drawn};
use crate::fuse::tally::{Tally, score, total};
use crate::seed::Seed;

/// A decision and what it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether the candidate is taken.
    pub is_adopted: bool,
    /// Its score, 0 to 1.
    pub score_candidate: f64,
    /// The score of what is there.
    pub score_incumbent: f64,
    /// By how much the candidate may lose and still be taken.
    pub margin: f64,
    /// Candidate minus incumbent.
    pub difference: f64,
    /// The middle 95 % of the difference over examples drawn with replacement.
    pub difference_interval: Interval,
    /// Examples both were scored on.
    pub samples: u64,
}

/// Decides from the hits of both on the same examples.
///
/// # Errors
/// The margin is not between 0 and 1, there is no example, or the two were scored on different ones.
pub fn judge(candidate: &[Tally], incumbent: &[Tally], margin: f64, seed: Seed) -> Result<Verdict> {
    if !(0.0..=1.0).contains(&margin) {
        return Err(Error::config("margin", format!("expected a share from 0 to 1, found {margin}")));
    }
    if candidate.is_empty() || candidate.len() != incumbent.len() {
        let expected = format!("{}, at least 1", incumbent.len());
        return Err(Error::shape("validation examples of a candidate", expected, candidate.len()));
    }
    if candidate.iter().zip(incumbent).any(|(a, b)| a.truth != b.truth) {
        return Err(Error::shape("validation examples of a candidate", "those of the incumbent", "others"));
    }
    let (score_candidate, score_incumbent) = (total(candidate), total(incumbent));
    let difference = score_candidate - score_incumbent;
    let draws = (0..DRAWS).map(|draw| {
        let times = drawn(candidate.len(), &seed.fork_index(draw as u64));
        score(candidate, &times) - score(incumbent, &times)
    });
    Ok(Verdict {
        is_adopted: difference >= -margin,
        score_candidate,
        score_incumbent,
        margin,
        difference,
        difference_interval: Interval::of(draws.collect()),
        samples: candidate.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of which every `wrong`-th is missed.
    fn hits(wrong: usize) -> Vec<Tally> {
        (0..200).map(|k| Tally { truth: 1, said: 1, hits: u32::from(k % wrong != 0) }).collect()
    }

    #[test]
    fn a_candidate_comes_in_if_it_loses_no_more_than_the_margin() {
        let seed = Seed::from_u64(1);
        let verdict = |margin| judge(&hits(10), &hits(20), margin, seed).unwrap(); // .90 against .95
        assert!(!verdict(0.04).is_adopted && verdict(0.051).is_adopted);
        let found = verdict(0.04);
        assert!((found.difference + 0.05).abs() < 1e-12 && found.samples == 200);
        assert!(found.difference_interval.low < -0.05 && found.difference_interval.high > -0.05);
        assert!(judge(&hits(20), &hits(10), 0.0, seed).unwrap().is_adopted);
        let same = judge(&hits(10), &hits(10), 0.0, seed).unwrap();
        assert!(same.is_adopted && same.difference_interval == Interval { low: 0.0, high: 0.0 });
    }

    #[test]
    fn a_margin_or_examples_that_make_no_sense_are_refused() {
        let seed = Seed::from_u64(1);
        assert!(judge(&hits(10), &hits(10), -0.1, seed).is_err());
        assert!(judge(&hits(10), &hits(10), f64::NAN, seed).is_err());
        assert!(judge(&[], &[], 0.0, seed).is_err());
        assert!(judge(&hits(10)[1..], &hits(10), 0.0, seed).is_err());
        let mut other = hits(10);
        other[3].truth = 2;
        assert!(judge(&other, &hits(10), 0.0, seed).is_err());
    }
}
