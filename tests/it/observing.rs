//! A node that watches others train.

use crate::network::Network;
use crate::node::{lines, path};

#[test]
fn an_observer_measures_the_models_and_neither_trains_nor_holds_anybody_up() {
    let mut network = Network::found(3, &[]);
    let charter = network.charter.clone();
    network.nodes[2].start_verb("observe", &["--charter", path(&charter)]);
    // Any peer will do to begin with, one that does not train as well.
    let address = network.nodes[2].address();
    for node in 0..2 {
        let terms = ["--until-done", "--wait-links", "2", "--wait-seconds", "60", "--bootstrap", &address];
        network.start(node, &terms);
    }
    for node in 0..2 {
        let ended = network.nodes[node].end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    let trainers: Vec<String> = network.nodes[..2].iter().map(|n| n.peer.clone()).collect();
    let observer = &mut network.nodes[2];
    let topology = lines(&observer.dir.join("topology.jsonl"));
    let distances: Vec<_> = topology.iter().filter(|line| line["peers"].as_array().is_some()).collect();
    assert!(!distances.is_empty(), "two models were seen: {:?}", observer.events());
    for line in distances {
        let named: Vec<_> = line["peers"].as_array().unwrap().iter().filter_map(|p| p.as_str()).collect();
        assert!(named.len() == 2 && trainers.iter().all(|t| named.contains(&t.as_str())), "{line}");
        assert!(line["distances"][0].as_f64().unwrap() > 0.0, "{line}");
    }
    let seen: Vec<_> = observer.events_of("announced");
    for trainer in &trainers {
        assert!(seen.iter().any(|e| e["peer"] == trainer.as_str()), "{trainer} was seen to publish");
        assert!(observer.events_of("card").iter().any(|e| e["peer"] == trainer.as_str()), "and to score");
    }
    observer.signal("INT");
    assert_eq!(observer.end().code, Some(0));
    for kind in ["trained", "published", "pulled", "mixed", "banned"] {
        assert!(observer.events_of(kind).is_empty(), "an observer takes no part: {kind}");
    }
    let me = observer.peer.clone();
    for node in &network.nodes[..2] {
        assert!(node.events_of("pulled").iter().all(|e| e["peer"] != me.as_str()), "nothing comes from it");
        assert!(
            node.events_of("offence").is_empty(),
            "and it breaks no rule: {:?}",
            node.events_of("offence")
        );
    }
}
