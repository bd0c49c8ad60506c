//! The common benchmarks with real processes: their results are known in advance.

use serde_json::Value;

use crate::program::ok;

/// The published curve to its third step, on every node.
#[test]
fn five_processes_train_along_the_published_curve() {
    let found = ok(&["bench", "train", "--outer-steps", "3"]);
    let steps = found["steps"].as_array().expect("steps are listed");
    let of = |name: &str| -> Vec<f64> { steps.iter().map(|s| s[name].as_f64().expect("a number")).collect() };
    assert_eq!(of("worst"), [0.3285, 0.633, 0.791], "{found}");
    assert_eq!(of("best"), [0.3285, 0.633, 0.791], "{found}");
    assert_eq!(found["differing_steps"], Value::Array(Vec::new()));
    // Four others' updates of 235,146 parameters at 4 bytes, and little besides.
    let bytes = found["bytes_sent_per_node_per_step"].as_f64().expect("a number");
    let payload = 4.0 * 4.0 * 235_146.0;
    assert!(bytes > payload && bytes < 1.05 * payload, "{bytes} for {payload}");
}

#[test]
fn processes_end_with_the_mean_of_their_vectors() {
    let average = |codec: &str, nodes: &str| {
        ok(&["bench", "average", "--nodes", nodes, "--params", "300000", "--codec", codec])
    };
    let exact = average("f32", "3");
    let error = exact["error_relative"].as_f64().expect("a number");
    assert!(error < 1e-6, "{exact}");
    let half = average("f16", "4");
    let error = half["error_relative"].as_f64().expect("a number");
    // Half precision keeps 11 bits: an error of none would mean that nothing was encoded.
    assert!(error < 1e-3 && error > 1e-6, "{half}");
    assert_eq!(half["is_exact_enough"], true);
    let bytes = half["bytes_sent_per_node"].as_f64().expect("a number");
    let payload = 3.0 * 2.0 * 300_000.0;
    assert!(bytes > payload && bytes < 1.1 * payload, "{bytes} for {payload}");
}

/// Everything that crosses the sockets counts: records, frames, manifests, signatures, gossip.
#[test]
fn int8_sends_at_least_3_8_times_fewer_bytes_than_f32() {
    let bytes = |codec: &str| {
        let found = ok(&["bench", "average", "--nodes", "2", "--params", "2000000", "--codec", codec]);
        found["bytes_sent_per_node"].as_f64().expect("a number")
    };
    let (wide, narrow) = (bytes("f32"), bytes("int8"));
    assert!(wide >= 3.8 * narrow, "{wide} for f32, {narrow} for int8");
}
