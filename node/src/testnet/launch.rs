//! Starting this program as child processes, and ending them with their parent.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use thiserror::Error;

/// Variable that tells a child whose end is its own end too.
pub const WITH_PARENT: &str = "STARLING_WITH_PARENT";
/// Time between two looks at the parent.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// In a child of [`Process::start`]: ends this process when its parent is gone, however that ended.
pub fn end_with_parent() {
    let Some(parent) = std::env::var(WITH_PARENT).ok().and_then(|id| id.parse::<u32>().ok()) else { return };
    std::thread::spawn(move || {
        while std::os::unix::process::parent_id() == parent {
            std::thread::sleep(LOOK_EVERY);
        }
        // As after kill -9: the last checkpoint stands.
        std::process::exit(143);
    });
}

/// A child process with its log.
pub struct Process {
    /// Its name for people.
    pub name: String,
    /// Where its output goes.
    pub log: PathBuf,
    child: Child,
}

/// A child that could not be started or failed.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// The program could not be started.
    #[error("could not start {name}: {source}")]
    Start {
        /// Which child.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// The child ended with a failure.
    #[error("{name} ended with {status}; the end of {log}:\n{tail}", log = log.display())]
    Failed {
        /// Which child.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
}

impl Process {
    /// Starts this program with these arguments; standard output and error go to `log`.
    pub fn start(name: &str, args: &[String], threads: usize, log: &Path) -> Result<Self, LaunchError> {
        let fail = |source| LaunchError::Start { name: name.to_owned(), source };
        let program = std::env::current_exe().map_err(fail)?;
        let out = File::options().create(true).append(true).open(log).map_err(fail)?;
        let err = out.try_clone().map_err(fail)?;
        let mut command = Command::new(program);
        command
            .args(args)
            .env("RAYON_NUM_THREADS", threads.to_string())
            .env("NO_COLOR", "1")
            .env(WITH_PARENT, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err);
        let child = command.spawn().map_err(fail)?;
        Ok(Self { name: name.to_owned(), log: log.to_owned(), child })
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it ended; a failure is an error with the end of its log.
    pub fn has_ended(&mut self) -> Result<bool, LaunchError> {
        match self.child.try_wait() {
            Ok(None) => Ok(false),
            Ok(Some(status)) if status.success() => Ok(true),
            Ok(Some(status)) => Err(LaunchError::Failed {
                name: self.name.clone(),
                status,
                log: self.log.clone(),
                tail: tail(&self.log),
            }),
            Err(source) => Err(LaunchError::Start { name: self.name.clone(), source }),
        }
    }

    /// Asks it to save and stop.
    pub fn ask_to_stop(&mut self) {
        // The standard library has no terminate signal; the `kill` of the system is everywhere there are signals.
        let id = self.child.id().to_string();
        drop(Command::new("kill").args(["-TERM", &id]).stderr(Stdio::null()).status());
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    /// No child outlives the command that started it.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.ask_to_stop();
            let limit = Instant::now() + Duration::from_secs(10);
            while Instant::now() < limit {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            self.kill();
        }
    }
}

/// The last lines of a log.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// A child that runs to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its name for people.
    pub name: String,
    /// The arguments of this program.
    pub args: Vec<String>,
    /// Where its output goes.
    pub log: PathBuf,
    /// Threads it computes with, 1 or more.
    pub threads: usize,
}

/// Processor cores this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Threads for each of `processes` that compute at the same time, at least one.
pub fn threads_each(cores: usize, processes: usize) -> usize {
    (cores / processes.max(1)).max(1)
}

/// Runs jobs in order, as many at a time as `cores` bears; `tick` is called about four times a second with the number
/// that ended.
pub fn run_all(jobs: Vec<Job>, cores: usize, mut tick: impl FnMut(usize)) -> Result<(), LaunchError> {
    let total = jobs.len();
    let mut waiting = jobs.into_iter().peekable();
    let mut running: Vec<(Process, usize)> = Vec::new();
    let mut ended = 0;
    while ended < total {
        loop {
            let busy: usize = running.iter().map(|(_, threads)| threads).sum();
            let fits = |job: &Job| running.is_empty() || busy + job.threads <= cores;
            let Some(job) = waiting.next_if(fits) else { break };
            running.push((Process::start(&job.name, &job.args, job.threads, &job.log)?, job.threads));
        }
        let mut still = Vec::new();
        for (mut process, threads) in running {
            if process.has_ended()? {
                ended += 1;
            } else {
                still.push((process, threads));
            }
        }
        running = still;
        tick(ended);
        std::thread::sleep(Duration::from_millis(250));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_share_the_cores_and_none_is_left_without() {
        assert_eq!(threads_each(16, 5), 3);
        assert_eq!(threads_each(2, 5), 1);
        assert_eq!(threads_each(2, 0), 2);
    }
}
