//! The pull of one outer step: which peer is drawn for which shard, what is asked, what came.
//!
//! Every shard draws its own peers. A peer that fails is replaced once per shard. The pull ends when nothing is under
//! way; it never waits for the slowest beyond the deadlines of its questions.
//!
//! Where liars are planned for, an organization is drawn at most once for a shard: twenty keys of one weigh as much as one
//! key, because keys are cheap and organizations are not. Elsewhere members trust each other, and an organization that
//! runs many nodes is heard with all of them.

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

/// A peer that can be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// The update that would be pulled.
    pub announce: Announce,
    /// Hash of the name of the organization behind the key.
    pub organization: Hash,
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
    organization: Hash,
    manifest: Option<VerifiedManifest>,
    wanted: BTreeSet<u32>,
    got: BTreeSet<u32>,
    failed: bool,
}

/// The state of one pull.
#[derive(Clone, Debug)]
pub struct Pull {
    step: OuterStep,
    peers: BTreeMap<PeerId, Peer>,
    /// Whom each open question went to.
    under_way: BTreeMap<AskId, PeerId>,
    /// Peers without an open question that may have something to be asked for.
    idle: BTreeSet<PeerId>,
    drawn: Vec<BTreeSet<PeerId>>,
    replaced: Vec<bool>,
    /// Whether an organization is drawn at most once for a shard.
    is_bounded: bool,
    /// Shards handed out before the end, because nothing more will come for them.
    handed_out: BTreeSet<u32>,
}

impl Pull {
    /// Draws `count` peers for each of `shards` shards; with `is_bounded` at most one of an organization.
    pub fn new(
        step: OuterStep,
        candidates: &BTreeMap<PeerId, Candidate>,
        shards: usize,
        count: usize,
        is_bounded: bool,
        rng: &mut Rng,
    ) -> Self {
        let houses = houses(candidates.iter(), is_bounded);
        let mut pull = Self {
            step,
            peers: BTreeMap::new(),
            under_way: BTreeMap::new(),
            idle: BTreeSet::new(),
            drawn: vec![BTreeSet::new(); shards],
            replaced: vec![false; shards],
            is_bounded,
            handed_out: BTreeSet::new(),
        };
        for shard in 0..shards {
            for peer in draw(&houses, count, rng) {
                pull.want(peer, shard, candidates[&peer]);
            }
        }
        pull
    }

    fn want(&mut self, peer: PeerId, shard: usize, candidate: Candidate) {
        self.drawn[shard].insert(peer);
        let entry = self.peers.entry(peer).or_insert_with(|| Peer {
            announce: candidate.announce,
            organization: candidate.organization,
            manifest: None,
            wanted: BTreeSet::new(),
            got: BTreeSet::new(),
            failed: false,
        });
        entry.wanted.insert(shard as u32);
        if !self.under_way.values().any(|busy| *busy == peer) {
            self.idle.insert(peer);
        }
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
    pub fn questions(&mut self) -> Vec<(PeerId, Next)> {
        let peers = &self.peers;
        let next: Vec<(PeerId, Next)> =
            self.idle.iter().filter_map(|peer| Some((*peer, peers.get(peer)?.next()?))).collect();
        // Who has nothing to be asked for is not looked at again before it is drawn for something else.
        self.idle.clear();
        self.idle.extend(next.iter().map(|(peer, _)| *peer));
        next
    }

    /// Notes that a question is under way.
    pub fn asked(&mut self, peer: &PeerId, ask: AskId) {
        if self.peers.contains_key(peer) {
            self.idle.remove(peer);
            self.under_way.insert(ask, *peer);
        }
    }

    /// Ends what is under way with a peer, which may be asked again.
    fn free(&mut self, peer: &PeerId) {
        self.under_way.retain(|_, busy| busy != peer);
        self.idle.insert(*peer);
    }

    /// Takes in a checked manifest.
    pub fn manifest(&mut self, peer: &PeerId, manifest: VerifiedManifest) {
        if let Some(p) = self.peers.get_mut(peer) {
            p.manifest = Some(manifest);
            self.free(peer);
        }
    }

    /// Notes the shards that answered a question; false when it was answered with nothing that is wanted.
    pub fn shards(&mut self, peer: &PeerId, indices: &[u32]) -> bool {
        let Some(p) = self.peers.get_mut(peer) else { return true };
        let mut wanted = indices.iter().filter(|i| p.wanted.contains(i)).peekable();
        let is_progress = wanted.peek().is_some();
        p.got.extend(wanted);
        self.free(peer);
        is_progress
    }

    /// Notes one shard of an answer that is still coming; it was checked.
    ///
    /// Answers what came for this shard once everybody drawn for it has sent it: it can be mixed while the rest is under
    /// way. Each shard is handed out once, and all of them come with [`Pull::sources`] at the end as well.
    pub fn arrived(&mut self, ask: AskId, shard: u32) -> Option<Vec<Source>> {
        let p = self.peers.get_mut(self.under_way.get(&ask)?)?;
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
        if let Some(peer) = self.under_way.remove(&ask) {
            self.idle.insert(peer);
        }
    }

    /// Gives up a peer; its missing shards are drawn once more from `candidates`.
    pub fn fail(&mut self, peer: &PeerId, candidates: &BTreeMap<PeerId, Candidate>, rng: &mut Rng) {
        let Some(p) = self.peers.get_mut(peer) else { return };
        p.failed = true;
        let missing: Vec<u32> = p.wanted.difference(&p.got).copied().collect();
        self.free(peer);
        self.idle.remove(peer);
        for shard in missing {
            let shard = shard as usize;
            if std::mem::replace(&mut self.replaced[shard], true) {
                continue;
            }
            // The organization that failed may be drawn again with another key: what failed does not weigh.
            let drawn: Vec<(&PeerId, Hash)> = self.drawn[shard]
                .iter()
                .filter_map(|other| Some((other, self.peers.get(other)?)))
                .filter(|(_, p)| !p.failed)
                .map(|(other, p)| (other, p.organization))
                .collect();
            let is_fresh = |(other, candidate): &(&PeerId, &Candidate)| {
                !self.drawn[shard].contains(*other)
                    && self.peers.get(*other).is_none_or(|p| !p.failed)
                    && !(self.is_bounded && drawn.iter().any(|(_, house)| *house == candidate.organization))
            };
            let fresh = houses(candidates.iter().filter(is_fresh), self.is_bounded);
            for replacement in draw(&fresh, 1, rng) {
                self.want(replacement, shard, candidates[&replacement]);
            }
        }
    }

    /// Gives up peers and what came from them.
    pub fn drop_all(&mut self, is_dropped: impl Fn(&PeerId) -> bool) {
        self.peers.retain(|peer, _| !is_dropped(peer));
        self.under_way.retain(|_, peer| !is_dropped(peer));
        self.idle.retain(|peer| !is_dropped(peer));
    }

    /// Whether nothing is under way and nothing is left to ask.
    pub fn is_over(&self) -> bool {
        let has_nothing = |peer: &PeerId| self.peers.get(peer).is_none_or(|p| p.next().is_none());
        self.under_way.is_empty() && self.idle.iter().all(has_nothing)
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

/// The keys that stand for one draw each: those of an organization together where it is drawn once, else each for itself.
fn houses<'a>(
    candidates: impl Iterator<Item = (&'a PeerId, &'a Candidate)>,
    is_bounded: bool,
) -> Vec<Vec<PeerId>> {
    if !is_bounded {
        return candidates.map(|(peer, _)| vec![*peer]).collect();
    }
    let mut houses: BTreeMap<Hash, Vec<PeerId>> = BTreeMap::new();
    for (peer, candidate) in candidates {
        houses.entry(candidate.organization).or_default().push(*peer);
    }
    let mut houses: Vec<Vec<PeerId>> = houses.into_values().collect();
    // In the order of keys, so that where nobody has two of them the draw is that of the keys.
    houses.sort_unstable();
    houses
}

/// One key each of `count` houses, uniformly.
fn draw(houses: &[Vec<PeerId>], count: usize, rng: &mut Rng) -> Vec<PeerId> {
    let places: Vec<usize> = (0..houses.len()).collect();
    let chosen = rng.draw(&places, count);
    let one = |place: usize| match houses[place].as_slice() {
        [only] => *only,
        several => several[rng.below(several.len() as u64) as usize],
    };
    chosen.into_iter().map(one).collect()
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

    /// Every peer an organization of its own.
    fn candidates(peers: u8) -> BTreeMap<PeerId, Candidate> {
        let one = |number| Candidate { announce: announce(number), organization: Hash([number; 32]) };
        (1..=peers).map(|number| (peer(number), one(number))).collect()
    }

    /// The first of `peers` alone, all others of one organization.
    fn one_and_many(peers: u8) -> BTreeMap<PeerId, Candidate> {
        let mut all = candidates(peers);
        all.values_mut().skip(1).for_each(|candidate| candidate.organization = Hash([0; 32]));
        all
    }

    /// Every shard drawn from all of `peers` (asks named by number); their manifests are there, their shards asked for.
    fn asked(peers: u8) -> Pull {
        let mut rng = Seed::from_u64(1).rng();
        let mut pull = Pull::new(STEP, &candidates(peers), SHARDS, peers.into(), true, &mut rng);
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
    fn many_keys_of_one_organization_are_drawn_once_for_a_shard_where_liars_are_planned_for() {
        let mut rng = Seed::from_u64(1).rng();
        let bounded = Pull::new(STEP, &one_and_many(40), 64, 8, true, &mut rng);
        assert!(bounded.drawn.iter().all(|drawn| drawn.len() == 2 && drawn.contains(&peer(1))));
        assert!(bounded.peers() > 20, "not always the same key: {}", bounded.peers());
        let free = Pull::new(STEP, &one_and_many(40), 64, 8, false, &mut rng);
        assert!(free.drawn.iter().all(|drawn| drawn.len() == 8));
    }

    #[test]
    fn a_bound_on_organizations_changes_no_draw_where_each_has_one_key() {
        let draw = |is_bounded| {
            let mut rng = Seed::from_u64(5).rng();
            Pull::new(STEP, &candidates(30), 16, 4, is_bounded, &mut rng).drawn
        };
        assert_eq!(draw(true), draw(false));
    }

    #[test]
    fn the_key_that_failed_is_replaced_by_another_organization_or_by_the_same_one() {
        let mut rng = Seed::from_u64(1).rng();
        let all = one_and_many(3);
        let mut pull = Pull::new(STEP, &all, 1, 8, true, &mut rng);
        let many = *pull.drawn[0].iter().find(|drawn| **drawn != peer(1)).unwrap();
        pull.fail(&peer(1), &all, &mut rng);
        assert_eq!(pull.drawn[0].len(), 2, "the only other organization is drawn already");
        let mut pull = Pull::new(STEP, &all, 1, 8, true, &mut rng);
        let lost = *pull.drawn[0].iter().find(|drawn| **drawn != peer(1)).unwrap();
        pull.fail(&lost, &all, &mut rng);
        assert_eq!(pull.drawn[0].len(), 3);
        assert!(many != peer(1) && pull.peers.values().filter(|p| !p.failed).count() == 2);
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
        assert!(pull.questions().iter().any(fresh));
        pull.manifest(&peer(3), manifest(3));
        pull.asked(&peer(3), AskId(3));
        // Shard 0 is through; of shard 1 the failed peer owes nothing any more.
        assert_eq!(pull.arrived(AskId(2), 1), None);
        let sources = pull.arrived(AskId(3), 1).unwrap();
        assert_eq!(sources.iter().map(|s| s.peer).collect::<Vec<_>>(), [peer(2), peer(3)]);
        assert_eq!(pull.sources()[0].1.len(), 2);
    }
}
