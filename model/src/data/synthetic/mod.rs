//! Built-in generators: data from a seed, so that everything runs with no download.
//!
//! Words and names are made up or generic; no real person occurs. The tasks are made so that a model must learn from
//! context and from parts of words, and so that nodes with different subjects know different things.

pub mod chinese;
pub mod community;
pub mod digits;
pub mod films;
pub mod names;
pub mod newswire;
pub mod patients;
pub mod requests;
pub mod reviews;
pub mod scenes;
pub mod topics;
