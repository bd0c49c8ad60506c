//! The virtual swarm for people: scenario files, runs of one or many seeds, sweeps, reports.
//!
//! The swarm itself is `protocol::sim`; here are files, threads, clocks on the wall, tables and pictures.

pub mod figures;
pub mod file;
pub mod models;
pub mod page;
pub mod plot;
pub mod report;
pub mod run;
pub mod sweep;
