//! An operator's word to a running node: what can be said, and the socket over which the command line says it.
//!
//! It exists beside the files a node writes, which can only be read. It deliberately knows no driver: orders go into a
//! channel, and whoever holds the other end obeys. Other doors, as an HTTP server with a token, use the same orders.

pub mod order;
pub mod socket;
