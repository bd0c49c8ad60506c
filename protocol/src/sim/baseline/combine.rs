//! How a peer combines what came with its own.

use std::sync::Arc;

use crate::mixing::outer::Outer;
use crate::mixing::rule::mix;
use crate::wire::choice::Rule;

/// Momentum, rate and pull of NoLoCo's outer optimizer (Kolehmainen et al. 2025): alpha and beta as in its experiments,
/// gamma inside the stated bounds for pairs.
const NOLOCO: (f32, f32, f32) = (0.5, 0.7, 0.9);

/// What one peer sends after a step.
#[derive(Clone, Debug)]
pub(super) struct Said {
    /// Parameters after training, as the receiver decodes them.
    pub(super) working: Arc<[f32]>,
    /// Parameters before training, where the algorithm sends them too.
    pub(super) agreed: Option<Arc<[f32]>>,
}

/// Mixes by a rule with what came, then takes the outer step.
pub(super) fn by_rule(
    (rule, byzantine): (Rule, usize),
    working: &[f32],
    came: &[&[f32]],
    outer: &mut Outer,
    agreed: &mut [f32],
    is_settling: bool,
) {
    let mut mixed = working.to_vec();
    // More may come than a pull ever brings.
    let came = &came[..came.len().min(crate::limits::PULLS_MAX)];
    if mix(rule, byzantine, working, came, &mut mixed).is_err() {
        mixed.copy_from_slice(working);
    }
    if is_settling {
        agreed.copy_from_slice(&mixed);
        outer.rest();
    } else {
        let len = mixed.len();
        outer.step(0..len, agreed, &mixed);
    }
}

/// NoLoCo's step for a pair: momentum on the mean outer gradient, and a pull towards the pair's mean.
///
/// `velocity` starts at zero. Without a partner the peer is its own pair.
pub(super) fn as_pair(
    working: &[f32],
    partner: Option<&Said>,
    agreed: &mut [f32],
    velocity: &mut [f32],
    is_settling: bool,
) {
    let (alpha, beta, gamma) = NOLOCO;
    let theirs = partner.map_or(working, |said| &said.working);
    let their_agreed: Vec<f32> = match partner.and_then(|said| said.agreed.as_deref()) {
        Some(agreed) => agreed.to_vec(),
        None => agreed.to_vec(),
    };
    for k in 0..agreed.len() {
        let mean = f32::midpoint(agreed[k], their_agreed[k]);
        if is_settling {
            agreed[k] = mean;
            continue;
        }
        // Outer gradients point from where training began to where it ended, turned round.
        let gradient = f32::midpoint(agreed[k] - working[k], their_agreed[k] - theirs[k]);
        velocity[k] = alpha * velocity[k] - beta * gradient - gamma * (agreed[k] - mean);
        agreed[k] += velocity[k];
    }
}
