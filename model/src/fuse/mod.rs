//! Fusion: several members answer, one decision comes out.
//!
//! Everything here works on [`Answers`](crate::task::answers::Answers): probabilities over the same labels for the same
//! examples. Who gave them (a session, a student, a checkpoint, a peer over the network) and with which tokenizer is not
//! known here. [`rule`] names the rules, [`evidence`] gathers what they need of a calibration set, [`solve`] and
//! [`stacking`] turn that into a [`pool`], which puts the members' probabilities together. [`compare`] measures rules
//! against each other on examples they were not fitted to, and [`gate`] lets a candidate in or not. [`spans`] and [`rank`] put
//! entities and rankings together, which are more than one unit each.

pub mod compare;
pub mod evidence;
pub mod fit;
pub mod gate;
pub mod pool;
pub mod quality;
pub mod rank;
pub mod rule;
pub mod solve;
pub mod spans;
pub mod stacking;
pub mod tally;
