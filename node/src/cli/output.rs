//! What commands print and how they end: one JSON object on standard output or text for people, and an exit code.
//!
//! It exists so that every verb speaks alike and scripts can rely on it. Standard output carries results only; progress,
//! log lines and errors for people go to standard error.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::charter_file::CharterFileError;
use crate::config::load::ConfigError;
use crate::store::keys::KeyError;
use crate::store::lock::LockError;
use crate::store::state::StateError;
use crate::store::status::StatusError;

/// Version of the JSON envelope; raised when a field changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// Exactly one JSON object on standard output.
    Json,
}

/// How a command that failed ends. 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExitCode {
    /// Something on this machine failed: disk, memory, a broken thread.
    Failed = 1,
    /// The command was given wrongly.
    Usage = 2,
    /// Settings, identity or charter cannot be used.
    Config = 3,
    /// The node or its peers cannot be reached.
    Unreachable = 4,
    /// What was asked is not allowed.
    Refused = 5,
    /// The data cannot be used.
    Data = 6,
}

/// Why a command failed: what failed, why, what to do.
#[derive(Clone, Debug, PartialEq)]
pub struct CliError {
    /// How the process ends.
    pub code: ExitCode,
    /// What failed, one line.
    pub what: String,
    /// Why, one or more lines; may be empty.
    pub why: String,
    /// What to do, one line; may be empty.
    pub remedy: String,
    /// More for scripts.
    pub details: Option<Value>,
}

/// Where results go, and in which form.
#[derive(Clone)]
pub struct Output {
    format: Format,
    to: Arc<Mutex<dyn Write + Send>>,
}

/// What an [`Output`] for tests has printed.
#[derive(Clone, Default)]
pub struct Printed(Arc<Mutex<Vec<u8>>>);

impl Output {
    /// Prints to standard output.
    pub fn new(format: Format) -> Self {
        Self { format, to: Arc::new(Mutex::new(io::stdout())) }
    }

    /// Keeps what is printed, for tests.
    pub fn kept(format: Format) -> (Self, Printed) {
        let printed = Printed::default();
        (Self { format, to: Arc::new(Mutex::new(printed.clone())) }, printed)
    }

    /// Whether results are for people.
    pub fn is_text(&self) -> bool {
        self.format == Format::Text
    }

    /// Prints the result of a command: `data` for scripts, or what `text` writes for people.
    pub fn done(
        &self,
        data: &impl Serialize,
        text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CliError> {
        match self.format {
            Format::Text => self.print(text),
            Format::Json => {
                let data = serde_json::to_value(data)
                    .map_err(|e| CliError::failed("could not write the result as JSON", e))?;
                self.envelope("ok", data)
            }
        }
    }

    /// Prints text for people only; nothing with `--format json`. For tables above an error.
    pub fn text(&self, text: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), CliError> {
        if self.is_text() { self.print(text) } else { Ok(()) }
    }

    /// Prints why a command failed and returns its exit code.
    pub fn failed(&self, error: &CliError) -> i32 {
        if self.format == Format::Json {
            let mut data = json!({ "code": error.code as i32, "what": error.what, "why": error.why, "remedy": error.remedy });
            if let Some(details) = &error.details {
                data["details"] = details.clone();
            }
            drop(self.envelope("error", data));
        }
        drop(writeln!(io::stderr(), "{error}"));
        error.code as i32
    }

    fn envelope(&self, status: &str, data: Value) -> Result<(), CliError> {
        let envelope = json!({ "schema_version": SCHEMA_VERSION, "status": status, "data": data });
        self.print(|to| writeln!(to, "{envelope}"))
    }

    fn print(&self, text: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), CliError> {
        let mut to = self.to.lock().expect("nobody panics while printing");
        match text(&mut *to).and_then(|()| to.flush()) {
            // `starling peers | head` is no failure.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(CliError::failed("could not write to standard output", error))
            }
            _ => Ok(()),
        }
    }
}

impl Printed {
    /// Everything printed so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("nobody panics while printing")).into_owned()
    }

    /// The one JSON object printed.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.text()).ok()
    }
}

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics while printing").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl CliError {
    /// An error with its four parts.
    pub fn new(
        code: ExitCode,
        what: impl Into<String>,
        why: impl ToString,
        remedy: impl Into<String>,
    ) -> Self {
        Self { code, what: what.into(), why: why.to_string(), remedy: remedy.into(), details: None }
    }

    /// Something on this machine failed.
    pub fn failed(what: impl Into<String>, why: impl ToString) -> Self {
        Self::new(ExitCode::Failed, what, why, "")
    }

    /// Adds data for scripts.
    pub fn with_details(mut self, details: &impl Serialize) -> Self {
        self.details = serde_json::to_value(details).ok();
        self
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        for line in self.why.lines() {
            write!(f, "\n  {line}")?;
        }
        if !self.remedy.is_empty() {
            write!(f, "\n  try: {}", self.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for CliError {}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        let remedy = "`starling config show --origin` tells where each setting comes from";
        Self::new(ExitCode::Config, "the settings cannot be used", error, remedy)
    }
}

/// Messages of the store end with what to do; the part after the last `; ` is the remedy.
fn split(code: ExitCode, what: &str, message: String) -> CliError {
    match message.rsplit_once("; ") {
        Some((why, remedy)) => CliError::new(code, what, why, remedy),
        None => CliError::new(code, what, message, ""),
    }
}

impl From<KeyError> for CliError {
    fn from(error: KeyError) -> Self {
        let code = match error {
            KeyError::Exists(_) => ExitCode::Refused,
            KeyError::Io { .. } => ExitCode::Failed,
            _ => ExitCode::Config,
        };
        split(code, "the identity cannot be used", error.to_string())
    }
}

impl From<LockError> for CliError {
    fn from(error: LockError) -> Self {
        let code =
            if matches!(error, LockError::InUse { .. }) { ExitCode::Refused } else { ExitCode::Failed };
        split(code, "the directory cannot be used", error.to_string())
    }
}

impl From<StateError> for CliError {
    fn from(error: StateError) -> Self {
        split(ExitCode::Failed, "the saved state cannot be used", error.to_string())
    }
}

impl From<StatusError> for CliError {
    fn from(error: StatusError) -> Self {
        let code =
            if matches!(error, StatusError::Absent(_)) { ExitCode::Unreachable } else { ExitCode::Failed };
        split(code, "the node's status cannot be read", error.to_string())
    }
}

impl From<CharterFileError> for CliError {
    fn from(error: CharterFileError) -> Self {
        let (code, remedy) = match &error {
            CharterFileError::Absent(_) => {
                return split(ExitCode::Config, "there is no charter", error.to_string());
            }
            CharterFileError::Io { .. } => {
                (ExitCode::Failed, "check that this user may read and write the file")
            }
            CharterFileError::Contents { .. } => (ExitCode::Config, "mend the line named above"),
            CharterFileError::Charter { .. } => {
                (ExitCode::Refused, "`starling charter check FILE` tells what is missing")
            }
        };
        Self::new(code, "the charter cannot be used", error, remedy)
    }
}

/// Prints rows as a table: columns as wide as their widest cell, numbers to the right.
pub fn table(to: &mut dyn Write, head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let is_number = |column: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(column)).filter(|c| !c.is_empty() && *c != "-");
        !rows.is_empty() && cells.all(|cell| cell.starts_with(|c: char| c.is_ascii_digit()))
    };
    let shapes: Vec<(usize, bool)> = (0..head.len()).map(|c| (width(c), is_number(c))).collect();
    let head: Vec<String> = head.iter().map(|h| (*h).to_string()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (cell, &(width, right)) in row.iter().zip(&shapes) {
            let text = if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
            line.push_str(&text);
            line.push_str("  ");
        }
        writeln!(to, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_one_json_object_or_text() {
        let (output, printed) = Output::kept(Format::Json);
        output.done(&json!({ "peers": 4 }), |to| writeln!(to, "4 peers")).unwrap();
        output.text(|to| writeln!(to, "not for scripts")).unwrap();
        assert_eq!(
            printed.json().unwrap(),
            json!({ "schema_version": 1, "status": "ok", "data": { "peers": 4 } })
        );
        let (output, printed) = Output::kept(Format::Text);
        output.done(&json!({ "peers": 4 }), |to| writeln!(to, "4 peers")).unwrap();
        assert_eq!(printed.text(), "4 peers\n");
    }

    #[test]
    fn an_error_says_what_why_what_to_do_and_has_a_code() {
        let (output, printed) = Output::kept(Format::Json);
        let dir = tempfile::tempdir().unwrap();
        let error = CliError::from(crate::store::keys::Identity::load(dir.path()).unwrap_err());
        assert_eq!(output.failed(&error), 3);
        let envelope = printed.json().unwrap();
        assert_eq!(envelope["status"], "error");
        assert_eq!(envelope["data"]["code"], 3);
        assert!(envelope["data"]["remedy"].as_str().unwrap().contains("starling init"));
        assert!(error.to_string().starts_with("error: the identity cannot be used\n  no identity at "));
    }

    #[test]
    fn a_table_lines_its_columns_up() {
        let mut text = Vec::new();
        let rows = vec![vec!["ada".into(), "7".into()], vec!["Zoë".into(), "1234".into()]];
        table(&mut text, &["name", "step"], &rows).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "name  step\nada      7\nZoë   1234\n");
    }
}
