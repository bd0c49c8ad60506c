//! Accounting for a model: what its answers depend on.

pub mod fairness;
pub mod influence;
pub mod membership;
pub mod odds;
pub mod relations;
