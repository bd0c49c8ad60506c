//! Lies about parameters: what a liar that sees everything says it has.

use std::sync::Arc;

use crate::crypto::hash::content_hash;
use crate::peer::input::Update;
use crate::rng::Rng;
use crate::shard::distance::norm;
use crate::sim::attack::Attack;
use crate::sim::learner::number::normal;
use crate::wire::choice::Codec;

/// Largest magnitude of a lie: what every codec holds.
const LARGEST: f32 = 60_000.0;

/// What a liar knows of the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Honest<'a> {
    /// Where everybody began.
    pub(super) genesis: &'a [f32],
    /// What honest peers have now.
    pub(super) working: &'a [&'a [f32]],
}

/// The parameters that one node says it has in place of `own`, when it sees nobody else's, at the attack's own strength;
/// `None` where the attack is not about them. All have one length.
pub fn forged_alone(attack: Attack, own: &[f32], genesis: &[f32], rng: &mut Rng) -> Option<Vec<f32>> {
    forged(attack, attack.strength() as f32, own, &Honest { genesis, working: &[own] }, rng)
}

/// The parameters said in place of `own`; `None` where the attack is not about them.
pub(super) fn forged(
    attack: Attack,
    strength: f32,
    own: &[f32],
    honest: &Honest<'_>,
    rng: &mut Rng,
) -> Option<Vec<f32>> {
    let genesis = honest.genesis;
    let of_delta = |f: &dyn Fn(f32) -> f32| -> Vec<f32> {
        own.iter().zip(genesis).map(|(x, g)| (g + f(x - g)).clamp(-LARGEST, LARGEST)).collect()
    };
    Some(match attack {
        Attack::SignFlip | Attack::Sybil => of_delta(&|d| -strength * d),
        Attack::Scale => of_delta(&|d| strength * d),
        Attack::Zero => genesis.to_vec(),
        Attack::Noise => {
            let delta: Vec<f32> = own.iter().zip(genesis).map(|(x, g)| x - g).collect();
            let size = strength * norm(&delta) as f32 / (own.len() as f32).sqrt();
            own.iter().map(|x| x + size * normal(rng) as f32).collect()
        }
        Attack::Alie => {
            let (mean, deviation) = honest.moments();
            mean.iter().zip(&deviation).map(|(m, s)| m - strength * s).collect()
        }
        Attack::Ipm => {
            let (mean, _) = honest.moments();
            mean.iter().zip(genesis).map(|(m, g)| g - strength * (m - g)).collect()
        }
        Attack::Mimic => {
            let (_, deviation) = honest.moments();
            let one = honest.working.first()?.iter().zip(&deviation);
            one.map(|(x, s)| if strength > 0.0 { x + strength * s * normal(rng) as f32 } else { *x })
                .collect()
        }
        Attack::Dissensus => honest.apart(own, strength),
        Attack::Stale
        | Attack::LabelFlip
        | Attack::NotFinite
        | Attack::FreeRider
        | Attack::Equivocator
        | Attack::Withholder
        | Attack::Flooder
        | Attack::Replay
        | Attack::SlowLoris => return None,
    })
}

/// Puts values that are no numbers where the codec lets them be written.
pub(super) fn poison(update: &mut Update, shards: &mut [Arc<[u8]>], codec: Codec) {
    let bad: &[u8] = match codec {
        Codec::F32 => &f32::NAN.to_le_bytes(),
        // The first bytes of a block are its scale; infinity in half precision, which is no bfloat16 either.
        _ => &[0x80, 0x7f],
    };
    for ((hash, _), shard) in update.shards.iter_mut().zip(shards) {
        let mut bytes = shard.to_vec();
        bytes[..bad.len()].copy_from_slice(bad);
        *hash = content_hash(&bytes);
        *shard = bytes.into();
    }
}

impl Honest<'_> {
    /// Mean and standard deviation, by coordinate.
    fn moments(&self) -> (Vec<f32>, Vec<f32>) {
        let count = self.working.len().max(1) as f32;
        let mut mean = vec![0.0; self.genesis.len()];
        for values in self.working {
            mean.iter_mut().zip(*values).for_each(|(m, x)| *m += x / count);
        }
        let mut deviation = vec![0.0; self.genesis.len()];
        for values in self.working {
            let differences = values.iter().zip(&mean).map(|(x, m)| (x - m) * (x - m) / count);
            deviation.iter_mut().zip(differences).for_each(|(d, square)| *d += square);
        }
        deviation.iter_mut().for_each(|d| *d = d.sqrt());
        (mean, deviation)
    }

    /// Away from the mean on the side of `own`, three honest deviations times the strength; a negative strength gives the
    /// other side.
    pub(super) fn apart(&self, own: &[f32], strength: f32) -> Vec<f32> {
        let (mean, deviation) = self.moments();
        let away: Vec<f32> = own.iter().zip(&mean).map(|(x, m)| x - m).collect();
        let scale = 3.0 * strength * norm(&deviation) as f32 / norm(&away).max(1e-9) as f32;
        mean.iter().zip(&away).map(|(m, a)| m + scale * a).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn lies_are_what_their_names_say() {
        let genesis = [1.0, 1.0];
        let working: [&[f32]; 2] = [&[2.0, 3.0], &[4.0, 3.0]];
        let honest = Honest { genesis: &genesis, working: &working };
        let mut rng = Seed::from_u64(1).rng();
        let mut lie = |attack, strength| forged(attack, strength, &[3.0, 0.0], &honest, &mut rng).unwrap();
        assert_eq!(lie(Attack::SignFlip, 4.0), [-7.0, 5.0]);
        assert_eq!(lie(Attack::Ipm, 0.5), [0.0, 0.0]);
        assert_eq!(lie(Attack::Alie, 2.0), [1.0, 3.0]);
        assert_eq!(lie(Attack::Zero, 1.0), genesis);
        assert_eq!(lie(Attack::Mimic, 0.0), [2.0, 3.0]);
        let noisy = lie(Attack::Mimic, 0.1);
        assert!(noisy[0] != 2.0 && (noisy[0] - 2.0).abs() < 1.0 && noisy[1] == 3.0, "{noisy:?}");
        let (a, b) = (honest.apart(&[4.0, 3.0], 1.0), honest.apart(&[4.0, 3.0], -1.0));
        assert_eq!((a, b), (vec![6.0, 3.0], vec![0.0, 3.0]));
    }
}
