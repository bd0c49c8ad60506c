//! What can happen to a peer.

use crate::codec::{Decode, Encode};
use crate::id::{AskId, GossipId, Hash, InboundId, OuterStep, PeerId};
use crate::time::Span;
use crate::wire::manifest::VerifiedManifest;
use crate::wire::message::Message;
use crate::wire::offence::Offence;
use crate::wire::open::Verified;
use crate::wire::request::Request;
use crate::wire::sealed::CoSigned;
use crate::wire::trials::Trials;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A link to a peer came up; the transport proved its key.
    LinkUp(PeerId),
    /// The last link to a peer went down.
    LinkDown(PeerId),
    /// We can be reached at these addresses.
    Listening(Vec<String>),
    /// A gossip message passed the gate.
    Heard {
        /// To name it in the verdict.
        gossip: GossipId,
        /// What was said.
        message: Verified<Message>,
    },
    /// A peer asked something.
    Asked {
        /// To name it in the reply.
        inbound: InboundId,
        /// Who asks.
        from: PeerId,
        /// What.
        request: Request,
    },
    /// A question of ours was answered, and the answer was checked.
    Answered {
        /// Which question.
        ask: AskId,
        /// What came.
        answer: Answer,
    },
    /// One shard of an answer came and has the right hash; the rest of the answer is under way. A driver may leave these
    /// out: what it says in `Answered` is what counts.
    Arrived {
        /// Which question.
        ask: AskId,
        /// Index of the shard.
        shard: u32,
    },
    /// A question of ours failed.
    Failed {
        /// Which question.
        ask: AskId,
        /// How.
        failure: Failure,
    },
    /// A peer did wrong in a way the driver saw.
    Offended {
        /// Who.
        peer: PeerId,
        /// How.
        offence: Offence,
    },
    /// A training order was carried out.
    Trained(Trained),
    /// A mixing order was carried out.
    Mixed(Mixed),
    /// An evaluation order was carried out.
    Evaluated(Evaluated),
    /// The own model answered a query; the peer signs what it said.
    Predicted(Predicted),
    /// The reservation of this outer step is durable.
    Reserved(OuterStep),
    /// An operator's word.
    Command(Command),
    /// An operator hands over a revocation list of the founders.
    Revoked(Box<CoSigned>),
    /// The person here tells what was tried in a search for settings.
    Tried(Trials),
    /// Whether an invitation may be used by the key that asked, now durably noted.
    Redeemed {
        /// Whose question it was.
        inbound: InboundId,
        /// Whether it was not used by another key before.
        is_free: bool,
    },
    /// Time passed.
    Wake,
}

/// A checked answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Messages that passed the gate.
    News(Vec<Verified<Message>>),
    /// A manifest that agrees with what was expected.
    Manifest(Box<VerifiedManifest>),
    /// Shards whose bytes have the right hash, by index, now in the driver's block store.
    Shards(Vec<u32>),
}

/// How a question failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Failure {
    /// No answer, or too slow.
    Timeout,
    /// Ask again after so long.
    Busy(Span),
    /// The peer does not have it.
    NotFound,
    /// The peer refuses us.
    Refused,
    /// What came is not what was asked for; the offence is reported on its own.
    Wrong,
    /// The link went down.
    Disconnected,
}

/// The result of a training order.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Trained {
    /// The outer step.
    pub step: OuterStep,
    /// Inner steps done.
    pub inner_steps: u32,
    /// Inner steps dropped because loss or gradient was not finite.
    pub dropped: u32,
    /// Samples seen.
    pub samples: u64,
    /// Mean loss over the inner steps.
    pub loss: f64,
    /// Time the training took.
    pub busy: Span,
    /// Time encoding the update took.
    pub encoding: Span,
    /// The update, encoded and in the driver's block store.
    pub update: Update,
}

/// An encoded update.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Update {
    /// Hash and size of each shard.
    pub shards: Vec<(Hash, u32)>,
    /// Norm of each shard's delta.
    pub norms: Vec<f32>,
    /// Random projection of the delta.
    pub sketch: Vec<f32>,
}

/// The result of a mixing order.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Mixed {
    /// The outer step.
    pub step: OuterStep,
    /// Mean mixing weight of each peer over all shards.
    pub weights: Vec<(PeerId, f32)>,
    /// What was refused and why, once per peer and reason.
    pub refused: Vec<(PeerId, Offence)>,
    /// Root mean square distance of the pulled shards from our own, relative to the norm of our delta.
    pub distance: f64,
    /// Time the mixing took.
    pub busy: Span,
}

/// What the own model says of a member's query.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Predicted {
    /// Which question of theirs.
    pub inbound: InboundId,
    /// Hash of the query.
    pub query: Hash,
    /// The outer step of the model.
    pub step: OuterStep,
    /// Probabilities, (outputs, labels).
    pub probabilities: Vec<f32>,
}

/// The result of an evaluation order.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Evaluated {
    /// The outer step.
    pub step: OuterStep,
    /// Name of the metric.
    pub metric: String,
    /// The score, a fraction.
    pub score: f32,
    /// Mean loss.
    pub loss: f32,
    /// Samples.
    pub samples: u64,
    /// Time it took.
    pub busy: Span,
}

/// An operator's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// Finish the outer step under way, then wait.
    Pause,
    /// Go on.
    Resume,
    /// Say farewell.
    Leave,
    /// Shut a key out.
    Ban(PeerId),
    /// Let a key back in.
    Unban(PeerId),
}
