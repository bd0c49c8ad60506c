//! Who sends to whom in an outer step.

use crate::rng::{Rng, Seed};
use crate::sim::scenario::Algorithm;
use crate::sim::topology::Topology;

/// The senders and receivers of every step.
#[derive(Clone, Debug)]
pub(super) struct Partners {
    algorithm: Algorithm,
    peers: u32,
    pulls: u32,
    regular: Topology,
    seed: Seed,
}

impl Partners {
    pub(super) fn new(algorithm: Algorithm, peers: u32, pulls: u32, seed: &Seed) -> Self {
        let regular = Topology::draw(peers, pulls.max(2), &mut seed.fork("regular").rng());
        Self { algorithm, peers, pulls, regular, seed: seed.clone() }
    }

    /// Receivers of what peer `i` has after step `step`; `rng` is its own.
    pub(super) fn to(&self, i: u32, step: u32, rng: &mut Rng) -> Vec<u32> {
        let n = self.peers;
        match self.algorithm {
            Algorithm::Ring => vec![(i + 1) % n, (i + n - 1) % n],
            Algorithm::Regular => self.regular.of(i).to_vec(),
            Algorithm::Exponential => vec![(i + self.jump(step)) % n],
            Algorithm::Pair => self.partner(i, step).into_iter().collect(),
            Algorithm::Push => others(i, n, self.pulls, rng),
            Algorithm::Async => others(i, n, 1, rng),
            Algorithm::Pull | Algorithm::AllReduce | Algorithm::Alone => Vec::new(),
        }
    }

    /// Senders peer `i` expects something of after step `step`; `None` where it cannot know who, only how many.
    pub(super) fn from(&self, i: u32, step: u32) -> Option<Vec<u32>> {
        let n = self.peers;
        match self.algorithm {
            Algorithm::Ring => Some(vec![(i + 1) % n, (i + n - 1) % n]),
            Algorithm::Regular => Some(self.regular.of(i).to_vec()),
            Algorithm::Exponential => Some(vec![(i + n - self.jump(step)) % n]),
            Algorithm::Pair => Some(self.partner(i, step).into_iter().collect()),
            Algorithm::Push => None,
            Algorithm::Pull | Algorithm::Async | Algorithm::AllReduce | Algorithm::Alone => Some(Vec::new()),
        }
    }

    /// 1, 2, 4, ... and again, below the number of peers.
    fn jump(&self, step: u32) -> u32 {
        let powers = (u32::BITS - (self.peers - 1).leading_zeros()).max(1);
        1 << (step % powers)
    }

    /// The other of a pair in a random matching of all, equal on every peer; of an odd number one has none.
    fn partner(&self, i: u32, step: u32) -> Option<u32> {
        let mut order: Vec<u32> = (0..self.peers).collect();
        self.seed.fork("pairs").fork_index(step.into()).rng().shuffle(&mut order);
        let place = order.iter().position(|peer| *peer == i)?;
        order.get(place ^ 1).copied()
    }
}

fn others(i: u32, n: u32, count: u32, rng: &mut Rng) -> Vec<u32> {
    let all: Vec<u32> = (0..n).filter(|j| *j != i).collect();
    rng.draw(&all, count as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_sent_to_expects_the_sender() {
        for algorithm in [Algorithm::Ring, Algorithm::Regular, Algorithm::Exponential, Algorithm::Pair] {
            let partners = Partners::new(algorithm, 13, 4, &Seed::from_u64(1));
            for (step, i) in (0..9).flat_map(|step| (0..13).map(move |i| (step, i))) {
                for j in partners.to(i, step, &mut Seed::from_u64(2).rng()) {
                    assert!(
                        j != i && partners.from(j, step).unwrap().contains(&i),
                        "{algorithm:?} {step} {i} {j}"
                    );
                }
            }
        }
    }
}
