//! Nodes that lack what a machine gives: room on the disk, file handles, memory, threads.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::network::Network;
use crate::node::{Node, path};
use crate::program::{Finished, LIMIT, command, wait};

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

/// What a node is started through so that it has less of something, as `ulimit -n 48`.
fn limited(limit: &str) -> Vec<String> {
    ["sh", "-c", &format!("{limit} && exec \"$0\" \"$@\"")].map(str::to_owned).to_vec()
}

/// Strangers take every file handle: connections are not accepted, files not opened. What must be durable waits for them.
#[test]
fn a_node_without_file_handles_lives_and_goes_on_when_there_are_some() {
    const HANDLES: usize = 48;
    let mut net = Network::found(2, &[("outer_steps", 20_000), ("pulls", 1), ("patience_ms", 500)]);
    net.nodes[0].prefix = limited(&format!("ulimit -n {HANDLES}"));
    net.start_all(&[0, 1]);
    net.nodes[0].until_step(2);
    let address: SocketAddr = {
        let text = net.nodes[0].address();
        let port = text.split('/').nth(4).expect("an address with a port").to_owned();
        format!("127.0.0.1:{port}").parse().expect("a port")
    };
    let process = net.nodes[0].status().expect("it runs")["process"].clone();
    let handles = || fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count);
    let mut strangers = Vec::new();
    let there = net.nodes[1].step();
    // They are hung up on after a while, so more come until the others have gone on without the node.
    net.nodes[1].until("all handles taken and five steps more", |other| {
        let mut is_out = false;
        for _ in 0..HANDLES {
            strangers.extend(TcpStream::connect_timeout(&address, Duration::from_secs(1)));
            is_out |= handles() >= HANDLES;
        }
        (is_out && other.step() >= there + 5).then_some(())
    });
    let at = net.nodes[0].step();
    drop(strangers);
    net.nodes[0].until_step(at + 5);
    net.nodes[0].signal("INT");
    let ended = net.nodes[0].end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    net.check_records();
}

/// Runs a node's process to its end, started through something that gives it less.
fn ends(net: &Network, through: &[&str]) -> Finished {
    let (dir, charter, data) = (&net.nodes[0].dir, &net.charter, net.data(0));
    let args = ["run", "--dir", path(dir), "--charter", path(charter), "--data", path(&data), "--until-done"];
    let through: Vec<String> = through.iter().map(|&word| word.to_owned()).collect();
    let (out, err) = (net.at("starved.out"), net.at("starved.err"));
    let file = |path: &Path| fs::File::create(path).expect("a new folder can be written");
    let mut child = command(&through, &args)
        // A backtrace is memory, too: without any left, the process waits for itself.
        .env_remove("RUST_BACKTRACE")
        .stdout(file(&out))
        .stderr(file(&err))
        .spawn()
        .expect("the program and util-linux are there");
    let status = wait(&mut child, "a starved node to end");
    let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).expect("it was made")).into_owned();
    Finished { code: status.code(), stdout: read(&out), stderr: read(&err) }
}

/// A node with a saved state that does not run.
fn saved() -> Network {
    let mut net = Network::found(1, &[("outer_steps", 20_000)]);
    net.start(0, &[]);
    net.nodes[0].until_step(3);
    net.nodes[0].until("a saved state", |node| node.dir.join("state/CURRENT").exists().then_some(()));
    net.nodes[0].signal("INT");
    assert_eq!(net.nodes[0].end().code, Some(0));
    net
}

/// The state of before is there, and the node goes on from it.
fn goes_on(net: &mut Network) {
    let at = net.nodes[0].step();
    net.start(0, &[]);
    net.nodes[0].until_step(at + 2);
    assert!(net.nodes[0].all_log().contains("going on from the last checkpoint"));
}

#[test]
fn a_node_without_threads_says_so_and_ends_before_it_has_done_anything() {
    let mut net = saved();
    let by = |who: &str| {
        let folder = net.at("");
        let done = Command::new("chown").args(["-R", who, path(&folder)]).status();
        assert!(done.is_ok_and(|status| status.success()), "chown {who}");
    };
    let id = Command::new("id").arg("-u").output().expect("there is an id").stdout;
    // The limit is one of a user, and binds everybody but root.
    let ended = if id.starts_with(b"0\n") {
        by("65534:65534");
        let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "prlimit", "--nproc=2"];
        let ended = ends(&net, &user);
        by("0:0");
        ended
    } else {
        ends(&net, &["prlimit", "--nproc=1"])
    };
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("threads it needs") && !ended.stderr.contains("panicked"), "{ended:?}");
    goes_on(&mut net);
}

/// Whatever it gets of memory, it ends or goes on, and never loses what was saved. Memory that is not there ends a process.
#[test]
fn a_node_without_memory_ends_and_its_state_is_intact() {
    let mut net = saved();
    let mut starved = 0;
    for mib in [24, 48, 64] {
        let limit = format!("ulimit -v {} && exec \"$0\" \"$@\"", mib << 10);
        let ended = ends(&net, &["timeout", "--signal=INT", "10", "sh", "-c", &limit]);
        starved += u32::from(!matches!(ended.code, Some(0 | 124)));
    }
    assert!(starved > 0, "24 MiB of addresses are too few for any node");
    goes_on(&mut net);
}
