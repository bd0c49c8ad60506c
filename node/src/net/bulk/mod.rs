//! The bulk plane: parts are asked for and sent over streams of their own.
//!
//! Nothing comes unasked, so the asker sets pace, memory and retries: a request says what may come back, every size is
//! checked before memory is taken for it, every hash while the bytes are read. A stream carries one request at a time
//! and is used again; several streams to one peer hide the round trips.

pub(super) mod client;
pub(super) mod frame;
pub(super) mod server;
mod stream;
