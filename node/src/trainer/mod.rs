//! The trainer: one thread that owns the model and carries out the peer's training, mixing and evaluation orders.

mod affinity;
pub mod answerer;
pub mod averaging;
pub mod codistiller;
pub mod examples;
pub mod job;
pub mod learner;
pub mod liar;
pub mod material;
pub mod model_card;
pub mod model_hash;
pub mod model_learner;
mod overlap;
pub mod plain;
pub mod private;
pub mod probe;
pub mod responder;
pub mod saved;
pub mod score;
pub mod search;
pub mod search_together;
pub mod translate;
pub mod update;
pub mod variant;
pub mod worker;
