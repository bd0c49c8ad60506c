//! Data: from files to batches.
//!
//! Loaders read CoNLL columns, JSON lines and CSV/TSV into examples and report every bad row with file, line and
//! reason; splits share examples among nodes; tokenizers turn words into ids; batchers turn encoded examples into
//! endless, resumable batches. Built-in generators make data from a seed, so that everything runs with no download.

pub mod batch;
pub mod batcher;
pub mod classes;
pub mod conll;
pub mod corpus;
pub mod dataset;
pub mod delimited;
pub mod example;
pub mod graph;
pub mod graph_file;
pub mod idx;
pub mod intents;
pub mod json;
pub mod jsonl;
pub mod labels;
pub mod load;
pub mod neighbourhoods;
pub mod parts;
pub mod plain;
pub mod report;
pub mod schema;
pub mod scheme;
pub mod source;
pub mod spans;
pub mod split;
pub mod synthetic;
pub mod tokenize;
pub mod words;
