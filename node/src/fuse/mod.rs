//! `starling fuse`: members asked, a rule fitted, compared, judged and kept.
//!
//! [`run`] does the work and returns an [`outcome`]; [`page`] shows it.

pub mod outcome;
pub mod page;
pub mod run;
