//! What a peer says of itself when asked.

use serde::Serialize;

use crate::id::{OuterStep, PeerId, RunId};
use crate::wire::choice::Stage;

/// A peer's state, for people.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Its key.
    pub peer_id: PeerId,
    /// Its organization, as the charter or its certificate states it.
    pub organization: String,
    /// The run.
    pub run: RunId,
    /// Name of the run.
    pub run_name: String,
    /// What it is doing.
    pub stage: Stage,
    /// In words.
    pub state: &'static str,
    /// Last complete outer step.
    pub outer_step: OuterStep,
    /// Outer steps of the whole run.
    pub outer_steps: u32,
    /// Linked peers.
    pub peers: u32,
    /// Last score on local data.
    pub score_last: Option<f32>,
}

/// What is known of another peer, for people.
#[derive(Clone, Debug, Serialize)]
pub struct PeerStatus {
    /// Its key.
    pub peer_id: PeerId,
    /// Its name.
    pub name: String,
    /// Its organization.
    pub organization: String,
    /// Whether there is a link.
    pub is_linked: bool,
    /// Its last complete outer step.
    pub outer_step: OuterStep,
    /// What it is doing.
    pub stage: Stage,
    /// Behaviour: 100 is a clean record.
    pub score: f32,
    /// Its last evaluation.
    pub evaluation: Option<f32>,
    /// Offences by kind.
    pub offences: std::collections::BTreeMap<&'static str, u32>,
    /// Whether it is shut out.
    pub is_banned: bool,
    /// Where it can be reached.
    pub addresses: Vec<String>,
}
