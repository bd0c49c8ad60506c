//! The decoder against Python's `transformers`: a checkpoint made there (`golden/make_llama.py`) must give its logits and
//! follow its training.

use std::path::{Path, PathBuf};

use model::arch::cache::Cache;
use model::arch::config::Head;
use model::data::batch::{Batch, Inputs, Targets};
use model::device::DeviceChoice;
use model::seed::Seed;
use model::session::{Session, TrainingConfig};
use model::train::optimizer::OptimizerConfig;
use serde_json::Value;

const VOCABULARY: usize = 40;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/llama")
}

fn session() -> Session {
    let head = Head::Language { labels: VOCABULARY };
    Session::from_folder(&folder(), &head, &DeviceChoice::Cpu, Seed::from_u64(1)).unwrap()
}

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(folder().join("expected.json")).unwrap()).unwrap()
}

fn rows(expected: &Value) -> Vec<Vec<u32>> {
    serde_json::from_value(expected["ids"].clone()).unwrap()
}

/// Rows of equal length, each token's target the next one; the last has none.
fn batch(rows: &[Vec<u32>], dropped: usize) -> Batch {
    let width = rows[0].len() - dropped;
    let targets = rows.iter().flat_map(|row| {
        (0..width).map(|k| row.get(k + 1).map_or(model::data::batch::IGNORE, |id| *id as i32))
    });
    Batch {
        rows: rows.len(),
        width,
        targets: Targets::Tags(targets.collect()),
        inputs: Inputs::Tokens {
            ids: rows.iter().flat_map(|row| row[..width].to_vec()).collect(),
            lengths: vec![width as u32; rows.len()],
        },
        samples: rows.len() as u32,
    }
}

#[test]
fn logits_of_a_foreign_checkpoint_agree_to_four_digits() {
    let expected = expected();
    let wanted: Vec<Vec<f32>> = serde_json::from_value(expected["logits"].clone()).unwrap();
    let found = session().logits(&batch(&rows(&expected), 0)).unwrap();
    assert_eq!(found.len(), wanted.len() * VOCABULARY);
    for (found, wanted) in found.iter().zip(wanted.iter().flatten()) {
        assert!((found - wanted).abs() < 1e-4, "{found} {wanted}");
    }
}

#[test]
fn training_follows_the_losses_measured_there() {
    let expected = expected();
    let wanted: Vec<f64> = serde_json::from_value(expected["losses"].clone()).unwrap();
    let mut session = session();
    let optimizer = OptimizerConfig::Adamw { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 };
    session.configure(TrainingConfig { optimizer, clip_norm: 1.0, threads: 1 }).unwrap();
    let batch = batch(&rows(&expected), 1);
    for wanted in wanted {
        let found = session.train_step(&batch, 1e-2).unwrap().loss;
        assert!((found - wanted).abs() < 2e-4 * wanted, "{found} {wanted}");
    }
}

#[test]
fn reading_token_by_token_gives_what_reading_at_once_gives() {
    let row = rows(&expected()).remove(0);
    let mut session = session();
    let whole = session.logits(&batch(std::slice::from_ref(&row), 0)).unwrap();
    let mut cache = Cache::default();
    let mut at = 0;
    for piece in [&row[..4], &row[4..5], &row[5..9]] {
        let last = session.extend(piece, &mut cache).unwrap();
        at += piece.len();
        let wanted = &whole[(at - 1) * VOCABULARY..at * VOCABULARY];
        assert!(last.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-5));
    }
    assert_eq!(cache.ids, row);
    assert!(session.extend(&[VOCABULARY as u32], &mut cache).is_err());
    assert!(session.extend(&[0; 24], &mut cache).is_err(), "the model reads 32 tokens at most");
    assert_eq!(cache.ids, row, "what failed is not in the cache");
}

#[test]
fn a_saved_decoder_loads_with_the_same_logits() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = session();
    first.save(dir.path(), &Value::Null).unwrap();
    let mut second = Session::load(dir.path(), &DeviceChoice::Cpu, Seed::from_u64(2)).unwrap();
    let batch = batch(&rows(&expected()), 0);
    assert_eq!(first.logits(&batch).unwrap(), second.logits(&batch).unwrap());
    assert_eq!(first.arch(), second.arch());
}
