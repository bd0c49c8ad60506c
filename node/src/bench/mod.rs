//! The common benchmarks, run by separate processes over real sockets.
//!
//! It exists so that Starling can be compared with other systems on work that all of them can do. Every node is the
//! same peer, driver, network and trainer as in `starling run`; only the learner differs, and steering through
//! standard input instead of settings: [`child`] is the node's side, [`fleet`] the side that starts nodes and holds
//! the clock. It deliberately has no shortcut around signatures, hashes or encryption.

pub mod average;
pub mod child;
pub mod error;
pub mod fleet;
pub mod pictures;
pub mod scratch;
pub mod terms;
pub mod train;
pub mod vectors;
pub mod words;
