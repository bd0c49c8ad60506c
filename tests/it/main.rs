//! Integration tests of the whole product, in one binary.

mod asking;
mod bench;
mod by_hand;
mod deciding;
mod kept;
mod killed;
mod liar;
mod measured;
mod membership;
mod network;
mod node;
mod observing;
mod program;
mod refused;
mod replay;
mod searching;
mod starved;
mod swarm;
mod testnet;
