//! `starling monitor`: a stream of texts, classified as it comes, and an alert when one class surges.
//!
//! A window of the last texts is compared with all before it: an alert means that so many of the class in a window are
//! hardly chance at the share the class had so far. After an alert the next one waits until the window has passed.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;

use model::task::classify::{encode_texts, predict};
use serde::Serialize;

use crate::cli::output::{CliError, ExitCode, Output};
use crate::cli::run::learner_error;
use crate::telemetry::escape;
use crate::trainer::saved::Saved;

/// Texts classified at once while a file is read; a slow stream is classified line by line.
const BATCH: usize = 32;
/// Longest line, in bytes; a longer one is several texts.
const LINE_BYTES_MAX: u64 = 1 << 16;
/// Windows kept for the machine output; people see all of them.
const WINDOWS_MAX: usize = 100_000;

/// Watches a stream of texts.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A model that classifies texts, for example of sentiment
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// A second model, by whose classes the texts are counted apart
    #[arg(long, value_name = "DIR")]
    topics: Option<PathBuf>,
    /// The class to watch; the first of the model unless given
    #[arg(long, value_name = "NAME")]
    watch: Option<String>,
    /// Texts of a window
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(5..=100_000))]
    window: u64,
    /// Standard deviations above the share so far that raise an alert
    #[arg(long, value_name = "Z", default_value_t = 4.0)]
    sigmas: f64,
    /// Texts, one a line; standard input unless given
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// auto, cpu, cuda[:N] or metal
    #[arg(long, default_value = "cpu")]
    device: String,
}

/// The watched class in one window.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Window {
    /// Texts read when it ended.
    texts: u64,
    /// Share of the watched class in it.
    share: f64,
    /// Share of the watched class before it.
    share_before: f64,
    /// How many standard deviations above that.
    sigmas: f64,
    /// Whether that is a surge.
    is_alert: bool,
}

/// What was counted of one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Count {
    texts: u64,
    watched: u64,
}

#[derive(Serialize)]
struct Found {
    watch: String,
    texts: u64,
    watched: u64,
    windows: Vec<Window>,
    alerts: usize,
    topics: BTreeMap<String, Count>,
}

/// Runs the command.
pub fn run(args: &Args, output: &Output) -> Result<(), CliError> {
    if !(args.sigmas.is_finite() && args.sigmas > 0.0) {
        let what = format!("--sigmas {}", args.sigmas);
        return Err(CliError::new(ExitCode::Usage, what, "expected a number above 0", "4 is usual"));
    }
    let mut model = Saved::open(&args.model, &args.device, 0).map_err(learner_error)?;
    let open = |dir: &PathBuf| Saved::open(dir, &args.device, 0).map_err(learner_error);
    let mut topics = args.topics.as_ref().map(open).transpose()?;
    for saved in [Some(&model), topics.as_ref()].into_iter().flatten() {
        if saved.kind.is_valued() {
            let why = format!("its task is {}, which gives no single class", saved.kind.name());
            let remedy = "name a model that classifies texts";
            return Err(CliError::new(ExitCode::Usage, "the model cannot be watched", why, remedy));
        }
    }
    let watch = watched(args, &model)?;
    let input: Box<dyn Read> = match &args.input {
        None => Box::new(std::io::stdin().lock()),
        Some(path) => {
            let file = std::fs::File::open(path).map_err(|e| {
                CliError::new(ExitCode::Data, format!("{} cannot be read", path.display()), e, "")
            })?;
            Box::new(file)
        }
    };
    let mut input = BufReader::new(input);
    let mut surge = Surge::new(args.window as usize, args.sigmas);
    let mut found = Found {
        watch: model.labels.name(watch).to_owned(),
        texts: 0,
        watched: 0,
        windows: Vec::new(),
        alerts: 0,
        topics: BTreeMap::new(),
    };
    while let Some(texts) = next_texts(&mut input).map_err(|e| {
        CliError::new(ExitCode::Data, "the texts cannot be read", e, "give UTF-8 text, one a line")
    })? {
        let said = classes(&mut model, &texts)?;
        let about = match &mut topics {
            None => Vec::new(),
            Some(topics) => {
                let said = classes(topics, &texts)?;
                said.into_iter().map(|label| topics.labels.name(label).to_owned()).collect()
            }
        };
        for (place, label) in said.iter().enumerate() {
            let is_watched = *label == watch;
            found.texts += 1;
            found.watched += u64::from(is_watched);
            if let Some(topic) = about.get(place) {
                let count = found.topics.entry(topic.clone()).or_default();
                count.texts += 1;
                count.watched += u64::from(is_watched);
            }
            let Some(window) = surge.take(is_watched) else { continue };
            if window.is_alert {
                found.alerts += 1;
            }
            // People see windows while the stream runs.
            output.text(|to| line(to, &window, &found.watch))?;
            if found.windows.len() < WINDOWS_MAX {
                found.windows.push(window);
            }
        }
    }
    output.done(&found, |to| {
        let share = found.watched as f64 / found.texts.max(1) as f64;
        let name = escape::line(&found.watch);
        writeln!(to, "{} texts, {:.3} {name}, {} alerts", found.texts, share, found.alerts)?;
        for (topic, count) in &found.topics {
            let share = count.watched as f64 / count.texts.max(1) as f64;
            writeln!(to, "  {:>7}  {share:.3}  {}", count.texts, escape::line(topic))?;
        }
        Ok(())
    })
}

fn line(to: &mut dyn Write, window: &Window, name: &str) -> std::io::Result<()> {
    let Window { texts, share, share_before, sigmas, is_alert } = window;
    let mark = if *is_alert { "  ALERT" } else { "" };
    let name = escape::line(name);
    writeln!(to, "after {texts:>6}  {name} {share:.3}, before {share_before:.3}, {sigmas:+.1} sigmas{mark}")
}

fn watched(args: &Args, model: &Saved) -> Result<u32, CliError> {
    let Some(name) = &args.watch else { return Ok(0) };
    model.labels.id(name).ok_or_else(|| {
        let what = format!("there is no class {name:?}");
        let why = format!("the model knows {}", model.labels.names().join(", "));
        CliError::new(ExitCode::Usage, what, why, "name one of them with --watch")
    })
}

fn classes(model: &mut Saved, texts: &[String]) -> Result<Vec<u32>, CliError> {
    let tokens_max = model.facts.tokens_max as usize;
    let rows = model.tokenizer().and_then(|tokenizer| encode_texts(texts, tokenizer, tokens_max));
    let said = rows.and_then(|rows| predict(&mut model.session, &rows));
    Ok(said.map_err(|e| learner_error(e.into()))?.iter().map(|choice| choice.label).collect())
}

/// Texts that are there without waiting for more, at least one; nothing at the end.
fn next_texts(input: &mut BufReader<impl Read>) -> std::io::Result<Option<Vec<String>>> {
    let mut texts = Vec::new();
    while texts.len() < BATCH {
        let mut bytes = Vec::new();
        if input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        if !text.is_empty() {
            texts.push(text);
        }
        // What is buffered is there; anything else may be long in coming.
        if !input.buffer().contains(&b'\n') && !texts.is_empty() {
            break;
        }
    }
    Ok((!texts.is_empty()).then_some(texts))
}

/// Counts one class in a sliding window and before it.
#[derive(Debug)]
struct Surge {
    size: usize,
    sigmas: f64,
    window: VecDeque<bool>,
    in_window: u64,
    before: u64,
    before_watched: u64,
    since: usize,
    read: u64,
}

impl Surge {
    fn new(size: usize, sigmas: f64) -> Self {
        let window = VecDeque::with_capacity(size);
        Self { size, sigmas, window, in_window: 0, before: 0, before_watched: 0, since: 0, read: 0 }
    }

    /// Takes one text; answers the window when it is a whole one after the last, or at once when it is a surge.
    fn take(&mut self, is_watched: bool) -> Option<Window> {
        self.read += 1;
        self.since += 1;
        self.window.push_back(is_watched);
        self.in_window += u64::from(is_watched);
        if self.window.len() > self.size {
            let left = self.window.pop_front().unwrap_or_default();
            self.in_window -= u64::from(left);
            self.before += 1;
            self.before_watched += u64::from(left);
        }
        // A share before the window means something when it is of as many texts.
        if (self.before as usize) < self.size {
            return None;
        }
        let size = self.size as f64;
        // One text of each kind more, so that a class that never came has no deviation of 0.
        let expected = (self.before_watched as f64 + 1.0) / (self.before as f64 + 2.0);
        let share = self.in_window as f64 / size;
        let sigmas = (share - expected) / (expected * (1.0 - expected) / size).sqrt();
        let is_alert = sigmas > self.sigmas && self.since >= self.size;
        if !is_alert && !self.read.is_multiple_of(self.size as u64) {
            return None;
        }
        if is_alert {
            self.since = 0;
        }
        Some(Window { texts: self.read, share, share_before: expected, sigmas, is_alert })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(stream: impl Iterator<Item = bool>) -> Vec<Window> {
        let mut surge = Surge::new(20, 4.0);
        stream.filter_map(|is_watched| surge.take(is_watched)).collect()
    }

    #[test]
    fn a_steady_stream_raises_no_alert_and_a_surge_one_while_it_fills_a_window() {
        let steady = (0..400).map(|k| k % 10 == 0);
        assert!(windows(steady.clone()).iter().all(|window| !window.is_alert));
        let found = windows(steady.chain((0..20).map(|_| true)));
        let alerts: Vec<&Window> = found.iter().filter(|window| window.is_alert).collect();
        assert_eq!(alerts.len(), 1);
        assert!((401..=420).contains(&alerts[0].texts), "{alerts:?}");
        assert!(alerts[0].share > 0.3 && alerts[0].share_before < 0.12);
    }

    #[test]
    fn nothing_is_said_before_there_is_something_to_compare_with() {
        assert!(windows((0..39).map(|_| true)).is_empty());
        assert_eq!(windows((0..40).map(|_| true)).len(), 1);
    }

    #[test]
    fn texts_come_in_batches_without_blank_lines() {
        let mut input = BufReader::new(&b"one\n\ntwo\nthree"[..]);
        let mut all = Vec::new();
        while let Some(texts) = next_texts(&mut input).unwrap() {
            all.extend(texts);
        }
        assert_eq!(all, ["one", "two", "three"]);
    }
}
