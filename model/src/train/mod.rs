//! Training: engines, optimizers, schedules, and the checks around a step.
//!
//! An engine holds parameters and computes gradients on one kind of device; everything that decides (whether a step
//! counts, how far it is clipped, at which rate) stands above the engines and is shared by them.

pub mod adapter;
pub mod benchmark_b;
pub mod composed;
pub mod engine;
pub mod explicit;
pub mod input;
pub mod memory;
pub mod noisy;
pub mod optimizer;
pub mod privacy;
pub mod schedule;
