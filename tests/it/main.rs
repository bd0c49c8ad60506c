//! Integration tests of the whole product, in one binary.

mod asking;
mod bench;
mod by_hand;
mod killed;
mod liar;
mod network;
mod node;
mod program;
mod refused;
mod testnet;
