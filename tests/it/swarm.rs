//! The virtual swarm as people call it, with the models they train.

use crate::node::path;
use crate::program::ok;

#[test]
fn models_of_a_recipe_learn_together_under_virtual_time_and_a_seed_repeats_them_to_the_bit() {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let run = |name: &str| {
        let dir = folder.path().join(name);
        let model = ["--learner", "model", "--recipe", "community", "--peers", "3", "--outer-steps", "8"];
        let where_to = ["--assume-signatures", "--dir", path(&dir)];
        ok(&[&["sim", "lossy"][..], &model, &where_to].concat())
    };
    let (first, second) = (run("first"), run("second"));
    assert_eq!(first["violations"], serde_json::json!([]), "{first}");
    assert!(first["parameters"].as_u64() > Some(10_000), "{first}");
    assert!(first["score_worst"].as_f64() > Some(0.5), "{first}");
    assert_eq!(first["trace"], second["trace"]);
}
