//! The page: one document for a live node, an observer and a finished run.
//!
//! Everything is drawn on the server, so the page works without scripts; with them it follows the node. Nothing is
//! loaded from elsewhere. Text of other peers is escaped twice over: control characters as `\u{..}`, then HTML.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use crate::board::affinity;
use crate::board::figures::{bytes, count, duration, percent, score, short, time_of_day};
use crate::board::line::LedgerLine;
use crate::board::now::Now;
use crate::board::pictures;
use crate::board::plot::{self, Line};
use crate::board::story::{CONSENSUS, Happening, LOSS, SCORE, STALENESS, Story};
use crate::board::swarm::{self, Cast};
use crate::store::status::{NodeStatus, PeerStatus};
use crate::telemetry::escape;

/// The style sheet of every page.
pub const STYLE: &str = include_str!("style.css");

/// The script of live pages.
pub const SCRIPT: &str = include_str!("live.js");

/// What a live page may do: its own style and script, its own server, nothing else.
pub const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What a report may do: show the styles in it.
const STILL_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// Seconds after which a page without scripts loads itself again.
const RELOAD_SECONDS: u32 = 10;

/// What a page shows.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The story.
    pub story: &'a Story,
    /// Key of the node whose page it is; `None` for a whole swarm.
    pub me: Option<&'a str>,
    /// The node at this moment; `None` for a finished run.
    pub now: Option<&'a Now>,
    /// Last words of all nodes of a finished run.
    pub nodes: &'a [NodeStatus],
    /// Headline.
    pub title: &'a str,
}

/// The live page.
pub fn live(view: &View<'_>) -> String {
    let head = html! {
        link rel="stylesheet" href="/style.css";
        script src="/live.js" defer {}
        noscript { meta http-equiv="refresh" content=(RELOAD_SECONDS); }
    };
    document(view, &head)
}

/// A page that stands for itself in one file.
pub fn still(view: &View<'_>) -> String {
    let head = html! {
        meta http-equiv="Content-Security-Policy" content=(STILL_POLICY);
        style { (PreEscaped(STYLE)) }
    };
    document(view, &head)
}

/// The part of the page that changes.
pub fn body(view: &View<'_>) -> Markup {
    let cast = Cast::of(view.story);
    html! {
        (header(view))
        main #main {
            (tiles(view))
            (swarm_section(view, &cast))
            (course(view, &cast))
            (details(view))
            (peers(view, &cast))
            (affinity::table(view.story, &cast))
            (records(view, &cast))
        }
    }
}

fn document(view: &View<'_>, head: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title { (escape::line(view.title)) " · Starling" }
                (head)
            }
            body {
                (body(view))
                (footer(view))
            }
        }
    }
    .into_string()
}

/// Three birds of a flock.
fn bird() -> Markup {
    html! {
        svg.bird viewBox="0 0 40 28" aria-hidden="true" {
            path d="M2 9Q8 4 12 10Q16 4 22 8" {}
            path d="M17 19Q23 13 27 20Q31 13 38 17" {}
            path d="M5 24Q9 20 12 25Q15 20 19 23" {}
        }
    }
}

fn header(view: &View<'_>) -> Markup {
    html! {
        header #head {
            div.brand { (bird()) span { "Starling" } }
            h1 { (escape::line(view.title)) }
            @if let Some(now) = view.now { (headline(&now.status)) }
            @else { p.soft { (view.nodes.len().max(1)) @if view.nodes.len() == 1 { " node" } @else { " nodes" } ", told from the records" } }
        }
    }
}

fn headline(status: &NodeStatus) -> Markup {
    let (done, planned) = (status.outer_step, status.outer_steps);
    html! {
        p.state {
            span class=(format!("pill {}", tone(status))) { (escape::line(&status.state)) }
            span { (escape::line(&status.organization)) }
            span.soft { "run " code { (short(&status.run)) } }
            span.soft { "node " code { (short(&status.peer_id)) } }
            span.soft { "up " (duration(status.uptime_seconds)) }
            span #live.soft {}
        }
        @if let Some(trouble) = &status.trouble { p.warn { (escape::line(trouble)) } }
        @if planned > 0 {
            div.progress {
                progress max=(planned) value=(done.min(planned)) aria-label="Outer steps" {}
                span { "outer step " b { (done) } " of " (planned) }
            }
        }
    }
}

/// How urgent a state is: calm, busy, or to be looked at.
fn tone(status: &NodeStatus) -> &'static str {
    match status.stage.as_str() {
        _ if status.state.starts_with("stopped") || status.trouble.is_some() => "bad",
        _ if status.peers == 0 && status.stage != "done" => "warn",
        "done" => "good",
        _ => "busy",
    }
}

struct Tile {
    name: String,
    value: String,
    note: String,
    is_trouble: bool,
}

fn tile(name: impl Into<String>, value: impl Into<String>, note: impl Into<String>) -> Tile {
    Tile { name: name.into(), value: value.into(), note: note.into(), is_trouble: false }
}

fn tiles(view: &View<'_>) -> Markup {
    let story = view.story;
    let sums = story.sums();
    let mut tiles = Vec::new();
    let metric = metric_label(story);
    let lasts = |curve: &str| -> Vec<f64> {
        let curves = story.curves(curve).filter(|(who, _)| view.me.is_none_or(|me| me == *who));
        curves.filter_map(|(_, curve)| curve.last()).collect()
    };
    let mean_note = if view.me.is_some() { "own data" } else { "mean over nodes" };
    if let Some(value) = mean(&lasts(SCORE)) {
        let others: Vec<f64> = story.people().values().filter_map(|p| p.score).collect();
        let (low, high) = extent(&others);
        let note = if others.len() > 1 {
            format!("all nodes {} to {}", score(low), score(high))
        } else {
            mean_note.into()
        };
        tiles.push(tile(metric, score(value), note));
    }
    if let Some(value) = mean(&lasts(LOSS)) {
        tiles.push(tile("training loss", score(value), format!("{} samples", count(sums.samples))));
    }
    if let Some(value) = mean(&lasts(CONSENSUS)) {
        tiles.push(tile("consensus distance", percent(value), "of the distance from genesis"));
    }
    if let Some(now) = view.now {
        let known = now.peers.len();
        let mut peers = tile("peers linked", now.status.peers.to_string(), format!("{known} known"));
        peers.is_trouble = now.status.peers == 0;
        tiles.push(peers);
        let t = &now.traffic;
        tiles.push(tile("sent", bytes(t.wire_sent), format!("received {}", bytes(t.wire_received))));
    } else if !view.nodes.is_empty() {
        let sent = view.nodes.iter().fold(0u64, |sum, n| sum.saturating_add(n.bytes_sent));
        let received = view.nodes.iter().fold(0u64, |sum, n| sum.saturating_add(n.bytes_received));
        tiles.push(tile("sent, all nodes", bytes(sent), format!("received {}", bytes(received))));
    }
    let statuses = || view.now.map(|now| &now.status).into_iter().chain(view.nodes);
    let ratios =
        |ratio: fn(&NodeStatus) -> Option<f64>| mean(&statuses().filter_map(ratio).collect::<Vec<_>>());
    if let (Some(busy), Some(training)) = (ratios(|s| s.busy_time_ratio), ratios(|s| s.training_time_ratio)) {
        tiles.push(tile("computing", percent(busy), format!("of the time; training {}", percent(training))));
    }
    if let Some(age) = story.staleness_p95() {
        tiles.push(tile("staleness p95", age.to_string(), "outer steps"));
    }
    let refused: u64 = story.refusals().values().sum();
    let mut tile = tile("refused", count(refused), "messages, shards, keys");
    tile.is_trouble = refused > 0;
    tiles.push(tile);
    html! {
        dl #tiles.tiles {
            @for tile in &tiles {
                div class=(if tile.is_trouble { "tile warn" } else { "tile" }) {
                    dt { (tile.name) } dd { (tile.value) small { (tile.note) } }
                }
            }
        }
    }
}

/// The evaluation's metric as a heading.
fn metric_label(story: &Story) -> String {
    match story.metric_name() {
        "f1" => "F1".to_owned(),
        "" => "score".to_owned(),
        other => escape::line(other),
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn extent(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)))
}

fn swarm_section(view: &View<'_>, cast: &Cast<'_>) -> Markup {
    let steps = view.now.map_or_else(
        || view.nodes.iter().map(|n| n.outer_steps).max().unwrap_or(0),
        |now| now.status.outer_steps,
    );
    let map = swarm::map(view.story, cast);
    html! {
        section #swarm class=(if map.is_some() { "two" } else { "one" }) {
            figure {
                h2 { "The swarm" }
                (swarm::ring(view.story, cast, view.me, steps))
                figcaption {
                    "An arrow runs from the node whose update was pulled to the node that pulled it; its width is the "
                    "number of shards, pale ones are older. The number in a node is its outer step, its rim how far it is."
                    @if view.me.is_some() { " A node sees only its own pulls; thin lines are its links." }
                    @if view.me.is_none() && view.now.is_some() { " An observer sees no pulls: they are between two nodes." }
                }
            }
            @if let Some(map) = map {
                figure {
                    h2 { "The flock" }
                    (map)
                    figcaption {
                        "Models that are alike stand close: a plane fitted to the distances of their newest updates "
                        "(from signed sketches). The bar gives the scale, relative to the distance from genesis."
                    }
                }
            }
        }
    }
}

fn course(view: &View<'_>, cast: &Cast<'_>) -> Markup {
    let story = view.story;
    let lines = |name: &str| -> Vec<Line<'_>> {
        story
            .curves(name)
            .map(|(who, curve)| Line { name: cast.name(who), class: cast.class(who), points: curve.points() })
            .collect()
    };
    let charts = [
        (LOSS, "Training loss".to_owned(), "Mean over the inner steps of each outer step, own data.", 1.0),
        (SCORE, metric_label(story), "Each node on its own held-out data, as it tells the others.", 1.0),
        (
            CONSENSUS,
            "Consensus distance, %".to_owned(),
            "How far the models are apart, from signed sketches.",
            100.0,
        ),
        (STALENESS, "Staleness".to_owned(), "Age of pulled updates in outer steps.", 1.0),
    ];
    html! {
        section #course {
            h2 { "The course" }
            @if cast.members().len() <= 12 {
                ul.legend {
                    @for (key, _) in cast.members() { li { span class=(format!("stroke {}", cast.class(key))) {} (cast.name(key)) } }
                }
            }
            div.charts {
                @for (name, title, caption, factor) in &charts {
                    @let lines = lines(name);
                    @if !lines.is_empty() {
                        figure { h3 { (title) } (plot::curves(title, &lines, *factor)) figcaption { (caption) } }
                    }
                }
            }
            @if story.curve_names().next().is_none() { p.soft { "No outer step is through yet; the curves begin with the first." } }
        }
    }
}

fn details(view: &View<'_>) -> Markup {
    let story = view.story;
    html! {
        section #details.cards {
            div { h3 { "Time" } (pictures::time(story.sums())) }
            @if let Some(now) = view.now { div { h3 { "Bytes" } (pictures::traffic(&now.traffic)) } }
            div { h3 { "Staleness of what was pulled" }
                @if story.staleness().is_empty() { p.soft { "Nothing was pulled yet." } } @else { (pictures::staleness(story.staleness())) } }
            div { h3 { "Refused, by reason" } (pictures::refusals(story.refusals())) }
        }
    }
}

fn peers(view: &View<'_>, cast: &Cast<'_>) -> Markup {
    let live: BTreeMap<&str, &PeerStatus> =
        view.now.map(|now| now.peers.iter().map(|p| (p.peer_id.as_str(), p)).collect()).unwrap_or_default();
    let pulled = |key: &str| {
        let all = view
            .story
            .pulls()
            .iter()
            .filter(|((from, to), _)| from == key && view.me.is_none_or(|me| me == to));
        all.map(|(_, pulls)| pulls.updates).sum::<u64>()
    };
    html! {
        section #peers {
            h2 { "Nodes" }
            div.wide tabindex="0" role="region" aria-label="Nodes" {
                table {
                    thead { tr {
                        th.text scope="col" { "node" } th.text scope="col" { "organization" } th.text scope="col" { "link" }
                        th scope="col" { "outer" } th.text scope="col" { "stage" } th scope="col" { (metric_label(view.story)) }
                        th scope="col" { "updates pulled" }
                        @if view.now.is_some() { th scope="col" { "behaviour" } th scope="col" { "affinity" } th scope="col" { "pulled" } th scope="col" { "served" } }
                        th.text scope="col" { "key" }
                    } }
                    tbody {
                        @for (key, person) in cast.members() {
                            @let peer = live.get(key);
                            tr {
                                th.text scope="row" { span class=(format!("stroke {}", cast.class(key))) {} (cast.name(key)) }
                                td.text { (escape::line(&person.organization)) }
                                td.text {
                                    @if person.is_banned { span.bad { "shut out" } }
                                    @else if view.me == Some(*key) { span.soft { "this node" } }
                                    @else if view.now.is_none() { span.soft { "-" } }
                                    @else if person.is_linked { "linked" } @else { span.soft { "no link" } }
                                }
                                td { (person.outer_step) }
                                td.text { (escape::line(&person.stage)) }
                                td { (person.score.map_or("-".to_owned(), score)) }
                                td { @if view.me == Some(*key) { "-" } @else { (count(pulled(key))) } }
                                @if view.now.is_some() {
                                    td { (peer.map_or("-".to_owned(), |p| format!("{:.0}", p.behaviour))) }
                                    td { (peer.and_then(|p| p.affinity).map_or("-".to_owned(), |x| format!("{x:+.4}"))) }
                                    td { (peer.map_or("-".to_owned(), |p| bytes(p.bytes_pulled))) }
                                    td { (peer.map_or("-".to_owned(), |p| bytes(p.bytes_served))) }
                                }
                                td.text { code { (short(key)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn records(view: &View<'_>, cast: &Cast<'_>) -> Markup {
    let story = view.story;
    html! {
        div.two.records {
            section #happenings {
                h2 { "What happened" }
                @if story.happenings().is_empty() { p.soft { "Nothing yet." } }
                ol.log { @for happening in story.happenings().iter().rev() { (happening_row(happening, view, cast)) } }
            }
            @if !story.ledger_tail().is_empty() {
                section #ledger {
                    h2 { "Ledger" }
                    ol.log { @for line in story.ledger_tail().iter().rev() { (ledger_row(line, cast)) } }
                }
            }
        }
    }
}

fn happening_row(happening: &Happening, view: &View<'_>, cast: &Cast<'_>) -> Markup {
    html! {
        li class=(if happening.is_trouble { "bad" } else { "" }) {
            time { (time_of_day(happening.t)) }
            span.outer { @if let Some(outer) = happening.outer { (outer) } }
            span {
                @if view.me.is_none() { b { (cast.name(&happening.node)) } " " }
                (escape::line(&happening.words))
                @if let Some(peer) = &happening.peer { span.soft { " " (cast.name(peer)) } }
            }
        }
    }
}

/// A record in words: what, at which outer step, with whom.
fn ledger_row(line: &LedgerLine, cast: &Cast<'_>) -> Markup {
    let record = &line.record;
    let text = |field: &str| record.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
    let kind = text("record");
    let words = match kind.as_str() {
        "published" => format!("published {}", short(&text("manifest"))),
        "mixed" => {
            let parts = record.get("from").and_then(Value::as_array).cloned().unwrap_or_default();
            let part = |part: &Value| {
                let peer = part.get("peer").and_then(Value::as_str).unwrap_or("");
                let weight = part.get("weight").and_then(Value::as_f64).unwrap_or(0.0);
                format!("{} {weight:.2}", cast.name(peer))
            };
            let parts: Vec<_> = parts.iter().map(part).collect();
            if parts.is_empty() {
                "mixed with nobody".to_owned()
            } else {
                format!("mixed {}", parts.join(", "))
            }
        }
        "refused" => format!("refused {}: {}", cast.name(&text("peer")), text("offence").replace('_', " ")),
        "evaluated" => {
            let score = record.get("score").and_then(Value::as_f64).unwrap_or(f64::NAN);
            format!("scored {} {score:.3}", text("metric"))
        }
        "stage" => format!("entered the stage {}", text("stage")),
        "banned" => format!("shut out {}", cast.name(&text("peer"))),
        "charter" => format!("took the charter {}", short(&text("hash"))),
        other => other.to_owned(),
    };
    let is_trouble = kind == "refused" || kind == "banned";
    html! {
        li class=(if is_trouble { "bad" } else { "" }) {
            code { (short(&line.hash)) }
            span.outer { "#" (line.index) }
            span { (escape::line(&words)) @if let Some(step) = record.get("step").and_then(Value::as_u64) { span.soft { " step " (step) } } }
        }
    }
}

fn footer(view: &View<'_>) -> Markup {
    let meanings = [
        ("outer step", "Some training on own data, then one exchange and one mix with other nodes."),
        (
            "consensus distance",
            "Root mean square distance of the nodes' models from their mean, over the norm of that mean, both measured from genesis. Estimated from sketches of 256 numbers, error about 9 % of the square.",
        ),
        (
            "computing",
            "Share of the wall time of complete outer steps, since a node started, in which it trained or mixed; the rest is waiting, pulling, encoding and evaluating. Pauses are left out.",
        ),
        ("staleness", "Age of a pulled update in outer steps; 95 of 100 are at most as old as p95 says."),
        (
            "refused",
            "What broke a rule of the protocol: counted, and its sender's behaviour lowered. 100 is a clean record.",
        ),
        ("ledger", "Signed, hash-chained records of what this node published, pulled and mixed."),
    ];
    html! {
        footer {
            details { summary { "What the figures mean" }
                dl { @for (name, meaning) in meanings { dt { (name) } dd { (meaning) } } } }
            @if view.now.is_some() {
                p.soft { "For scripts: "
                    a href="/v1/status" { "status" } ", " a href="/v1/peers" { "peers" } ", "
                    a href="/v1/topology" { "topology" } ", " a href="/v1/ledger" { "ledger" } ", "
                    a href="/v1/events" { "events" } ", " a href="/metrics" { "metrics" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::story::Person;

    #[test]
    fn a_page_of_nothing_is_a_page() {
        let story = Story::default();
        let html = still(&View { story: &story, me: None, now: None, nodes: &[], title: "empty" });
        assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>"));
        assert!(html.contains("No outer step is through yet"));
    }

    #[test]
    fn what_other_peers_call_themselves_stays_text() {
        let mut story = Story::default();
        let evil = "</title><script>alert(1)</script>\u{202e}\"'&";
        let person =
            Person { name: evil.into(), organization: evil.into(), stage: evil.into(), ..Person::default() };
        story.introduce("ab\"><b>", person);
        let line = serde_json::json!({"event":"offence","peer":"ab\"><b>","offence":evil,"why":evil});
        story.event("aa", &serde_json::from_value(line).unwrap());
        story.ledger(LedgerLine {
            index: 1,
            hash: evil.into(),
            record: serde_json::json!({"record": evil, "peer": evil, "step": 3}),
        });
        let html = still(&View { story: &story, me: Some("aa"), now: None, nodes: &[], title: evil });
        assert!(
            !html.contains("<script>") && !html.contains("<b>\"") && !html.contains('\u{202e}'),
            "{html}"
        );
    }
}
