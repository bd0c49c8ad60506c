//! Hashes, keys, domain-separated signatures, Merkle roots.

pub mod hash;
pub mod keys;
pub mod merkle;
pub mod signed;
