//! The command line: one file per verb.
//!
//! [`output`] is how every verb prints and ends; [`place`] says which node is meant.

pub mod app;
pub mod ask;
pub mod audit;
pub mod backup;
pub mod bench;
mod bundle;
pub mod charter;
pub mod charter_new;
mod check;
pub mod config_show;
pub mod data;
pub mod data_make;
pub mod data_split;
mod decided;
pub mod distill;
pub mod doctor;
pub mod eval;
pub mod fairness;
pub mod fuse;
pub mod health;
pub mod influence;
pub mod init;
pub mod invite;
pub mod join;
pub mod key;
pub mod membership;
pub mod model;
pub mod output;
pub mod peers;
pub mod place;
pub mod predict;
mod reach;
pub mod replay;
pub mod revoke;
pub mod run;
pub mod shell;
pub mod sim;
pub mod status;
pub mod steer;
pub mod sweep;
mod tagged;
pub mod testnet;
pub mod train;
mod train_plain;
