//! A peer's life as plain data: every input with its time, and a running hash of the outputs.
//!
//! It exists so that what went wrong in the field can be watched again: the same inputs into a fresh [`Peer`] give the
//! same outputs, bit by bit. It holds no secret: to replay, the node's key is needed, because outputs are signed.

use crate::codec::{Decode, Encode, encode};
use crate::crypto::keys::Keypair;
use crate::id::{AskId, GossipId, Hash, InboundId, OuterStep, PeerId};
use crate::peer::config::PeerConfig;
use crate::peer::input::{Answer, Command, Evaluated, Failure, Input, Mixed, Predicted, Trained};
use crate::peer::machine::Peer;
use crate::peer::output::{Outbox, Output};
use crate::peer::snapshot::Snapshot;
use crate::rng::Seed;
use crate::time::{Span, Time, UnixSeconds};
use crate::wire::charter::{CharterError, SignedCharter};
use crate::wire::credential::Credential;
use crate::wire::manifest::VerifiedManifest;
use crate::wire::message::Message;
use crate::wire::offence::Offence;
use crate::wire::open::Verified;
use crate::wire::request::Request;
use crate::wire::sealed::CoSigned;
use crate::wire::trials::Trials;

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Entry {
    /// The first line: what the peer was made from, its key aside.
    Began(Box<Began>),
    /// Bytes of a message were put to the gate.
    Opened {
        /// When.
        at: Time,
        /// The link that brought them.
        link: PeerId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Something happened.
    Happened {
        /// When.
        at: Time,
        /// What.
        what: Happening,
    },
    /// All outputs so far.
    Mark(Mark),
}

/// A number of outputs and their hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Mark {
    /// How many.
    pub outputs: u64,
    /// Their hash.
    pub hash: Hash,
}

/// What a peer was made from.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Began {
    /// The signed charter.
    pub charter: Vec<u8>,
    /// Name for people.
    pub name: String,
    /// What makes it a member.
    pub credential: Option<Credential>,
    /// Whether its model answers queries.
    pub answers_queries: bool,
    /// Starts of the node so far.
    pub incarnation: u32,
    /// Highest outer step that may have been signed.
    pub reserved: u32,
    /// A moment and its date.
    pub date: (Time, UnixSeconds),
    /// Links it keeps.
    pub links_max: u32,
    /// Links it waits for, and how long.
    pub start: (u32, Span),
    /// Whose key signs the outputs.
    pub peer: PeerId,
    /// What it remembered.
    pub restored: Snapshot,
}

/// An input as plain data. Messages are named by the order in which they passed the gate.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[allow(missing_docs)] // the names are those of `Input`
pub enum Happening {
    LinkUp(PeerId),
    LinkDown(PeerId),
    Listening(Vec<String>),
    /// The message that passed the gate last.
    Heard(GossipId),
    Asked(InboundId, PeerId, Request),
    /// All messages that passed the gate since the last input that took some.
    News(AskId),
    Manifest(AskId, Box<VerifiedManifest>),
    Shards(AskId, Vec<u32>),
    Arrived(AskId, u32),
    Failed(AskId, Failure),
    Offended(PeerId, Offence),
    Trained(Trained),
    Mixed(Mixed),
    Evaluated(Evaluated),
    Predicted(Predicted),
    Reserved(OuterStep),
    Command(Command),
    Revoked(Box<CoSigned>),
    Redeemed(InboundId, bool),
    Wake,
    Tried(Trials),
}

impl Began {
    /// What a peer is about to be made from.
    pub fn new(config: &PeerConfig, peer: PeerId, restored: &Snapshot) -> Self {
        Self {
            charter: config.charter.to_bytes(),
            name: config.name.clone(),
            credential: config.credential.clone(),
            answers_queries: config.answers_queries,
            incarnation: config.incarnation,
            reserved: config.reserved,
            date: config.date,
            links_max: config.links_max,
            start: (config.start_links, config.start_patience),
            peer,
            restored: restored.clone(),
        }
    }

    /// The peer again.
    pub fn peer(&self, keys: Keypair, seed: &Seed) -> Result<Peer, CharterError> {
        let config = PeerConfig {
            charter: SignedCharter::open(&self.charter)?,
            name: self.name.clone(),
            credential: self.credential.clone(),
            answers_queries: self.answers_queries,
            incarnation: self.incarnation,
            reserved: self.reserved,
            date: self.date,
            links_max: self.links_max,
            start_links: self.start.0,
            start_patience: self.start.1,
        };
        Ok(Peer::new(config, keys, seed, self.restored.clone()))
    }
}

impl Happening {
    /// An input as plain data.
    pub fn of(input: &Input) -> Self {
        match input.clone() {
            Input::LinkUp(peer) => Self::LinkUp(peer),
            Input::LinkDown(peer) => Self::LinkDown(peer),
            Input::Listening(addresses) => Self::Listening(addresses),
            Input::Heard { gossip, .. } => Self::Heard(gossip),
            Input::Asked { inbound, from, request } => Self::Asked(inbound, from, request),
            Input::Answered { ask, answer } => match answer {
                Answer::News(_) => Self::News(ask),
                Answer::Manifest(manifest) => Self::Manifest(ask, manifest),
                Answer::Shards(shards) => Self::Shards(ask, shards),
            },
            Input::Arrived { ask, shard } => Self::Arrived(ask, shard),
            Input::Failed { ask, failure } => Self::Failed(ask, failure),
            Input::Offended { peer, offence } => Self::Offended(peer, offence),
            Input::Trained(trained) => Self::Trained(trained),
            Input::Mixed(mixed) => Self::Mixed(mixed),
            Input::Evaluated(evaluated) => Self::Evaluated(evaluated),
            Input::Predicted(predicted) => Self::Predicted(predicted),
            Input::Reserved(step) => Self::Reserved(step),
            Input::Command(command) => Self::Command(command),
            Input::Revoked(list) => Self::Revoked(list),
            Input::Redeemed { inbound, is_free } => Self::Redeemed(inbound, is_free),
            Input::Wake => Self::Wake,
            Input::Tried(trials) => Self::Tried(trials),
        }
    }

    /// The input again; `opened` holds what passed the gate and was not taken yet.
    fn into_input(self, opened: &mut Vec<Verified<Message>>) -> Result<Input, ReplayError> {
        let answered = |ask, answer| Input::Answered { ask, answer };
        Ok(match self {
            Self::LinkUp(peer) => Input::LinkUp(peer),
            Self::LinkDown(peer) => Input::LinkDown(peer),
            Self::Listening(addresses) => Input::Listening(addresses),
            Self::Heard(gossip) => {
                let message = opened.pop().ok_or(ReplayError::NothingHeard)?;
                Input::Heard { gossip, message }
            }
            Self::Asked(inbound, from, request) => Input::Asked { inbound, from, request },
            Self::News(ask) => answered(ask, Answer::News(std::mem::take(opened))),
            Self::Manifest(ask, manifest) => answered(ask, Answer::Manifest(manifest)),
            Self::Shards(ask, shards) => answered(ask, Answer::Shards(shards)),
            Self::Arrived(ask, shard) => Input::Arrived { ask, shard },
            Self::Failed(ask, failure) => Input::Failed { ask, failure },
            Self::Offended(peer, offence) => Input::Offended { peer, offence },
            Self::Trained(trained) => Input::Trained(trained),
            Self::Mixed(mixed) => Input::Mixed(mixed),
            Self::Evaluated(evaluated) => Input::Evaluated(evaluated),
            Self::Predicted(predicted) => Input::Predicted(predicted),
            Self::Reserved(step) => Input::Reserved(step),
            Self::Command(command) => Input::Command(command),
            Self::Revoked(list) => Input::Revoked(list),
            Self::Redeemed(inbound, is_free) => Input::Redeemed { inbound, is_free },
            Self::Wake => Input::Wake,
            Self::Tried(trials) => Input::Tried(trials),
        })
    }
}

/// A running hash of outputs.
#[derive(Clone, Debug)]
pub struct Tally {
    outputs: u64,
    hasher: blake3::Hasher,
}

impl Default for Tally {
    fn default() -> Self {
        Self { outputs: 0, hasher: blake3::Hasher::new_derive_key("starling/journal/outputs/1") }
    }
}

impl Tally {
    /// Adds an output.
    pub fn add(&mut self, output: &Output) {
        let bytes = encode(output);
        self.hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
        self.outputs += 1;
    }

    /// All outputs so far.
    pub fn mark(&self) -> Mark {
        Mark { outputs: self.outputs, hash: Hash(*self.hasher.finalize().as_bytes()) }
    }
}

/// A journal that cannot be replayed, or was not made by this program.
#[derive(Debug, thiserror::Error, Clone, PartialEq)]
pub enum ReplayError {
    /// It starts in the middle.
    #[error("its first entry does not say what the peer was made from")]
    NoBeginning,
    /// It begins twice.
    #[error("entry {0} begins another journal")]
    SecondBeginning(u64),
    /// The charter in it does not hold.
    #[error(transparent)]
    Charter(#[from] CharterError),
    /// It was made by another node.
    #[error("it is a journal of peer {expected}, and the key at hand is that of {found}")]
    OtherKey {
        /// Whose it is.
        expected: PeerId,
        /// Whose key is at hand.
        found: PeerId,
    },
    /// A message was heard that did not pass the gate this time.
    #[error("a message was heard that does not pass the gate")]
    NothingHeard,
    /// The outputs are others than those recorded.
    #[error(
        "after {inputs} inputs: expected {} outputs with hash {}, found {} with hash {}",
        expected.outputs, expected.hash.short(), found.outputs, found.hash.short()
    )]
    Differs {
        /// Inputs until then.
        inputs: u64,
        /// Recorded.
        expected: Mark,
        /// Of the replay.
        found: Mark,
    },
}

/// A peer that lives a recorded life again.
pub struct Replay {
    peer: Peer,
    opened: Vec<Verified<Message>>,
    tally: Tally,
    /// Inputs so far.
    pub inputs: u64,
    /// Marks that were reached and held.
    pub marks: u64,
    /// Time of the last input.
    pub until: Time,
}

impl Replay {
    /// Starts from the first entry; `seed_of` derives the peer's randomness from the number of starts.
    pub fn begin(
        first: &Entry,
        keys: Keypair,
        seed_of: impl FnOnce(u32) -> Seed,
    ) -> Result<Self, ReplayError> {
        let Entry::Began(began) = first else { return Err(ReplayError::NoBeginning) };
        if began.peer != keys.peer() {
            return Err(ReplayError::OtherKey { expected: began.peer, found: keys.peer() });
        }
        let peer = began.peer(keys, &seed_of(began.incarnation))?;
        let (opened, tally) = (Vec::new(), Tally::default());
        Ok(Self { peer, opened, tally, inputs: 0, marks: 0, until: Time(0) })
    }

    /// Lives through the next entry; `seen` is shown every output.
    pub fn step(&mut self, entry: Entry, mut seen: impl FnMut(&Output)) -> Result<(), ReplayError> {
        match entry {
            Entry::Began(_) => return Err(ReplayError::SecondBeginning(self.inputs)),
            Entry::Opened { at, link, bytes } => {
                self.opened.extend(self.peer.open(&bytes, link, at));
            }
            Entry::Happened { at, what } => {
                let input = what.into_input(&mut self.opened)?;
                let mut out = Outbox::default();
                self.peer.handle(at, input, &mut out);
                while let Some(output) = out.pop() {
                    self.tally.add(&output);
                    seen(&output);
                }
                self.inputs += 1;
                self.until = at;
            }
            Entry::Mark(expected) => {
                let found = self.tally.mark();
                if expected != found {
                    return Err(ReplayError::Differs { inputs: self.inputs, expected, found });
                }
                self.marks += 1;
            }
        }
        Ok(())
    }

    /// The peer as it is now.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// All outputs so far.
    pub fn mark(&self) -> Mark {
        self.tally.mark()
    }
}
