//! The report of a simulated run as one HTML page: nothing loaded from elsewhere, no script.

use std::fmt::Write as _;

use protocol::sim::scenario::Scenario;

use crate::sim::figures::figures;
use crate::sim::plot::pictures;
use crate::sim::run::Run;
use crate::telemetry::escape;

const STYLE: &str = "\
:root{color-scheme:light}body{margin:0 auto;max-width:64rem;padding:2rem 1.25rem;background:#fff;color:#1b2129;
font:16px/1.5 system-ui,sans-serif}h1{font-size:1.6rem;margin:0 0 .5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}
.bad{background:#fdecea;border:1px solid #e0a29b;border-radius:.4rem;padding:.6rem .9rem}
table{border-collapse:collapse;width:100%}th{text-align:left;vertical-align:top;padding:.35rem 1rem .35rem 0;white-space:nowrap;color:#5a6472}
td{padding:.35rem 0;border-bottom:1px solid #dfe3e8}svg{width:100%;height:auto}
pre{background:#f4f6f8;border:1px solid #dfe3e8;border-radius:.4rem;padding:.75rem 1rem;overflow-x:auto}";

/// The whole page.
pub fn html(scenario: &Scenario, run: &Run, replay: &str) -> String {
    let title = format!("Starling, simulated: {}, seed {}", text(&scenario.name), run.outcome.seed);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n<p>{}</p>\n",
        text(&scenario.about)
    );
    for v in &run.outcome.violations {
        let place = v.peer.map_or("the swarm".to_owned(), |peer| format!("peer {peer}"));
        // Writing into a `String` cannot fail.
        let _ = writeln!(
            page,
            "<p class=\"bad\"><b>{}</b> violated at {:.3} s by {place}: {}</p>",
            text(v.invariant),
            v.at_s,
            text(&v.what)
        );
    }
    page += "<table>\n";
    for (name, value) in figures(run) {
        let _ = writeln!(page, "<tr><th>{}</th><td>{}</td></tr>", text(name), text(&value));
    }
    page += "</table>\n";
    for (title, svg) in pictures(&run.outcome.rows) {
        let _ = writeln!(page, "<h2>{title}</h2>\n{svg}");
    }
    let _ = writeln!(
        page,
        "<h2>Again</h2>\n<pre>{}</pre>\n<p>hash of all events {}</p>\n</body></html>",
        text(replay),
        run.outcome.trace
    );
    page
}

/// Text as HTML: one line, no markup.
fn text(raw: &str) -> String {
    let mut safe = String::new();
    for c in escape::line(raw).chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            other => safe.push(other),
        }
    }
    safe
}
