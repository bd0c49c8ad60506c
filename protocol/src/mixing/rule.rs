//! The mixing rules: from the own vector and m pulled ones to a mix.
//!
//! With n = m + 1 vectors and b the number of pulled ones planned to lie:
//!
//! - `mean`: all, equally; b is not used
//! - `nnm-trimmed`: every vector replaced by the mean of itself and its m - b nearest, then the trimmed mean; of copies
//!   (see `copies`) only the first counts, and each beyond a second is one liar less to plan for, down to one
//! - `nearest`: mean of own and the m - b nearest to it
//! - `clip`: mean after shortening differences to the (m - b)-th smallest distance
//! - `trimmed`, `median`: in every coordinate for itself
//! - `krum`: the one vector closest to its n - b - 2 nearest
//!
//! When fewer came than planned the rule is weakened as [`Fallback`] says; `nearest` and `clip`, which measure from the
//! own vector, need no majority and hold as long as m exceeds b. Sums run in the order of the vectors: pass them in
//! `PeerId` order. Equal inputs give equal bits on every platform.

use crate::limits::PULLS_MAX;
use crate::mixing::copies::distinct;
use crate::mixing::neighbours::{Distances, mix_then_trim, nearest};
use crate::mixing::stats::{Fallback, MixError, MixStats};
use crate::mixing::trimmed::TrimmedMean;
use crate::mixing::weighted;
use crate::shard::distance::{distance_squared, norm};
use crate::wire::choice::Rule;

/// Mixes `own` with `pulled` (m, elements) into `out` (elements).
///
/// Vectors must be finite and of one length. `byzantine` is b; it may exceed what the rule can bear for this m.
pub fn mix(
    rule: Rule,
    byzantine: usize,
    own: &[f32],
    pulled: &[&[f32]],
    out: &mut [f32],
) -> Result<MixStats, MixError> {
    check_lengths(own, pulled, out)?;
    let distances = Measured::measure(rule, own, pulled)?;
    if rule == Rule::NnmTrimmed && byzantine > 0 {
        let groups = distinct(distances.pairs(), pulled.len() + 1, byzantine);
        if groups.len() <= pulled.len() {
            return without_copies(byzantine, own, pulled, distances, &groups, out);
        }
    }
    mix_measured(rule, byzantine, own, pulled, distances, out)
}

/// Nearest-neighbour mixing of the first vector of each of `groups`. Two honest peers may be alike by chance, three are not:
/// whoever does not count beyond a second of its group is one of the planned liars. One more is always planned for, because
/// the copy that counts may lie.
fn without_copies(
    byzantine: usize,
    own: &[f32],
    pulled: &[&[f32]],
    distances: Measured,
    groups: &[(usize, usize)],
    out: &mut [f32],
) -> Result<MixStats, MixError> {
    let liars: usize = groups.iter().map(|(_, size)| size.saturating_sub(2)).sum();
    let left = byzantine.saturating_sub(liars).max(1);
    let kept: Vec<usize> = groups.iter().map(|(place, _)| *place).collect();
    let chosen: Vec<&[f32]> = kept[1..].iter().map(|&place| pulled[place - 1]).collect();
    let near = Measured {
        own: kept[1..].iter().map(|&place| distances.own[place - 1]).collect(),
        pairs: distances.pairs.as_ref().map(|pairs| pairs.among(&kept)),
    };
    let stats = mix_measured(Rule::NnmTrimmed, left, own, &chosen, near, out)?;
    let mut weights = vec![0.0; pulled.len()];
    kept[1..].iter().zip(&stats.weights).for_each(|(&place, weight)| weights[place - 1] = *weight);
    let rejected = (0..pulled.len()).filter(|&place| weights[place] == 0.0).collect();
    Ok(MixStats { weights, distances: distances.own, rejected, ..stats })
}

fn mix_measured(
    rule: Rule,
    byzantine: usize,
    own: &[f32],
    pulled: &[&[f32]],
    distances: Measured,
    out: &mut [f32],
) -> Result<MixStats, MixError> {
    let m = pulled.len();
    let fallback = fallback(rule, byzantine, m);
    let all = || -> Vec<&[f32]> { std::iter::once(own).chain(pulled.iter().copied()).collect() };
    let weights = match (fallback, rule) {
        (Fallback::Own, _) => given(own, pulled, vec![0.0; m], out),
        (Fallback::Nearest, _) | (Fallback::None, Rule::Nearest) => {
            given(own, pulled, near_weights(&distances.own, m - byzantine), out)
        }
        (Fallback::None, Rule::Mean) => given(own, pulled, vec![1.0 / (m + 1) as f64; m], out),
        (Fallback::None, Rule::Clip) => given(own, pulled, weighted::clipped(&distances.own, byzantine), out),
        (Fallback::None, Rule::Trimmed) => coordinates(TrimmedMean::new(m + 1, byzantine), &all(), out),
        (Fallback::None, Rule::Median) => coordinates(TrimmedMean::median(m + 1), &all(), out),
        (Fallback::None, Rule::NnmTrimmed) => mix_then_trim(&all(), distances.pairs(), byzantine, out),
        (Fallback::None, Rule::Krum) => {
            let chosen = distances.pairs().krum(byzantine);
            out.copy_from_slice(all()[chosen]);
            (0..=m).map(|place| f64::from(u8::from(place == chosen))).collect()
        }
    };
    if !norm(out).is_finite() {
        return Err(MixError::Overflow);
    }
    let rejected = (0..m).filter(|place| weights[place + 1] == 0.0).collect();
    Ok(MixStats {
        own_weight: weights[0],
        weights: weights[1..].to_vec(),
        distances: distances.own,
        rejected,
        fallback,
    })
}

/// How the rule is weakened when `m` vectors came and `byzantine` of them may lie.
pub fn fallback(rule: Rule, byzantine: usize, m: usize) -> Fallback {
    let needs_majority = matches!(rule, Rule::NnmTrimmed | Rule::Trimmed | Rule::Median | Rule::Krum);
    if m == 0 || (rule != Rule::Mean && byzantine > 0 && m <= byzantine) {
        Fallback::Own
    } else if needs_majority && m < 2 * byzantine {
        Fallback::Nearest
    } else {
        Fallback::None
    }
}

fn check_lengths(own: &[f32], pulled: &[&[f32]], out: &[f32]) -> Result<(), MixError> {
    if pulled.len() > PULLS_MAX {
        return Err(MixError::TooMany { max: PULLS_MAX, found: pulled.len() });
    }
    let expected = own.len();
    let lengths = pulled.iter().map(|vector| vector.len()).chain(std::iter::once(out.len()));
    match lengths.enumerate().find(|(_, found)| *found != expected) {
        Some((place, found)) => Err(MixError::Length { expected, found, place }),
        None => Ok(()),
    }
}

/// Distances from the own vector and, where the rule asks for them, between all pairs.
struct Measured {
    own: Vec<f64>,
    pairs: Option<Distances>,
}

impl Measured {
    fn measure(rule: Rule, own: &[f32], pulled: &[&[f32]]) -> Result<Self, MixError> {
        let (squared, pairs) = if matches!(rule, Rule::NnmTrimmed | Rule::Krum) {
            let all: Vec<&[f32]> = std::iter::once(own).chain(pulled.iter().copied()).collect();
            let pairs = Distances::between(&all);
            (pairs.from(0)[1..].to_vec(), Some(pairs))
        } else {
            (pulled.iter().map(|theirs| distance_squared(own, theirs)).collect(), None)
        };
        if let Some(place) = squared.iter().position(|d| !d.is_finite()) {
            let whose = norm(own).is_finite();
            return Err(if whose { MixError::NotFinite { place } } else { MixError::OwnNotFinite });
        }
        Ok(Self { own: squared.into_iter().map(f64::sqrt).collect(), pairs })
    }

    fn pairs(&self) -> &Distances {
        self.pairs.as_ref().expect("measured for the rules that ask for pairs")
    }
}

/// Mixes with one weight a vector; returns own and pulled weights.
fn given(own: &[f32], pulled: &[&[f32]], weights: Vec<f64>, out: &mut [f32]) -> Vec<f64> {
    weighted::mix(own, pulled, &weights, out);
    let rest = 1.0 - weights.iter().sum::<f64>();
    std::iter::once(rest.max(0.0)).chain(weights).collect()
}

/// Mixes coordinate by coordinate; returns own and pulled shares.
fn coordinates(mut mean: TrimmedMean, all: &[&[f32]], out: &mut [f32]) -> Vec<f64> {
    mean.mix(all, out);
    mean.shares()
}

/// Equal weights for the `count` nearest, 0 for the others.
fn near_weights(distances: &[f64], count: usize) -> Vec<f64> {
    let places: Vec<usize> = (0..distances.len()).collect();
    let mut weights = vec![0.0; distances.len()];
    for place in nearest(&places, |place| distances[place], count) {
        weights[place] = 1.0 / (count + 1) as f64;
    }
    weights
}
