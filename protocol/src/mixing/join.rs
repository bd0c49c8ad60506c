//! How a late joiner finds its first parameters: the coordinate-wise median of 2b + 3 random peers' shards.
//!
//! It has no vector of its own to measure from, so only a majority helps; with at most b liars among 2b + 3 each
//! coordinate lies between honest values.

use crate::mixing::stats::MixError;
use crate::mixing::trimmed::TrimmedMean;
use crate::shard::distance::norm;

/// Peers to pull every shard from when `byzantine` (b) of them may lie.
pub const fn joiner_pulls(byzantine: usize) -> usize {
    2 * byzantine + 3
}

/// The coordinate-wise median of `pulled` (peers, elements) into `out` (elements).
///
/// Takes fewer than [`joiner_pulls`] in a small swarm, where the caller asked everybody there is. With none, an error:
/// the joiner keeps genesis.
pub fn median(pulled: &[&[f32]], out: &mut [f32]) -> Result<(), JoinError> {
    if pulled.is_empty() {
        return Err(JoinError::Nobody);
    }
    for (place, vector) in pulled.iter().enumerate() {
        if vector.len() != out.len() {
            let (expected, found) = (out.len(), vector.len());
            return Err(MixError::Length { expected, found, place }.into());
        }
        if !norm(vector).is_finite() {
            return Err(MixError::NotFinite { place }.into());
        }
    }
    TrimmedMean::median(pulled.len()).mix(pulled, out);
    Ok(())
}

/// A joiner cannot take over parameters.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum JoinError {
    /// Nothing was pulled; stay at genesis and try again.
    #[error("expected shards of at least one peer, found none")]
    Nobody,
    /// The vectors do not fit together.
    #[error(transparent)]
    Mix(#[from] MixError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joiner_lands_between_honest_values() {
        let honest: [&[f32]; 4] = [&[1.0, -1.0], &[1.5, -0.5], &[1.2, -0.8], &[1.3, -0.7]];
        let liar = [1e30f32, -1e30];
        let mut out = [0.0; 2];
        median(&[honest[0], &liar, honest[1], honest[2], honest[3]], &mut out).unwrap();
        assert_eq!(out, [1.3, -0.8]);
        assert_eq!(joiner_pulls(1), 5);
    }

    #[test]
    fn nobody_and_misfits_are_told_apart() {
        assert_eq!(median(&[], &mut [0.0]), Err(JoinError::Nobody));
        let misfit = Err(JoinError::Mix(MixError::Length { expected: 1, found: 2, place: 1 }));
        assert_eq!(median(&[&[1.0], &[1.0, 2.0]], &mut [0.0]), misfit);
        assert_eq!(median(&[&[f32::NAN]], &mut [0.0]), Err(JoinError::Mix(MixError::NotFinite { place: 0 })));
    }
}
