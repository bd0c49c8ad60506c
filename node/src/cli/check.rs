//! One thing `starling doctor` looked at: what was found, how bad it is, what to do.

use serde::Serialize;

use crate::cli::output::{CliError, ExitCode};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing to do.
    Good,
    /// The node works; its owner should read this.
    Warning,
    /// The node cannot work.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do; empty when nothing is to be done.
    pub remedy: String,
    #[serde(skip)]
    code: Option<ExitCode>,
}

impl Check {
    /// How the command ends because of this check; `None` unless it is bad.
    pub(super) fn code(&self) -> Option<ExitCode> {
        self.code
    }

    pub(super) fn good(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            verdict: Verdict::Good,
            found: found.into(),
            remedy: String::new(),
            code: None,
        }
    }

    pub(super) fn warning(
        name: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Warning, remedy: remedy.into(), ..Self::good(name, found) }
    }

    pub(super) fn bad(
        code: ExitCode,
        name: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Bad, code: Some(code), ..Self::warning(name, found, remedy) }
    }

    pub(super) fn from_error(name: &str, error: CliError) -> Self {
        let found = if error.why.is_empty() { error.what } else { error.why };
        Self::bad(error.code, name, found, error.remedy)
    }
}
