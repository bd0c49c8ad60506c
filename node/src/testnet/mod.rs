//! A whole swarm on one machine: real processes on loopback, compared with training alone and with pooled data.

pub mod charts;
pub mod compare;
pub mod launch;
pub mod outcome;
pub mod page;
pub mod plan;
pub mod table;
pub mod watch;
