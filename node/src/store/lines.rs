//! Files of one JSON object per line: `events.jsonl`, `metrics.jsonl`, `eval.jsonl`.
//!
//! They are for people and scripts, so a full disk must never stop the node: lines are counted as lost, writing pauses,
//! and goes on by itself. What is in the file is whole lines only. Nothing is synced: a lost line costs nothing.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::store::disk::{Disk, DiskFile, RealDisk};

/// Longest pause, in lines passed over, before the disk is tried again.
const PAUSE_LINES_MAX: u64 = 1024;

/// One measured value in `metrics.jsonl`.
#[derive(Clone, Debug, Serialize)]
pub struct Metric<'a> {
    /// Seconds since 1970.
    pub t: f64,
    /// Name of the node.
    pub node: &'a str,
    /// Inner steps so far.
    pub step: u64,
    /// Outer step.
    pub outer: u32,
    /// What was measured, unit last, as `shard_bytes_sent`.
    pub name: &'a str,
    /// The value; a value that is not finite is written as `null`.
    pub value: f64,
    /// Labels of our own choice; never text a remote peer chose.
    pub tags: std::collections::BTreeMap<&'a str, String>,
}

/// Appends to one file. The caller holds the lock of the node's directory.
pub struct Lines {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Option<Box<dyn DiskFile>>,
    /// Length up to the end of the last whole line, bytes.
    whole: u64,
    /// Most bytes of the file before it is put aside.
    bytes_max: Option<u64>,
    /// Whether a part of a line may stand behind `whole`.
    is_torn: bool,
    lost: u64,
    pause: u64,
    pause_left: u64,
    is_held: bool,
}

impl Lines {
    /// Opens or creates the file; half a line left by a crash is closed with a line feed.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_on(Arc::new(RealDisk), path)
    }

    /// The same on a given disk.
    pub fn open_on(disk: Arc<dyn Disk>, path: &Path) -> io::Result<Self> {
        let mut lines = Self {
            disk,
            path: path.into(),
            file: None,
            whole: 0,
            bytes_max: None,
            is_torn: false,
            lost: 0,
            pause: 0,
            pause_left: 0,
            is_held: false,
        };
        lines.reopen()?;
        Ok(lines)
    }

    /// Writes one line; returns whether it is in the file. Never fails: see [`Lines::lost`].
    pub fn put(&mut self, value: &impl Serialize) -> bool {
        if self.is_held {
            self.lost += 1;
            return false;
        }
        if self.pause_left > 0 {
            self.pause_left -= 1;
            self.lost += 1;
            return false;
        }
        match self.try_put(value) {
            Ok(()) => {
                if self.pause > 0 {
                    tracing::info!(
                        "writing {} goes on; {} lines were lost so far",
                        self.path.display(),
                        self.lost
                    );
                }
                self.pause = 0;
                true
            }
            Err(error) => {
                if self.pause == 0 {
                    tracing::warn!(
                        "could not write {}: {error}; lines are counted as lost until it works again",
                        self.path.display()
                    );
                }
                self.lost += 1;
                self.pause = (self.pause * 2).clamp(1, PAUSE_LINES_MAX);
                self.pause_left = self.pause;
                false
            }
        }
    }

    /// Bounds the file: before it would grow beyond, it becomes `NAME.old` in place of the one before.
    pub fn keep_within(&mut self, bytes_max: Option<u64>) {
        self.bytes_max = bytes_max;
    }

    /// Writes nothing while held: lines are counted as lost.
    pub fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    /// Lines that did not reach the file.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn try_put(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        let is_full = |max: u64| self.whole > 0 && self.whole + line.len() as u64 > max;
        if !self.is_torn && self.bytes_max.is_some_and(is_full) {
            self.file = None;
            let mut old = self.path.clone().into_os_string();
            old.push(".old");
            self.disk.rename(&self.path, Path::new(&old))?;
        }
        if self.is_torn || self.file.is_none() {
            self.file = None;
            if self.is_torn {
                self.disk.truncate(&self.path, self.whole)?;
            }
            self.reopen()?;
        }
        let Some(file) = self.file.as_mut() else { return Err(io::Error::other("the file is closed")) };
        if let Err(error) = file.write_all(&line).and_then(|()| file.flush()) {
            self.is_torn = true;
            return Err(error);
        }
        self.whole += line.len() as u64;
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        let mut file = self.disk.append(&self.path)?;
        let length = fs::metadata(&self.path)?.len();
        self.whole = length;
        if !ends_with_line_feed(&self.path, length)? {
            file.write_all(b"\n")?;
            self.whole += 1;
        }
        self.is_torn = false;
        self.file = Some(file);
        Ok(())
    }
}

fn ends_with_line_feed(path: &Path, length: u64) -> io::Result<bool> {
    if length == 0 {
        return Ok(true);
    }
    let mut last = [0];
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(length - 1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::faulty::{Fault, FaultyDisk};
    use crate::store::scratch::folder;

    #[test]
    fn lines_are_appended_and_half_a_line_of_a_crash_spoils_no_other() {
        let dir = folder();
        let path = dir.path().join("events.jsonl");
        fs::write(&path, "{\"n\":0}\n{\"n\":1,\"te").unwrap();
        let mut lines = Lines::open(&path).unwrap();
        assert!(lines.put(&serde_json::json!({"n": 2, "text": "a\nb"})));
        let text = fs::read_to_string(&path).unwrap();
        let good = text.lines().filter(|l| serde_json::from_str::<serde_json::Value>(l).is_ok()).count();
        assert_eq!((text.lines().count(), good), (3, 2), "{text}");
    }

    #[test]
    fn a_full_file_is_put_aside_and_no_line_is_lost_at_the_turn() {
        let dir = folder();
        let path = dir.path().join("events.jsonl");
        let mut lines = Lines::open(&path).unwrap();
        lines.keep_within(Some(100));
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        let mut last = 0;
        for n in 0..100 {
            assert!(lines.put(&serde_json::json!({ "n": n })));
            let (old, new) = (read("events.jsonl.old"), read("events.jsonl"));
            assert!(old.len() <= 100 && new.len() <= 100 && new.ends_with(&format!("{{\"n\":{n}}}\n")));
            let count = old.lines().count() + new.lines().count();
            assert!(count > last || count >= 10, "at least a whole file is there");
            last = count;
        }
        drop(lines);
        assert!(Lines::open(&path).unwrap().put(&"more"), "it goes on after a restart");
    }

    #[test]
    fn a_held_file_does_not_grow() {
        let dir = folder();
        let path = dir.path().join("events.jsonl");
        let mut lines = Lines::open(&path).unwrap();
        assert!(lines.put(&1));
        lines.hold(true);
        assert!(!lines.put(&2) && lines.lost() == 1);
        lines.hold(false);
        assert!(lines.put(&3));
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n3\n");
    }

    #[test]
    fn a_value_that_is_not_finite_is_still_json() {
        let dir = folder();
        let path = dir.path().join("metrics.jsonl");
        let metric =
            Metric { t: 1.5, node: "ada", step: 3, outer: 1, name: "loss", value: f64::NAN, tags: [].into() };
        assert!(Lines::open(&path).unwrap().put(&metric));
        let line: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert!(line["value"].is_null() && line["name"] == "loss");
    }

    #[test]
    fn a_failing_disk_costs_lines_but_leaves_only_whole_ones_and_writing_goes_on() {
        for fault in Fault::ALL {
            for nth in 1..12 {
                let dir = folder();
                let path = dir.path().join("metrics.jsonl");
                let disk = FaultyDisk::new(nth, fault);
                let mut lines = Lines::open_on(Arc::new(disk.clone()), &path).unwrap();
                let written = (0..40).filter(|n| lines.put(&serde_json::json!({ "n": n }))).count();
                assert_eq!(written as u64 + lines.lost(), 40);
                let text = fs::read_to_string(&path).unwrap();
                let whole =
                    text.lines().filter(|l| serde_json::from_str::<serde_json::Value>(l).is_ok()).count();
                assert_eq!(whole, written, "{fault:?} at {nth}: {text:?}");
                if matches!(fault, Fault::FullOnce | Fault::BrokenOnce) && disk.has_struck() {
                    assert_eq!(
                        text.lines().count(),
                        whole,
                        "{fault:?} at {nth}: half a line is left in {text:?}"
                    );
                    assert!(lines.lost() <= 2, "{fault:?} at {nth}: {} lost", lines.lost());
                }
            }
        }
    }
}
