//! The asynchronous runtime of a long-lived command, on threads that are surely there.
//!
//! It exists because the libraries underneath panic, or wait for ever, when the system starts no further thread. So what
//! is needed is tried first and told in words, and threads that write files are started once and kept.

use std::io;
use std::num::NonZero;
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::cli::output::{CliError, ExitCode};

/// Threads for files that are kept from the start: a reservation must not wait for a checkpoint.
const FILE_THREADS: usize = 2;
/// Most threads for files: those that ask for files beside the charter wait for one another.
const FILE_THREADS_MAX: usize = 8;
/// Threads of the trainer, of answers to queries and of the network's timers.
const OWN_THREADS: usize = 3;
/// Far beyond the life of a node.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A runtime with so many threads for the network, in a process that computes on so many (0: one for each core).
pub(super) fn runtime(network: usize, computing: usize) -> Result<Runtime, CliError> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let computing = if computing == 0 { cores } else { computing };
    let needed = network + FILE_THREADS + OWN_THREADS + computing;
    let refused = |error: io::Error| {
        CliError::new(
            ExitCode::Failed,
            format!("the node cannot start the {needed} threads it needs"),
            error,
            "allow more threads (ulimit -u, TasksMax= in a service, pids_limit of a container), free memory, or set train.threads lower",
        )
    };
    try_threads(needed).map_err(refused)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(network)
        .max_blocking_threads(FILE_THREADS_MAX)
        .thread_keep_alive(FOR_EVER)
        .enable_all()
        .build()
        .map_err(refused)?;
    let together = Arc::new(Barrier::new(FILE_THREADS));
    let started: Vec<_> = (0..FILE_THREADS)
        .map(|_| {
            let together = Arc::clone(&together);
            runtime.spawn_blocking(move || {
                together.wait();
            })
        })
        .collect();
    runtime
        .block_on(async {
            for thread in started {
                thread.await.map_err(io::Error::other)?;
            }
            Ok(())
        })
        .map_err(refused)?;
    Ok(runtime)
}

/// Whether the system starts so many threads at once, beside those there are; none of them stays.
fn try_threads(count: usize) -> io::Result<()> {
    let gate = Mutex::new(());
    let closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
    let wait = || drop(gate.lock());
    std::thread::scope(|scope| {
        let all =
            (0..count).try_for_each(|_| std::thread::Builder::new().spawn_scoped(scope, wait).map(drop));
        drop(closed);
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_writes_files_on_threads_it_has_from_the_start() {
        let runtime = runtime(1, 1).expect("a machine for tests has a dozen threads");
        assert_eq!(runtime.metrics().num_workers(), 1);
        assert_eq!(runtime.block_on(async { tokio::task::spawn_blocking(|| 7).await.unwrap() }), 7);
        try_threads(4).unwrap();
    }
}
