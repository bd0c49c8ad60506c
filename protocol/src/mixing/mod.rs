//! How a peer combines its own shard with those it pulled, and what it does with the result.
//!
//! It exists as plain functions over slices, so that node, simulator and tests mix with the same bits. It knows
//! no peers by name: the caller passes vectors in `PeerId` order and translates places back.

pub mod copies;
pub mod join;
pub mod neighbours;
pub mod network;
pub mod outer;
pub mod plausible;
pub mod rule;
pub mod stats;
pub mod streamed;
pub mod trimmed;
pub mod weighted;
