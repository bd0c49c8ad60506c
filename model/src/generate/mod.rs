//! Writing on: one token after another from a language model.

pub mod sample;
pub mod text;
