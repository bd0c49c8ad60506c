//! What a peer wants done.

use crate::codec::Encode;
use crate::exchange::pull::Source;
use crate::exchange::serve::Reply;
use crate::id::{AskId, GossipId, Hash, InboundId, OuterStep, PeerId, ShardIndex};
use crate::peer::event::Event;
use crate::stage::plan::Plan;
use crate::time::Span;
use crate::wire::choice::{Codec, Rule};
use crate::wire::manifest::Expected;
use crate::wire::prediction::Query;

/// Something to be done by the driver.
#[derive(Clone, Debug, Encode)]
pub enum Output {
    /// Gossip these sealed bytes.
    Publish(Vec<u8>),
    /// Pass a heard message on, or not.
    Judge {
        /// Which message.
        gossip: GossipId,
        /// What to do with it.
        verdict: Verdict,
    },
    /// Ask a peer.
    Ask {
        /// Name of the question.
        ask: AskId,
        /// Whom.
        peer: PeerId,
        /// What.
        question: Question,
        /// Give up after this long without progress.
        deadline: Span,
    },
    /// Forget a question.
    Cancel(AskId),
    /// Answer a peer.
    Answer {
        /// Which question of theirs.
        inbound: InboundId,
        /// With what.
        reply: Reply,
    },
    /// Ask the own model about a member's texts; answer with `Predicted`, or say to the member that it is busy.
    Predict {
        /// Which question of theirs.
        inbound: InboundId,
        /// The texts.
        query: Query,
    },
    /// Answer a peer with a piece of a file that the charter names.
    AnswerFile {
        /// Which question of theirs.
        inbound: InboundId,
        /// Hash of the file.
        hash: Hash,
        /// Which piece.
        piece: u32,
    },
    /// Note durably that this key uses this invitation, unless another one did; answer with `Redeemed`.
    Redeem {
        /// Which question of theirs.
        inbound: InboundId,
        /// Hash of the invitation.
        invitation: Hash,
        /// The key.
        peer: PeerId,
    },
    /// Dial a peer at these addresses.
    Dial {
        /// Whom.
        peer: PeerId,
        /// Where.
        addresses: Vec<String>,
    },
    /// Close the links to a peer.
    Hangup(PeerId),
    /// Close and refuse all links to a peer.
    Ban(PeerId),
    /// Allow links to a peer again.
    Unban(PeerId),
    /// Train, then encode the update.
    Train(TrainOrder),
    /// Everything came for one shard: it may be mixed while others are under way. `Mix` will list it again; a driver
    /// may wait for that. Only one that says what `Arrived` is told.
    MixAhead(MixOrder),
    /// Mix what was pulled into the own parameters.
    Mix(MixOrder),
    /// Evaluate the agreed parameters.
    Evaluate(OuterStep),
    /// Make durable that updates up to this outer step may have been signed; answer with `Reserved`.
    Reserve(OuterStep),
    /// Append these bytes to the ledger.
    Append(Vec<u8>),
    /// A good moment for a checkpoint: the outer step is complete.
    Commit(OuterStep),
    /// These own shards are served no more.
    Forget(Vec<Hash>),
    /// Something happened that people or metrics want to know.
    Emit(Event),
}

/// What becomes of a gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
pub enum Verdict {
    /// Pass it on.
    Accept,
    /// Drop it; nobody did wrong.
    Ignore,
    /// Drop it; whoever passed it on did wrong.
    Reject,
}

/// A question to a peer.
#[derive(Clone, Debug, PartialEq, Encode)]
pub enum Question {
    /// What do you know?
    News,
    /// A manifest, to be checked against this.
    Manifest {
        /// What it must agree with.
        expected: Expected,
        /// Its size.
        bytes: u32,
    },
    /// Shards of an update.
    Shards {
        /// Hash of its sealed manifest.
        manifest: Hash,
        /// Index, hash and size of each.
        shards: Vec<(u32, Hash, u32)>,
    },
}

/// A training order: inner steps, then an encoded update.
#[derive(Clone, Debug, PartialEq, Encode)]
pub struct TrainOrder {
    /// The outer step.
    pub step: OuterStep,
    /// What the charter asks for in it.
    pub plan: Plan,
    /// Longest training in seconds; 0 for no limit.
    pub seconds_max: u32,
    /// The next outer step, where its training begins as soon as this one's update is encoded.
    pub next: Option<Plan>,
}

/// A mixing order. The driver holds the bytes of every source, except of shards that it mixed ahead.
#[derive(Clone, Debug, PartialEq, Encode)]
pub struct MixOrder {
    /// The outer step.
    pub step: OuterStep,
    /// What came for each shard.
    pub sources: Vec<(ShardIndex, Vec<Source>)>,
    /// How to combine them.
    pub how: MixHow,
}

/// How to combine.
#[derive(Clone, Copy, Debug, PartialEq, Encode)]
pub enum MixHow {
    /// With the own parameters by a rule, then the outer optimizer.
    Step {
        /// The rule.
        rule: Rule,
        /// Byzantine peers planned for.
        byzantine: u32,
        /// Whether the mix is taken as it is, without the outer optimizer.
        is_settling: bool,
    },
    /// Take the coordinate-wise median of the sources instead of the own parameters: a late joiner.
    Join,
}

/// Outputs, in the order they are to be done.
#[derive(Debug, Default)]
pub struct Outbox {
    outputs: std::collections::VecDeque<Output>,
}

impl Outbox {
    /// Adds an output.
    pub fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Adds an event.
    pub fn emit(&mut self, event: Event) {
        self.push(Output::Emit(event));
    }

    /// Takes the next output.
    pub fn pop(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}

/// Bytes an encoded shard of `count` parameters has: what a question may expect.
pub fn shard_bytes(codec: Codec, count: usize) -> u32 {
    codec.encoded_bytes(count) as u32
}
