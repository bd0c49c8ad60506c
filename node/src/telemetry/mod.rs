//! What the node says about itself while it works: log lines, progress, its own use of the machine.
//!
//! It exists so that every room above can speak without choosing a form. It deliberately decides nothing: whoever
//! needs a figure for a decision reads events, never log text.

pub mod escape;
pub mod html;
pub mod log;
pub mod process;
pub mod progress;
pub mod service;
