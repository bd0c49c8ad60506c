//! Tasks: from examples to rows of tokens, from the model's outputs to answers and scores.

pub mod classify;
pub mod tagging;
