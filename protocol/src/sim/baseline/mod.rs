//! Other ways to average, to compare the protocol with: the same learners, network and faults, without the protocol.
//!
//! Whole updates travel and no message is signed, so their bytes are the payload alone: what is compared is the averaging.

mod barrier;
mod combine;
mod partners;
mod queue;
pub mod swarm;
