//! The settings of a node: one TOML file, `STARLING_*` variables, flags.
//!
//! It exists so that every value can be traced to the line, variable or flag it came from. It deliberately holds nothing
//! that must agree between nodes: that is the charter's.
//!
//! [`unit`] reads sizes and times; [`key`] lists the settings, their kinds and defaults; [`tree`] is what other rooms get;
//! [`load`] merges the sources; [`template`] writes the commented file; [`charter_file`] reads and writes charters.

pub mod charter_file;
pub mod hours;
pub mod key;
pub mod load;
pub mod suggest;
pub mod template;
pub mod tree;
pub mod unit;
