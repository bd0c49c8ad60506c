//! The peer: one state machine that composes roster, exchange, stages, mixing orders and ledger.
//!
//! It is driven from outside: [`machine::Peer::handle`] is the only way in, [`output::Outbox`] the only way out. It
//! never blocks and never fails; a remote fault becomes an output and an event.

pub mod asking;
pub mod config;
pub mod event;
pub mod hearing;
pub mod input;
pub mod journal;
pub mod links;
pub mod machine;
pub mod memory;
pub mod output;
pub mod searching;
mod serving;
pub mod snapshot;
pub mod status;
pub mod stepping;
pub mod update;
pub mod view;
