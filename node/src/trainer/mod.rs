//! The trainer: one thread that owns the model and carries out the peer's training, mixing and evaluation orders.

pub mod averaging;
pub mod job;
pub mod learner;
pub mod translate;
pub mod update;
pub mod worker;
