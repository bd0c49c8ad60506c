//! What the node keeps on disk, and what it serves from memory.
//!
//! It exists so that a node killed at any moment, on a full or failing disk, finds its key, its parameters and its
//! ledger again, or says exactly what is lost. It deliberately knows neither what the bytes mean nor who asked for them.
//!
//! From the ground up: [`disk`] is the seam to the file system; [`atomic`] replaces a file whole; [`keys`] (locked by a
//! [`passphrase`] if so wanted), [`lock`],
//! [`state`] (with [`manifest`]), [`sequence`], [`redeemed`], [`ledger`], [`lines`], [`journal`] and [`status`] are the files of a node's directory;
//! [`backup`] copies them, [`room`] counts them; [`blocks`] is memory only.

pub mod atomic;
pub mod backup;
pub mod blocks;
pub mod disk;
mod hex;
pub mod journal;
pub mod keys;
pub mod ledger;
pub mod lines;
pub mod lock;
mod locked;
pub mod manifest;
pub mod passphrase;
pub mod redeemed;
pub mod room;
pub mod sealed;
pub mod sequence;
pub mod state;
pub mod status;

#[cfg(test)]
mod faulty;
#[cfg(test)]
mod power;
#[cfg(test)]
mod scratch;
#[cfg(test)]
mod state_tests;
