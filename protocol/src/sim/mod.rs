//! The virtual swarm: real peers under a seeded queue of events, in virtual time.
//!
//! It exists so that the protocol is tested with many peers, faults and liars in moments, and every failure is repeated
//! by its seed. Peers are [`crate::peer::machine::Peer`], the code a node runs; world, disk, links and learners are
//! simulated. It deliberately has no sockets, files, clocks or threads, and reads no scenario files: whoever calls it does.
//!
//! A [`scenario::Scenario`] and a seed make a [`world::World`]; [`world::World::run`] lets it run and gives an
//! [`outcome::Outcome`].

mod ahead;
mod answering;
pub mod attack;
pub mod baseline;
pub mod bounds;
mod check;
mod clock;
mod conclude;
mod disk;
pub mod fault;
mod faulting;
pub mod findings;
pub mod forgery;
pub mod learner;
mod lying;
mod measure;
mod members;
pub mod meter;
mod network;
mod node;
pub mod outcome;
mod perform;
mod queue;
pub mod scenario;
pub mod start;
mod topology;
mod traffic;
mod working;
pub mod world;
