//! Architectures: what a model computes, forward and backward.
//!
//! Each architecture exists twice. The explicit one calls the kernels of `ops` on one flat parameter buffer and is
//! what trains on a processor. The composed one says the same in differentiable candle operations; it serves CUDA and
//! Metal and is the reference the explicit one is tested against. A unit (embedding, block, head) is one file.
//! Nothing here knows files, optimizers or data sets.
//!
//! candle's ready-made layer normalisation, last-dimension softmax and rotary embedding have no backward pass and say
//! nothing about it. Do not use them here.

pub mod block;
pub mod cache;
pub mod composed;
mod composed_cross;
mod composed_decoder;
mod composed_graph;
mod composed_multimodal;
pub mod composed_parts;
mod composed_patch;
pub mod config;
pub mod cross;
pub mod decoder;
pub mod decoder_block;
pub mod decoder_config;
pub mod embed;
pub mod encoder;
pub mod gated_sum;
pub mod graph;
pub mod graph_config;
pub mod head;
pub mod input;
pub mod join;
pub mod masks;
pub mod member;
pub mod mlp;
pub mod modality;
pub mod multimodal;
pub mod neighbourhood;
pub mod network;
pub mod pairs;
pub mod patch;
pub mod patch_block;
pub mod patch_config;
pub mod records;
pub mod slot;
pub mod tower;
pub mod weights;
