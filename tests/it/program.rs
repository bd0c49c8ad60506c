//! The `starling` program under test, and commands that run to their end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test gives up: far beyond what a busy machine needs.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// Pause between two looks at something that another process changes.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The program: `STARLING_PROGRAM` if set, else the one beside the test executable, built when absent or out of date.
pub(crate) fn starling() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| std::env::var_os("STARLING_PROGRAM").map_or_else(built, PathBuf::from)).clone()
}

fn built() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has an executable");
    let profile = test.parent().and_then(Path::parent).expect("test executables lie in target/PROFILE/deps");
    let program = profile.join(format!("starling{}", std::env::consts::EXE_SUFFIX));
    if is_stale(&program) {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "-p", "starling-node", "--bin", "starling"]);
        if profile.file_name().is_some_and(|name| name == "release") {
            cargo.arg("--release");
        }
        let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status();
        assert!(
            status.is_ok_and(|s| s.success()) && program.exists(),
            "{} cannot be built; run `cargo build -p starling-node --bin starling` and see why",
            program.display()
        );
    }
    program
}

/// Whether the program is missing or older than a source file that cargo lists for it. `cargo test --workspace` has
/// just built it; `cargo test -p starling-tests` has not.
fn is_stale(program: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|m| m.modified());
    let Ok(built) = modified(program) else { return true };
    let Ok(list) = std::fs::read_to_string(program.with_extension("d")) else { return false };
    let sources = list.split_once(':').map_or("", |(_, sources)| sources).replace("\\ ", "\u{0}");
    sources
        .split_whitespace()
        .any(|source| modified(Path::new(&source.replace('\u{0}', " "))).is_ok_and(|changed| changed > built))
}

/// A command of the program, free of settings from the environment of the tests.
pub(crate) fn command(prefix: &[String], args: &[&str]) -> Command {
    let program = starling();
    let mut command = match prefix {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STARLING_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    // One thread a process: the tests of a small machine share its cores with each other.
    command.args(args).env("NO_COLOR", "1").env("RAYON_NUM_THREADS", "1").stdin(Stdio::null());
    command
}

/// A command that ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

/// Runs the program to its end.
pub(crate) fn run(args: &[&str]) -> Finished {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let file = |path: &Path| File::create(path).expect("a new folder can be written");
    let mut child =
        command(&[], args).stdout(file(&out)).stderr(file(&err)).spawn().expect("the program was just built");
    let status = wait(&mut child, &format!("starling {} to end", args.join(" ")));
    let read = |path: &Path| std::fs::read_to_string(path).expect("the program writes UTF-8");
    Finished { code: status.code(), stdout: read(&out), stderr: read(&err) }
}

impl Finished {
    /// The `data` of the one JSON object on standard output, after an end with this code.
    pub(crate) fn data(&self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{self:?}");
        let envelope: Value =
            serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("one JSON object: {e}: {self:?}"));
        assert_eq!(envelope["schema_version"], 1, "{envelope}");
        assert_eq!(envelope["status"], if code == 0 { "ok" } else { "error" }, "{envelope}");
        envelope["data"].clone()
    }
}

/// Runs the program with JSON output; it must succeed. Answers the `data`.
pub(crate) fn ok(args: &[&str]) -> Value {
    run(&[&["--format", "json"], args].concat()).data(0)
}

/// Waits for a child to end; one that does not is killed and fails the test.
pub(crate) fn wait(child: &mut Child, what: &str) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status;
        }
        if begun.elapsed() > LIMIT {
            // It may end in this very moment.
            drop(child.kill());
            panic!("waited {} s for {what}", LIMIT.as_secs());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Looks again and again until there is something to see; `explain` says what there was when it takes too long.
pub(crate) fn until<T>(
    what: &str,
    mut look: impl FnMut() -> Option<T>,
    explain: impl FnOnce() -> String,
) -> T {
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        if let Some(seen) = look() {
            return seen;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    panic!("waited {} s for {what}\n{}", LIMIT.as_secs(), explain());
}
