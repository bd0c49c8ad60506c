//! Parameters in files: checked safetensors, and folders as Hugging Face lays them out.
//!
//! Files come from strangers. A header is checked completely before anything of its size is allocated, nothing is
//! memory-mapped (a file may change while it is read), and formats that can run code are refused.

pub mod checkpoint;
pub mod folder;
pub mod header;
mod llama;
pub mod names;
mod vit;
