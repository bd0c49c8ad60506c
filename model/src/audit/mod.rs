//! Accounting for a model: what its answers depend on.

pub mod evidence;
pub mod explain;
pub mod fairness;
pub mod influence;
pub mod membership;
pub mod noise;
pub mod odds;
pub mod relations;
