//! The numerical kernels of the CPU engine: each has an explicit forward and backward pass over plain slices.
//!
//! They exist because a general automatic differentiation spends three quarters of a training step on temporaries,
//! copies and single-threaded loops. A kernel here works in place where it can, adds into the residual gradient
//! instead of making a new one, and sums in a fixed order, so that the same input gives the same bits for any number
//! of threads. The kernels know no tensor, no layout and no parameter name: those belong to the floors above.
//!
//! Shapes are row-major. `rows` counts the tokens of all sequences of a batch without any padding.

// A loop must be inlined into the function that switches the instruction set on; a call would leave it switched off.
#![allow(clippy::inline_always)]

pub mod activation;
pub mod attention;
pub mod bag;
pub mod causal;
pub mod cross;
pub mod dropout;
pub mod embedding;
pub mod gated;
pub mod gemm;
pub mod linear;
pub mod loss;
pub mod norm;
pub mod optimizer;
pub mod rms;
pub mod rope;
pub mod simd;
pub mod soft_loss;
pub mod vector;
pub mod wanted;
