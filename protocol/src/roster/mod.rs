//! Who is known: members, their credentials, what they announced, how they behaved, who may be drawn.

pub mod admission;
pub mod allowance;
pub mod replay;
pub mod sample;
pub mod score;
pub mod searching;
pub mod table;
