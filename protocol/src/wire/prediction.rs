//! A question about texts and the signed answer to it: how a peer's model is asked without leaving home.
//!
//! A query travels in a request, so the link has authenticated who asks. The answer is signed, so that it can be kept,
//! shown and compared; it names the query by hash alone.

use bincode::{Decode, Encode};

use crate::codec::{decode_manifest, encode};
use crate::crypto::hash::content_hash;
use crate::crypto::keys::Keypair;
use crate::crypto::signed::Domain;
use crate::id::{Hash, OuterStep, PeerId, RunId};
use crate::limits::{ANSWER_ELEMENTS_MAX, PREDICTION_BYTES_MAX, QUERY_ROWS_MAX, QUERY_WORDS_MAX};
use crate::wire::manifest::VERSION;
use crate::wire::offence::Offence;
use crate::wire::sealed::Sealed;

/// How far the probabilities of one output may be from a sum of 1: rounding of a softmax over the most labels.
const SUM_SLACK: f32 = 1e-3;

/// Texts a peer's model is asked about.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Query {
    /// Drawn anew for every query: whoever is shown an answer cannot find the texts by guessing at their hash.
    pub nonce: [u8; 16],
    /// A row is its words when tagging, else one text.
    pub rows: Vec<Vec<String>>,
}

/// What a model says of a query.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Prediction {
    /// Version of the protocol.
    pub version: u8,
    /// The run.
    pub run: RunId,
    /// Hash of the query.
    pub query: Hash,
    /// The outer step of the model that answered.
    pub step: OuterStep,
    /// Probabilities in the order of the charter's labels, (outputs, labels); an output is a word when tagging, else a
    /// row.
    pub probabilities: Vec<f32>,
}

/// What an answer must agree with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The run.
    pub run: RunId,
    /// The peer that was asked.
    pub peer: PeerId,
    /// Hash of the query.
    pub query: Hash,
    /// Outputs of the query.
    pub outputs: usize,
    /// Labels of the task.
    pub labels: usize,
}

impl Query {
    /// The name of the query in answers.
    pub fn hash(&self) -> Hash {
        content_hash(&encode(self))
    }

    /// Outputs asked for: words when tagging, else rows. Refuses what is empty or beyond the caps, and a row that is
    /// not one text where rows are outputs.
    pub fn outputs(&self, is_tagging: bool) -> Result<usize, Offence> {
        let makes_sense = (1..=QUERY_ROWS_MAX).contains(&self.rows.len())
            && self.rows.iter().all(|row| {
                (1..=QUERY_WORDS_MAX).contains(&row.len())
                    && row.iter().all(|word| !word.trim().is_empty())
                    && (is_tagging || row.len() == 1)
            });
        if !makes_sense {
            return Err(Offence::Meaningless);
        }
        Ok(if is_tagging { self.rows.iter().map(Vec::len).sum() } else { self.rows.len() })
    }
}

impl Prediction {
    /// Signs the answer; answers the bytes that travel.
    pub fn seal(&self, keys: &Keypair) -> Vec<u8> {
        Sealed::new(keys, Domain::Prediction, self).to_bytes()
    }

    /// Checks bytes that came for a query.
    pub fn open(bytes: &[u8], wanted: &Wanted) -> Result<Self, Offence> {
        if bytes.len() > PREDICTION_BYTES_MAX {
            return Err(Offence::TooLong);
        }
        let sealed: Sealed = decode_manifest(bytes).map_err(|_| Offence::Malformed)?;
        if sealed.body.first() != Some(&VERSION) {
            return Err(Offence::UnknownVersion);
        }
        if sealed.body.get(1..33) != Some(&wanted.run.0.0[..]) {
            return Err(Offence::OtherRun);
        }
        if sealed.signer != wanted.peer {
            return Err(Offence::NotTheAuthor);
        }
        sealed.verify(Domain::Prediction).map_err(|_| Offence::BadSignature)?;
        let prediction: Self = decode_manifest(&sealed.body).map_err(|_| Offence::Malformed)?;
        if prediction.query != wanted.query {
            return Err(Offence::WrongContent);
        }
        if !prediction.makes_sense(wanted) {
            return Err(Offence::Meaningless);
        }
        Ok(prediction)
    }

    fn makes_sense(&self, wanted: &Wanted) -> bool {
        let elements = wanted.outputs.checked_mul(wanted.labels);
        elements == Some(self.probabilities.len())
            && self.probabilities.len() <= ANSWER_ELEMENTS_MAX
            && self.probabilities.chunks_exact(wanted.labels.max(1)).all(|row| {
                row.iter().all(|p| p.is_finite() && *p >= 0.0)
                    && (row.iter().sum::<f32>() - 1.0).abs() <= SUM_SLACK
            })
    }
}
