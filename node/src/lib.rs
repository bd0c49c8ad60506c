//! The Starling node: libp2p, storage, trainer thread, command line.
//!
//! It exists to give the pure machines of `protocol` and the training of `model` a network, a disk and a user. It
//! deliberately decides nothing about the protocol: it performs what the machine asks for.
//!
//! Floors, from the ground up: [`telemetry`]; [`control`]; [`net`] [`store`] [`trainer`]; [`board`]; [`http`]; [`config`]
//! [`runtime`]; [`recipe`] [`distill`] [`fuse`]; [`bench`] [`sim`] [`testnet`]; [`cli`].

pub mod bench;
pub mod board;
pub mod cli;
pub mod config;
pub mod control;
pub mod distill;
pub mod fuse;
pub mod http;
pub mod net;
pub mod recipe;
pub mod runtime;
pub mod sim;
pub mod store;
pub mod telemetry;
pub mod testnet;
pub mod trainer;
