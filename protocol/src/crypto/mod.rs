//! Hashes, keys, domain-separated signatures, Merkle roots.

#[cfg(feature = "sim")]
pub mod assumed;
pub mod hash;
pub mod keys;
pub mod merkle;
pub mod signed;
