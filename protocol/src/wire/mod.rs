//! Everything that travels or is signed, and the gate that remote bytes pass.

pub mod announce;
pub mod certificate;
pub mod charter;
pub mod choice;
pub mod codistillation;
mod conditions;
pub mod credential;
mod field;
pub mod manifest;
pub mod message;
pub mod offence;
pub mod open;
pub mod prediction;
pub mod proof;
pub mod request;
pub mod sealed;
pub mod text;
pub mod trials;
