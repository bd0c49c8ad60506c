//! The charter: the signed statement of a cooperation.
//!
//! It says everything that must agree between nodes and nothing that may differ. People write it as TOML; its
//! canonical encoding is signed by its founders, and the hash of the first version names the run.

use std::collections::BTreeMap;
use std::sync::Arc;

use bincode::de::Decoder;
use bincode::de::read::Reader as _;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::{CodecError, decode_manifest, encode};
use crate::crypto::hash::content_hash;
use crate::crypto::signed::Domain;
use crate::id::{Hash, PeerId, RunId};
use crate::time::UnixSeconds;
use crate::wire::choice::{Codec, Rule};
use crate::wire::codistillation::{BadTerms, CodistillationTerms};
use crate::wire::field::BadField;
use crate::wire::sealed::CoSigned;
use crate::wire::text::BadText;

/// What all members agree on.
///
/// Its canonical bytes are its fields in this order. `codistillation` stands last and takes no byte where it is absent,
/// so a charter without it has the bytes, and the run the name, that it had before these terms existed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Charter {
    /// Name of the run.
    pub name: String,
    /// What the cooperation is for, in a sentence.
    pub purpose: String,
    /// Counts up from 1; a newer version replaces an older one of the same run.
    pub version: u32,
    /// The run this is a later version of; absent in version 1, whose own hash names the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// After this date no member trains under it.
    pub expires: UnixSeconds,
    /// Keys that may sign versions, certificates and revocations.
    pub founders: Vec<PeerId>,
    /// How many founders must sign.
    pub threshold: u32,
    /// The model.
    pub model: ModelTerms,
    /// The task.
    pub task: TaskTerms,
    /// Inner training.
    pub train: TrainTerms,
    /// What may leave a node.
    pub exchange: ExchangeTerms,
    /// How shards are combined.
    pub mixing: MixingTerms,
    /// How long, how often.
    pub schedule: ScheduleTerms,
    /// Who may take part.
    pub admission: Admission,
    /// What every node records and publishes.
    pub audit: AuditTerms,
    /// How members learn from each other's predictions; present exactly where predictions travel and parameters do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codistillation: Option<CodistillationTerms>,
}

impl Encode for Charter {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.name.encode(encoder)?;
        self.purpose.encode(encoder)?;
        self.version.encode(encoder)?;
        self.run.encode(encoder)?;
        self.expires.encode(encoder)?;
        self.founders.encode(encoder)?;
        self.threshold.encode(encoder)?;
        self.model.encode(encoder)?;
        self.task.encode(encoder)?;
        self.train.encode(encoder)?;
        self.exchange.encode(encoder)?;
        self.mixing.encode(encoder)?;
        self.schedule.encode(encoder)?;
        self.admission.encode(encoder)?;
        self.audit.encode(encoder)?;
        self.codistillation.as_ref().map_or(Ok(()), |terms| terms.encode(encoder))
    }
}

impl<Context> Decode<Context> for Charter {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Ok(Self {
            name: Decode::decode(decoder)?,
            purpose: Decode::decode(decoder)?,
            version: Decode::decode(decoder)?,
            run: Decode::decode(decoder)?,
            expires: Decode::decode(decoder)?,
            founders: Decode::decode(decoder)?,
            threshold: Decode::decode(decoder)?,
            model: Decode::decode(decoder)?,
            task: Decode::decode(decoder)?,
            train: Decode::decode(decoder)?,
            exchange: Decode::decode(decoder)?,
            mixing: Decode::decode(decoder)?,
            schedule: Decode::decode(decoder)?,
            admission: Decode::decode(decoder)?,
            audit: Decode::decode(decoder)?,
            // A charter is decoded alone, so bytes that are left are these terms or refused.
            codistillation: match decoder.reader().peek_read(1) {
                Some(_) => Some(Decode::decode(decoder)?),
                None => None,
            },
        })
    }
}

/// The model every node trains.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelTerms {
    /// Architecture, as canonical JSON that the `model` crate reads.
    pub architecture: String,
    /// blake3 of the tokenizer file; absent for models without text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<Hash>,
    /// The parameters every node starts from.
    pub genesis: Genesis,
    /// Hash of the parameter layout (names, shapes, offsets).
    pub layout: Hash,
    /// Number of parameters.
    pub parameters: u64,
}

/// Where the first parameters come from.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Genesis {
    /// Drawn from a seed.
    Seed(u64),
    /// A base checkpoint, by the blake3 of its parameter file; what it lacks (a head) is drawn from the seed.
    Checkpoint {
        /// blake3 of `model.safetensors`.
        hash: Hash,
        /// Seed of the rest.
        seed: u64,
    },
}

/// What the model is to learn.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskTerms {
    /// `tagging`, `classify`, ...: as the `model` crate names it.
    pub kind: String,
    /// Labels in order.
    pub labels: Vec<String>,
    /// The headline metric.
    pub metric: String,
    /// Longest input in tokens; 0 where inputs have one size.
    pub tokens_max: u32,
}

/// Inner training, equal on every node.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainTerms {
    /// `adamw`, `sgd`, `nesterov`.
    pub optimizer: String,
    /// Peak learning rate.
    pub rate: f32,
    /// Samples in a batch.
    pub batch: u32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Largest gradient norm; 0 for none.
    pub clip: f32,
    /// Share of all inner steps in which the rate rises from 0.
    pub warmup_share: f32,
    /// Share of all inner steps, the last, in which the rate falls to 0.
    pub decay_share: f32,
    /// Whether batches follow the order of the file instead of a seeded shuffle.
    #[serde(default)]
    pub in_order: bool,
}

/// What may leave a node.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExchangeTerms {
    /// Shards of the parameters.
    pub shards: bool,
    /// Predictions on the probe set.
    pub predictions: bool,
    /// Codec while training.
    pub codec: Codec,
    /// Codec of settle steps: 16 bits or better.
    pub settle_codec: Codec,
    /// Least inner steps behind a published update.
    pub inner_steps_min: u32,
    /// Greatest ε a node may spend; absent where updates carry no differential privacy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epsilon_max: Option<f32>,
    /// blake3 of the probe set, where predictions are traded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Hash>,
}

/// How a peer mixes.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixingTerms {
    /// Peers pulled for each shard (s).
    pub pulls: u32,
    /// Byzantine peers planned for in one pull (b).
    pub byzantine: u32,
    /// The rule.
    pub rule: Rule,
    /// Momentum of the outer optimizer (μ); 0 for none.
    pub outer_momentum: f32,
    /// Rate of the outer optimizer (η); 1 with μ 0 takes the mix as it is.
    pub outer_rate: f32,
    /// Oldest update that is mixed, in outer steps (A).
    pub staleness_max: u32,
}

/// How long the run is and how its outer steps are cut.
///
/// Its canonical bytes are its fields in this order, with `synchronous` and `overlap` as the bits 1 and 2 of one byte: a
/// charter without overlap has the bytes, and the run the name, that it had before there was any.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleTerms {
    /// Outer steps with training.
    pub outer_steps: u32,
    /// Outer steps that only mix, at the end.
    pub settle_steps: u32,
    /// Inner steps in an outer step (H).
    pub inner_steps: u32,
    /// Longest training in one outer step, in seconds, so that nobody waits for the slowest; 0 for no limit.
    pub outer_seconds_max: u32,
    /// Longest wait for peers that are still at an earlier step, in milliseconds; 0 never waits.
    pub patience_ms: u32,
    /// Whether exactly the same step of every linked member is mixed (a barrier, for comparisons and benchmarks).
    #[serde(default)]
    pub synchronous: bool,
    /// Whether the next outer step is trained while the updates of this one travel. What was trained before the mix is
    /// there is added to it, so every update holds training that began one mix earlier.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overlap: bool,
    /// Outer steps between two evaluations on the node's validation data; 0 for only at the end.
    pub evaluate_every: u32,
}

impl Encode for ScheduleTerms {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.outer_steps.encode(encoder)?;
        self.settle_steps.encode(encoder)?;
        self.inner_steps.encode(encoder)?;
        self.outer_seconds_max.encode(encoder)?;
        self.patience_ms.encode(encoder)?;
        (u8::from(self.synchronous) | u8::from(self.overlap) << 1).encode(encoder)?;
        self.evaluate_every.encode(encoder)
    }
}

impl<Context> Decode<Context> for ScheduleTerms {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let [outer_steps, settle_steps, inner_steps, outer_seconds_max, patience_ms]: [u32; 5] =
            Decode::decode(decoder)?;
        let pace = u8::decode(decoder)?;
        if pace > 3 {
            return Err(DecodeError::Other("a schedule is synchronous, overlapped, both or neither"));
        }
        let (synchronous, overlap) = (pace & 1 != 0, pace & 2 != 0);
        let evaluate_every = Decode::decode(decoder)?;
        Ok(Self {
            outer_steps,
            settle_steps,
            inner_steps,
            outer_seconds_max,
            patience_ms,
            synchronous,
            overlap,
            evaluate_every,
        })
    }
}

/// Who may take part.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Admission {
    /// Exactly these keys.
    Closed(Vec<Member>),
    /// Keys with a certificate signed by the threshold of founders.
    Invite,
}

/// A listed member.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The member's key.
    pub peer: PeerId,
    /// Who runs it.
    pub organization: String,
}

/// What every node records and publishes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditTerms {
    /// Evaluation cards are announced.
    pub cards: bool,
    /// The ledger's head travels in manifests.
    pub ledger_head: bool,
}

/// A charter that cannot be used.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum CharterError {
    /// The bytes do not decode.
    #[error("the charter does not decode: {0}")]
    Codec(#[from] CodecError),
    /// A text cannot be shown or is too long.
    #[error("charter: {0}")]
    Text(#[from] BadText),
    /// A value makes no sense.
    #[error("charter: {field}: expected {expected}, found {found}")]
    Field {
        /// The field, as in the file.
        field: &'static str,
        /// What belongs there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// Too few founders signed.
    #[error("charter: expected signatures of {expected} founders, found {found} that hold")]
    Signatures {
        /// The threshold.
        expected: u32,
        /// Valid signatures of distinct founders.
        found: u32,
    },
    /// Not a successor of the charter in force.
    #[error("charter: {0}")]
    NotASuccessor(String),
}

/// A charter whose fields and signatures were checked. Copies share one body: thousands of members cost once.
#[derive(Clone, Debug, PartialEq)]
pub struct SignedCharter {
    held: Arc<Held>,
}

#[derive(Debug, PartialEq)]
struct Held {
    charter: Charter,
    run: RunId,
    hash: Hash,
    sealed: CoSigned,
    /// Place of every listed member, by key.
    places: BTreeMap<PeerId, usize>,
}

impl Charter {
    /// The run this charter belongs to.
    pub fn run_id(&self) -> RunId {
        self.run.unwrap_or_else(|| RunId(content_hash(&encode(self))))
    }

    /// Length of the vector that is published, pulled and mixed: the parameters, or the probabilities of the probe set
    /// (outputs × labels) where those travel in their place.
    pub fn exchanged(&self) -> u64 {
        match &self.codistillation {
            Some(terms) => u64::from(terms.outputs) * self.task.labels.len() as u64,
            None => self.model.parameters,
        }
    }

    /// Whether an output of the model is a word of a text, not a whole text.
    pub fn is_tagging(&self) -> bool {
        self.task.kind == "tagging"
    }

    /// Outer steps of the whole run.
    pub fn steps(&self) -> u32 {
        self.schedule.outer_steps.saturating_add(self.schedule.settle_steps)
    }
}

impl From<BadField> for CharterError {
    fn from(bad: BadField) -> Self {
        let BadField { field, expected, found } = bad;
        Self::Field { field, expected, found }
    }
}

impl From<BadTerms> for CharterError {
    fn from(bad: BadTerms) -> Self {
        match bad {
            BadTerms::Text(bad) => bad.into(),
            BadTerms::Field(bad) => bad.into(),
        }
    }
}

impl SignedCharter {
    /// Starts the signing of a charter whose fields hold.
    pub fn draft(charter: &Charter) -> Result<CoSigned, CharterError> {
        charter.check()?;
        Ok(CoSigned::unsigned(charter))
    }

    /// Checks bytes that claim to be a signed charter: form, fields, founders' signatures.
    pub fn open(bytes: &[u8]) -> Result<Self, CharterError> {
        Self::from_sealed(decode_manifest(bytes)?)
    }

    /// Checks a charter and its founders' signatures.
    pub fn from_sealed(sealed: CoSigned) -> Result<Self, CharterError> {
        let charter: Charter = decode_manifest(&sealed.body)?;
        charter.check()?;
        let signers = sealed.valid_signers(Domain::Charter, &charter.founders).len() as u32;
        if signers < charter.threshold {
            return Err(CharterError::Signatures { expected: charter.threshold, found: signers });
        }
        let hash = content_hash(&sealed.body);
        let places = match &charter.admission {
            Admission::Closed(members) => members.iter().enumerate().map(|(i, m)| (m.peer, i)).collect(),
            Admission::Invite => BTreeMap::new(),
        };
        Ok(Self { held: Arc::new(Held { run: charter.run_id(), charter, hash, sealed, places }) })
    }

    /// Checks that this charter may replace `current`: same run, newer, signed by the threshold of the *old* founders.
    pub fn succeeds(&self, current: &Self) -> Result<(), CharterError> {
        let refuse = |why: String| Err(CharterError::NotASuccessor(why));
        if self.held.run != current.held.run {
            return refuse(format!(
                "expected run {}, found {}",
                current.held.run.short(),
                self.held.run.short()
            ));
        }
        if self.held.charter.version <= current.held.charter.version {
            return refuse(format!(
                "expected a version after {}, found {}: a rollback is refused",
                current.held.charter.version, self.held.charter.version
            ));
        }
        let signers =
            self.held.sealed.valid_signers(Domain::Charter, &current.held.charter.founders).len() as u32;
        if signers < current.held.charter.threshold {
            return Err(CharterError::Signatures {
                expected: current.held.charter.threshold,
                found: signers,
            });
        }
        if self.held.charter.model.layout != current.held.charter.model.layout {
            return refuse("the parameter layout may not change within a run".to_owned());
        }
        if self.held.charter.codistillation != current.held.charter.codistillation {
            return refuse("the terms of codistillation may not change within a run".to_owned());
        }
        Ok(())
    }

    /// The organization behind a listed member; `None` for keys that are not listed.
    pub fn listed(&self, peer: &PeerId) -> Option<&str> {
        match &self.held.charter.admission {
            Admission::Closed(members) => {
                self.held.places.get(peer).map(|&place| members[place].organization.as_str())
            }
            Admission::Invite => None,
        }
    }

    /// The checked charter.
    pub fn charter(&self) -> &Charter {
        &self.held.charter
    }

    /// The run it belongs to.
    pub fn run(&self) -> RunId {
        self.held.run
    }

    /// The hash of this version.
    pub fn hash(&self) -> Hash {
        self.held.hash
    }

    /// The bytes that travel and are kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(&self.held.sealed)
    }

    /// Founders whose signature holds.
    pub fn signers(&self) -> Vec<PeerId> {
        self.held.sealed.valid_signers(Domain::Charter, &self.held.charter.founders).into_iter().collect()
    }
}
