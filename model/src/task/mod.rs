//! Tasks: between examples and numbers.
//!
//! A task turns examples and a tokenizer into an encoded dataset, and a model's logits back into labels for words or
//! texts. It does not know how the logits are made.

pub mod answers;
pub mod classify;
pub mod decode;
pub mod language;
pub mod logits;
pub mod records;
pub mod tagging;
pub mod unlabelled;
pub mod valued;
