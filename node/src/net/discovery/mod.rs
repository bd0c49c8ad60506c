//! Finding peers: who is known to be where, and whom to dial next.
//!
//! Addresses come from the configuration, from links, from the table of peers and from the local network; all of them
//! are rumours until a dial proves them, so the book is bounded and the dialler is slow with those that fail.

pub(super) mod book;
pub(super) mod dialler;
