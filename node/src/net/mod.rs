//! The network: one task that owns the libp2p swarm, and the bulk plane beside it.
//!
//! It exists so that the rest of the node can speak of peers, messages and parts and never of sockets. It moves bytes,
//! checks their hashes while it reads, and reports; it knows nothing of training, files or policy.
//!
//! The way in is [`start::start`]: it answers a [`handle::NetHandle`] for commands and a channel of [`event::NetEvent`].
//! Two planes share each link: small signed messages by gossip ([`command::NetCommand::Publish`]), and parts pulled by
//! hash over streams ([`command::NetCommand::Ask`]), whose bytes on the wire are drawn in `bulk::frame`.

mod behaviour;
mod bulk;
pub mod command;
pub mod config;
mod counted;
pub mod counters;
mod discovery;
pub mod error;
pub mod event;
mod gossip;
pub mod handle;
mod happenings;
pub mod limits;
pub mod link;
mod links;
mod muxer;
mod nat;
mod pace;
mod places;
mod screen;
pub mod secured;
pub mod start;
mod swarm;
pub mod translate;
mod transport;
