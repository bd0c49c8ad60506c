//! Nodes killed in the middle of a run: the others go on, and the killed come back.

use serde_json::Value;

use crate::by_hand::everybody_ends_with_one_model;
use crate::network::Network;
use crate::node::path;

#[test]
fn any_node_may_be_killed_the_first_included_and_comes_back_from_its_checkpoint() {
    let mut net = Network::found(3, &[("outer_steps", 700), ("inner_steps", 8), ("evaluate_every", 100)]);
    net.start_all(&[0, 1, 2]);
    let first = net.nodes[0].address();
    for victim in [0, 2] {
        net.nodes[victim].until("a committed checkpoint and a few steps", |node| {
            (node.dir.join("state/CURRENT").exists() && node.step() >= 5).then_some(())
        });
        net.nodes[victim].kill();
        let reached = net.nodes[victim].step();
        let lines = net.nodes[victim].events().len();
        for other in (0..3).filter(|other| *other != victim) {
            let at = net.nodes[other].step();
            net.nodes[other].until_step(at + 5);
        }
        // The first one is started as it was: without anybody's address. The others find it.
        let bootstrap = ["--until-done", "--bootstrap", first.as_str()];
        net.start(victim, if victim == 0 { &bootstrap[..1] } else { &bootstrap });
        let resumed = net.nodes[victim].until("mixing with the others again", |node| {
            let new = node.events().split_off(lines);
            new.into_iter()
                .find(|e| (e["event"] == "mixed" || e["event"] == "joined") && e["peers"].as_u64() > Some(0))
        });
        assert!(resumed["step"].as_u64() >= Some(reached), "{resumed} after {reached}");
        let log = net.nodes[victim].all_log();
        let found = log.lines().rev().find_map(|l| l.split_once("going on from the last checkpoint outer="));
        let from: u64 = found.expect("it resumed").1.trim().parse().unwrap();
        assert!((1..=reached).contains(&from), "from {from}, killed at {reached}");
    }
    everybody_ends_with_one_model(&mut net);
    for node in &net.nodes {
        let status: Value = node.status().unwrap();
        assert_eq!(status["outer_step"], 704, "{}", path(&node.dir));
    }
}

/// With the settings `starling init` leaves: a checkpoint a minute, but the first with the first outer step.
#[test]
fn a_node_killed_in_its_first_minute_goes_on_from_its_first_step() {
    let mut net = Network::found(2, &[("outer_steps", 40), ("pulls", 1)]);
    let settings = net.nodes[1].dir.join("starling.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, text.replace("checkpoint_interval = \"1 s\"", "checkpoint_interval = \"1 d\""))
        .unwrap();
    net.start_all(&[0, 1]);
    let first = net.nodes[0].address();
    net.nodes[1].until("a committed checkpoint and two steps", |node| {
        (node.dir.join("state/CURRENT").exists() && node.step() >= 2).then_some(())
    });
    net.nodes[1].kill();
    net.start(1, &["--until-done", "--bootstrap", &first]);
    for node in &mut net.nodes {
        let ended = node.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    assert!(net.nodes[1].all_log().contains("going on from the last checkpoint"));
    net.check_records();
    assert!((net.score(0) - net.score(1)).abs() <= 0.01);
}
