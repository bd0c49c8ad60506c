//! Members of unlike sizes that learn from each other's predictions and answer each other's queries: one of them lies,
//! one is killed.

use serde_json::Value;

use crate::liar::Liar;
use crate::network::Network;
use crate::node::path;
use crate::program::{ok, run};

/// Sentences of the built-in corpus's kind.
const TEXTS: &str = "Ada Lovelace met the board of Halden Bank in Oslo on Monday .";

/// What an answer says of a node.
fn member(net: &Network, said: &Value, node: usize) -> Value {
    let peer = net.nodes[node].peer.as_str();
    let mut all = said["members"].as_array().expect("members").iter();
    all.find(|m| m["peer"] == peer).unwrap_or_else(|| panic!("{peer} in {said}")).clone()
}

#[test]
fn members_of_unlike_models_decide_together_though_one_lies_one_refuses_and_one_is_killed() {
    let mut net = Network::found_unlike(5);
    let (ada, dana, emre) = (0, 3, 4);
    let dir = net.nodes[ada].dir.clone();
    let small = ["--variant", "small", "--answer-queries"];
    let wait = ["--wait-links", "3", "--wait-seconds", "60"];
    net.start(ada, &[&wait[..], &["--variant", "primary"]].concat());
    let first = net.nodes[ada].address();
    for node in [1, 2] {
        net.start(node, &[&wait[..], &small, &["--bootstrap", &first]].concat());
    }
    // Its owner lets nobody ask.
    net.start(dana, &[&wait[..], &["--variant", "small", "--bootstrap", &first]].concat());
    for node in 0..4 {
        net.nodes[node].until("the end of its training", |node| (node.step() >= 6).then_some(()));
    }
    let _liar = Liar::start(&net, emre, &first);
    net.nodes[ada].until("links to all four", |node| (node.status()?["peers"].as_u64()? == 4).then_some(()));

    let ask = |least: &str| {
        run(&["--format", "json", "predict", "--ask", "peers", "--dir", path(&dir), "--least", least, TEXTS])
    };
    let said = ask("3").data(0);
    let weight = |node| member(&net, &said, node)["weight"].as_f64().unwrap_or(f64::NAN);
    for honest in [1, 2] {
        let found = member(&net, &said, honest);
        assert_eq!((&found["outcome"], &found["step"]), (&"answered".into(), &6.into()), "{said}");
        assert_eq!(found["is_out_of_line"], false, "{said}");
        assert!(found["latency_ms"][0].as_f64() > Some(0.0), "{said}");
        assert!(weight(honest) > 4.0 * weight(emre), "{said}");
    }
    assert_eq!(member(&net, &said, emre)["is_out_of_line"], true, "{said}");
    assert_eq!(member(&net, &said, dana)["outcome"], "does not answer queries", "{said}");
    // The liar is certain of one label for every word; together they are not of its mind.
    let votes = said["answers"][0]["votes"].as_array().expect("votes").clone();
    assert_eq!(votes.len(), 3, "{said}");
    let lie = votes.iter().find(|v| v["peer"] == net.nodes[emre].peer.as_str()).expect("the liar votes");
    let words = said["answers"][0]["words"].as_array().map_or(0, Vec::len);
    let tags = &said["answers"][0]["tags"];
    assert!(words > 5 && tags != &lie["labels"], "{said}");
    // Nobody's answer was refused, so nobody was blamed.
    assert!(net.nodes[ada].events_of("offence").is_empty());
    assert_eq!(net.nodes[1].events_of("queried").len(), 1);

    // The node's own model, which it saves at the end of its run, the notes last.
    let own = dir.join("model");
    let notes = own.join("README.md");
    net.nodes[ada].until("its model", |_| notes.is_file().then_some(()));
    let here = run(&[
        "--format",
        "json",
        "predict",
        "--ask",
        "peers",
        "--with",
        path(&own),
        "--dir",
        path(&dir),
        TEXTS,
    ]);
    let here = here.data(0);
    assert_eq!(here["answers"][0]["votes"].as_array().map(Vec::len), Some(4), "{here}");
    assert_eq!((&here["members"][0]["name"], &here["members"][0]["peer"]), (&"model".into(), &Value::Null));
    assert!(here["members"][0]["weight"].as_f64() > Some(0.05), "{here}");

    let fused = fused_over_the_network(&net, &own);
    net.nodes[2].kill();
    net.nodes[ada].until("the loss of a link", |node| (node.status()?["peers"].as_u64()? == 3).then_some(()));
    let few = ask("3").data(4);
    assert_eq!(few["what"], "expected answers of at least 3 members, found 2", "{few}");
    assert!(few["why"].as_str().is_some_and(|why| why.contains("chidi: not linked")), "{few}");
    let two = ask("2").data(0);
    assert_eq!(member(&net, &two, 2)["outcome"], "not linked", "{two}");

    // The weight of the member that is gone is shared out among the others; the liar gets none of it.
    let explained = ok(&["predict", "--model", path(&fused), "--explain-members", TEXTS]);
    let members = explained[0]["members"].as_array().expect("members");
    assert_eq!(members[2]["outcome"], "not linked", "{explained}");
    assert!(members[2]["weight"].is_null() && members[2].get("votes").is_none(), "{explained}");
    let sum: f64 = members.iter().filter_map(|m| m["weight"].as_f64()).sum();
    assert!((sum - 1.0).abs() < 1e-6 && members[3]["weight"].as_f64() < Some(0.1), "{explained}");
    let shown = run(&["predict", "--model", path(&fused), TEXTS]);
    assert!(shown.stdout.contains("has no part in this: not linked"), "{shown:?}");

    let stopped = ok(&["status", "--dir", path(&dir)]);
    assert!(stopped["model"].as_str().is_some_and(|m| m.starts_with("primary, ")), "{stopped}");
    let small = ok(&["status", "--dir", path(&net.nodes[1].dir)]);
    assert!(small["model"].as_str().is_some_and(|m| m.starts_with("small, ")), "{small}");
}

/// Fuses a model on this machine with those of two honest members, of one that refuses and of one that lies; answers the
/// folder of the fused model.
fn fused_over_the_network(net: &Network, own: &std::path::Path) -> std::path::PathBuf {
    let (ada, dana, emre) = (0, 3, 4);
    let fused = net.at("fused");
    let seat = |node: usize| format!("peer:{}", net.nodes[node].peer);
    let members = [path(own).to_owned(), seat(1), seat(2), seat(dana), seat(emre)].join(",");
    let fuse = |least: &str| {
        run(&[
            "--format",
            "json",
            "fuse",
            "--members",
            &members,
            "--through",
            path(&net.nodes[ada].dir),
            "--calibrate",
            path(&net.test),
            "--rule",
            "simplex",
            "--margin",
            "1",
            "--least",
            least,
            "--out",
            path(&fused),
        ])
    };
    let few = fuse("5").data(4);
    assert!(few["why"].as_str().is_some_and(|why| why.contains("does not answer queries")), "{few}");
    let made = fuse("4").data(0);
    assert_eq!(made["left_out"][0]["why"], "does not answer queries", "{made}");
    let all = made["members"].as_array().expect("members");
    assert_eq!(all.len(), 4, "{made}");
    assert_eq!(all[1]["peer"], net.nodes[1].peer.as_str(), "{made}");
    // Certain of one label for every word, the liar is far from the truth in almost all of them.
    assert!(all[3]["weight"].as_f64() < Some(0.1), "{made}");
    assert!(all[3]["quality"]["squared"].as_f64() > all[1]["quality"]["squared"].as_f64(), "{made}");
    fused
}

#[test]
fn asking_where_it_cannot_be_done_says_why_and_what_to_do() {
    let net = Network::found(2, &[]);
    let dir = path(&net.nodes[0].dir);
    let ask = |whom: &str| run(&["--format", "json", "predict", "--ask", whom, "--dir", dir, "a text"]);
    let nobody = ask("peers").data(4);
    assert_eq!(nobody["what"], "there is no node to ask through", "{nobody}");
    assert!(nobody["remedy"].as_str().is_some_and(|r| r.contains("starling run --dir")), "{nobody}");
    assert_eq!(ask("nonsense").code, Some(2));
    let both = run(&["predict", "--ask", "peers", "--model", "x", "--dir", dir, "a text"]);
    assert_eq!(both.code, Some(2), "{both:?}");
    let neither = run(&["predict", "a text"]);
    assert!(neither.code == Some(2) && neither.stderr.contains("--model"), "{neither:?}");
}
