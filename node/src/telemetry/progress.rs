//! Progress for people: a moving line on a terminal, one plain line every few seconds elsewhere.
//!
//! It exists so that a long command is never silent and a log file is never flooded. It deliberately takes the words
//! from the caller and measures nothing.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::telemetry::escape;

/// Time between two plain lines where there is no terminal.
pub const PLAIN_EVERY: Duration = Duration::from_secs(3);

/// Shows how far a piece of work has come, on standard error.
pub struct Progress {
    shape: Shape,
    title: String,
    done: u64,
    total: u64,
}

enum Shape {
    Hidden,
    Bar(ProgressBar),
    Plain { to: Box<dyn Write + Send>, pace: Pace },
}

/// Lets one thing through per interval, and the first one at once.
struct Pace {
    every: Duration,
    last: Option<Instant>,
}

impl Pace {
    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.saturating_duration_since(last) >= self.every);
        if due {
            self.last = Some(now);
        }
        due
    }
}

impl Progress {
    /// Progress towards `total` units of work (0: unknown), in the form that fits standard error.
    pub fn new(title: &str, total: u64) -> Self {
        let shape = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8));
            let template = if total == 0 {
                "{prefix} {spinner} {elapsed} {msg}"
            } else {
                "{prefix} [{bar:24}] {pos}/{len} {elapsed} {msg}"
            };
            let style =
                ProgressStyle::with_template(template).expect("the template is a constant that parses");
            bar.set_style(style.progress_chars("=> "));
            bar.set_prefix(escape::line(title));
            Shape::Bar(bar)
        } else {
            Shape::Plain { to: Box::new(std::io::stderr()), pace: Pace { every: PLAIN_EVERY, last: None } }
        };
        Self { shape, title: escape::line(title), done: 0, total }
    }

    /// Progress that shows nothing, for quiet commands and tests.
    pub fn hidden() -> Self {
        Self { shape: Shape::Hidden, title: String::new(), done: 0, total: 0 }
    }

    /// So much is done, and this is happening now. Cheap to call often.
    pub fn set(&mut self, done: u64, message: &str) {
        self.done = done;
        self.show(message, Instant::now(), false);
    }

    /// A line that stays, above the bar.
    pub fn say(&mut self, message: &str) {
        let message = escape::line(message);
        match &mut self.shape {
            Shape::Hidden => {}
            Shape::Bar(bar) => bar.println(message),
            // A closed standard error must not end the work it tells about.
            Shape::Plain { to, .. } => drop(writeln!(to, "{message}")),
        }
    }

    /// The work ended; the last words stay.
    pub fn finish(mut self, message: &str) {
        self.show(message, Instant::now(), true);
        if let Shape::Bar(bar) = &self.shape {
            bar.finish_with_message(escape::line(message));
        }
    }

    fn show(&mut self, message: &str, now: Instant, last: bool) {
        let message = escape::line(message);
        match &mut self.shape {
            Shape::Hidden => {}
            Shape::Bar(bar) => {
                bar.set_position(self.done);
                bar.set_message(message);
            }
            Shape::Plain { to, pace } => {
                if last || pace.is_due(now) {
                    let count = match self.total {
                        0 => String::new(),
                        total => format!(" {}/{total}", self.done),
                    };
                    drop(writeln!(to, "{}{count} {message}", self.title));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<String>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn without_a_terminal_a_busy_caller_writes_one_line_per_interval_and_the_last_one() {
        let kept = Kept::default();
        let pace = Pace { every: PLAIN_EVERY, last: None };
        let shape = Shape::Plain { to: Box::new(kept.clone()), pace };
        let mut progress = Progress { shape, title: "train".into(), done: 0, total: 100 };
        let start = Instant::now();
        for tick in 0..100u64 {
            progress.done = tick;
            progress.show("loss 0.5", start + Duration::from_millis(100 * tick), false);
        }
        progress.done = 100;
        progress.show("done\nforged", start + Duration::from_secs(10), true);
        let text = kept.0.lock().unwrap().clone();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert_eq!(lines[0], "train 0/100 loss 0.5");
        assert_eq!(lines[1], "train 30/100 loss 0.5");
        assert_eq!(lines[4], "train 100/100 done\\nforged");
    }
}
