//! The plausibility gate: what is too far away to be believed does not reach the mix.
//!
//! Refuses infinite and NaN values and anything farther than [`REACH`] times the running median distance, or that of the step
//! where all are farther: a model that begins to learn moves everybody's parameters at once. It exists
//! because even robust rules spend their resistance on what is far away; it deliberately does not judge what is near.
//! Keep one gate per shard, since shards differ in size and scale.

use std::collections::VecDeque;

use thiserror::Error;

use crate::shard::distance::{distance_squared, norm};

/// Distances remembered; a few outer steps' worth of pulls.
pub const HISTORY_MAX: usize = 64;
/// Distances needed before the median is believed.
pub const HISTORY_MIN: usize = 5;
/// Vectors of one step whose own median counts.
const TOGETHER_MIN: usize = 3;
/// How many median distances away a vector may be.
pub const REACH: f64 = 10.0;
/// Share of the own norm within which anything is plausible. When all nodes agree the median goes to zero, and a
/// difference of a thousandth is no attack.
pub const CLOSE: f64 = 1e-3;
/// Root mean square difference per parameter that no training comes near; holds from the first pull on.
pub const SPREAD_MAX: f64 = 1e3;

/// The gate of one shard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gate {
    /// The last distances heard, refused ones too, oldest first.
    history: VecDeque<f64>,
}

/// A vector that is not to be mixed.
#[derive(Debug, Error, Clone, Copy, PartialEq)]
pub enum Implausible {
    /// Another length than the shard has.
    #[error("expected {expected} values, found {found}")]
    Length {
        /// Values of the shard.
        expected: usize,
        /// Values that came.
        found: usize,
    },
    /// Holds an infinite or NaN value.
    #[error("expected finite values, found an infinite or NaN one")]
    NotFinite,
    /// Farther away than plausible.
    #[error("expected a distance of at most {most:.3e}, found {found:.3e}")]
    TooFar {
        /// The largest plausible distance.
        most: f64,
        /// The distance.
        found: f64,
    },
}

impl Gate {
    /// A gate that has heard nothing: it lets in whatever is finite and not absurd.
    pub fn new() -> Self {
        Self::default()
    }

    /// Judges a pulled vector against the own one; both hold deltas of the same shard (elements). Returns the distance.
    pub fn judge(&mut self, own: &[f32], pulled: &[f32]) -> Result<f64, Implausible> {
        if own.len() != pulled.len() {
            return Err(Implausible::Length { expected: own.len(), found: pulled.len() });
        }
        let distance = distance_squared(own, pulled).sqrt();
        self.judge_distance(distance, norm(own), own.len())
    }

    /// Judges a distance measured elsewhere; `own_norm` is the norm of the own vector of `len` elements.
    pub fn judge_distance(&mut self, distance: f64, own_norm: f64, len: usize) -> Result<f64, Implausible> {
        let most = self.reach(own_norm, len);
        self.remember(distance);
        within(distance, most)
    }

    /// Judges all vectors pulled for one outer step together, by their distances; the answers have the order of the
    /// distances.
    ///
    /// Better than one by one: all are remembered first, so a gate that has heard nothing still sees which of five
    /// or more is far from the rest, and the order of arrival does not matter. Where most of three or more are far, they are
    /// measured by each other and not by what was before.
    pub fn judge_all(
        &mut self,
        distances: &[f64],
        own_norm: f64,
        len: usize,
    ) -> Vec<Result<f64, Implausible>> {
        for &distance in distances {
            self.remember(distance);
        }
        let most = self.reach(own_norm, len).max(together(distances).min(absurd(len)));
        distances.iter().map(|&distance| within(distance, most)).collect()
    }

    /// Refused distances are remembered too: when most peers have moved on, the median follows them. A minority cannot
    /// drag it.
    fn remember(&mut self, distance: f64) {
        if distance.is_finite() {
            if self.history.len() == HISTORY_MAX {
                self.history.pop_front();
            }
            self.history.push_back(distance);
        }
    }

    /// The largest distance that would pass now.
    pub fn reach(&self, own_norm: f64, len: usize) -> f64 {
        match self.median() {
            Some(median) => (REACH * median).max(CLOSE * own_norm).min(absurd(len)),
            None => absurd(len),
        }
    }

    /// Judges what came when not all of it could be read; `far` counts the values of each that could not. Whoever could read
    /// nobody has come away from all others and knows no distances any more: it begins anew, or it would refuse them once
    /// they can be read again.
    pub fn judge_read(
        &mut self,
        distances: &[f64],
        far: &[usize],
        own_norm: f64,
        len: usize,
    ) -> Vec<Result<f64, Implausible>> {
        if !far.is_empty() && far.iter().all(|far| 2 * far >= len) {
            self.history.clear();
            return distances.iter().map(|distance| within(*distance, f64::INFINITY)).collect();
        }
        let believed: Vec<f64> =
            distances.iter().zip(far).map(|(distance, far)| self.believed(*distance, *far, len)).collect();
        self.judge_all(&believed, own_norm, len)
    }

    /// The distance to believe of a vector of `len` elements of which `far` could not be read: what was read speaks for the
    /// rest, and when that is the smaller part the vector is farther away than anything that was expected. Otherwise whoever
    /// cannot read the others would take them for near, and be read ever less itself.
    fn believed(&self, distance: f64, far: usize, len: usize) -> f64 {
        if far == 0 {
            distance
        } else if 2 * far < len {
            distance * (len as f64 / (len - far) as f64).sqrt()
        } else {
            distance.max(2.0 * self.median().unwrap_or(0.0))
        }
    }

    /// How far the others' values lie from the own ones, root mean square over the `len` elements of the shard, once enough
    /// was heard.
    pub fn spread(&self, len: usize) -> Option<f32> {
        Some((self.median()? / (len.max(1) as f64).sqrt()) as f32)
    }

    /// The running median, once enough was heard.
    pub fn median(&self) -> Option<f64> {
        if self.history.len() < HISTORY_MIN {
            return None;
        }
        let mut sorted: Vec<f64> = self.history.iter().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        Some(sorted[sorted.len() / 2])
    }
}

/// A distance that no training comes near, for so many elements.
fn absurd(len: usize) -> f64 {
    SPREAD_MAX * (len as f64).sqrt()
}

/// How far a vector of one step may be by the others of that step; of an even number the lower middle counts, so that half
/// of them cannot raise it.
fn together(distances: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = distances.iter().copied().filter(|distance| distance.is_finite()).collect();
    if sorted.len() < TOGETHER_MIN {
        return 0.0;
    }
    sorted.sort_unstable_by(f64::total_cmp);
    REACH * sorted[(sorted.len() - 1) / 2]
}

fn within(distance: f64, most: f64) -> Result<f64, Implausible> {
    if !distance.is_finite() {
        return Err(Implausible::NotFinite);
    }
    if distance <= most { Ok(distance) } else { Err(Implausible::TooFar { most, found: distance }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warmed(distance: f64) -> Gate {
        let mut gate = Gate::new();
        for _ in 0..HISTORY_MIN {
            gate.judge_distance(distance, 1.0, 4).unwrap();
        }
        gate
    }

    #[test]
    fn a_new_gate_refuses_only_the_absurd() {
        let mut gate = Gate::new();
        assert!(gate.judge(&[0.0; 4], &[100.0; 4]).is_ok());
        assert!(matches!(gate.judge(&[0.0; 4], &[1e30; 4]), Err(Implausible::TooFar { .. })));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(gate.judge(&[0.0; 2], &[0.0, bad]), Err(Implausible::NotFinite));
        }
        assert!(matches!(gate.judge(&[0.0; 2], &[0.0]), Err(Implausible::Length { .. })));
    }

    #[test]
    fn a_warm_gate_refuses_what_is_ten_medians_away() {
        let mut gate = warmed(1.0);
        assert!(gate.judge_distance(9.9, 1.0, 4).is_ok());
        assert_eq!(gate.judge_distance(10.1, 1.0, 4), Err(Implausible::TooFar { most: 10.0, found: 10.1 }));
    }

    #[test]
    fn pulls_judged_together_show_the_far_one_from_the_first_step_on() {
        let mut gate = Gate::new();
        let judged = gate.judge_all(&[1.0, f64::NAN, 1.2, 400.0, 0.9, 1.1], 1.0, 4);
        let passed: Vec<bool> = judged.iter().map(Result::is_ok).collect();
        assert_eq!(passed, [true, false, true, false, true, true]);
        assert_eq!(judged[1], Err(Implausible::NotFinite));
        // Too few to tell: permissive.
        assert!(Gate::new().judge_all(&[1.0, 400.0], 1.0, 4).iter().all(Result::is_ok));
    }

    #[test]
    fn when_all_move_at_once_nobody_is_refused_but_who_is_far_from_them() {
        let passed = |distances: &[f64]| {
            let judged = warmed(1.0).judge_all(distances, 1.0, 4);
            judged.iter().map(Result::is_ok).collect::<Vec<_>>()
        };
        assert_eq!(passed(&[20.0, 22.0, 19.0, 25.0]), [true; 4]);
        assert_eq!(passed(&[20.0, 22.0, 19.0, 900.0]), [true, true, true, false]);
        // Half of them do not make it so, nor do two alone.
        assert_eq!(passed(&[1.1, 0.9, 50.0, 60.0]), [true, true, false, false]);
        assert_eq!(passed(&[50.0, 60.0]), [false, false]);
    }

    #[test]
    fn whoever_reads_little_of_the_others_expects_them_farther_away() {
        let mut gate = warmed(1.0);
        assert_eq!(gate.believed(0.5, 0, 400), 0.5);
        assert_eq!(gate.believed(0.5, 175, 400), 0.5 / 0.75);
        for _ in 0..HISTORY_MAX {
            gate.judge_read(&[0.0, 1.0], &[400, 0], 1.0, 400);
        }
        assert!(gate.spread(400).unwrap() > 1.0 / 20.0, "{:?}", gate.spread(400));
    }

    #[test]
    fn whoever_can_read_nobody_begins_anew_and_one_liar_does_not_make_it() {
        let mut gate = warmed(1.0);
        assert!(gate.judge_read(&[0.0, 50.0], &[400, 0], 1.0, 400)[1].is_err());
        gate.judge_read(&[0.0, 0.0], &[400, 250], 1.0, 400);
        assert!(gate.judge_read(&[50.0, 60.0], &[0, 0], 1.0, 400).iter().all(Result::is_ok));
    }

    #[test]
    fn nodes_that_agree_do_not_shut_the_gate_to_a_small_difference() {
        let mut gate = warmed(0.0);
        assert!(gate.judge_distance(0.9e-3, 1.0, 4).is_ok());
        assert!(gate.judge_distance(2e-3, 1.0, 4).is_err());
    }

    #[test]
    fn a_minority_cannot_open_the_gate_and_a_majority_can() {
        let mut gate = warmed(1.0);
        for _ in 0..100 {
            assert!(gate.judge_distance(50.0, 1.0, 4).is_err());
            assert!(gate.judge_distance(1.0, 1.0, 4).is_ok());
            assert!(gate.judge_distance(1.0, 1.0, 4).is_ok());
        }
        let moved = (0..HISTORY_MAX).filter(|_| gate.judge_distance(50.0, 1.0, 4).is_ok()).count();
        assert!(moved > 0, "all peers moved on and the gate stayed shut");
    }
}
