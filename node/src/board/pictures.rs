//! Small pictures beside the curves: shares of a whole, counts by kind.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::board::figures::{bytes, count, duration, percent};
use crate::board::plot::round;
use crate::board::story::Sums;
use crate::net::counters::Counts;
use crate::telemetry::escape;

/// One part of a whole.
struct Part {
    name: &'static str,
    value: f64,
    shown: String,
}

/// A bar cut into parts, with their names below; the parts are not negative.
fn shares(label: &str, parts: &[Part]) -> Markup {
    let total: f64 = parts.iter().map(|p| p.value).sum();
    let width = |part: &Part| 100.0 * part.value / total;
    let begins = parts.iter().scan(0.0, |end, part| {
        let begin = *end;
        *end += width(part);
        Some(begin)
    });
    html! {
        svg.shares viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label=(label) {
            @if total > 0.0 {
                @for (i, (part, begin)) in parts.iter().zip(begins).enumerate() {
                    rect class=(format!("c{i}")) x=(round(begin)) y="0" width=(round(width(part))) height="6" {}
                }
            } @else { rect.none x="0" y="0" width="100" height="6" {} }
        }
        ul.keys {
            @for (i, part) in parts.iter().enumerate() {
                li { span class=(format!("key c{i}")) {} (part.name) " " b { (part.shown) }
                    @if total > 0.0 { span.soft { " " (percent(part.value / total)) } } }
            }
        }
    }
}

/// Where time went.
pub fn time(sums: &Sums) -> Markup {
    let part = |name, value: f64| Part { name, value, shown: duration(value) };
    let parts = [
        part("training", sums.train_seconds),
        part("waiting", sums.wait_seconds),
        part("pulling", sums.pull_seconds),
        part("mixing", sums.mix_seconds),
    ];
    shares("Time by kind", &parts)
}

/// What travelled: shards, gossip, and all else (encryption, framing, discovery).
pub fn traffic(counts: &Counts) -> Markup {
    let part = |name, value: u64| Part { name, value: value as f64, shown: bytes(value) };
    let parts = |wire: u64, bulk: u64, gossip: u64| {
        // What was said while nobody was linked never reached the wire.
        let gossip = gossip.min(wire.saturating_sub(bulk));
        let rest = wire.saturating_sub(bulk + gossip);
        [part("shards and manifests", bulk), part("gossip", gossip), part("everything else", rest)]
    };
    let sent = parts(counts.wire_sent, counts.bulk_sent, counts.gossip_sent);
    let received = parts(counts.wire_received, counts.bulk_received, counts.gossip_received);
    html! {
        h4 { "Sent, " (bytes(counts.wire_sent)) } (shares("Bytes sent by kind", &sent))
        h4 { "Received, " (bytes(counts.wire_received)) } (shares("Bytes received by kind", &received))
    }
}

/// Pulled updates by their age.
pub fn staleness(ages: &BTreeMap<u32, u64>) -> Markup {
    let most = ages.values().copied().max().unwrap_or(0).max(1) as f64;
    let total: u64 = ages.values().sum();
    let last = ages.keys().copied().max().unwrap_or(0);
    html! {
        ol.bars {
            @for age in 0..=last {
                @let n = ages.get(&age).copied().unwrap_or(0);
                (bar(&if age == 0 { "fresh".to_owned() } else { age.to_string() }, n, n as f64 / most,
                    &percent(n as f64 / total.max(1) as f64)))
            }
        }
    }
}

/// Refusals by reason.
pub fn refusals(reasons: &BTreeMap<String, u64>) -> Markup {
    let most = reasons.values().copied().max().unwrap_or(0).max(1) as f64;
    html! {
        @if reasons.is_empty() { p.good { "Nothing was refused." } }
        @else {
            ol.bars.trouble {
                @for (reason, n) in reasons {
                    (bar(&escape::line(reason).replace('_', " "), *n, *n as f64 / most, ""))
                }
            }
        }
    }
}

fn bar(name: &str, n: u64, share: f64, note: &str) -> Markup {
    html! {
        li {
            span.what { (name) }
            svg.bar viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
                rect x="0" y="0" width=(round(100.0 * share.clamp(0.0, 1.0))) height="10" {}
            }
            span.much { (count(n)) @if !note.is_empty() { span.soft { " " (note) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_nothing_are_drawn_as_nothing() {
        for html in [
            time(&Sums::default()).into_string(),
            traffic(&Counts::default()).into_string(),
            staleness(&BTreeMap::new()).into_string(),
        ] {
            assert!(!html.contains("NaN"), "{html}");
        }
        assert!(refusals(&BTreeMap::new()).into_string().contains("Nothing was refused"));
    }

    #[test]
    fn the_parts_of_a_bar_fill_it_side_by_side() {
        let sums = Sums { train_seconds: 75.0, wait_seconds: 25.0, ..Sums::default() };
        let html = time(&sums).into_string();
        assert!(
            html.contains(r#"x="0" y="0" width="75""#) && html.contains(r#"x="75" y="0" width="25""#),
            "{html}"
        );
    }
}
