//! Who is pointed out to whom: the links discovery offers.

use crate::rng::Rng;

/// Neighbours of every peer, sorted; the relation is mutual.
#[derive(Clone, Debug)]
pub(super) struct Topology {
    neighbours: Vec<Vec<u32>>,
}

impl Topology {
    /// All with all where `links` allow it, else the union of `links / 2` random rings: connected, of nearly equal degree.
    pub(super) fn draw(peers: u32, links: u32, rng: &mut Rng) -> Self {
        let mut neighbours: Vec<Vec<u32>> = vec![Vec::new(); peers as usize];
        if peers <= links + 1 {
            for (i, own) in neighbours.iter_mut().enumerate() {
                own.extend((0..peers).filter(|j| *j != i as u32));
            }
            return Self { neighbours };
        }
        for _ in 0..(links / 2).max(1) {
            let mut ring: Vec<u32> = (0..peers).collect();
            rng.shuffle(&mut ring);
            for (place, &a) in ring.iter().enumerate() {
                let b = ring[(place + 1) % ring.len()];
                neighbours[a as usize].push(b);
                neighbours[b as usize].push(a);
            }
        }
        for own in &mut neighbours {
            own.sort_unstable();
            own.dedup();
        }
        Self { neighbours }
    }

    /// Points out to a peer these others and nobody else; others are told of it as far as they are among them.
    pub(super) fn isolate(&mut self, peer: u32, among: &[u32]) {
        for own in &mut self.neighbours {
            own.retain(|other| *other != peer);
        }
        self.neighbours[peer as usize] = among.to_vec();
        self.neighbours[peer as usize].sort_unstable();
        for &other in among {
            let own = &mut self.neighbours[other as usize];
            own.push(peer);
            own.sort_unstable();
        }
    }

    /// The others pointed out to a peer.
    pub(super) fn of(&self, peer: u32) -> &[u32] {
        &self.neighbours[peer as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    #[test]
    fn a_sparse_topology_is_mutual_connected_and_near_its_degree() {
        let topology = Topology::draw(500, 12, &mut Seed::from_u64(1).rng());
        let mut reached = vec![false; 500];
        let mut open = vec![0u32];
        while let Some(peer) = open.pop() {
            if !std::mem::replace(&mut reached[peer as usize], true) {
                open.extend(topology.of(peer));
            }
        }
        assert!(reached.iter().all(|r| *r));
        for peer in 0..500 {
            let own = topology.of(peer);
            assert!((8..=12).contains(&own.len()) && !own.contains(&peer));
            assert!(own.iter().all(|other| topology.of(*other).contains(&peer)));
        }
    }
}
