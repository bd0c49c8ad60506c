//! The `starling` command.

use std::process::ExitCode;

// Training frees and takes large buffers all the time; this allocator keeps their pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    starling_node::cli::app::main()
}
