//! Integration tests of the whole product, in one binary.

mod bench;
mod by_hand;
mod killed;
mod network;
mod node;
mod program;
mod refused;
mod testnet;
mod virtual_swarm;
