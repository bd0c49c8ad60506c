//! What simulated peers learn: small problems in plain arithmetic, the same to the last bit on every platform.

pub mod data;
pub mod lesson;
pub mod number;
pub mod perceptron;
pub mod problem;
