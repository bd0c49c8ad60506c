//! The Starling protocol as pure state machines and pure functions.
//!
//! It exists so that the same code runs in the node, in the simulator and in tests: everything that happens comes in
//! as an argument, everything to be done goes out as data. It deliberately knows no sockets, files, clocks, threads,
//! ambient randomness or tensors.
//!
//! Floors, from the ground up: [`id`] [`time`] [`rng`] [`limits`] [`codec`]; [`crypto`]; [`wire`]; [`shard`];
//! [`roster`] [`exchange`] [`mixing`] [`ledger`] [`stage`]; [`peer`]; with the feature `sim` the virtual swarm above it.

pub mod codec;
pub mod crypto;
pub mod exchange;
pub mod id;
pub mod ledger;
pub mod limits;
pub mod mixing;
pub mod peer;
pub mod quota;
pub mod rng;
pub mod roster;
pub mod shard;
#[cfg(feature = "sim")]
pub mod sim;
pub mod stage;
pub mod time;
pub mod wire;
