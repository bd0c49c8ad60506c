//! The virtual swarm at sizes that fit a test, and hostile bytes kept from fuzzing.

mod corpus;
mod scenarios;
