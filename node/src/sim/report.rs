//! What a run leaves: a table for the terminal, rows as JSON lines and CSV, `run.json`, one HTML page.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use protocol::sim::meter::Row;
use protocol::sim::scenario::Scenario;
use serde_json::json;

use crate::sim::figures::figures;
use crate::sim::page::html;
use crate::sim::run::Run;
use crate::telemetry::escape;

/// The table of one run.
pub fn table(scenario: &Scenario, run: &Run) -> String {
    let mut text =
        format!("scenario     {}: {}\n", escape::line(&scenario.name), escape::line(&scenario.about));
    for (name, value) in figures(run) {
        // Writing into a `String` cannot fail.
        let _ = writeln!(text, "{name:<12} {value}");
    }
    text
}

/// Writes everything into a folder.
pub fn save(dir: &Path, scenario: &Scenario, run: &Run, replay: &str) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let whole = json!({ "scenario": scenario, "run": run, "replay": replay });
    std::fs::write(dir.join("run.json"), format!("{whole:#}\n"))?;
    std::fs::write(dir.join("metrics.jsonl"), json_lines(&run.outcome.rows))?;
    std::fs::write(dir.join("metrics.csv"), comma_separated(&run.outcome.rows))?;
    std::fs::write(dir.join("report.html"), html(scenario, run, replay))
}

/// One JSON object a row.
fn json_lines(rows: &[Row]) -> String {
    let mut lines = String::new();
    for row in rows {
        let _ = writeln!(lines, "{}", json!(row));
    }
    lines
}

fn comma_separated(rows: &[Row]) -> String {
    let mut text = "at_s,up,step_median,step_least,consensus_distance_relative,score,bytes\n".to_owned();
    for r in rows {
        let score = r.score.map_or(String::new(), |s| s.to_string());
        let _ = writeln!(
            text,
            "{},{},{},{},{},{score},{}",
            r.at_s, r.up, r.step_median, r.step_least, r.consensus_distance_relative, r.bytes
        );
    }
    text
}
