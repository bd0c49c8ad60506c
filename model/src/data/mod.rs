//! Data: from files to batches.
//!
//! Loaders read CoNLL columns, JSON lines and CSV/TSV into examples and report every bad row with file, line and
//! reason; splits share examples among nodes; tokenizers turn words into ids; batchers turn encoded examples into
//! endless, resumable batches. Built-in generators make data from a seed, so that everything runs with no download.

pub mod batch;
pub mod batcher;
pub mod classes;
pub mod communities;
pub mod conll;
pub mod corpus;
pub mod dataset;
pub mod delimited;
pub mod example;
pub mod examples;
pub mod graph;
pub mod graph_file;
pub mod idx;
pub mod image_folder;
pub mod intents;
pub mod json;
pub mod jsonl;
pub mod labels;
pub mod load;
pub mod neighbourhoods;
pub mod pairs;
pub mod parquet;
pub mod parquet_gate;
pub mod part_files;
pub mod parts;
pub mod plain;
pub mod png;
pub mod quality;
pub mod ratings;
pub mod record_file;
pub mod record_rows;
pub mod record_sources;
pub mod records;
pub mod report;
pub mod scale;
pub mod schema;
pub mod scheme;
pub mod sizes;
pub mod source;
pub mod spans;
pub mod split;
pub mod synthetic;
pub mod tokenize;
pub mod valued;
pub mod words;
