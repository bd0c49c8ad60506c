//! Models of the Python package `transformers`: our logits are theirs, and what we save they load.
//!
//! The fixtures are tiny models of random weights (`golden/transformers/golden.py` makes them). With
//! `STARLING_PYTHON` naming an interpreter that has `torch` and `transformers`, what is saved here is loaded there too.

use std::path::{Path, PathBuf};

use model::arch::config::Head;
use model::data::batch::{Batch, Inputs, Targets};
use model::device::DeviceChoice;
use model::seed::Seed;
use model::session::Session;
use serde_json::Value;

/// Both sides compute in single precision, in other orders of summation.
const TOLERANCE: f32 = 1e-4;

const NAMES: [&str; 4] = ["bert-sequence", "bert-token", "llama", "vit"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/transformers").join(name)
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

/// The batch the logits were computed on, and the logits.
fn golden(name: &str) -> (Batch, Vec<f32>) {
    let text = std::fs::read_to_string(folder(name).join("golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let inputs = &golden["inputs"];
    let (inputs, rows, width) = if inputs["pixels"].is_null() {
        let lengths: Vec<u32> = numbers(&inputs["lengths"]).iter().map(|n| *n as u32).collect();
        let ids: Vec<u32> = numbers(&inputs["ids"]).iter().map(|n| *n as u32).collect();
        let (rows, width) = (lengths.len(), ids.len() / lengths.len());
        (Inputs::Tokens { ids, lengths }, rows, width)
    } else {
        let values: Vec<f32> = numbers(&inputs["pixels"]).iter().map(|n| *n as f32).collect();
        (Inputs::Dense { values }, 2, 192)
    };
    let batch = Batch { rows, width, inputs, targets: Targets::None, samples: rows as u32 };
    (batch, numbers(&golden["logits"]).iter().map(|n| *n as f32).collect())
}

fn open(dir: &Path, name: &str) -> Session {
    let seed = Seed::from_u64(1);
    if name == "llama" {
        let head = Head::Language { labels: 32 };
        return Session::from_folder(dir, &head, &DeviceChoice::Cpu, seed).unwrap();
    }
    Session::load(dir, &DeviceChoice::Cpu, seed).unwrap()
}

/// The largest difference at places that hold tokens: what stands at padding means nothing on either side.
fn difference(session: &mut Session, batch: &Batch, expected: &[f32]) -> f32 {
    let said = session.logits(batch).unwrap();
    assert_eq!(said.len(), expected.len());
    let labels = session.head().labels();
    let counts = |output: usize| match (&batch.inputs, session.head().is_per_token()) {
        (Inputs::Tokens { lengths, .. }, true) => {
            output % batch.width < lengths[output / batch.width] as usize
        }
        _ => true,
    };
    said.iter()
        .zip(expected)
        .enumerate()
        .filter(|(k, _)| counts(k / labels))
        .map(|(_, (a, b))| (a - b).abs())
        .fold(0.0, f32::max)
}

#[test]
fn logits_are_those_that_transformers_computes() {
    for name in NAMES {
        let (batch, expected) = golden(name);
        let largest = expected.iter().map(|x| x.abs()).fold(0.0, f32::max);
        assert!(largest > 0.1, "{name}: logits near 0 would prove nothing");
        let error = difference(&mut open(&folder(name), name), &batch, &expected);
        assert!(error < TOLERANCE, "{name}: logits differ by {error}");
    }
}

#[test]
fn what_is_saved_is_loaded_again_here_and_by_transformers() {
    let dir = tempfile::tempdir().unwrap();
    for name in NAMES {
        let saved = dir.path().join(name);
        open(&folder(name), name).save(&saved, &Value::Null).unwrap();
        let (batch, expected) = golden(name);
        let error = difference(&mut open(&saved, name), &batch, &expected);
        assert!(error < TOLERANCE, "{name}: logits differ by {error}");
        std::fs::copy(folder(name).join("golden.json"), saved.join("golden.json")).unwrap();
    }
    let Some(python) = std::env::var_os("STARLING_PYTHON") else {
        eprintln!("skipped in part: STARLING_PYTHON names no interpreter with torch and transformers");
        return;
    };
    let script = folder("golden.py");
    let run = std::process::Command::new(python).arg(script).arg("check").arg(dir.path()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    eprintln!("{}", String::from_utf8_lossy(&run.stdout));
}
