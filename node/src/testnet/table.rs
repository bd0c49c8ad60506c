//! The result of a testnet as text for a terminal.
//!
//! It exists so that the last lines of the first command say what was gained by training together. It deliberately
//! holds the notation of numbers too, so that text and page write them alike.

use std::fmt::Write;

use model::eval::report::Report;

use crate::telemetry::escape;
use crate::testnet::outcome::{NodeOutcome, Outcome, Traded};

/// Longest name shown in a column, characters.
const NAME_MAX: usize = 24;

/// Files that stand in the folder of the report.
const SAVED: &str = "report.html  metrics.jsonl  events.jsonl  eval.jsonl  run.json  model/";

/// The final text: data, model, a line per node, the comparison, what was saved, what to do next, scores by label.
pub fn render(outcome: &Outcome) -> String {
    let mut text = String::new();
    // Writing into a `String` cannot fail.
    let mut say = |line: &str| {
        let _ = writeln!(text, "{}", line.trim_end());
    };
    say(&format!("data     {}", escape::line(&outcome.data)));
    say(&format!("model    {}", escape::line(&outcome.model)));
    let rows = rows(outcome);
    for line in aligned(&rows) {
        say(&line);
    }
    if let Some(pooled) = outcome.score_pooled {
        say(&pooled_line(&rows, pooled));
    }
    if let Some(distance) = outcome.consensus_distance_relative {
        say(&format!(
            "consensus distance {} of the weight norm   compression {}   rejected shards {}",
            percent(distance),
            ratio(outcome.compression),
            outcome.rejected_shards
        ));
    }
    if let Some(traded) = &outcome.traded {
        say(&format!("{}   rejected shards {}", traded_words(traded), outcome.rejected_shards));
    }
    say(&format!("time     {}", duration(outcome.wall_s)));
    say(&format!("saved    {}/   ({SAVED})", escape::line(outcome.report_dir.trim_end_matches('/'))));
    say(&format!("next     {}", next_command(outcome)));
    if let Some(report) = &outcome.table {
        say("");
        say("together, on the test data of all nodes:");
        say("");
        let _ = write!(text, "{}", escaped(report));
    }
    text
}

/// What was published in place of parameters, and what those would have had.
pub fn traded_words(traded: &Traded) -> String {
    format!(
        "predictions published {}   parameters at int8 would be {} ({})",
        bytes(traded.bytes),
        bytes(traded.parameter_bytes),
        ratio(traded.parameter_bytes as f64 / traded.bytes.max(1) as f64)
    )
}

/// The command to try next.
pub fn next_command(outcome: &Outcome) -> String {
    let model = format!("{}/model", outcome.report_dir.trim_end_matches('/'));
    let data = format!("{}/test.graph", outcome.report_dir.trim_end_matches('/'));
    let sentence = match outcome.recipe.as_str() {
        "citations" | "community" => {
            let (model, data) = (shell_word(&model), shell_word(&data));
            return format!("starling audit influence --model {model} --data {data}");
        }
        "ner" | "mixed" => "Ada Lovelace worked in London",
        "ner-zh" => "王伟在东州市加入新华科技",
        "news-zh" => "新华科技股价上涨",
        "intents" => "i lost my credit card",
        "language" => "The minister said",
        "tickets" => "i lost my credit card . also send me my statement",
        "stars" => "the soup was great , the waiter was not lovely",
        "sentiment" => "the room was great but the bed was awful",
        _ => "a text to look at",
    };
    format!("starling predict --model {} \"{sentence}\"", shell_word(&model))
}

/// A copy whose labels are safe to print.
pub fn escaped(report: &Report) -> Report {
    let mut report = report.clone();
    for entry in &mut report.per_label {
        entry.label = escape::line(&entry.label);
    }
    report
}

/// A word for a POSIX shell, in quotes where it needs them.
fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:@%,=".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        // Control characters are shown, not passed on: such a path has to be typed by hand.
        format!("'{}'", escape::line(text).replace('\'', r"'\''"))
    }
}

/// Cells by row, the heads first.
fn rows(outcome: &Outcome) -> Vec<Vec<String>> {
    let metric = outcome.metric_label();
    let mut rows = vec![vec![
        "node".to_owned(),
        "outer".to_owned(),
        "loss".to_owned(),
        format!("{metric} alone"),
        format!("{metric} together"),
        "gain".to_owned(),
        "sent".to_owned(),
        "received".to_owned(),
        "staleness p95".to_owned(),
    ]];
    rows.extend(outcome.nodes.iter().map(|node| {
        vec![
            named(node),
            node.outer_steps.to_string(),
            node.loss.map_or("-".to_owned(), score),
            node.score_alone.map_or("-".to_owned(), score),
            score(node.score_together),
            node.gain().map_or("-".to_owned(), gain),
            bytes(node.bytes_sent),
            bytes(node.bytes_received),
            node.staleness_p95.to_string(),
        ]
    }));
    rows
}

/// A node's name, with its architecture and parameters where architectures differ.
pub fn named(node: &NodeOutcome) -> String {
    let name = short(&node.name, NAME_MAX);
    match &node.variant {
        Some(variant) => {
            format!("{name} ({} {:.2} M)", short(variant, NAME_MAX), node.parameters as f64 / 1e6)
        }
        None => name,
    }
}

/// Widest cell of a column, characters.
fn width(rows: &[Vec<String>], column: usize) -> usize {
    rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
}

/// Rows as lines: the first column to the left, the numbers to the right, two spaces between.
fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(|c| width(rows, c)).collect();
    rows.iter()
        .map(|row| {
            let mut line = format!(" {:<1$}", row[0], widths[0]);
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                let _ = write!(line, "  {cell:>width$}");
            }
            line
        })
        .collect()
}

/// The upper bound, with its score in the column of the scores together.
fn pooled_line(rows: &[Vec<String>], pooled: f64) -> String {
    let together = 4;
    let until: usize = 1 + (0..=together).map(|c| width(rows, c)).sum::<usize>() + 2 * together;
    let words = " pooled data, one machine (upper bound)";
    let space = until.saturating_sub(words.len()).max(2);
    let value = score(pooled);
    format!("{words}{value:>space$}", space = space.max(value.len() + 2))
}

/// A remote text on one line, cut to `most` characters.
pub fn short(text: &str, most: usize) -> String {
    let text = escape::line(text);
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// A score or a loss with three digits; `-` where there is none.
pub fn score(value: f64) -> String {
    if value.is_finite() { format!("{value:.3}") } else { "-".to_owned() }
}

/// A difference of scores, with its sign.
pub fn gain(value: f64) -> String {
    if value.is_finite() { format!("{value:+.3}") } else { "-".to_owned() }
}

/// A size in decimal units, as `6.1 MB`.
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    if count < 1000 {
        return format!("{count} B");
    }
    let mut unit = "";
    for next in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        // 999 950 bytes would be written as 1000.0 kB.
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// A fraction in percent: one decimal, or two digits where it is small.
pub fn percent(fraction: f64) -> String {
    let value = fraction * 100.0;
    if !value.is_finite() {
        return "-".to_owned();
    }
    let size = value.abs();
    if size == 0.0 {
        return "0 %".to_owned();
    }
    if size >= 0.1 {
        return format!("{value:.1} %");
    }
    if size < 1e-6 {
        return format!("{value:.1e} %");
    }
    let decimals = (1.0 - size.log10().floor()) as usize;
    format!("{value:.decimals$} %")
}

/// A factor, as `3.9x`.
pub fn ratio(value: f64) -> String {
    if value.is_finite() { format!("{value:.1}x") } else { "-".to_owned() }
}

/// A time, as `3 min 12 s` or `8.4 s`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "-".to_owned();
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole / 3600 {
        0 => format!("{} min {} s", whole / 60, whole % 60),
        hours => format!("{hours} h {} min", whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testnet::outcome::tests::sample;

    #[test]
    fn the_text_is_aligned_and_complete() {
        let mut outcome = sample();
        outcome.nodes[1].name = "bela".into();
        outcome.table = None;
        let expected = "\
data     built-in newswire, 2 organizations, split by topic (Dirichlet 0.3, seed 7)
model    encoder 4x128, 1.1 M parameters, device cpu
 node  outer   loss  F1 alone  F1 together    gain    sent  received  staleness p95
 ada      24  0.112     0.631        0.842  +0.211  6.1 MB    6.0 MB              1
 bela     24  0.112         -        0.840       -  6.1 MB    6.0 MB              1
 pooled data, one machine (upper bound)  0.851
consensus distance 0.4 % of the weight norm   compression 3.9x   rejected shards 0
time     3 min 12 s
saved    runs/testnet-7/   (report.html  metrics.jsonl  events.jsonl  eval.jsonl  run.json  model/)
next     starling predict --model runs/testnet-7/model \"Ada Lovelace worked in London\"
";
        assert_eq!(render(&outcome), expected);
    }

    #[test]
    fn the_scores_by_label_follow_with_their_averages() {
        let text = render(&sample());
        for line in [
            "              precision    recall  f1-score   support",
            "         LOC     0.9000    0.8550    0.8769       200",
            "   micro avg     0.8097    0.8367    0.8230       300",
            "weighted avg",
        ] {
            assert!(text.contains(line), "expected {line:?} in\n{text}");
        }
    }

    #[test]
    fn a_hostile_name_neither_paints_the_terminal_nor_starts_a_line() {
        let mut outcome = sample();
        outcome.report_dir = "runs/a b\u{1b}[2J".into();
        outcome.table.as_mut().unwrap().per_label[0].label = "LOC\u{9b}2J".into();
        let text = render(&outcome);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        assert!(text.contains("eve\\u{1b}[31m<b>\\n "), "{text}");
        assert!(text.contains("--model 'runs/a b\\u{1b}[2J/model' "), "{text}");
        outcome.nodes[0].name = "x".repeat(500);
        assert!(render(&outcome).lines().all(|line| line.chars().count() < 140));
    }

    #[test]
    fn the_pooled_score_stands_under_the_scores_together() {
        let mut outcome = sample();
        outcome.nodes[0].name = "a longer name".into();
        let text = render(&outcome);
        let end = |start: &str, value: &str| {
            let line = text.lines().find(|l| l.starts_with(start)).unwrap();
            line.find(value).unwrap() + value.len()
        };
        assert_eq!(end(" pooled", "0.851"), end(" a longer", "0.842"));
    }

    #[test]
    fn numbers_are_written_with_their_units() {
        for (count, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (6_100_000, "6.1 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(count), shown);
        }
        for (fraction, shown) in [
            (0.0, "0 %"),
            (0.0042, "0.4 %"),
            (0.000_12, "0.012 %"),
            (2.5, "250.0 %"),
            (1e-12, "1.0e-10 %"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(percent(fraction), shown);
        }
        for (seconds, shown) in [
            (8.44, "8.4 s"),
            (59.96, "1 min 0 s"),
            (192.4, "3 min 12 s"),
            (7322.0, "2 h 2 min"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(duration(seconds), shown);
        }
        assert_eq!(score(f64::NAN), "-");
        assert_eq!(gain(-0.02), "-0.020");
        assert_eq!(ratio(f64::INFINITY), "-");
    }
}
