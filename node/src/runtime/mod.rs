//! The runtime: drives one peer with network, trainer, disk and clock.

pub mod checkpoint;
pub mod clock;
pub mod control;
pub mod driver;
pub mod fetching;
pub mod notes;
pub mod perform;
pub mod setup;
