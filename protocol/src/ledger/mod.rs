//! The append-only, hash-chained, signed log of what a node published, pulled, mixed and refused.

pub mod chain;
pub mod record;
pub mod tally;
