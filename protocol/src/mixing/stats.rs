//! What came out of a mix, and what keeps one from being made.

use thiserror::Error;

/// What was done with each vector; places are those of the pulled vectors as passed.
#[derive(Clone, Debug, PartialEq)]
pub struct MixStats {
    /// Share of the own vector in the mix. With those in `weights` it sums to one up to rounding.
    ///
    /// Under `clip` it includes what clipping took from the others. Under the coordinate-wise rules it is a measured
    /// share: of all values that were kept, how many are this vector's.
    pub own_weight: f64,
    /// Share of every pulled vector in the mix.
    pub weights: Vec<f64>,
    /// Euclidean distance of every pulled vector from the own one.
    pub distances: Vec<f64>,
    /// Places of the vectors whose share is 0.
    pub rejected: Vec<usize>,
    /// Whether the rule was carried out as planned.
    pub fallback: Fallback,
}

/// What was done instead when fewer vectors came than the rule needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fallback {
    /// The rule was carried out.
    None,
    /// More than b but fewer than 2b pulled: no honest majority is sure, so the mean of own and the m - b nearest, which
    /// needs none.
    Nearest,
    /// Nothing pulled, or at most b while b is not 0: all may lie, so the own vector stays.
    Own,
}

/// Vectors that cannot be mixed; the output is unchanged or meaningless. None of these is a peer's doing: the
/// plausibility gate stands before the mix.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum MixError {
    /// Lengths differ.
    #[error("expected vectors of {expected} elements, found {found} at place {place}")]
    Length {
        /// Length of the own vector.
        expected: usize,
        /// Length found.
        found: usize,
        /// Place among the pulled vectors; their number for the output.
        place: usize,
    },
    /// The own vector holds an infinite or NaN value: go back to the last good parameters.
    #[error("expected finite own parameters, found an infinite or NaN value")]
    OwnNotFinite,
    /// A pulled vector holds an infinite or NaN value: it should not have passed the gate.
    #[error("expected finite vectors, found an infinite or NaN value in the one at place {place}")]
    NotFinite {
        /// Place among the pulled vectors.
        place: usize,
    },
    /// More vectors than a step may pull.
    #[error("expected at most {max} pulled vectors, found {found}")]
    TooMany {
        /// The cap.
        max: usize,
        /// Vectors passed.
        found: usize,
    },
    /// Finite values so far apart that their mean leaves the range of 32 bits.
    #[error(
        "expected a finite mix, found one beyond the range of 32 bits; the plausibility gate was not used"
    )]
    Overflow,
}
