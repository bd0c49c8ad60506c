//! The protocol under virtual time: agreement, faults, late joiners, crashes, liars.

mod faults;
mod liars;
mod order;
mod setting;
