//! A network that people start by hand, stop with Ctrl-C and start again; one that begins late; two machines.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::network::Network;
use crate::node::path;
use crate::program::{ok, run};

/// Steps that a network needs longer for than a node for starting.
const LONG: &[(&str, u32)] = &[("outer_steps", 150), ("inner_steps", 8), ("evaluate_every", 50)];

#[test]
fn three_nodes_started_by_hand_train_together_and_one_stopped_by_ctrl_c_goes_on_where_it_was() {
    let mut net = Network::found(3, LONG);
    let charter = net.charter.join("charter.toml");
    assert_eq!(ok(&["charter", "check", path(&charter)])["signers"].as_array().map(Vec::len), Some(1));
    net.start_all(&[0, 1, 2]);
    let first = net.nodes[0].address();
    net.nodes[1].until_step(5);
    net.nodes[1].until("links to both others", |node| (node.status()?["peers"].as_u64()? == 2).then_some(()));
    what_a_running_node_tells(&net);

    let asked = Instant::now();
    net.nodes[1].signal("INT");
    let ended = net.nodes[1].end();
    assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?} to stop", asked.elapsed());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let dir = net.nodes[1].dir.clone();
    assert!(ended.stdout.contains(&format!("saved in {}", dir.display())), "{ended:?}");
    assert!(ended.stdout.contains("next     starling run"), "{ended:?}");
    let stopped = run(&["--format", "json", "status", "--dir", path(&dir)]).data(4);
    assert_eq!(stopped["details"]["state"], "stopped", "{stopped}");

    let before = net.nodes[1].events().len();
    let reached = net.nodes[1].step();
    net.start(1, &["--until-done", "--bootstrap", &first]);
    let steps = |events: &[Value]| events.iter().filter_map(|e| e["step"].as_u64()).collect::<Vec<_>>();
    let after = net.nodes[1].until("its first step after the restart", |node| {
        let new = steps(&node.events()[before..]);
        (!new.is_empty()).then_some(new)
    });
    assert!(after[0] >= reached, "it was at {reached} and began at {}", after[0]);
    assert!(net.nodes[1].all_log().contains("going on from the last checkpoint"));
    everybody_ends_with_one_model(&mut net);
}

/// `status` and `peers` while the network trains.
fn what_a_running_node_tells(net: &Network) {
    let dir = path(&net.nodes[1].dir);
    let status = ok(&["status", "--dir", dir]);
    let promised = "peer_id organization run stage outer_step peers score_last bytes_sent bytes_received consensus_distance_relative state";
    for field in promised.split(' ') {
        assert!(status.get(field).is_some(), "{field} in {status}");
    }
    assert_eq!(status["peer_id"].as_str(), Some(net.nodes[1].peer.as_str()));
    assert_eq!((status["organization"].as_str(), status["peers"].as_u64()), (Some("bela press"), Some(2)));
    assert_eq!((status["is_running"].as_bool(), status["outer_steps"].as_u64()), (Some(true), Some(154)));
    let peers = ok(&["peers", "--dir", dir])["peers"].clone();
    let mut linked: Vec<&str> = peers
        .as_array()
        .unwrap()
        .iter()
        .filter(|p| p["is_linked"] == true)
        .filter_map(|p| p["name"].as_str())
        .collect();
    linked.sort_unstable();
    assert_eq!(linked, ["ada", "chidi"], "{peers}");
    for peer in peers.as_array().unwrap() {
        let is_counted = |field: &str| peer[field].as_f64() > Some(0.0);
        assert!(["bytes_pulled", "bytes_served", "behaviour"].into_iter().all(is_counted), "{peer}");
        assert!(peer["address"].as_str().is_some_and(|a| a.starts_with("/ip4/127.0.0.1/")), "{peer}");
    }
    let text = run(&["peers", "--dir", dir]);
    assert!(text.code == Some(0) && text.stdout.contains("2 known, 2 linked"), "{text:?}");
}

/// Waits for the end of all, and compares what they hold.
pub(crate) fn everybody_ends_with_one_model(net: &mut Network) {
    for node in &mut net.nodes {
        let ended = node.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("done; the model is in"), "{ended:?}");
    }
    net.check_records();
    let scores: Vec<f64> = (0..net.nodes.len()).map(|i| net.score(i)).collect();
    let spread = scores.iter().fold(0.0f64, |most, s| most.max((s - scores[0]).abs()));
    assert!(spread <= 0.01, "the nodes hold one model: {scores:?}\n{}", net.ends());
    assert!(scores[0] > 0.1, "it learned something: {scores:?}");
}

#[test]
fn a_node_that_starts_late_takes_over_the_others_state_and_keeps_up() {
    let staleness = 4;
    let changes = [LONG, &[("staleness_max", staleness)]].concat();
    let mut net = Network::found(4, &changes);
    net.start_all(&[0, 1, 2]);
    let first = net.nodes[0].address();
    net.nodes[0].until_step(3 * u64::from(staleness));
    net.start(3, &["--until-done", "--bootstrap", &first]);
    let joined = net.nodes[3].until("the event joined", |node| node.events_of("joined").into_iter().next());
    assert!(joined["peers"].as_u64() >= Some(1), "{joined}");
    assert!(joined["step"].as_u64() > Some(u64::from(staleness)), "{joined}");
    let alone = |node: &crate::node::Node| {
        let is_before = |e: &&Value| e["t"].as_f64() < joined["t"].as_f64();
        node.events_of("mixed").iter().filter(is_before).count()
    };
    assert!(alone(&net.nodes[3]) <= 3, "outer steps of its own before it joined: {}", alone(&net.nodes[3]));
    // All clocks are this machine's: where were the others when the late node mixed its third step after joining?
    let third = net.nodes[3].until("three steps after joining", |node| {
        let own: Vec<Value> =
            node.events_of("mixed").into_iter().filter(|e| e["t"].as_f64() >= joined["t"].as_f64()).collect();
        own.get(2).cloned()
    });
    let at = |node: &crate::node::Node| {
        let before = node.events_of("mixed").into_iter().filter(|e| e["t"].as_f64() <= third["t"].as_f64());
        before.filter_map(|e| e["step"].as_u64()).max().unwrap_or(0)
    };
    let others = at(&net.nodes[0]);
    assert!(
        third["step"].as_u64().unwrap() + 1 >= others,
        "the others were at {others}, the late node at {third}"
    );
    everybody_ends_with_one_model(&mut net);
}

/// What counts is the score: every node is measured on the same sentences after every outer step.
#[test]
fn a_late_sixth_node_reaches_the_median_score_within_three_outer_steps() {
    let mut net = Network::found(
        6,
        &[("outer_steps", 120), ("inner_steps", 6), ("staleness_max", 4), ("evaluate_every", 1)],
    );
    for node in 0..6 {
        std::fs::copy(&net.test, net.data(node).join("dev.conll")).unwrap();
    }
    net.start_all(&[0, 1, 2, 3, 4]);
    let first = net.nodes[0].address();
    // Late enough that the others have something to give.
    net.nodes[0]
        .until("a score worth sharing", |node| scores(node).into_iter().find(|(_, score)| *score > 0.2));
    net.start(5, &["--until-done", "--wait-links", "5", "--wait-seconds", "60", "--bootstrap", &first]);
    let joined = net.nodes[5].until("the event joined", |node| node.events_of("joined").into_iter().next());
    let own = net.nodes[5].until("its scores after three outer steps", |node| {
        let scores = scores(node);
        let after = scores.into_iter().filter(|(step, _)| Some(*step) > joined["step"].as_u64());
        let three: Vec<(u64, f64)> = after.take(3).collect();
        (three.len() == 3).then_some(three)
    });
    let (step, score) = own[2];
    for node in &mut net.nodes {
        assert_eq!(node.end().code, Some(0), "{}", node.name);
    }
    let mut others: Vec<f64> = net.nodes[..5]
        .iter()
        .map(|node| scores(node).into_iter().find(|(at, _)| *at == step).expect("every step is scored").1)
        .collect();
    others.sort_by(f64::total_cmp);
    let median = others[2];
    assert!(median > 0.15, "the others have learned something by step {step}: {others:?}");
    // The five differ among themselves while they train; the newcomer differs no more than they do.
    let spread = others[4] - others[0];
    assert!(score >= median - spread.max(0.03), "{score} at step {step}, the others {others:?}");
    net.check_records();
}

/// Outer steps and scores of a node so far.
fn scores(node: &crate::node::Node) -> Vec<(u64, f64)> {
    let events = node.events_of("evaluated");
    events.iter().filter_map(|e| Some((e["step"].as_u64()?, e["score"].as_f64()?))).collect()
}

#[test]
fn nodes_in_two_network_namespaces_train_together() {
    let Some(_wire) = Wire::lay() else {
        eprintln!("skipped: this user may not make network namespaces");
        return;
    };
    let listen =
        [format!("/ip4/{}/tcp/7171", Wire::ADDRESSES[0]), format!("/ip4/{}/tcp/7171", Wire::ADDRESSES[1])];
    let mut net = Network::found_at(&listen, &[("pulls", 1)]);
    for (node, space) in net.nodes.iter_mut().zip(Wire::spaces()) {
        node.prefix = ["ip", "netns", "exec", &space].map(str::to_owned).to_vec();
    }
    net.start_all(&[0, 1]);
    for node in &mut net.nodes {
        node.until("a link", |node| node.events_of("link_up").into_iter().next());
    }
    for node in &mut net.nodes {
        assert_eq!(node.end().code, Some(0));
        let mixed = node.events_of("mixed");
        assert_eq!(mixed.len(), 16, "{}", node.name);
        assert!(
            mixed.iter().all(|e| e["peers"] == 1),
            "{} mixed with the other one in every step",
            node.name
        );
    }
    net.check_records();
    assert!((net.score(0) - net.score(1)).abs() <= 0.01);
}

/// Two network namespaces joined by a pair of virtual Ethernet devices.
struct Wire;

impl Wire {
    const ADDRESSES: [&str; 2] = ["10.171.1.1", "10.171.1.2"];

    fn spaces() -> [String; 2] {
        // Other runs of the tests on this machine lay their own.
        ["a", "b"].map(|end| format!("starling-{}-{end}", std::process::id()))
    }

    /// `None` where the system does not allow it.
    fn lay() -> Option<Self> {
        let ip =
            |line: &str| Command::new("ip").args(line.split(' ')).output().is_ok_and(|o| o.status.success());
        let [a, b] = Self::spaces();
        let wire = ip(&format!("netns add {a}")).then_some(Self)?;
        let laid = ip(&format!("netns add {b}"))
            && ip(&format!("link add veth-a netns {a} type veth peer name veth-b netns {b}"))
            && [(&a, "veth-a", 0), (&b, "veth-b", 1)].iter().all(|(space, device, end)| {
                ip(&format!("-n {space} address add {}/24 dev {device}", Self::ADDRESSES[*end]))
                    && ip(&format!("-n {space} link set {device} up"))
                    && ip(&format!("-n {space} link set lo up"))
            });
        laid.then_some(wire)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for space in Self::spaces() {
            // The devices go with their namespaces.
            drop(Command::new("ip").args(["netns", "del", &space]).output());
        }
    }
}
