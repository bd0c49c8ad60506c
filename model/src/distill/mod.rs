//! Distillation: from one big model, or several, to smaller ones.
//!
//! [`plan`] says what a student looks like, [`anatomy`] which of its parts come from which of the teacher's, [`student`]
//! copies them, [`importance`] decides what is worth copying, [`cache`] keeps what the teachers said, and [`run`] trains.
//! A new family of architectures needs one function in `anatomy` and nothing else here.

pub mod anatomy;
pub mod cache;
pub mod importance;
pub mod plan;
pub mod run;
pub mod student;
