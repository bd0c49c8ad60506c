//! `starling distill`: students made, trained, measured and kept.
//!
//! [`students`] does the work and returns an [`outcome`]; [`page`] shows it, with a picture from [`picture`].

pub mod outcome;
pub mod page;
pub mod picture;
pub mod students;
