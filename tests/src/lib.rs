//! What the tests of the whole share: charters, and the places where bytes of strangers are opened.
//!
//! The virtual swarm is `protocol::sim`; its scenarios are in `scenarios/`.

pub mod charters;
pub mod hostile;
