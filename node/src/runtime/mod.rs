//! The runtime: drives one peer with network, trainer, disk and clock.

pub mod adopt;
pub mod asking;
pub mod checkpoint;
pub mod clock;
pub mod control;
pub mod driver;
pub mod fetching;
pub mod journal;
pub mod local;
pub mod membership;
pub mod notes;
pub mod observer;
pub mod perform;
pub mod querying;
pub mod setup;
pub mod sketches;
pub mod storage;
pub mod storing;
pub mod traffic;
pub mod visit;
pub mod worktime;
