//! The virtual swarm: real peers of `protocol` under a seeded event queue with virtual time.
//!
//! It exists so that the protocol is tested with many peers, faults and liars in milliseconds, and every failure is
//! reproduced by its seed. It deliberately has no sockets, files or threads; the real network is tested in `it/`.

pub mod charters;
pub mod swarm;
