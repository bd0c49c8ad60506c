//! `starling fuse` and mixed decision: members asked, here and over the network, a rule fitted, compared, judged and kept.
//!
//! [`members`] are asked, peers among them through [`asked`]; [`run`] fits and judges and returns an [`outcome`], which
//! [`page`] shows; [`fused`] is what is kept, and [`decider`] uses it. [`decision`] is a decision without a fit.

pub mod asked;
pub mod decider;
pub mod decision;
pub mod fused;
pub mod heard;
pub mod members;
pub mod outcome;
pub mod page;
pub mod run;
