//! The figures of a run in words.

use std::collections::BTreeMap;

use crate::sim::run::Run;

/// Name and value of each figure, for people.
pub fn figures(run: &Run) -> Vec<(&'static str, String)> {
    let o = &run.outcome;
    let or_dash = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.3}"));
    let counts = |counts: Vec<(String, u64)>| {
        let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
    };
    let named = |map: &BTreeMap<String, u64>| counts(map.iter().map(|(k, v)| (k.clone(), *v)).collect());
    let failed = counts(o.failed.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect());
    let kinds =
        o.bytes_by_kind.iter().map(|(k, v)| format!("{k} {:.2} MB", *v as f64 / 1e6)).collect::<Vec<_>>();
    let busy = run.cpu_s.map_or(String::new(), |s| format!(", {s:.2} s of processor time"));
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
                "{:.0} s virtual, {} events, {:.2} s on the wall{busy}{memory}",
                o.virtual_s, o.events, run.wall_s
            ),
        ),
    ]
}
