//! The trainer: one thread that owns the model and carries out the peer's training, mixing and evaluation orders.

pub mod averaging;
pub mod job;
pub mod learner;
pub mod material;
pub mod model_card;
pub mod model_learner;
pub mod saved;
pub mod score;
pub mod translate;
pub mod update;
pub mod worker;
