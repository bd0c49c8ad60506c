//! Nodes that lack what a machine gives: room on the disk, file handles, memory, threads.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::network::Network;
use crate::node::Node;
use crate::program::LIMIT;

/// Puts a setting in force in a node's file.
fn set(node: &Node, line: &str, value: &str) {
    let file = node.dir.join("starling.toml");
    let text = fs::read_to_string(&file).expect("init writes settings");
    let start = format!("#{line} = ");
    let found =
        text.lines().find(|l| l.starts_with(&start)).expect("the commented settings name it").to_owned();
    fs::write(&file, text.replace(&found, &format!("{line} = {value}"))).expect("it can be written");
}

/// Status and body of a page of the node's own server, once it serves.
fn page(node: &Node, name: &str) -> Option<(u16, String)> {
    let status = node.status()?;
    let url = status["dashboard"].as_str()?.strip_prefix("http://")?.trim_end_matches('/').to_owned();
    let mut stream = TcpStream::connect(&url).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    write!(stream, "GET {name} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some((answer.get(9..12)?.parse().ok()?, answer))
}

#[test]
fn a_node_without_room_pauses_says_so_and_goes_on_by_itself() {
    let mut net = Network::found(2, &[("outer_steps", 20_000), ("pulls", 1), ("patience_ms", 500)]);
    for (line, value) in [("disk_max", "\"32 MiB\""), ("listen", "\"127.0.0.1:0\"")] {
        set(&net.nodes[1], line, value);
    }
    net.start_all(&[0, 1]);
    net.nodes[1].until_step(2);
    let ready = |node: &Node| page(node, "/readyz").filter(|(status, _)| *status == 200);
    net.nodes[1].until("ready", ready);
    let filler = net.nodes[1].dir.join("filler");
    fs::write(&filler, vec![1; 30 << 20]).unwrap();

    let (_, why) = net.nodes[1].until("not ready", |node| page(node, "/readyz").filter(|(s, _)| *s == 503));
    assert!(why.contains("node.disk_max"), "{why}");
    let status = net.nodes[1].until("a pause", |node| {
        node.status().filter(|status| status["state"] == "paused: no room on the disk")
    });
    assert!(status["disk_used_bytes"].as_u64() > Some(30 << 20) && status["disk_max_bytes"] == 32 << 20);
    let at = net.nodes[1].step();
    let there = net.nodes[0].step();
    net.nodes[0].until_step(there + 5);
    assert_eq!(net.nodes[1].step(), at, "it stands while the other goes on");
    assert!(page(&net.nodes[1], "/healthz").is_some_and(|(status, _)| status == 200), "and is alive");
    let metrics = page(&net.nodes[1], "/metrics").expect("it serves").1;
    assert!(metrics.contains("\nstarling_disk_full 1\n"), "{metrics}");

    // Killed in this state it finds its last state intact, and pauses again.
    net.nodes[1].kill();
    let other = net.nodes[0].address();
    net.start(1, &["--until-done", "--bootstrap", &other]);
    net.nodes[1].until("not ready again", |node| page(node, "/readyz").filter(|(s, _)| *s == 503));
    assert!(net.nodes[1].all_log().contains("going on from the last checkpoint"));

    fs::remove_file(&filler).unwrap();
    net.nodes[1].until_step(at + 3);
    net.nodes[1].until("ready again", ready);
    for (kind, least) in [("no_room", 2), ("room", 1)] {
        assert!(net.nodes[1].events_of(kind).len() >= least, "{kind}");
    }
    net.check_records();
}
