//! What happened, as data: metrics, the dashboard, the ledger view and tests read these, never log text.

use serde::Serialize;

use crate::codec::Encode;
use crate::id::{Hash, OuterStep, PeerId};
use crate::wire::choice::Stage;
use crate::wire::offence::Offence;

/// Something that happened in the protocol.
#[derive(Clone, Debug, PartialEq, Encode, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A link came up.
    LinkUp {
        /// To whom.
        peer: PeerId,
    },
    /// A link went down.
    LinkDown {
        /// To whom.
        peer: PeerId,
    },
    /// The node entered a stage.
    Stage {
        /// Which.
        stage: Stage,
        /// At which outer step.
        step: OuterStep,
    },
    /// Nobody is linked: the node trains alone and goes on looking for others.
    Alone {
        /// At which outer step.
        step: OuterStep,
    },
    /// Inner training of an outer step is through.
    Trained {
        /// Outer step.
        step: OuterStep,
        /// Inner steps.
        inner_steps: u32,
        /// Steps dropped as not finite.
        dropped: u32,
        /// Samples.
        samples: u64,
        /// Mean loss.
        loss: f64,
        /// Seconds of training.
        seconds: f64,
        /// Seconds of encoding the update.
        encode_seconds: f64,
    },
    /// An update was signed and announced.
    Published {
        /// Outer step.
        step: OuterStep,
        /// Hash of its manifest.
        manifest: Hash,
        /// Bytes of all shards and the manifest.
        bytes: u64,
    },
    /// The pull of an outer step began.
    Pulling {
        /// Outer step.
        step: OuterStep,
        /// Peers drawn.
        peers: u32,
        /// Seconds waited for peers at earlier steps.
        waited_seconds: f64,
    },
    /// Shards of a peer's update were taken.
    Pulled {
        /// Outer step.
        step: OuterStep,
        /// Whose.
        peer: PeerId,
        /// Outer step of the update.
        their_step: OuterStep,
        /// How old the update is, in outer steps.
        staleness: u32,
        /// Shards taken.
        shards: u32,
    },
    /// A question was not answered as hoped.
    PullFailed {
        /// Outer step.
        step: OuterStep,
        /// Whom we asked.
        peer: PeerId,
        /// Why.
        why: &'static str,
    },
    /// An outer step is complete.
    Mixed {
        /// Outer step.
        step: OuterStep,
        /// Peers that had a part.
        peers: u32,
        /// Relative distance of what was pulled.
        distance: f64,
        /// Seconds from the first question to the last answer.
        pull_seconds: f64,
        /// Seconds of mixing.
        mix_seconds: f64,
    },
    /// A late joiner took over the others' state.
    Joined {
        /// Where it was.
        from: OuterStep,
        /// Where it is now.
        step: OuterStep,
        /// Peers behind the median.
        peers: u32,
    },
    /// The model was evaluated on local data.
    Evaluated {
        /// Outer step.
        step: OuterStep,
        /// Metric.
        metric: String,
        /// Score.
        score: f32,
        /// Loss.
        loss: f32,
        /// Samples.
        samples: u64,
        /// Seconds it took.
        seconds: f64,
    },
    /// Another peer told its score.
    Card {
        /// Who.
        peer: PeerId,
        /// Its outer step.
        step: OuterStep,
        /// Metric.
        metric: String,
        /// Score.
        score: f32,
    },
    /// A peer did wrong.
    Offence {
        /// Who.
        peer: PeerId,
        /// What.
        offence: Offence,
    },
    /// A member asked this node's model, within its quota.
    Queried {
        /// Who.
        peer: PeerId,
        /// Outputs asked for: words or texts.
        outputs: u32,
    },
    /// A key redeemed an invitation at this node.
    Admitted {
        /// Which.
        peer: PeerId,
    },
    /// A key was shut out.
    Banned {
        /// Which.
        peer: PeerId,
        /// Whether a proof of equivocation is behind it.
        is_proven: bool,
    },
    /// Somebody signs with this node's own key: a second copy of it is running somewhere.
    KeyInUseElsewhere {
        /// At which outer step.
        step: OuterStep,
    },
    /// A revocation list took force.
    Revocation {
        /// Its version.
        version: u32,
    },
    /// The charter's date passed before all outer steps were through.
    Expired {
        /// The last complete outer step.
        step: OuterStep,
    },
    /// All outer steps are through.
    Finished {
        /// The last outer step.
        step: OuterStep,
    },
    /// Nobody needs this node's updates any more.
    Drained,
}
