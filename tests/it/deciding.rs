//! The way of one model to several and back to one decision: train, distil, fuse, predict, as a person types it.

use serde_json::Value;

use crate::node::path;
use crate::program::{ok, run};

/// A sentence of the built-in corpus's kind.
const TEXT: &str = "Ada Lovelace met the board of Halden Bank in Oslo on Monday .";

fn numbers(all: &Value) -> Vec<f64> {
    all.as_array().expect("a list").iter().map(|w| w.as_f64().expect("a number")).collect()
}

#[test]
fn students_of_a_teacher_decide_together_and_show_who_said_what() {
    let root = tempfile::tempdir().expect("the temporary folder can be written");
    let at = |name: &str| root.path().join(name);
    let (data, teacher, students, fused) = (at("data"), at("teacher"), at("students"), at("fused"));
    ok(&["data", "make", "newswire", "--out", path(&data), "--train", "400", "--dev", "80", "--test", "80"]);
    let arch = r#"{"kind": "encoder", "vocab_size": 500, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 64}"#;
    std::fs::write(at("arch.json"), arch).expect("the temporary folder can be written");
    let (arch, out) = (at("arch.json"), path(&teacher));
    let how = ["--epochs", "6", "--rate", "5e-3", "--vocabulary", "500", "--tokens-max", "64"];
    ok(&[&["train", "--arch", path(&arch), "--data", path(&data), "--out", out], &how[..]].concat());

    let (out, said) = (path(&students), path(&data));
    let how = ["--students", "half,width0.5", "--epochs", "2", "--rate", "5e-3", "--margin", "1"];
    let made =
        ok(&[&["distill", "--teacher", path(&teacher), "--data", said, "--out", out], &how[..]].concat());
    let taught = made["teacher"]["score"].as_f64().expect("a score");
    // Four hundred sentences teach little; who learnt nothing scores 0.
    assert!(taught > 0.1, "{made}");
    for student in made["students"].as_array().expect("students") {
        let share = student["parameters"].as_f64().expect("a count")
            / made["teacher"]["parameters"].as_f64().expect("a count");
        assert!(share < 0.9 && student["score"].as_f64() > Some(0.0), "{student}");
    }
    let report = std::fs::read_to_string(students.join("report.html")).expect("distill writes a report");
    assert!(report.contains("<svg") && report.contains("width0.5"));

    let (half, narrow) = (students.join("half"), students.join("width0.5"));
    let members = [path(&teacher), path(&half), path(&narrow)].join(",");
    let how = ["--rule", "simplex", "--margin", "1", "--out", path(&fused)];
    let judged = ok(&[&["fuse", "--members", &members, "--calibrate", said], &how[..]].concat());
    let weights = numbers(&judged["weights"]);
    assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-6 && weights.len() == 3, "{judged}");
    assert_eq!(judged["verdict"]["is_adopted"], true, "{judged}");
    assert_eq!(judged["rules"].as_array().map(Vec::len), Some(9), "{judged}");
    let report = std::fs::read_to_string(fused.join("report.html")).expect("fuse writes a report");
    assert!(report.contains("<svg") && report.contains("half"));

    let answers = ok(&["predict", "--model", path(&fused), "--explain-members", TEXT]);
    let answer = &answers[0];
    let names: Vec<&str> =
        answer["members"].as_array().expect("members").iter().filter_map(|m| m["name"].as_str()).collect();
    assert_eq!(names, ["teacher", "half", "width0.5"], "{answer}");
    for (member, weight) in answer["members"].as_array().expect("members").iter().zip(&weights) {
        let found = member["weight"].as_f64().expect("a weight");
        assert!((found - weight).abs() < 1e-9, "{member}");
        assert_eq!(member["votes"].as_array().map(Vec::len), answer["votes"].as_array().map(Vec::len));
    }
    for counts in answer["votes"].as_array().expect("votes") {
        let all: i64 = counts.as_object().expect("labels").values().filter_map(Value::as_i64).sum();
        assert_eq!(all, 3, "{counts}");
    }
    // Every entity that anybody says, with the weight of those who say it.
    for span in answer["spans"].as_array().expect("spans") {
        let said = span["members"].as_array().expect("names").iter().filter_map(Value::as_str);
        let sum: f64 =
            said.filter_map(|name| names.iter().position(|n| *n == name)).map(|k| weights[k]).sum();
        assert!((span["weight"].as_f64().expect("a weight") - sum).abs() < 1e-6, "{span}");
    }
    assert!(judged["score_spans"].as_f64() > Some(0.0), "{judged}");
    assert!(ok(&["eval", "--model", path(&fused), "--data", said])["score"].as_f64() > Some(0.1));

    // A fused model is its members as they were: one that was trained on since is refused.
    let weights = half.join("model.safetensors");
    std::fs::copy(narrow.join("model.safetensors"), weights).expect("a student's file can be replaced");
    let refused = run(&["predict", "--model", path(&fused), TEXT]);
    assert!(refused.code != Some(0) && refused.stderr.contains("fuse again"), "{refused:?}");

    // A peer among the members needs a way to it.
    let seat = format!("{},peer:{}", path(&teacher), "07".repeat(32));
    let how = ["--calibrate", said, "--out", path(&fused)];
    let refused = run(&[&["fuse", "--members", &seat], &how[..]].concat());
    assert!(refused.code == Some(2) && refused.stderr.contains("--through"), "{refused:?}");
    let nobody = [&["fuse", "--members", &seat, "--through", path(&data)], &how[..]].concat();
    let refused = run(&nobody);
    assert!(refused.code == Some(4) && refused.stderr.contains("starling run --dir"), "{refused:?}");
}
