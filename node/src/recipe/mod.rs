//! Recipes: named runs, from which charters and testnets are made.

pub mod bundle;
pub mod fit;
pub mod found;
pub mod invite;
pub mod terms;
