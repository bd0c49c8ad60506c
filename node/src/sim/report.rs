//! What a run leaves: a table for the terminal, rows as JSON lines and CSV, `run.json`, one HTML page.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use protocol::sim::meter::Row;
use protocol::sim::scenario::Scenario;
use serde_json::json;

use crate::sim::page::html;
use crate::sim::run::Run;
use crate::telemetry::escape;

/// Name and value of each figure, for people.
pub fn figures(run: &Run) -> Vec<(&'static str, String)> {
    let o = &run.outcome;
    let or_dash = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.3}"));
    let counts = |counts: Vec<(String, u64)>| {
        let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
    };
    let named = |map: &std::collections::BTreeMap<String, u64>| {
        counts(map.iter().map(|(k, v)| (k.clone(), *v)).collect())
    };
    let failed = counts(o.failed.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect());
    let kinds =
        o.bytes_by_kind.iter().map(|(k, v)| format!("{k} {:.2} MB", *v as f64 / 1e6)).collect::<Vec<_>>();
    let memory = run.peak_rss_bytes.map_or(String::new(), |b| format!(", {:.0} MB at most", b as f64 / 1e6));
    vec![
        (
            "peers",
            format!(
                "{} ({} honest), {} outer steps, {} parameters",
                o.peers, o.honest, o.outer_steps, o.parameters
            ),
        ),
        (
            "score",
            format!(
                "{:.4} mean, {:.4} worst, {:.4} deviation",
                o.score_mean, o.score_worst, o.score_deviation
            ),
        ),
        ("loss", format!("{:.4}", o.loss_mean)),
        (
            "consensus",
            format!(
                "{:.2e} of the norm; a settle step leaves {} of it; spectral gap {}",
                o.consensus_distance_relative,
                or_dash(o.contraction),
                or_dash(o.spectral_gap)
            ),
        ),
        (
            "staleness",
            format!("{:.2} outer steps mean, {} at the 95th percentile", o.staleness_mean, o.staleness_p95),
        ),
        (
            "sent",
            format!(
                "{:.2} MB a peer; payload as f32 {:.2} MB; {}",
                o.bytes_per_peer / 1e6,
                o.bytes_dense_per_peer / 1e6,
                kinds.join(", ")
            ),
        ),
        (
            "gossip",
            format!(
                "{:.2} % heard, 95 % within {:.2} s, {:.2} copies each",
                o.coverage * 100.0,
                o.gossip_p95_s,
                o.gossip_duplicates
            ),
        ),
        ("refused", named(&o.refused)),
        ("offences", named(&o.offences)),
        ("failed", failed),
        (
            "two stories",
            format!(
                "{} told, {} proven; {} honest peers shut out",
                o.equivocations.made, o.equivocations.proven, o.bans_of_honest_peers
            ),
        ),
        (
            "time",
            format!(
                "{:.0} s virtual, {} events, {:.2} s on the wall{memory}",
                o.virtual_s, o.events, run.wall_s
            ),
        ),
    ]
}

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
    rows.iter().map(|row| format!("{}\n", json!(row))).collect()
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
