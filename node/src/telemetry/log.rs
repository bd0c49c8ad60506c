//! Log lines on standard error, as text or as JSON.
//!
//! It exists so that people's text never mixes with what scripts read on standard output. It deliberately keeps no
//! files: a service manager or a shell redirection does that better.

use std::fmt;
use std::io::IsTerminal;

use thiserror::Error;
use tracing::field::{Field, Visit};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

use crate::telemetry::escape::is_unsafe;

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A filter such as `info` or `starling_node=debug,libp2p=warn`; `RUST_LOG` wins over it.
    pub level: String,
    /// Text or JSON.
    pub format: LogFormat,
}

/// Why logging could not be set up; nothing was changed.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter text was not understood.
    #[error(
        "log level {level:?} is not a filter: {reason}; expected error, warn, info, debug, trace or target=level pairs"
    )]
    Filter {
        /// What was given.
        level: String,
        /// What the parser said.
        reason: String,
    },
    /// Somebody set a logger before.
    #[error("a logger is already set in this process")]
    AlreadySet,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

/// Checks a filter text without installing anything.
pub fn check_level(level: &str) -> Result<(), LogError> {
    parse(level).map(drop)
}

/// Sets the logger of the whole process. `RUST_LOG`, when set and not empty, replaces the configured level.
pub fn start(config: &LogConfig) -> Result<(), LogError> {
    let level =
        std::env::var("RUST_LOG").ok().filter(|l| !l.trim().is_empty()).unwrap_or(config.level.clone());
    let filter = parse(&level)?;
    let base = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = match config.format {
        LogFormat::Json => tracing::subscriber::set_global_default(base.json().flatten_event(true).finish()),
        LogFormat::Text => {
            let colour = colours(&std::io::stderr());
            let base = base.with_ansi(colour).with_target(false).fmt_fields(OneLine);
            tracing::subscriber::set_global_default(base.finish())
        }
    };
    done.map_err(|_| LogError::AlreadySet)
}

/// Whether colours are wanted on this stream: a terminal, and `NO_COLOR` unset or empty (no-color.org).
pub fn colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

fn parse(level: &str) -> Result<EnvFilter, LogError> {
    let wrong = |reason: String| LogError::Filter { level: level.into(), reason };
    if level.trim().is_empty() {
        return Err(wrong("it is empty".into()));
    }
    EnvFilter::builder().parse(level).map_err(|e| wrong(e.to_string()))
}

/// Writes the fields of an event on one line, whatever they hold.
///
/// The ready-made formatter escapes terminal sequences only, so a line feed in a field would start a forged line.
struct OneLine;

impl<'w> FormatFields<'w> for OneLine {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visit = Line { writer, first: true, result: Ok(()) };
        fields.record(&mut visit);
        visit.result
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    first: bool,
    result: fmt::Result,
}

/// Lets text through to the inner writer with unsafe characters escaped.
struct Escaping<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if is_unsafe(c) { write!(self.0, "{}", c.escape_default())? } else { self.0.write_char(c)? }
        }
        Ok(())
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.record_debug(field, &format_args!("{value}"));
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write;
        if self.result.is_err() {
            return;
        }
        let gap = if std::mem::take(&mut self.first) { "" } else { " " };
        let mut to = Escaping(&mut self.writer);
        self.result = match field.name() {
            "message" => write!(to, "{gap}{value:?}"),
            name => write!(to, "{gap}{name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(say: impl FnOnce()) -> String {
        let kept = Kept::default();
        let to = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || to.clone())
            .with_ansi(false)
            .with_target(false)
            .fmt_fields(OneLine)
            .finish();
        tracing::subscriber::with_default(subscriber, say);
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_hostile_field_stays_on_its_line() {
        let name = "eve\n2026 ERROR forged\u{1b}[31m";
        let text = logged(|| tracing::info!(%name, quoted = name, "heard {name}"));
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert!(text.contains("heard eve\\n2026"), "{text:?}");
        assert!(text.contains("name=eve"), "{text:?}");
    }

    #[test]
    fn a_level_that_is_no_filter_is_refused_with_the_words_that_are() {
        assert!(check_level("info").is_ok());
        assert!(check_level("starling_node=debug,libp2p=warn").is_ok());
        for wrong in ["", "  ", "starling=loud", "a=b=c"] {
            let error = check_level(wrong).unwrap_err().to_string();
            assert!(error.contains("expected error, warn, info"), "{error}");
        }
    }
}
