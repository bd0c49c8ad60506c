//! What strangers may send: every wire type against the gate that reads it.
//!
//! Rows carry the numbers of the project's catalogue of bad input; a fuzzer's find becomes a row here.

mod bench;
mod credentials;
mod fixture;
mod form;
mod golden;
mod manifests;
mod messages;
mod peers;
mod predictions;
mod queries;
mod requests;
mod searching;
