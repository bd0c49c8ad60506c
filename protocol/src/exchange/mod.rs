//! How updates travel: what is wanted, what is under way, what is served.

pub mod deadline;
pub mod pull;
pub mod serve;
