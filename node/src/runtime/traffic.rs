//! What goes to and comes from each peer: bytes of bulk, and the links as the network sees them.

use std::collections::BTreeMap;

use protocol::id::{InboundId, PeerId};
use protocol::limits::ROSTER_MAX;

use crate::net::link::Link;

/// Bytes exchanged with one peer since this node started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// Came from it, good or bad.
    pub pulled: u64,
    /// Handed to the network for it.
    pub served: u64,
}

/// Counts by peer.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    exchanged: BTreeMap<PeerId, Exchanged>,
    links: BTreeMap<PeerId, Link>,
    /// Who asked what is not answered yet.
    asked: BTreeMap<InboundId, PeerId>,
}

impl Traffic {
    /// Bytes came from a peer.
    pub fn pulled(&mut self, peer: PeerId, bytes: u64) {
        self.of_mut(peer).pulled += bytes;
    }

    /// A peer asks; the answer follows at once.
    pub fn asked(&mut self, inbound: InboundId, from: PeerId) {
        self.asked.insert(inbound, from);
    }

    /// A question is answered with so many bytes.
    pub fn answered(&mut self, inbound: InboundId, bytes: u64) {
        if let Some(peer) = self.asked.remove(&inbound) {
            self.of_mut(peer).served += bytes;
        }
    }

    /// The links that are up now.
    pub fn links(&mut self, links: Vec<Link>) {
        self.links = links.into_iter().map(|link| (link.peer, link)).collect();
    }

    /// The link to a peer, as of the last look.
    pub fn link(&self, peer: &PeerId) -> Option<&Link> {
        self.links.get(peer)
    }

    /// What was exchanged with a peer.
    pub fn of(&self, peer: &PeerId) -> Exchanged {
        self.exchanged.get(peer).copied().unwrap_or_default()
    }

    fn of_mut(&mut self, peer: PeerId) -> &mut Exchanged {
        if self.exchanged.len() >= ROSTER_MAX && !self.exchanged.contains_key(&peer) {
            self.exchanged.pop_first();
        }
        self.exchanged.entry(peer).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_for_the_peer_they_belong_to() {
        let mut traffic = Traffic::default();
        let (ada, bela) = (PeerId([1; 32]), PeerId([2; 32]));
        traffic.pulled(ada, 10);
        traffic.pulled(ada, 5);
        traffic.asked(InboundId(1), bela);
        traffic.asked(InboundId(2), ada);
        traffic.answered(InboundId(1), 7);
        traffic.answered(InboundId(1), 7);
        assert_eq!(traffic.of(&ada), Exchanged { pulled: 15, served: 0 });
        assert_eq!(traffic.of(&bela), Exchanged { pulled: 0, served: 7 });
    }
}
