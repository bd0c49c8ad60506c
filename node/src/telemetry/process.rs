//! What this process uses of the machine: memory, processor time, open files.
//!
//! It exists for `status`, the metrics file and the benches. It deliberately reads `/proc` only; on systems without it
//! every figure is `None` rather than a guess.

use std::fs;

/// Ticks per second of the processor times in `/proc/self/stat`.
/// Linux shows 100 to programs on every architecture Rust's standard library supports, whatever the kernel's own rate.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process's use of the machine at one moment; `None` where the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Resident memory now, bytes.
    pub rss_bytes: Option<u64>,
    /// Largest resident memory so far, bytes.
    pub rss_peak_bytes: Option<u64>,
    /// Processor time so far in user and system mode, all threads, seconds.
    pub cpu_seconds: Option<f64>,
    /// Open file descriptors.
    pub open_files: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
}

impl Usage {
    /// Reads the figures of this process.
    pub fn of_self() -> Self {
        Self::of("self")
    }

    /// Reads the figures of another process of the same owner, by its id.
    pub fn of_process(id: u32) -> Self {
        Self::of(&id.to_string())
    }

    fn of(process: &str) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let open = fs::read_dir(format!("/proc/{process}/fd")).ok().map(|entries| entries.count() as u64);
        let kibibytes = |name| field(&status, name).map(|n| n.saturating_mul(1024));
        Self {
            rss_bytes: kibibytes("VmRSS:"),
            rss_peak_bytes: kibibytes("VmHWM:"),
            cpu_seconds: cpu_seconds(&stat),
            // Reading the folder opens one descriptor of its own when the folder is ours.
            open_files: if process == "self" { open.map(|n| n.saturating_sub(1)) } else { open },
            threads: field(&status, "Threads:"),
        }
    }
}

/// Memory of this machine, bytes; `None` where the system does not tell.
pub fn machine_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    field(&text, "MemTotal:").map(|n| n.saturating_mul(1024))
}

/// The user id this process acts as; `None` where the system does not tell.
pub fn effective_user() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time from a `stat` line; the name of the program may itself hold spaces and brackets.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_brackets_does_not_shift_the_times() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 100 1000 10";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds(""), None);
        assert_eq!(cpu_seconds("7 (a) S 1"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_memory_and_has_open_files() {
        let usage = Usage::of_self();
        assert!(usage.rss_bytes.unwrap() > 100_000);
        assert!(usage.rss_peak_bytes >= usage.rss_bytes);
        assert!(usage.threads.unwrap() >= 1);
        let before = usage.open_files.unwrap();
        let held: Vec<_> = (0..40).map(|_| std::fs::File::open("/proc/self/stat").unwrap()).collect();
        assert!(Usage::of_self().open_files.unwrap() + 20 > before + held.len() as u64);
        assert!(effective_user().is_some());
    }
}
