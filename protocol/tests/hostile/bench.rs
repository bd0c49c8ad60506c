//! One peer among four others, driven by hand.

use std::collections::BTreeMap;

use protocol::crypto::hash::content_hash;
use protocol::crypto::merkle;
use protocol::id::{AskId, GossipId, Hash, OuterStep, PeerId};
use protocol::limits::SKETCH_LEN;
use protocol::peer::config::PeerConfig;
use protocol::peer::event::Event;
use protocol::peer::input::{Answer, Failure, Input, Trained, Update};
use protocol::peer::machine::Peer;
use protocol::peer::output::{MixOrder, Outbox, Output, Question};
use protocol::peer::snapshot::Snapshot;
use protocol::peer::status::PeerStatus;
use protocol::rng::Seed;
use protocol::time::{Span, Time};
use protocol::wire::announce::Announce;
use protocol::wire::charter::{Admission, Charter, Member, SignedCharter};
use protocol::wire::choice::{Codec, Stage};
use protocol::wire::credential::Credential;
use protocol::wire::manifest::{Expected, Manifest};
use protocol::wire::message::{Body, Message};

use crate::fixture::{PARAMETERS, SHARDS, TODAY, charter, keys, manifest, signed};

pub(crate) const OTHERS: [u8; 4] = [5, 6, 7, 8];
pub(crate) const INCARNATION: u32 = 3;

/// Member 4 among members 5 to 8.
pub(crate) struct Bench {
    pub(crate) peer: Peer,
    pub(crate) now: Time,
    pub(crate) charter: SignedCharter,
    pub(crate) sequence: u64,
    /// Questions under way, by whom they were put to; news aside.
    pub(crate) asks: BTreeMap<PeerId, (AskId, Question)>,
    pub(crate) outputs: Vec<Output>,
}

impl Bench {
    pub(crate) fn at(step: u32) -> Self {
        Self::under(step, |_| ())
    }

    /// After this outer step, under a charter that was changed.
    pub(crate) fn under(step: u32, change: impl FnOnce(&mut Charter)) -> Self {
        Self::with(step, change, None)
    }

    /// The same, with a credential.
    pub(crate) fn with(step: u32, change: impl FnOnce(&mut Charter), credential: Option<Credential>) -> Self {
        let member = |i: u8| Member { peer: keys(i).peer(), organization: format!("organization {i}") };
        let mut terms = charter(Admission::Closed((4..=8).map(member).collect()));
        change(&mut terms);
        let charter = signed(&terms);
        let config = PeerConfig {
            charter: charter.clone(),
            name: "four".to_owned(),
            credential,
            answers_queries: false,
            incarnation: INCARNATION,
            reserved: 0,
            date: (Time(0), TODAY),
            links_max: 64,
            start_links: 4,
            start_patience: Span::seconds(60),
        };
        let restored = Snapshot { step: OuterStep(step), ..Snapshot::default() };
        let peer = Peer::new(config, keys(4), &Seed::from_u64(1), restored);
        let (sequence, asks, outputs) = (0, BTreeMap::new(), Vec::new());
        let mut bench = Self { peer, now: Time(0), charter, sequence, asks, outputs };
        OTHERS.iter().for_each(|&i| bench.feed(Input::LinkUp(keys(i).peer())));
        bench
    }

    /// At step 1, trained, with everybody's announcement heard and everybody's manifest asked for.
    pub(crate) fn pulling() -> Self {
        let mut bench = Self::at(0);
        OTHERS.iter().for_each(|&i| bench.announces(i, 1));
        bench.trains(1);
        assert_eq!(bench.asks.len(), OTHERS.len(), "everybody is drawn");
        bench
    }

    pub(crate) fn feed(&mut self, input: Input) {
        let mut out = Outbox::default();
        self.peer.handle(self.now, input, &mut out);
        while let Some(output) = out.pop() {
            if let Output::Ask { ask, peer, question, .. } = &output
                && *question != Question::News
            {
                self.asks.insert(*peer, (*ask, question.clone()));
            }
            self.outputs.push(output);
        }
    }

    pub(crate) fn says(&mut self, key: u8, body: Body) -> Vec<u8> {
        self.sequence += 1;
        Message::new(self.charter.run(), self.sequence, body).seal(&keys(key))
    }

    /// Hears bytes over a link to this member.
    pub(crate) fn hears(&mut self, bytes: &[u8], link: u8) {
        match self.peer.open(bytes, keys(link).peer(), self.now) {
            Ok(message) => self.feed(Input::Heard { gossip: GossipId(0), message }),
            Err(refusal) => panic!("{refusal:?}"),
        }
    }

    pub(crate) fn manifest(&self, key: u8, step: u32) -> Vec<u8> {
        self.manifest_in(key, step, Codec::Int8)
    }

    pub(crate) fn manifest_in(&self, key: u8, step: u32, codec: Codec) -> Vec<u8> {
        let shards: Vec<Hash> = (0..SHARDS as u8).map(|i| Hash([16 * key + i; 32])).collect();
        let root = merkle::root(&shards);
        let (run, step) = (self.charter.run(), OuterStep(step));
        Manifest { run, step, shards, root, codec, parent: Hash::default(), ..manifest() }
            .seal(&keys(key))
            .to_bytes()
    }

    pub(crate) fn announces(&mut self, key: u8, step: u32) {
        let bytes = self.manifest(key, step);
        let (manifest, manifest_bytes) = (content_hash(&bytes), bytes.len() as u32);
        let announce = Announce { step: OuterStep(step), manifest, manifest_bytes, stage: Stage::Train };
        let message = self.says(key, Body::Announce(announce));
        self.hears(&message, key);
    }

    pub(crate) fn trains(&mut self, step: u32) {
        let step = OuterStep(step);
        let update = Update {
            shards: (0..SHARDS as u8).map(|i| (Hash([i; 32]), 100)).collect(),
            norms: vec![1.0; SHARDS],
            sketch: vec![0.0; SKETCH_LEN],
        };
        self.feed(Input::Reserved(step));
        self.feed(Input::Trained(Trained {
            step,
            inner_steps: 10,
            dropped: 0,
            samples: 160,
            loss: 1.0,
            busy: Span::millis(1),
            encoding: Span::millis(1),
            update,
        }));
    }

    pub(crate) fn ask_of(&mut self, key: u8) -> AskId {
        self.asks.remove(&keys(key).peer()).expect("this peer is asked").0
    }

    /// The peer's manifest comes; its shards are asked for next.
    pub(crate) fn gives_manifest(&mut self, key: u8) {
        let bytes = self.manifest(key, 1);
        self.gives_manifest_of(key, &bytes);
    }

    /// The same with a manifest in these bytes, for step 1.
    pub(crate) fn gives_manifest_of(&mut self, key: u8, bytes: &[u8]) {
        let expected = Expected {
            run: self.charter.run(),
            peer: keys(key).peer(),
            step: OuterStep(1),
            hash: content_hash(bytes),
            parameters: PARAMETERS,
        };
        let manifest = Manifest::open(bytes, &expected, |_| SHARDS).expect("a manifest in good form");
        let ask = self.ask_of(key);
        self.feed(Input::Answered { ask, answer: Answer::Manifest(Box::new(manifest)) });
    }

    pub(crate) fn gives(&mut self, key: u8, shards: Vec<u32>) {
        let ask = self.ask_of(key);
        self.feed(Input::Answered { ask, answer: Answer::Shards(shards) });
    }

    pub(crate) fn gives_all(&mut self, key: u8) {
        self.gives_manifest(key);
        self.gives(key, (0..SHARDS as u32).collect());
    }

    pub(crate) fn fails(&mut self, key: u8, failure: Failure) {
        let ask = self.ask_of(key);
        self.feed(Input::Failed { ask, failure });
    }

    /// The mixing order, once the pull is over.
    pub(crate) fn mix(&self) -> Option<&MixOrder> {
        self.outputs.iter().find_map(|o| if let Output::Mix(order) = o { Some(order) } else { None })
    }

    /// Shards in the mix that this member made.
    pub(crate) fn mixed_from(&self, key: u8) -> usize {
        let order = self.mix().expect("the pull is over");
        let from =
            |sources: &[protocol::exchange::pull::Source]| sources.iter().any(|s| s.peer == keys(key).peer());
        order.sources.iter().filter(|(_, sources)| from(sources)).count()
    }

    pub(crate) fn row(&self, key: u8) -> PeerStatus {
        let all = self.peer.peers(self.now);
        all.into_iter().find(|row| row.peer_id == keys(key).peer()).expect("a linked peer is known")
    }

    pub(crate) fn hung_up(&self, key: u8) -> bool {
        self.outputs.iter().any(|o| matches!(o, Output::Hangup(peer) if *peer == keys(key).peer()))
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = &Event> {
        self.outputs.iter().filter_map(|o| if let Output::Emit(event) = o { Some(event) } else { None })
    }
}
