//! The secured channel under TCP links: Noise says who is there, AES-256-GCM carries what is said.
//!
//! libp2p's Noise channel spends more than half of a node's transport time in ChaCha20-Poly1305 and in copies between
//! its buffers. Its handshake is kept as it is; inside the channel it opens, both ends exchange secrets, and from then
//! on records of up to 64 KiB are sealed in place with keys that follow from them. Which peer is at the other end, and
//! that nobody else can read along later, is Noise's doing; this room adds no handshake of its own.

mod keys;
mod lent;
pub mod records;
pub mod upgrade;
