//! `GET /metrics`: the node's figures under the names that `docs/operating.md` lists.
//!
//! Names are `starling_<what>_<unit>[_total]`. Labels hold our own words only (kinds of offences, stages): a peer that
//! chooses its name cannot add a series.

use protocol::wire::choice::Stage;
use protocol::wire::offence::Offence;

use crate::board::feed::Feed;
use crate::board::now::Now;
use crate::board::story::Story;
use crate::http::exposition::Exposition;
use crate::http::site::Site;
use crate::telemetry::process::Usage;

/// Bounds of the histogram of staleness, outer steps.
const AGES: [u32; 7] = [0, 1, 2, 3, 4, 8, 16];

/// The whole text.
pub fn text(site: &Site) -> String {
    let feed = &site.feed;
    let mut to = Exposition::default();
    let story = feed.story();
    if let Some(now) = feed.present() {
        node(&mut to, &now);
        traffic(&mut to, &now);
    }
    learning(&mut to, feed, &story);
    process(&mut to);
    let following = site.limits.streams_max - site.streams.available_permits();
    to.gauge("starling_event_streams", "Followers of the event stream.", Some(following));
    let what = ("starling_http_requests_total", "HTTP requests by path, refused ones included.", "counter");
    to.labelled(what, "path", site.requests.all());
    to.finish()
}

fn node(to: &mut Exposition, now: &Now) {
    let s = &now.status;
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("peer", &s.peer_id), ("run", &s.run)];
    to.info("starling_node_info", "The program's version, this node's key and its run.", &labels);
    to.gauge("starling_uptime_seconds", "Time since the node started.", Some(s.uptime_seconds));
    let age = now.at.elapsed().as_secs_f64();
    to.gauge("starling_status_age_seconds", "Time since the node last told its state.", Some(age));
    to.gauge("starling_outer_step", "Last complete outer step.", Some(s.outer_step));
    to.gauge("starling_outer_steps_planned", "Outer steps of the whole run.", Some(s.outer_steps));
    let stages = Stage::ALL.iter().map(|stage| {
        let name = stage.to_string();
        let is_in = u8::from(name == s.stage);
        (name, is_in)
    });
    to.labelled(("starling_stage", "1 for the stage the node is in.", "gauge"), "stage", stages);
    to.gauge("starling_linked_peers", "Peers with a link.", Some(s.peers));
    to.gauge("starling_known_peers", "Peers in the roster.", Some(now.peers.len()));
    let banned = now.peers.iter().filter(|p| p.is_banned).count();
    to.gauge("starling_banned_peers", "Peers that are shut out.", Some(banned));
    to.gauge("starling_training_loss", "Mean training loss of the last outer step.", s.loss_last);
    to.gauge("starling_score_ratio", "Last evaluation on local data, a fraction.", s.score_last);
    to.gauge(
        "starling_consensus_distance_ratio",
        "Estimated consensus distance over the norm of the mean delta.",
        s.consensus_distance_relative,
    );
    to.gauge(
        "starling_disk_used_bytes",
        "Length of all files in the node's directory.",
        Some(s.disk_used_bytes),
    );
    to.gauge("starling_disk_max_bytes", "What they may take: node.disk_max.", s.disk_max_bytes);
    let is_paused = u8::from(s.trouble.is_some());
    to.gauge("starling_disk_full", "1 while the node pauses for want of room on the disk.", Some(is_paused));
    to.gauge(
        "starling_training_time_ratio",
        "Share of the time of complete outer steps spent in inner training, since the start.",
        s.training_time_ratio,
    );
    to.gauge(
        "starling_busy_time_ratio",
        "Share of the time of complete outer steps spent in training, encoding, mixing or evaluating, since the start.",
        s.busy_time_ratio,
    );
}

fn traffic(to: &mut Exposition, now: &Now) {
    let t = &now.traffic;
    for (name, help, value) in [
        ("starling_network_sent_bytes_total", "Bytes written to sockets.", t.wire_sent),
        ("starling_network_received_bytes_total", "Bytes read from sockets.", t.wire_received),
        ("starling_gossip_sent_bytes_total", "Payload of own gossip messages.", t.gossip_sent),
        (
            "starling_gossip_received_bytes_total",
            "Payload of gossip messages heard, without duplicates.",
            t.gossip_received,
        ),
        (
            "starling_gossip_dropped_messages_total",
            "Messages dropped because the node was behind.",
            t.gossip_dropped,
        ),
        ("starling_bulk_sent_bytes_total", "Payload of shards and manifests sent.", t.bulk_sent),
        ("starling_bulk_received_bytes_total", "Payload of shards and manifests received.", t.bulk_received),
        ("starling_questions_total", "Questions asked of peers.", t.asks),
        ("starling_questions_failed_total", "Questions that failed.", t.asks_failed),
        ("starling_requests_total", "Requests received from peers.", t.requests),
        ("starling_requests_busy_total", "Requests answered with busy.", t.requests_busy),
        ("starling_dials_failed_total", "Dials that failed.", t.dials_failed),
        (
            "starling_inbound_failed_total",
            "Incoming connections that failed before they were links.",
            t.inbound_failed,
        ),
        ("starling_wire_offences_total", "Offences seen on the wire.", t.offences),
    ] {
        to.counter(name, help, value);
    }
    to.gauge("starling_connections", "Connections that are up, links and strangers.", Some(t.connections));
}

fn learning(to: &mut Exposition, feed: &Feed, story: &Story) {
    let s = story.sums();
    to.counter("starling_inner_steps_total", "Optimizer steps on local data.", s.inner_steps);
    to.counter("starling_dropped_inner_steps_total", "Inner steps dropped as not finite.", s.dropped_steps);
    to.counter("starling_samples_total", "Training samples seen.", s.samples);
    to.counter("starling_train_seconds_total", "Time spent training.", s.train_seconds);
    to.counter("starling_pull_seconds_total", "Time spent pulling.", s.pull_seconds);
    to.counter("starling_mix_seconds_total", "Time spent mixing.", s.mix_seconds);
    to.counter(
        "starling_wait_seconds_total",
        "Time waited for peers at earlier outer steps.",
        s.wait_seconds,
    );
    to.counter(
        "starling_outer_seconds_total",
        "Wall time of complete outer steps, from one mix to the next, pauses left out.",
        s.outer_seconds,
    );
    to.counter("starling_mixes_total", "Outer steps mixed.", s.mixes);
    to.counter("starling_alone_outer_steps_total", "Outer steps without any peer.", s.alone);
    to.counter("starling_updates_total", "Updates published.", s.updates);
    to.counter("starling_update_bytes_total", "Bytes of published updates.", s.update_bytes);
    let own = feed.teller();
    let pulled = story.pulls().iter().filter(|((_, to), _)| to == own);
    let (updates, shards) = pulled.fold((0, 0), |sum, (_, p)| (sum.0 + p.updates, sum.1 + p.shards));
    to.counter("starling_pulled_updates_total", "Updates pulled from peers, in part or whole.", updates);
    to.counter("starling_pulled_shards_total", "Shards pulled from peers.", shards);
    to.counter("starling_pulls_failed_total", "Questions of a pull not answered as hoped.", s.pulls_failed);
    let help = "Age of pulled updates in outer steps.";
    to.histogram("starling_staleness_outer_steps", help, &AGES, story.staleness().iter());
    let offences = Offence::ALL.iter().map(|offence| {
        let count = story.refusals().get(offence.name()).copied().unwrap_or(0);
        (offence.name().to_owned(), count)
    });
    to.labelled(("starling_refusals_total", "What was refused, by reason.", "counter"), "reason", offences);
}

fn process(to: &mut Exposition) {
    let usage = Usage::of_self();
    to.gauge("starling_memory_resident_bytes", "Resident memory.", usage.rss_bytes);
    to.gauge("starling_open_files", "Open file descriptors.", usage.open_files);
    to.gauge("starling_threads", "Threads.", usage.threads);
    if let Some(seconds) = usage.cpu_seconds {
        to.counter("starling_cpu_seconds_total", "Processor time, all threads.", seconds);
    }
}
