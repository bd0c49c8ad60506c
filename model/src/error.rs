//! The errors of this crate.
//!
//! One enum, because callers mostly show the message to a person: each says what failed, why, and what to do next.
//! None of them leaves a model half changed: a function that returns an error has not touched the parameters.

use std::path::{Path, PathBuf};

/// The result of a fallible call in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, why, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A row or a whole data file cannot be used.
    #[error("{file}:{line}: {reason}")]
    Data {
        /// The file as the caller named it.
        file: String,
        /// The line, from 1; 0 when the whole file is meant.
        line: u64,
        /// What was expected, what was found, what to do.
        reason: String,
    },
    /// A tokenizer file is malformed, dangerous or does not fit the task.
    #[error("tokenizer {file}: {reason}")]
    Tokenizer {
        /// The file, or `(in memory)`.
        file: String,
        /// What was expected, what was found, what to do.
        reason: String,
    },
    /// A checkpoint is malformed, of a refused kind, or does not fit the architecture.
    #[error("checkpoint {file}: {reason}")]
    Checkpoint {
        /// The file.
        file: String,
        /// What was expected, what was found, what to do.
        reason: String,
    },
    /// A setting has a value that cannot work.
    #[error("setting {name}: {reason}")]
    Config {
        /// The setting's name as in the file.
        name: String,
        /// What was expected, what was found, what to do.
        reason: String,
    },
    /// Two sizes that must agree do not.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// What has the size.
        what: String,
        /// The size asked for.
        expected: String,
        /// The size met.
        found: String,
    },
    /// The device asked for is not there or failed.
    #[error("device {device}: {reason}")]
    Device {
        /// The device as asked for.
        device: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The system refused to read or write a file.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was being done: `read`, `write`, `list`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A number that must be finite is not; nothing was changed.
    #[error("{what} is not finite; {remedy}")]
    NotFinite {
        /// Which number or vector.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// Trainable parameters that got no gradient: training would silently leave them as they are.
    #[error(
        "no gradient reached {} parameter tensors ({}); the architecture has an operation without a backward pass, \
         or these tensors do not take part in the output: freeze or remove them",
        names.len(),
        first_names(names)
    )]
    Gradient {
        /// The tensors' names.
        names: Vec<String>,
    },
    /// The tensor library reported an error.
    #[error("tensor library, {context}: {source}")]
    Tensor {
        /// What was being done.
        context: String,
        /// The library's reason.
        source: candle_core::Error,
    },
}

impl Error {
    /// A fault of a data file as a whole.
    pub fn file(file: &Path, reason: impl Into<String>) -> Self {
        Self::Data { file: file.display().to_string(), line: 0, reason: reason.into() }
    }

    /// A fault of one line of a data file (from 1).
    pub fn line(file: &Path, line: u64, reason: impl Into<String>) -> Self {
        Self::Data { file: file.display().to_string(), line, reason: reason.into() }
    }

    /// A setting that cannot work.
    pub fn config(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Config { name: name.into(), reason: reason.into() }
    }

    /// Two sizes that must agree do not.
    pub fn shape(what: impl Into<String>, expected: impl ToString, found: impl ToString) -> Self {
        Self::Shape { what: what.into(), expected: expected.to_string(), found: found.to_string() }
    }

    /// A system error while doing `action` to `path`.
    pub fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// Wraps an error of the tensor library with what was being done.
    pub fn tensor(context: impl Into<String>) -> impl FnOnce(candle_core::Error) -> Self {
        let context = context.into();
        move |source| Self::Tensor { context, source }
    }
}

/// At most five names, so that a message stays readable.
fn first_names(names: &[String]) -> String {
    let shown = names.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > 5 { format!("{shown}, ...") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_file_the_line_and_the_reason() {
        let error = Error::line(Path::new("train.conll"), 12, "expected 2 columns, found 1");
        assert_eq!(error.to_string(), "train.conll:12: expected 2 columns, found 1");
    }

    #[test]
    fn a_long_list_of_tensors_is_cut_to_five_names() {
        let error = Error::Gradient { names: (0..9).map(|k| format!("w{k}")).collect() };
        assert!(
            error
                .to_string()
                .starts_with("no gradient reached 9 parameter tensors (w0, w1, w2, w3, w4, ...)")
        );
    }
}
