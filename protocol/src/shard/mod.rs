//! From a flat vector of parameters to encoded shards and back: layout, cuts, codecs, sketch.
//!
//! It exists so that every member names, cuts and decodes an update in the same way. It knows no manifest, no peer
//! and no hash of content; who signs and serves shards stands above.

pub mod block;
pub mod codec;
pub mod cut;
pub mod distance;
pub mod fault;
pub mod int4;
pub mod int8;
pub mod lattice;
pub mod layout;
pub mod noise;
pub mod plain;
pub mod sketch;
pub mod topk;
