//! One node: its directory, its process, and what it writes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::program::{Finished, command, ok, until, wait};

/// A node that may run.
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// Its directory.
    pub(crate) dir: PathBuf,
    /// Its public key.
    pub(crate) peer: String,
    /// What its process is started through, as `ip netns exec NAME`; usually nothing.
    pub(crate) prefix: Vec<String>,
    child: Option<Child>,
}

impl Node {
    /// Makes identity and settings with `starling init`; saved states are a second apart.
    pub(crate) fn init(root: &Path, name: &str, listen: &str) -> Self {
        let dir = root.join(name);
        let organization = format!("{name} press");
        let made = ok(&[
            "init",
            "--dir",
            path(&dir),
            "--name",
            name,
            "--organization",
            &organization,
            "--listen",
            listen,
        ]);
        let settings = dir.join("starling.toml");
        let text = std::fs::read_to_string(&settings).expect("init writes settings");
        let template = "#checkpoint_interval = \"60 s\"";
        assert!(text.contains(template), "the commented settings name checkpoint_interval: {text}");
        let text = text.replace(template, "checkpoint_interval = \"1 s\"");
        std::fs::write(&settings, text).expect("a node's directory can be written");
        let peer = made["peer_id"].as_str().expect("init tells the key").to_owned();
        Self { name: name.to_owned(), dir, peer, prefix: Vec::new(), child: None }
    }

    /// A node whose directory exists already.
    pub(crate) fn at(root: &Path, name: &str, peer: &str) -> Self {
        let (name, peer) = (name.to_owned(), peer.to_owned());
        Self { dir: root.join(&name), name, peer, prefix: Vec::new(), child: None }
    }

    /// Starts `starling run` with these arguments besides `--dir`.
    pub(crate) fn start(&mut self, args: &[&str]) {
        self.start_verb("run", args);
    }

    /// Starts a verb that runs until it is told to stop, with these arguments besides `--dir`.
    pub(crate) fn start_verb(&mut self, verb: &str, args: &[&str]) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let args = [&[verb, "--dir", path(&self.dir)], args].concat();
        let log = File::options().create(true).append(true).open(self.log()).expect("the log can be written");
        let out = File::create(self.out()).expect("the directory can be written");
        let mut command: Command = command(&self.prefix, &args);
        self.child =
            Some(command.stdout(out).stderr(log).stdin(Stdio::null()).spawn().expect("it was just built"));
    }

    /// Sends a signal, as `INT`.
    pub(crate) fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("the node runs");
        let status = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
        assert!(status.is_ok_and(|s| s.success()), "{} takes signals", self.name);
    }

    /// Ends the process as a power cut would: no signal handler runs.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("the node runs");
        child.kill().expect("a running child can be killed");
        child.wait().expect("a killed child ends");
    }

    /// Waits until the process ends by itself.
    pub(crate) fn end(&mut self) -> Finished {
        let mut child = self.child.take().expect("the node runs");
        let status = wait(&mut child, &format!("{} to end\n{}", self.name, self.log_end()));
        let stdout = std::fs::read_to_string(self.out()).expect("output is UTF-8");
        Finished { code: status.code(), stdout, stderr: self.log_end() }
    }

    /// Whether the process ended although nobody asked for it.
    fn has_fallen(&mut self) -> bool {
        self.child.as_mut().is_some_and(|c| c.try_wait().is_ok_and(|s| s.is_some_and(|s| !s.success())))
    }

    /// Waits for something to be seen of this node; a process that falls meanwhile fails the test.
    pub(crate) fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let name = self.name.clone();
        let (log, dir) = (self.log(), self.dir.clone());
        until(
            &format!("{name}: {what}"),
            || {
                assert!(
                    !self.has_fallen(),
                    "{} fell while waiting for: {what}\n{}",
                    self.name,
                    self.log_end()
                );
                look(self)
            },
            || format!("{}\n{}", read(&dir.join("status.json")), tail(&log)),
        )
    }

    /// Waits for this outer step, and answers the step reached.
    pub(crate) fn until_step(&mut self, step: u64) -> u64 {
        self.until(&format!("outer step {step}"), |node| Some(node.step()).filter(|s| *s >= step))
    }

    /// The address at which others on this machine reach it; waits until this process told it.
    pub(crate) fn address(&mut self) -> String {
        let id = self.child.as_ref().expect("the node runs").id();
        self.until("an address to listen on", |node| {
            let status = node.status()?;
            let own = status["process"] == id;
            let all = status["listening"].as_array()?.iter().filter_map(Value::as_str);
            all.filter(|a| own && a.contains("/tcp/")).map(str::to_owned).next()
        })
    }

    /// `status.json`, once there is one.
    pub(crate) fn status(&self) -> Option<Value> {
        serde_json::from_str(&std::fs::read_to_string(self.dir.join("status.json")).ok()?).ok()
    }

    /// Whole lines of `events.jsonl` so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        lines(&self.dir.join("events.jsonl"))
    }

    /// Events of one kind so far.
    pub(crate) fn events_of(&self, kind: &str) -> Vec<Value> {
        self.events().into_iter().filter(|e| e["event"] == kind).collect()
    }

    /// The last outer step it mixed or joined at.
    pub(crate) fn step(&self) -> u64 {
        let steps = self.events().into_iter().filter(|e| e["event"] == "mixed" || e["event"] == "joined");
        steps.filter_map(|e| e["step"].as_u64()).max().unwrap_or(0)
    }

    /// Everything it logged, over all its starts.
    pub(crate) fn all_log(&self) -> String {
        read(&self.log())
    }

    fn log(&self) -> PathBuf {
        self.dir.join("node.log")
    }

    fn out(&self) -> PathBuf {
        self.dir.join("node.out")
    }

    fn log_end(&self) -> String {
        tail(&self.log())
    }
}

impl Drop for Node {
    /// No process outlives its test.
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Whole lines of a JSON lines file; the last may be half written.
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    read(path).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A path as an argument.
pub(crate) fn path(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn tail(path: &Path) -> String {
    let text = read(path);
    let lines: Vec<&str> = text.lines().collect();
    format!("{}:\n{}", path.display(), lines[lines.len().saturating_sub(25)..].join("\n"))
}
