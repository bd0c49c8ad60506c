//! What liars do in the places where an honest node does as the protocol says.

use std::sync::Arc;

use crate::codec::decode_control;
use crate::crypto::hash::content_hash;
use crate::crypto::merkle;
use crate::exchange::serve::Reply;
use crate::id::{AskId, Hash, OuterStep};
use crate::peer::input::Failure;
use crate::sim::attack::{AdversaryTerms, Attack};
use crate::sim::forgery::{Honest, forged};
use crate::sim::node::Alternate;
use crate::sim::queue::{Answered, Happening};
use crate::sim::traffic::body_of;
use crate::sim::working::Made;
use crate::sim::world::World;
use crate::stage::plan::plan;
use crate::time::Span;
use crate::wire::announce::{Announce, Card};
use crate::wire::choice::Codec;
use crate::wire::manifest::{Manifest, VERSION};
use crate::wire::message::{Body, Message};
use crate::wire::request::{Request, Want};
use crate::wire::sealed::Sealed;

/// Time between two fits of mischief.
const TICK: Span = Span::seconds(1);

impl World {
    fn lies_of(&self, i: u32) -> Option<&AdversaryTerms> {
        self.nodes[i as usize].lies.as_ref()
    }

    fn attack(&self, i: u32) -> Option<Attack> {
        self.lies_of(i).map(|lies| lies.attack)
    }

    /// The parameters a liar says it has; `None` for what it really has.
    pub(super) fn lie(&mut self, i: u32) -> Option<Vec<f32>> {
        let lies = self.lies_of(i)?.clone();
        let strength = lies.strength() as f32;
        let own = self.nodes[i as usize].working.clone();
        let working: Vec<&[f32]> =
            self.nodes.iter().filter(|n| n.counts()).map(|n| n.working.as_slice()).collect();
        let honest = Honest { genesis: &self.genesis, working: &working };
        let mut rng = self.seed.fork("lies").fork_index(i.into()).fork_index(self.events).rng();
        let said = forged(lies.attack, strength, &own, &honest, &mut rng);
        let second = match lies.attack {
            Attack::Dissensus => Some(honest.apart(&own, -strength)),
            // Contents that are honest but for a trace.
            Attack::Equivocator => Some(own.iter().map(|x| x * 1.001).collect()),
            _ => None,
        };
        let mischief = &mut self.nodes[i as usize].mischief;
        mischief.second = second;
        if lies.attack == Attack::Stale {
            return Some(mischief.kept.get_or_insert(own).clone());
        }
        said
    }

    /// Whether a node tells different peers different things about one step.
    pub(super) fn splits_audience(&self, i: u32) -> bool {
        self.nodes[i as usize].mischief.second.is_some()
    }

    /// One announcement for every second link, another for the rest. Both have one sequence number, so that whoever
    /// judges replays before contents is fooled.
    pub(super) fn publish_twice(&mut self, i: u32, bytes: &Arc<[u8]>) {
        let Some(Body::Announce(first)) = body_of(bytes) else { return };
        let Some(parameters) = self.nodes[i as usize].mischief.second.take() else { return };
        let codec = plan(self.charter.charter(), first.step).codec;
        // It goes on from its first story.
        let mut memories = self.nodes[i as usize].memories.clone();
        let made = self.encode(i, first.step, &parameters, codec, 1, &mut memories);
        let announce = self.alternate(i, first, codec, made);
        let Ok(sealed) = decode_control::<Sealed>(bytes) else { return };
        let Ok(message) = decode_control::<Message>(&sealed.body) else { return };
        let second = Message::new(message.run, message.sequence, Body::Announce(announce));
        let second: Arc<[u8]> = second.seal(&self.keys[i as usize]).into();
        let all: Vec<u32> = self.network.linked(i).iter().copied().collect();
        let (a, b): (Vec<u32>, Vec<u32>) = all.iter().partition(|j| *j % 2 == 0);
        let numbers =
            [self.publish_to(i, bytes.clone(), &a, true, false), self.publish_to(i, second, &b, true, false)];
        self.equivocates(i, numbers);
    }

    /// Keeps a second manifest to serve; answers its announcement.
    fn alternate(&mut self, i: u32, first: Announce, codec: Codec, made: Made) -> Announce {
        let hashes: Vec<Hash> = made.update.shards.iter().map(|(hash, _)| *hash).collect();
        let manifest = Manifest {
            version: VERSION,
            run: self.charter.run(),
            step: first.step,
            parent: Hash::default(),
            stage: first.stage,
            codec,
            inner_steps: self.scenario.run.inner_steps,
            samples: 1,
            root: merkle::root(&hashes),
            shards: hashes,
            norms: made.update.norms,
            sketch: made.update.sketch,
            ledger: Hash::default(),
            privacy: None,
        };
        let bytes: Arc<[u8]> = manifest.seal(&self.keys[i as usize]).to_bytes().into();
        let hash = content_hash(&bytes);
        let announce = Announce { manifest: hash, manifest_bytes: bytes.len() as u32, ..first };
        let alternates = &mut self.nodes[i as usize].mischief.alternates;
        if alternates.len() >= 8 {
            alternates.clear();
        }
        alternates.insert(hash, Alternate { manifest: bytes, shards: made.shards });
        announce
    }

    /// Whether a liar deals with a question itself.
    pub(super) fn deceives(&mut self, i: u32, from: u32, ask: AskId, request: &Request) -> bool {
        let Some(attack) = self.attack(i) else { return false };
        let hash = match &request.want {
            Want::Manifest(hash) | Want::Shards { manifest: hash, .. } => *hash,
            Want::News | Want::Charter | Want::Predict(_) | Want::Redeem { .. } | Want::File { .. } => {
                return false;
            }
        };
        if attack == Attack::Withholder {
            let gives_up = self.nodes[from as usize].asking.get(&ask).map(|asking| asking.gives_up);
            let after = gives_up.map_or(Span::ZERO, |at| at.since(self.now));
            self.fail(from, i, ask, Failure::Timeout, after);
            return true;
        }
        let Some(alternate) = self.nodes[i as usize].mischief.alternates.get(&hash).cloned() else {
            return false;
        };
        let parts = match &request.want {
            Want::Shards { indices, .. } => {
                indices.iter().filter_map(|k| alternate.shards.get(*k as usize).cloned()).collect()
            }
            _ => vec![alternate.manifest],
        };
        self.send_answer(i, from, ask, Answered::Parts(parts));
        true
    }

    /// How long a slow loris keeps an answer.
    pub(super) fn dawdles(&self, i: u32, reply: &Reply) -> Option<Span> {
        let lies = self.lies_of(i)?;
        let is_bulk = matches!(reply, Reply::Bytes(_) | Reply::Blocks(_));
        (lies.attack == Attack::SlowLoris && is_bulk).then(|| Span((lies.strength() * 1e6) as u64))
    }

    /// A replayer keeps what it hears.
    pub(super) fn overhear(&mut self, i: u32, bytes: &Arc<[u8]>) {
        if self.attack(i) == Some(Attack::Replay) {
            self.nodes[i as usize].mischief.overheard = Some(bytes.clone());
        }
    }

    /// Liars that act by themselves begin to.
    pub(super) fn begin_mischief(&mut self, i: u32) {
        if matches!(self.attack(i), Some(Attack::Flooder | Attack::Replay)) {
            self.plan(i, TICK, Happening::Mischief);
        }
    }

    /// A fit of mischief.
    pub(super) fn make_mischief(&mut self, i: u32) {
        if self.meter.unfinished == 0 {
            return;
        }
        self.plan(i, TICK, Happening::Mischief);
        let audience: Vec<u32> = self.network.linked(i).iter().copied().collect();
        match self.attack(i) {
            Some(Attack::Flooder) => {
                let count = self.lies_of(i).map_or(0, |lies| lies.strength() as u32);
                for _ in 0..count {
                    let bytes = self.idle_words(i);
                    self.publish_to(i, bytes, &audience, false, false);
                }
                let rubbish: Arc<[u8]> = (0..100).map(|_| self.rng.below(256) as u8).collect();
                self.publish_to(i, rubbish, &audience, false, false);
            }
            Some(Attack::Replay) => {
                if let Some(bytes) = self.nodes[i as usize].mischief.overheard.clone() {
                    self.publish_to(i, bytes, &audience, false, false);
                }
            }
            _ => {}
        }
    }

    /// A valid message that says nothing.
    fn idle_words(&mut self, i: u32) -> Arc<[u8]> {
        let mischief = &mut self.nodes[i as usize].mischief;
        mischief.sequence += 1;
        // Above all the peer itself says.
        let sequence = u64::from(u32::MAX) << 32 | u64::from(mischief.sequence);
        let card = Card { step: OuterStep(1), metric: "score".to_owned(), score: 0.5, loss: 1.0, samples: 1 };
        Message::new(self.charter.run(), sequence, Body::Card(card)).seal(&self.keys[i as usize]).into()
    }
}
