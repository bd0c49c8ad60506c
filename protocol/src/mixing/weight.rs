//! Mixing weights as the ledger keeps them: whole millionths that sum to one exactly.
//!
//! Floats of two machines may differ in the last bits; whole numbers can be hashed, compared and added up by anyone.

use bincode::{Decode, Encode};
use serde::Serialize;

use crate::id::PeerId;
use crate::mixing::stats::MixStats;

/// Parts of a whole.
pub const WHOLE: u32 = 1_000_000;

/// Who went into a mix with which share.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct MixingWeights {
    /// Share of the own vector, in millionths.
    pub own: u32,
    /// Share of every pulled vector, in millionths, in the order of the mix.
    pub pulled: Vec<(PeerId, u32)>,
}

impl MixingWeights {
    /// The weights of a mix; `peers` names the pulled vectors in the order in which they were mixed.
    pub fn new(stats: &MixStats, peers: &[PeerId]) -> Self {
        assert_eq!(stats.weights.len(), peers.len(), "every pulled vector has a sender");
        let shares: Vec<f64> =
            std::iter::once(stats.own_weight).chain(stats.weights.iter().copied()).collect();
        let parts = whole_parts(&shares);
        let pulled = peers.iter().copied().zip(parts[1..].iter().copied()).collect();
        Self { own: parts[0], pulled }
    }

    /// Whether the shares sum to one.
    pub fn is_whole(&self) -> bool {
        let sum: u64 = self.pulled.iter().map(|(_, part)| u64::from(*part)).sum();
        sum + u64::from(self.own) == u64::from(WHOLE)
    }
}

/// Rounds shares to parts that sum to [`WHOLE`]: all down, then the largest remainders up, the earlier of two equal ones
/// first. A share of 0 stays 0 unless all are.
fn whole_parts(shares: &[f64]) -> Vec<u32> {
    let clean = |share: &f64| if share.is_finite() { share.max(0.0) } else { 0.0 };
    let total: f64 = shares.iter().map(clean).sum();
    if total <= 0.0 {
        return (0..shares.len()).map(|place| if place == 0 { WHOLE } else { 0 }).collect();
    }
    let exact: Vec<f64> = shares.iter().map(|share| clean(share) / total * f64::from(WHOLE)).collect();
    let mut parts: Vec<u32> = exact.iter().map(|part| part.floor() as u32).collect();
    let mut order: Vec<usize> = (0..shares.len()).filter(|&place| exact[place] > 0.0).collect();
    order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()).then(a.cmp(&b)));
    let missing = WHOLE.saturating_sub(parts.iter().sum()) as usize;
    for &place in order.iter().cycle().take(missing) {
        parts[place] += 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::choice::Rule;

    #[test]
    fn shares_sum_to_one_exactly_whatever_they_are() {
        for shares in [
            vec![1.0 / 3.0; 3],
            vec![0.2, 0.2, 0.2, 0.2, 0.2],
            vec![0.1, 0.9, 0.0],
            vec![1.0],
            vec![0.0, 0.0],
            vec![1e-9; 7],
            vec![0.5, 0.500_000_1],
        ] {
            let parts = whole_parts(&shares);
            assert_eq!(parts.iter().sum::<u32>(), WHOLE, "{shares:?}: {parts:?}");
        }
        assert_eq!(whole_parts(&[1.0 / 3.0; 3]), [333_334, 333_333, 333_333]);
        assert_eq!(whole_parts(&[0.1, 0.9, 0.0]), [100_000, 900_000, 0]);
    }

    #[test]
    fn the_record_of_a_real_mix_is_whole_and_names_every_sender() {
        let own = [0.0f32; 4];
        let pulled: [&[f32]; 3] = [&[1.0; 4], &[-1.0; 4], &[900.0; 4]];
        let mut out = [0.0; 4];
        let stats = crate::mixing::rule::mix(Rule::Nearest, 1, &own, &pulled, &mut out).unwrap();
        let peers: Vec<PeerId> = (0..3).map(|i| PeerId([i; 32])).collect();
        let weights = MixingWeights::new(&stats, &peers);
        assert!(weights.is_whole());
        assert_eq!(weights.pulled.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), peers);
        assert_eq!(weights.pulled[2].1, 0);
        let torn = MixingWeights { own: weights.own + 1, ..weights };
        assert!(!torn.is_whole());
    }
}
