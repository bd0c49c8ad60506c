//! Members search for settings together, each on its own data, through their running nodes.

use serde_json::Value;

use crate::network::Network;
use crate::node::path;
use crate::program::run;

/// Two trials at each of the last rungs, four at the first: seven in all.
const SEARCH: [&str; 8] = ["--trials", "4", "--keep-one-in", "2", "--rows", "64", "--wait-members", "1"];

fn search(net: &Network, node: usize) -> Value {
    let (out, data) = (net.at(&format!("search-{node}")), net.data(node));
    let through = path(&net.nodes[node].dir);
    let mut args = vec!["--format", "json", "tune", "--charter", path(&net.charter), "--data", path(&data)];
    args.extend(["--out", path(&out), "--through", through]);
    args.extend(SEARCH);
    run(&args).data(0)
}

#[test]
fn two_members_share_out_a_search_and_find_the_same() {
    let mut net = Network::found(2, &[("outer_steps", 400)]);
    let wait = ["--wait-links", "1", "--wait-seconds", "60"];
    net.start(0, &wait);
    let first = net.nodes[0].address();
    net.start(1, &[&wait[..], &["--bootstrap", &first]].concat());
    for node in &mut net.nodes {
        node.until("a link", |node| (node.status()?["peers"].as_u64()? == 1).then_some(()));
    }
    let (one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| search(&net, 1));
        (search(&net, 0), other.join().expect("the other search ends"))
    });
    let made = |found: &Value| found["trials"].as_array().map_or(0, Vec::len);
    assert_eq!(made(&one) + made(&other), 7, "{one}\n{other}");
    let settled = |found: &Value| {
        let all = found["together"].as_array().expect("trials of all").clone();
        all.iter().map(|t| (t["trial"].clone(), t["rung"].clone(), t["score"].clone())).collect::<Vec<_>>()
    };
    assert_eq!((settled(&one).len(), settled(&one)), (7, settled(&other)));
    assert_eq!(one["best"]["trial"], other["best"]["trial"]);
    for (found, name) in [(&one, "bela"), (&other, "ada")] {
        let others = 7 - made(found);
        let named: &[&str] = if others > 0 { &[name] } else { &[] };
        assert_eq!(found["members"].as_array().into_iter().flatten().collect::<Vec<_>>(), named);
        let file = found["file"].as_str().expect("a file");
        assert!(std::fs::read_to_string(file).is_ok_and(|text| text.contains("[train]")), "{file}");
    }
    // Whoever asks again gets what was found, without training.
    let again = search(&net, 0);
    assert_eq!((made(&again), &again["best"]), (made(&one), &one["best"]));
    for node in &mut net.nodes {
        node.signal("INT");
        assert_eq!(node.end().code, Some(0));
    }
    let out = run(&[
        "--format",
        "json",
        "tune",
        "--charter",
        path(&net.charter),
        "--data",
        path(&net.data(0)),
        "--out",
        path(&net.at("alone")),
        "--through",
        path(&net.nodes[0].dir),
    ]);
    assert_eq!(out.data(4)["what"], "there is no node to search through");
}
