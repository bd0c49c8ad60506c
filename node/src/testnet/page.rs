//! The report of a testnet as one HTML page.
//!
//! It exists so that a result can be mailed, archived and read anywhere: no script, nothing loaded from elsewhere, light
//! and dark, wide and narrow. It deliberately shows only what is in the outcome; the records lie next to it.

#![allow(clippy::format_push_string, reason = "a report is written once, and a line per piece reads best")]

use std::fmt::Write;

use model::eval::report::{Report, Score};

use crate::telemetry::html::{begin, text};
use crate::testnet::charts::{charts, in_words, legend, style_sheet};
use crate::testnet::outcome::Outcome;
use crate::testnet::table::{bytes, duration, gain, named, next_command, percent, ratio, score};

/// The whole page.
pub fn html(outcome: &Outcome) -> String {
    let mut page = String::new();
    let title = format!("Starling testnet: {} nodes, {}", outcome.nodes.len(), text(&outcome.recipe));
    page += &begin(&title, &style_sheet());
    page += &format!("<header>\n<h1>{title}</h1>\n<p>{}</p>\n", text(&outcome.data));
    let _ = writeln!(
        page,
        "<p class=\"soft\">{}</p>\n<p class=\"soft\">{} for the whole testnet, {} shards rejected</p>\n</header>\n<main>",
        text(&outcome.model),
        duration(outcome.wall_s),
        outcome.rejected_shards
    );
    page += &figures(outcome);
    page += &node_table(outcome);
    page += &pictures(outcome);
    if let Some(report) = &outcome.table {
        page += &label_table(report);
    }
    page += &definitions(outcome);
    page += &again(outcome);
    page += "</main>\n</body>\n</html>\n";
    page
}

/// The figures to read first.
fn figures(outcome: &Outcome) -> String {
    let metric = text(&outcome.metric_label());
    let alone: Vec<f64> = outcome.nodes.iter().filter_map(|n| n.score_alone).collect();
    let together: Vec<f64> = outcome.nodes.iter().map(|n| n.score_together).collect();
    let gains: Vec<f64> =
        outcome.nodes.iter().filter_map(crate::testnet::outcome::NodeOutcome::gain).collect();
    let range = |values: &[f64], write: fn(f64) -> String| {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        format!("{} to {}", write(low), write(high))
    };
    let mut tiles: Vec<(String, String, String)> = Vec::new();
    if let Some(mean) = mean(&alone) {
        tiles.push((format!("{metric} alone, mean"), score(mean), range(&alone, score)));
    }
    if let Some(mean) = mean(&together) {
        tiles.push((format!("{metric} together, mean"), score(mean), range(&together, score)));
    }
    if let Some(mean) = mean(&gains) {
        tiles.push(("gain, mean".to_owned(), gain(mean), range(&gains, gain)));
    }
    if let Some(pooled) = outcome.score_pooled {
        tiles.push((format!("{metric} pooled"), score(pooled), "one machine, upper bound".to_owned()));
    }
    if let Some(distance) = outcome.consensus_distance_relative {
        tiles.push(("consensus distance".to_owned(), percent(distance), "of the weight norm".to_owned()));
    }
    if let Some(traded) = &outcome.traded {
        let instead = format!("parameters at int8: {}", bytes(traded.parameter_bytes));
        tiles.push(("predictions published".to_owned(), bytes(traded.bytes), instead));
    }
    let sent: u64 = outcome.nodes.iter().fold(0, |sum, n| sum.saturating_add(n.bytes_sent));
    tiles.push((
        "sent, all nodes".to_owned(),
        bytes(sent),
        format!("compression {}", ratio(outcome.compression)),
    ));
    let mut html = "<dl class=\"figures\">\n".to_owned();
    for (name, value, note) in tiles {
        let _ = writeln!(html, "<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>");
    }
    html + "</dl>\n"
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// A row per node, and the upper bound.
fn node_table(outcome: &Outcome) -> String {
    let metric = text(&outcome.metric_label());
    let heads = [
        "node".to_owned(),
        "organization".to_owned(),
        "examples".to_owned(),
        "outer".to_owned(),
        "loss".to_owned(),
        format!("{metric} alone"),
        format!("{metric} together"),
        "gain".to_owned(),
        "sent".to_owned(),
        "received".to_owned(),
        "staleness p95".to_owned(),
        "training".to_owned(),
        "computing".to_owned(),
        "rejected".to_owned(),
    ];
    let mut html =
        "<h2>Nodes</h2>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Nodes\">\n\
         <table>\n<thead>\n<tr>"
            .to_owned();
    for (i, head) in heads.iter().enumerate() {
        let class = if i == 1 { " class=\"text\"" } else { "" };
        html += &format!("<th scope=\"col\"{class}>{head}</th>");
    }
    html += "</tr>\n</thead>\n<tbody>\n";
    let or_dash = |value: Option<f64>, write: fn(f64) -> String| value.map_or("-".to_owned(), write);
    for node in &outcome.nodes {
        let cells = [
            node.samples.to_string(),
            node.outer_steps.to_string(),
            or_dash(node.loss, score),
            or_dash(node.score_alone, score),
            score(node.score_together),
            or_dash(node.gain(), gain),
            bytes(node.bytes_sent),
            bytes(node.bytes_received),
            node.staleness_p95.to_string(),
            duration(node.busy_seconds),
            or_dash(node.busy_time_ratio, percent),
            node.rejected.to_string(),
        ];
        html += &format!("<tr><th scope=\"row\">{}</th>", text(&named(node)));
        html += &format!("<td class=\"text\">{}</td>", text(&node.organization));
        html += &cells.map(|cell| format!("<td>{cell}</td>")).concat();
        html += "</tr>\n";
    }
    if let Some(pooled) = outcome.score_pooled {
        html += &format!(
            "<tr class=\"sum first\"><th scope=\"row\" colspan=\"6\">pooled data, one machine (upper bound)</th>\
             <td>{}</td><td colspan=\"6\"></td></tr>\n",
            score(pooled)
        );
    }
    html + "</tbody>\n</table>\n</div>\n"
}

fn pictures(outcome: &Outcome) -> String {
    let mut html = "<h2>Course</h2>\n".to_owned();
    let words = in_words(outcome);
    if !words.is_empty() {
        html += &format!("<p>{}</p>\n", text(&words));
    }
    let keys = legend(outcome);
    if keys.is_empty() {
        html += "<p class=\"soft legend\">In the curves, thin: the nodes; thick: their mean.</p>\n";
    } else {
        html += "<ul class=\"legend\">\n";
        for key in keys {
            let dashed = if key.is_dashed { " dashed" } else { "" };
            let _ = writeln!(
                html,
                "<li><span class=\"line-{}{dashed}\"></span>{}</li>",
                key.slot,
                text(&key.name)
            );
        }
        html += "</ul>\n";
    }
    html += "<div class=\"pictures\">\n";
    for chart in charts(outcome) {
        // The backend of the pictures escapes the text in them.
        let _ = writeln!(
            html,
            "<figure class=\"chart\">\n<h3>{}</h3>\n{}<figcaption>{}</figcaption>\n</figure>",
            text(&chart.title),
            chart.svg,
            text(&chart.caption)
        );
    }
    html + "</div>\n"
}

/// Precision, recall and F1 by label, and their averages.
fn label_table(report: &Report) -> String {
    let mut html =
        "<h2>By label</h2>\n<p class=\"soft\">The model trained together, on the common test data.</p>\n\
         <div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"By label\">\n<table>\n<thead>\n<tr>"
            .to_owned();
    for head in ["label", "precision", "recall", "F1", "support"] {
        html += &format!("<th scope=\"col\">{head}</th>");
    }
    html += "</tr>\n</thead>\n<tbody>\n";
    let mut row = |name: &str, class: &str, score: &Score| {
        html += &format!("<tr{class}><th scope=\"row\">{}</th>", text(name));
        for value in [score.precision, score.recall, score.f1] {
            html += &format!("<td>{value:.4}</td>");
        }
        html += &format!("<td>{}</td></tr>\n", score.support);
    };
    for entry in &report.per_label {
        row(&entry.label, "", &entry.score);
    }
    let (first, sum) = (" class=\"sum first\"", " class=\"sum\"");
    if let Some(micro) = &report.micro {
        row("micro average", first, micro);
    }
    row("macro average", if report.micro.is_some() { sum } else { first }, &report.macro_average);
    row("weighted average", sum, &report.weighted);
    html += "</tbody>\n</table>\n</div>\n";
    html + &format!("<p class=\"soft\">accuracy {:.4}, {} samples</p>\n", report.accuracy, report.samples)
}

/// What the figures mean, one sentence each.
fn definitions(outcome: &Outcome) -> String {
    let metric = outcome.metric_label();
    let score_means = match outcome.metric.as_str() {
        "f1" => {
            "Harmonic mean of precision and recall over all entities of the test data; an entity counts when its \
                 borders and its label are right."
        }
        "accuracy" => "Share of the test data with the right label.",
        _ => "The recipe's metric on the test data; 1 is best.",
    };
    let entries: [(&str, &str); 15] = [
        (&metric, score_means),
        ("alone", "The node's model after as many training steps on its own examples only."),
        (
            "together",
            "The node's model after the last outer step; examples never left the node, only updates of parameters did.",
        ),
        ("gain", "Score together minus score alone."),
        (
            "pooled",
            "One machine trained on the examples of all nodes, with as many training steps as all nodes together: what cooperation tries to reach without pooling.",
        ),
        ("loss", "Mean training loss of the last outer step, on the node's own examples."),
        (
            "outer step",
            "A number of training steps on own examples, then one exchange and one mix with other nodes.",
        ),
        ("sent, received", "Bytes through the node's connections, everything included."),
        ("staleness", "Age of an update when it was mixed, in outer steps; 95 of 100 were at most this old."),
        (
            "consensus distance",
            "Root mean square distance of the nodes' parameters from their mean, over the norm of that mean: how far the nodes disagree at the end.",
        ),
        (
            "compression",
            "Bytes that the published updates would take as 32-bit numbers, over the bytes they took.",
        ),
        (
            "predictions published",
            "Bytes of the probabilities on the probe set that travelled in place of parameters, manifests included; beside them what as many updates of each node's own parameters would have had.",
        ),
        ("rejected", "Shards and messages refused because they broke a rule; 0 among honest nodes."),
        ("training", "Time the node spent on training steps; the rest went into exchange and waiting."),
        (
            "micro, macro, weighted",
            "Over all items together; mean over labels; mean over labels weighted by support, the number of items.",
        ),
    ];
    let mut html = "<h2>What the figures mean</h2>\n<dl class=\"meaning\">\n".to_owned();
    for (name, meaning) in entries {
        let _ = writeln!(html, "<dt>{}</dt><dd>{}</dd>", text(name), text(meaning));
    }
    html + "</dl>\n"
}

/// How to get the same figures again, and what to do with the model.
fn again(outcome: &Outcome) -> String {
    let command = format!(
        "starling testnet --recipe {} --nodes {} --seed {}",
        outcome.recipe,
        outcome.nodes.len(),
        outcome.seed
    );
    format!(
        "<h2>Again</h2>\n<pre><code>{}\n{}</code></pre>\n\
         <p class=\"soft\">Add the other flags that were given, such as --data for data of your own. The seed fixes \
         data, split and genesis; which update arrives first is up to the network, so figures differ a little.</p>\n",
        text(&command),
        text(&next_command(outcome))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testnet::outcome::tests::sample;

    /// Elements without an end tag that the page uses.
    const VOID: [&str; 2] = ["meta", "!DOCTYPE"];

    /// Checks that tags close in order and quotes pair up; returns the names of all elements.
    fn elements(html: &str) -> Vec<String> {
        let mut open: Vec<String> = Vec::new();
        let mut all = Vec::new();
        let mut rest = html;
        while let Some(at) = rest.find('<') {
            let end = at + rest[at..].find('>').expect("a tag ends");
            let tag = &rest[at + 1..end];
            assert!(!tag.contains('<'), "a tag inside of a tag: {tag}");
            assert_eq!(tag.matches('"').count() % 2, 0, "quotes pair up: {tag}");
            rest = &rest[end + 1..];
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(name), "in order");
                continue;
            }
            let name = tag.split([' ', '/']).next().unwrap().to_owned();
            all.push(name.clone());
            if !tag.ends_with('/') && !VOID.contains(&name.as_str()) {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "all closed, found {open:?}");
        all
    }

    #[test]
    fn the_page_is_well_formed_and_whole() {
        let html = html(&sample());
        let elements = elements(&html);
        let count = |name: &str| elements.iter().filter(|e| *e == name).count();
        assert_eq!((count("h1"), count("table"), count("svg"), count("figure")), (1, 2, 4, 4));
        for text in [
            "0.631",
            "+0.211",
            "0.851",
            "0.4 %",
            "3.9x",
            "6.1 MB",
            "0.8230",
            "--seed 7",
            "consensus distance",
        ] {
            assert!(html.contains(text), "expected {text}");
        }
    }

    #[test]
    fn a_hostile_name_stays_text() {
        let mut outcome = sample();
        let hostile = "\"'><script>alert(1)</script>&\u{202e}";
        outcome.nodes[0].name = hostile.into();
        outcome.nodes[1].organization = hostile.into();
        outcome.data = hostile.into();
        outcome.model = hostile.into();
        outcome.metric = hostile.into();
        outcome.recipe = hostile.into();
        outcome.report_dir = hostile.into();
        outcome.table.as_mut().unwrap().per_label[0].label = hostile.into();
        let html = html(&outcome);
        let elements = elements(&html);
        assert!(!elements.iter().any(|e| e == "script"), "{elements:?}");
        assert!(!html.contains('\u{202e}') && !html.contains("<script"));
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        let html = html(&sample());
        let elements = elements(&html);
        for name in ["script", "link", "img", "iframe", "object", "image", "use"] {
            assert!(!elements.iter().any(|e| e == name), "{name}");
        }
        // The one address is the name of the SVG vocabulary, which no reader loads.
        let without = html.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for word in ["http:", "https:", "url(", "@import", "src="] {
            assert!(!without.contains(word), "{word}");
        }
    }

    #[test]
    fn a_swarm_without_comparison_or_labels_has_a_page_too() {
        let mut outcome = sample();
        outcome.nodes.iter_mut().for_each(|n| n.score_alone = None);
        outcome.score_pooled = None;
        outcome.table = None;
        outcome.series.clear();
        let elements = elements(&html(&outcome));
        assert_eq!(elements.iter().filter(|e| *e == "table").count(), 1);
        outcome.nodes.clear();
        let html = html(&outcome);
        assert!(!html.contains("NaN") && !html.contains("inf "));
    }
}
