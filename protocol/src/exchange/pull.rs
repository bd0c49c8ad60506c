//! The pull of one outer step: which peer is drawn for which shard, what is asked, what came.
//!
//! Every shard draws its own peers. A peer that fails is replaced once per shard. The pull ends when nothing is under
//! way; it never waits for the slowest beyond the deadlines of its questions.

use std::collections::{BTreeMap, BTreeSet};

use crate::codec::Encode;
use crate::id::{AskId, Hash, OuterStep, PeerId, ShardIndex};
use crate::limits::SHARDS_PER_REQUEST_MAX;
use crate::rng::Rng;
use crate::wire::announce::Announce;
use crate::wire::choice::Codec;
use crate::wire::manifest::VerifiedManifest;

/// What to ask a peer next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Its manifest.
    Manifest(Announce),
    /// Some of its shards, rising, with the hash of each.
    Shards {
        /// Hash of the sealed manifest.
        manifest: Hash,
        /// How they are encoded.
        codec: Codec,
        /// Index and hash of each.
        shards: Vec<(u32, Hash)>,
    },
}

/// One shard that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
pub struct Source {
    /// Who made it.
    pub peer: PeerId,
    /// The outer step of the update it belongs to.
    pub step: OuterStep,
    /// Its address.
    pub hash: Hash,
    /// How it is encoded.
    pub codec: Codec,
}

#[derive(Clone, Debug)]
struct Peer {
    announce: Announce,
    manifest: Option<VerifiedManifest>,
    wanted: BTreeSet<u32>,
    got: BTreeSet<u32>,
    under_way: Option<AskId>,
    failed: bool,
}

/// The state of one pull.
#[derive(Clone, Debug)]
pub struct Pull {
    step: OuterStep,
    peers: BTreeMap<PeerId, Peer>,
    drawn: Vec<BTreeSet<PeerId>>,
    replaced: Vec<bool>,
    /// Shards handed out before the end, because nothing more will come for them.
    handed_out: BTreeSet<u32>,
}

impl Pull {
    /// Draws `count` peers for each of `shards` shards.
    pub fn new(
        step: OuterStep,
        candidates: &BTreeMap<PeerId, Announce>,
        shards: usize,
        count: usize,
        rng: &mut Rng,
    ) -> Self {
        let keys: Vec<PeerId> = candidates.keys().copied().collect();
        let mut pull = Self {
            step,
            peers: BTreeMap::new(),
            drawn: vec![BTreeSet::new(); shards],
            replaced: vec![false; shards],
            handed_out: BTreeSet::new(),
        };
        for shard in 0..shards {
            for peer in rng.draw(&keys, count) {
                pull.want(peer, shard, candidates[&peer]);
            }
        }
        pull
    }

    fn want(&mut self, peer: PeerId, shard: usize, announce: Announce) {
        self.drawn[shard].insert(peer);
        let entry = self.peers.entry(peer).or_insert_with(|| Peer {
            announce,
            manifest: None,
            wanted: BTreeSet::new(),
            got: BTreeSet::new(),
            under_way: None,
            failed: false,
        });
        entry.wanted.insert(shard as u32);
    }

    /// The outer step that will mix what comes.
    pub fn step(&self) -> OuterStep {
        self.step
    }

    /// Peers drawn.
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Questions that can be asked now, by peer; the caller names each and reports it with [`Pull::asked`].
    pub fn next(&self) -> Vec<(PeerId, Next)> {
        let idle = self.peers.iter().filter(|(_, p)| !p.failed && p.under_way.is_none());
        idle.filter_map(|(peer, p)| Some((*peer, p.next()?))).collect()
    }

    /// Notes that a question is under way.
    pub fn asked(&mut self, peer: &PeerId, ask: AskId) {
        if let Some(p) = self.peers.get_mut(peer) {
            p.under_way = Some(ask);
        }
    }

    /// The peer a question went to.
    pub fn whose(&self, ask: AskId) -> Option<PeerId> {
        self.peers.iter().find(|(_, p)| p.under_way == Some(ask)).map(|(peer, _)| *peer)
    }

    /// Takes in a checked manifest.
    pub fn manifest(&mut self, peer: &PeerId, manifest: VerifiedManifest) {
        if let Some(p) = self.peers.get_mut(peer) {
            p.under_way = None;
            p.manifest = Some(manifest);
        }
    }

    /// Notes the shards that answered a question; false when it was answered with nothing that is wanted.
    pub fn shards(&mut self, peer: &PeerId, indices: &[u32]) -> bool {
        let Some(p) = self.peers.get_mut(peer) else { return true };
        p.under_way = None;
        let mut wanted = indices.iter().filter(|i| p.wanted.contains(i)).peekable();
        let is_progress = wanted.peek().is_some();
        p.got.extend(wanted);
        is_progress
    }

    /// Notes one shard of an answer that is still coming; it was checked.
    ///
    /// Answers what came for this shard once everybody drawn for it has sent it: it can be mixed while the rest is under
    /// way. Each shard is handed out once, and all of them come with [`Pull::sources`] at the end as well.
    pub fn arrived(&mut self, ask: AskId, shard: u32) -> Option<Vec<Source>> {
        let p = self.peers.values_mut().find(|p| p.under_way == Some(ask))?;
        if !p.wanted.contains(&shard) {
            return None;
        }
        p.got.insert(shard);
        let mut drawn = self.drawn[shard as usize].iter().filter_map(|peer| self.peers.get(peer));
        let is_complete = drawn.all(|p| p.failed || p.got.contains(&shard));
        (is_complete && self.handed_out.insert(shard)).then(|| self.sources_of(shard))
    }

    /// Frees a peer that was busy, to be asked again.
    pub fn again(&mut self, ask: AskId) {
        if let Some(p) = self.peers.values_mut().find(|p| p.under_way == Some(ask)) {
            p.under_way = None;
        }
    }

    /// Gives up a peer; its missing shards are drawn once more from `candidates`.
    pub fn fail(&mut self, peer: &PeerId, candidates: &BTreeMap<PeerId, Announce>, rng: &mut Rng) {
        let Some(p) = self.peers.get_mut(peer) else { return };
        p.under_way = None;
        p.failed = true;
        let missing: Vec<u32> = p.wanted.difference(&p.got).copied().collect();
        for shard in missing {
            let shard = shard as usize;
            if std::mem::replace(&mut self.replaced[shard], true) {
                continue;
            }
            let is_fresh = |peer: &&PeerId| {
                !self.drawn[shard].contains(*peer) && self.peers.get(*peer).is_none_or(|p| !p.failed)
            };
            let fresh: Vec<PeerId> = candidates.keys().filter(is_fresh).copied().collect();
            for replacement in rng.draw(&fresh, 1) {
                self.want(replacement, shard, candidates[&replacement]);
            }
        }
    }

    /// Gives up peers and what came from them.
    pub fn drop_all(&mut self, is_dropped: impl Fn(&PeerId) -> bool) {
        self.peers.retain(|peer, _| !is_dropped(peer));
    }

    /// Whether nothing is under way and nothing is left to ask.
    pub fn is_over(&self) -> bool {
        self.peers.values().all(|p| p.failed || (p.under_way.is_none() && p.next().is_none()))
    }

    /// What arrived, shard by shard, in the order of the peers' keys.
    pub fn sources(&self) -> Vec<(ShardIndex, Vec<Source>)> {
        (0..self.drawn.len() as u32).map(|shard| (ShardIndex(shard), self.sources_of(shard))).collect()
    }

    fn sources_of(&self, shard: u32) -> Vec<Source> {
        let from = self.peers.iter().filter(|(_, p)| p.got.contains(&shard));
        from.filter_map(|(peer, p)| {
            let manifest = p.manifest.as_ref()?;
            Some(Source {
                peer: *peer,
                step: manifest.manifest.step,
                hash: *manifest.manifest.shards.get(shard as usize)?,
                codec: manifest.manifest.codec,
            })
        })
        .collect()
    }

    /// Manifests behind what arrived, with the number of shards taken of each.
    pub fn taken(&self) -> impl Iterator<Item = (&VerifiedManifest, usize)> {
        self.peers
            .values()
            .filter(|p| !p.got.is_empty())
            .filter_map(|p| Some((p.manifest.as_ref()?, p.got.len())))
    }
}

impl Peer {
    fn next(&self) -> Option<Next> {
        let Some(manifest) = &self.manifest else { return Some(Next::Manifest(self.announce)) };
        let missing = self.wanted.difference(&self.got).take(SHARDS_PER_REQUEST_MAX);
        let shards: Vec<(u32, Hash)> =
            missing.filter_map(|&i| Some((i, *manifest.manifest.shards.get(i as usize)?))).collect();
        if shards.is_empty() {
            return None;
        }
        Some(Next::Shards { manifest: manifest.hash, codec: manifest.manifest.codec, shards })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RunId;
    use crate::rng::Seed;
    use crate::wire::choice::Stage;
    use crate::wire::manifest::{Manifest, VERSION};

    const SHARDS: usize = 4;
    const STEP: OuterStep = OuterStep(3);

    fn peer(number: u8) -> PeerId {
        PeerId([number; 32])
    }

    fn announce(number: u8) -> Announce {
        Announce { step: STEP, manifest: Hash([number; 32]), manifest_bytes: 900, stage: Stage::Train }
    }

    fn manifest(number: u8) -> VerifiedManifest {
        let shards = (0..SHARDS as u8).map(|shard| Hash([10 * number + shard; 32])).collect();
        let manifest = Manifest {
            version: VERSION,
            run: RunId(Hash([1; 32])),
            step: STEP,
            parent: Hash::default(),
            stage: Stage::Train,
            codec: Codec::Int8,
            inner_steps: 1,
            samples: 1,
            shards,
            root: Hash::default(),
            norms: vec![1.0; SHARDS],
            sketch: Vec::new(),
            ledger: Hash::default(),
            privacy: None,
        };
        VerifiedManifest { peer: peer(number), manifest, hash: Hash([number; 32]) }
    }

    fn candidates(peers: u8) -> BTreeMap<PeerId, Announce> {
        (1..=peers).map(|number| (peer(number), announce(number))).collect()
    }

    /// Every shard drawn from all of `peers` (asks named by number); their manifests are there, their shards asked for.
    fn asked(peers: u8) -> Pull {
        let mut rng = Seed::from_u64(1).rng();
        let mut pull = Pull::new(STEP, &candidates(peers), SHARDS, peers.into(), &mut rng);
        for number in 1..=peers {
            pull.manifest(&peer(number), manifest(number));
            pull.asked(&peer(number), AskId(number.into()));
        }
        pull
    }

    #[test]
    fn a_shard_is_handed_out_once_when_the_last_peer_drawn_for_it_has_sent_it() {
        let mut pull = asked(3);
        assert_eq!(pull.arrived(AskId(1), 2), None);
        assert_eq!(pull.arrived(AskId(3), 2), None);
        assert_eq!(pull.arrived(AskId(3), 1), None);
        let sources = pull.arrived(AskId(2), 2).unwrap();
        assert_eq!(sources.iter().map(|s| s.peer).collect::<Vec<_>>(), [peer(1), peer(2), peer(3)]);
        assert_eq!(sources.iter().map(|s| s.hash.0[0]).collect::<Vec<_>>(), [12, 22, 32]);
        assert_eq!(pull.arrived(AskId(2), 2), None);
        assert!(!pull.is_over());
        for number in 1..=3 {
            pull.shards(&peer(number), &[0, 1, 2, 3]);
        }
        assert!(pull.is_over());
        assert_eq!(pull.sources()[2], (ShardIndex(2), sources));
    }

    #[test]
    fn shards_nobody_asked_this_peer_for_and_unknown_asks_change_nothing() {
        let mut pull = asked(1);
        assert_eq!(pull.arrived(AskId(9), 0), None);
        assert_eq!(pull.arrived(AskId(1), 77), None);
        assert!(pull.sources().iter().all(|(_, from)| from.is_empty()));
    }

    #[test]
    fn a_peer_that_fails_in_the_middle_keeps_what_came_and_the_rest_is_drawn_anew() {
        let mut rng = Seed::from_u64(1).rng();
        let mut pull = asked(2);
        pull.arrived(AskId(1), 0);
        assert!(pull.arrived(AskId(2), 0).is_some());
        pull.fail(&peer(1), &candidates(3), &mut rng);
        let fresh = |(who, next): &(PeerId, Next)| *who == peer(3) && matches!(next, Next::Manifest(_));
        assert!(pull.next().iter().any(fresh));
        pull.manifest(&peer(3), manifest(3));
        pull.asked(&peer(3), AskId(3));
        // Shard 0 is through; of shard 1 the failed peer owes nothing any more.
        assert_eq!(pull.arrived(AskId(2), 1), None);
        let sources = pull.arrived(AskId(3), 1).unwrap();
        assert_eq!(sources.iter().map(|s| s.peer).collect::<Vec<_>>(), [peer(2), peer(3)]);
        assert_eq!(pull.sources()[0].1.len(), 2);
    }
}
