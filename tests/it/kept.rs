//! What is kept of a node and brought back, and what it tells those who look after it.

use crate::network::Network;
use crate::node::{Node, path};
use crate::program::{ok, run};

#[test]
fn a_restored_node_does_not_sign_before_it_is_told_how_far_its_key_went() {
    let mut net = Network::found(2, &[("outer_steps", 300), ("inner_steps", 8), ("pulls", 1)]);
    net.start_all(&[0, 1]);
    let first = net.nodes[0].address();
    net.nodes[1]
        .until("a committed checkpoint", |node| node.dir.join("state/CURRENT").exists().then_some(()));
    let (dir, backup, again) = (net.nodes[1].dir.clone(), net.at("backup"), net.at("again"));
    // While it runs.
    let made = ok(&["backup", "create", "--dir", path(&dir), "--out", path(&backup)]);
    assert_eq!(ok(&["backup", "verify", path(&backup)])["files"], made["files"]);
    let at = net.nodes[1].step();
    net.nodes[1].until_step(at + 5);
    // Its status is told once a second; steps are faster here.
    net.nodes[1].until("its status to say that it is well", |node| {
        let found = run(&["health", "--dir", path(&node.dir), "--peers", "1"]);
        (found.code == Some(0) && node.status()?["outer_step"].as_u64() >= Some(at)).then_some(())
    });
    let well = ok(&["health", "--dir", path(&dir), "--peers", "1"]);
    assert!(well["outer_step"].as_u64() >= Some(at), "{well}");
    assert_eq!(run(&["health", "--dir", path(&dir), "--peers", "9"]).code, Some(4));
    net.nodes[1].kill();
    assert_eq!(run(&["health", "--dir", path(&dir)]).code, Some(4));
    let signed = net.nodes[1].events_of("published").iter().filter_map(|e| e["step"].as_u64()).max().unwrap();

    ok(&["backup", "restore", path(&backup), "--dir", path(&again)]);
    let (charter, data) = (net.charter.clone(), net.data(1));
    let start = ["--charter", path(&charter), "--data", path(&data), "--bootstrap", &first, "--until-done"];
    let refused = run(&[&["run", "--dir", path(&again)], &start[..]].concat());
    assert!(refused.code == Some(5) && refused.stderr.contains("backup accept"), "{refused:?}");
    let settings = again.join("starling.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let named = format!("charter = \"{}\"", path(&charter));
    std::fs::write(&settings, text.replace("#charter = \"charter.toml\"", &named)).unwrap();
    ok(&["backup", "accept", "--dir", path(&again), "--after", &signed.to_string()]);
    let twice = run(&["backup", "accept", "--dir", path(&again), "--after", "1"]);
    assert_eq!(twice.code, Some(5), "{twice:?}");
    let peer = net.nodes[1].peer.clone();
    let mut restored = Node::at(net.at("").as_path(), "again", &peer);
    restored.start(&start);
    let next = restored.until("a published step", |node| node.events_of("published").into_iter().next());
    assert!(next["step"].as_u64() > Some(signed), "{next} after {signed}");
    restored.until("a mix with the other", |node| {
        node.events_of("mixed").into_iter().find(|e| e["peers"].as_u64() == Some(1))
    });
    assert!(net.nodes[0].events_of("banned").is_empty(), "the other one has nothing against it");

    let key = std::fs::read_to_string(again.join("identity.key")).unwrap();
    let seed = key.lines().find_map(|line| line.strip_prefix("seed ")).unwrap();
    let bundle = net.at("bundle.json");
    run(&["doctor", "--dir", path(&again), "--bundle", path(&bundle)]);
    let text = std::fs::read_to_string(&bundle).unwrap();
    assert!(!text.contains(seed), "the bundle holds no secret");
    for part in ["\"checks\"", "\"settings\"", "published", "identity.key", &peer] {
        assert!(text.contains(part), "{part} is in the bundle");
    }

    restored.signal("TERM");
    assert_eq!(restored.end().code, Some(0));
    let before = restored.status().unwrap()["outer_step"].as_u64();
    let back = ok(&["model", "rollback", "--dir", path(&again)]);
    assert!(back["outer_step"].as_u64() < before, "{back} before {before:?}");
    let none = run(&["model", "rollback", "--dir", path(&again)]);
    assert!(none.code == Some(1) && none.stderr.contains("no saved state before"), "{none:?}");
}

#[test]
fn shells_and_manuals_know_every_verb() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]);
        assert!(script.code == Some(0) && script.stdout.contains("backup"), "{shell}");
    }
    let root = tempfile::tempdir().unwrap();
    let pages = root.path().join("man");
    assert!(ok(&["man", "--out", path(&pages)])["pages"].as_u64() > Some(30));
    let page = std::fs::read_to_string(pages.join("starling-backup-accept.1")).unwrap();
    assert!(page.contains("outer step"), "{page}");
    assert_eq!(run(&["man", "--out", path(&pages)]).code, Some(5));
}
