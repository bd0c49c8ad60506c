//! Tokenizers: from words to ids and back.
//!
//! Whatever the source (a `tokenizer.json`, a `vocab.txt`, a corpus to train on), it becomes one canonical JSON text
//! that passes one gate before the tokenizer library sees it, so that all nodes of a run agree on its hash.

pub mod bert;
pub mod inspect;
pub mod pieces;
pub mod tokenizer;
pub mod train;
