//! Architectures, data, training and evaluation on candle.
//!
//! This crate turns files into batches, batches into gradients, and predictions into scores. It knows no network and
//! no protocol: what crosses to them is a flat `f32` vector, a task and statistics.

pub mod arch;
pub mod audit;
pub mod data;
pub mod device;
pub mod distill;
pub mod error;
pub mod eval;
pub mod fuse;
pub mod generate;
pub mod ops;
pub mod params;
pub mod seed;
pub mod session;
pub mod task;
pub mod train;
