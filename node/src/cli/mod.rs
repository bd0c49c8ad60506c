//! The command line: one file per verb.
//!
//! [`output`] is how every verb prints and ends; [`place`] says which node is meant.

pub mod charter;
mod check;
pub mod config_show;
pub mod data;
pub mod doctor;
pub mod init;
pub mod key;
pub mod output;
pub mod peers;
pub mod place;
mod reach;
pub mod status;
