//! A node's recorded life, lived again; and its ledger, read by somebody else.

use crate::network::Network;
use crate::node::path;
use crate::program::{ok, run};

#[test]
fn a_recorded_node_does_the_same_again_and_its_ledger_holds() {
    let mut net = Network::found(2, &[("outer_steps", 6), ("settle_steps", 2), ("pulls", 1)]);
    let journal = net.at("bela.journal");
    net.start(0, &["--until-done", "--wait-links", "1", "--wait-seconds", "60"]);
    let first = net.nodes[0].address();
    let recorded = ["--until-done", "--wait-links", "1", "--bootstrap", &first, "--journal", path(&journal)];
    net.start(1, &recorded);
    for node in &mut net.nodes {
        assert_eq!(node.end().code, Some(0));
    }
    let (ada, bela) = (net.nodes[0].dir.clone(), net.nodes[1].dir.clone());
    let again = ok(&["replay", path(&journal), "--dir", path(&bela)]);
    assert_eq!(
        (again["is_same"].as_bool(), again["is_torn"].as_bool()),
        (Some(true), Some(false)),
        "{again}"
    );
    assert_eq!((again["outer_step"].as_u64(), again["state"].as_str()), (Some(8), Some("done")));
    assert_eq!(again["events"]["mixed"].as_u64(), Some(net.nodes[1].events_of("mixed").len() as u64));
    assert!(again["marks"].as_u64() >= Some(1) && again["inputs"].as_u64() > Some(50), "{again}");

    run(&["--format", "json", "replay", path(&journal), "--dir", path(&ada)]).data(5);
    let bytes = std::fs::read(&journal).unwrap();
    // An input is changed in the middle: the outputs are others, or the entry makes no sense.
    let changed = net.at("changed.journal");
    let mut differing = 0;
    for at in (1..8).map(|part| bytes.len() * part / 8) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&changed, bytes).unwrap();
        let ended = run(&["replay", path(&changed), "--dir", path(&bela)]);
        assert!(!ended.stderr.contains("panicked"), "{ended:?}");
        differing += u32::from(ended.code != Some(0));
    }
    assert!(differing > 0);

    let verified = ok(&["audit", "ledger", "verify", path(&ada), path(&bela)]);
    for ledger in verified["ledgers"].as_array().unwrap() {
        assert_eq!(ledger["witness"]["contradicted"].as_array().map(Vec::len), Some(0), "{ledger}");
        assert_eq!(ledger["witness"]["unknown"], 0, "{ledger}");
        assert!(ledger["witness"]["confirmed"].as_u64() >= Some(6), "{ledger}");
    }
    let lineage = ok(&["audit", "lineage", path(&ada)]);
    let shares = lineage["runs"][0]["shares"].as_array().unwrap();
    assert_eq!(
        (shares.len(), shares[0]["peer_id"].as_str()),
        (1, Some(net.nodes[1].peer.as_str())),
        "{lineage}"
    );

    let ledger = std::fs::read_dir(&ada)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|p| p.file_name().unwrap().to_string_lossy().starts_with("ledger-"))
        .unwrap();
    let good = std::fs::read(&ledger).unwrap();
    for at in [100, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&ledger, bad).unwrap();
        let refused = run(&["--format", "json", "audit", "ledger", "verify", path(&ada)]).data(5);
        assert!(refused["what"].is_string(), "{refused}");
    }
    std::fs::write(&ledger, &good[..good.len() - 3]).unwrap();
    run(&["--format", "json", "audit", "ledger", "verify", path(&ada)]).data(5);
}
