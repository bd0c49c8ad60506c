//! `starling testnet` as people run it: one command, real processes, one report.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::network::recipe;
use crate::node::{lines, path};
use crate::program::{command, ok, run};

fn fields(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn a_testnet_ends_in_agreement_and_its_report_says_what_was_measured() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("net");
    let recipe = recipe(root.path(), &[("outer_steps", 24), ("inner_steps", 12)]);
    let ended =
        run(&["testnet", "--recipe", path(&recipe), "--nodes", "3", "--dir", path(&dir), "--format", "json"]);
    let data = ended.data(0);
    assert_eq!(ended.stdout.trim_end().lines().count(), 1, "standard output carries the result only");
    // The contract with scripts; more fields may come.
    let promised = "seed recipe metric nodes score_pooled consensus_distance_relative compression rejected_shards wall_s report_dir";
    let of_node = "name organization samples score_alone score_together bytes_sent bytes_received staleness_p95 outer_steps";
    assert!(fields(&data).is_superset(&promised.split(' ').collect()), "{data}");
    let nodes = data["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("a number: {value} in {data}"));
    let together: Vec<f64> = nodes.iter().map(|n| number(&n["score_together"])).collect();
    for node in nodes {
        assert!(fields(node).is_superset(&of_node.split(' ').collect()), "{node}");
        assert_eq!(node["outer_steps"], 28, "24 with training and 4 to settle");
        let update = 26_000.0 * 24.0;
        assert!(number(&node["bytes_sent"]) > update && number(&node["bytes_received"]) > update, "{node}");
        assert!((0.0..1.0).contains(&number(&node["score_alone"])), "{node}");
    }
    let (low, high) = together.iter().fold((1.0f64, 0.0f64), |(l, h), s| (l.min(*s), h.max(*s)));
    assert!(high - low <= 0.01, "the nodes hold one model after settling: {together:?}");
    assert!(low > 0.1, "it learned something: {together:?}");
    assert!(number(&data["consensus_distance_relative"]) < 1e-3, "{data}");
    assert!(number(&data["compression"]) > 2.0, "int8 with a bf16 end is smaller than f32: {data}");
    assert_eq!(data["rejected_shards"], 0);
    the_files_of_a_run_are_there(&dir);
    the_model_answers(&dir, together[0]);
}

#[test]
fn nodes_that_train_while_updates_travel_do_every_inner_step_and_end_with_one_model() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("net");
    let recipe = recipe(root.path(), &[("outer_steps", 24), ("inner_steps", 12)]);
    let where_to = ["--nodes", "3", "--dir", path(&dir), "--no-compare"];
    let data = ok(&[&["testnet", "--recipe", path(&recipe), "--overlap"][..], &where_to].concat());
    assert!(data["consensus_distance_relative"].as_f64() < Some(1e-3), "{data}");
    assert_eq!(data["rejected_shards"], 0, "{data}");
    for node in data["nodes"].as_array().unwrap() {
        assert!(node["score_together"].as_f64() > Some(0.1), "it learned something: {node}");
    }
    let shown = run(&["charter", "show", path(&dir.join("charter/charter.toml"))]);
    assert!(shown.stdout.contains("24 outer steps of 12 inner steps that go on while"), "{shown:?}");
    let trained = lines(&dir.join("events.jsonl"));
    let steps: Vec<u64> = trained
        .iter()
        .filter(|e| e["event"] == "trained")
        .filter_map(|e| e["inner_steps"].as_u64())
        .collect();
    assert_eq!(steps.iter().filter(|steps| **steps == 12).count(), 3 * 24, "{steps:?}");
}

#[test]
fn nodes_of_two_sizes_trade_predictions_for_a_small_part_of_the_bytes_of_parameters() {
    let root = tempfile::tempdir().unwrap();
    let (dir, recipe) = (root.path().join("net"), root.path().join("unlike.toml"));
    std::fs::write(&recipe, include_str!("recipes/unlike.toml")).unwrap();
    let data = ok(&["testnet", "--recipe", path(&recipe), "--nodes", "3", "--dir", path(&dir)]);
    let nodes = data["nodes"].as_array().unwrap();
    let variants: Vec<&str> = nodes.iter().filter_map(|n| n["variant"].as_str()).collect();
    assert_eq!(variants, ["primary", "small", "small"], "{data}");
    assert!(nodes[0]["parameters"].as_u64() > nodes[1]["parameters"].as_u64(), "{data}");
    for node in nodes {
        assert_eq!(node["outer_steps"], 6, "{data}");
        for score in ["score_alone", "score_together"] {
            assert!(node[score].as_f64().is_some_and(|s| (0.0..=1.0).contains(&s)), "{data}");
        }
    }
    let bytes = |name: &str| data["traded"][name].as_u64().unwrap_or_else(|| panic!("{name} in {data}"));
    assert!(bytes("bytes") > 0 && bytes("bytes") < bytes("parameter_bytes"), "{data}");
    assert!(data["consensus_distance_relative"].is_null(), "models that differ have no mean: {data}");
    assert_eq!(data["rejected_shards"], 0, "{data}");
    // Every node mixed what the others said, and its model can be used.
    let mixed = lines(&dir.join("events.jsonl"));
    let all = mixed.iter().filter(|e| e["event"] == "mixed" && e["peers"] == 2).count();
    assert!(all >= 9, "most of 18 mixes had both others: {all}");
    the_files_of_a_run_are_there(&dir);
    let said = run(&["predict", "--model", path(&dir.join("nodes/bela/model")), "Ada"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let shown = run(&["charter", "show", path(&dir.join("charter/charter.toml"))]);
    assert!(shown.stdout.contains("primary") && shown.stdout.contains("small"), "{shown:?}");
}

fn the_files_of_a_run_are_there(dir: &Path) {
    let text = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(text("report.html").contains("</html>"));
    let facts: Value = serde_json::from_str(&text("run.json")).unwrap();
    assert_eq!(facts["outcome"]["nodes"].as_array().map(Vec::len), Some(3));
    for name in ["metrics.jsonl", "events.jsonl", "eval.jsonl"] {
        let whole = lines(&dir.join(name));
        assert_eq!(whole.len(), text(name).lines().count(), "every line of {name} is JSON");
        let of: BTreeSet<&str> = whole.iter().filter_map(|line| line["node"].as_str()).collect();
        assert_eq!(of, BTreeSet::from(["ada", "bela", "chidi"]), "{name} has lines of every node");
    }
    for name in ["config.json", "model.safetensors", "tokenizer.json", "README.md", "starling.json"] {
        assert!(dir.join("model").join(name).metadata().is_ok_and(|m| m.len() > 0), "model/{name}");
    }
}

fn the_model_answers(dir: &Path, score: f64) {
    let (model, test) = (dir.join("model"), dir.join("test.conll"));
    let again = ok(&["eval", "--model", path(&model), "--data", path(&test)]);
    assert!((again["score"].as_f64().unwrap() - score).abs() < 1e-9, "{again} and {score}");
    let words = "Ada Lovelace worked in London";
    let said = run(&["predict", "--model", path(&model), words]);
    assert_eq!((said.code, said.stdout.lines().count()), (Some(0), 1), "{said:?}");
    assert!(words.split(' ').all(|word| said.stdout.contains(word)), "{said:?}");
    let answers = ok(&["predict", "--model", path(&model), words]);
    let tags = answers[0]["tags"].as_array().expect("a tag for every word");
    assert_eq!((answers[0]["text"].as_str(), tags.len()), (Some(words), 5));
    // Lines on standard input are answered one by one.
    let mut child = command(&[], &["predict", "--model", path(&model)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"One line\n\nAnother line\n").unwrap();
    let answered = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(answered.stdout).unwrap().lines().count(), 2);
}
