//! What a session promises: steps that learn or change nothing, exact resume, folders that load again.

use std::path::Path;

use model::arch::config::{ArchConfig, EncoderConfig, Head, MlpConfig};
use model::data::batch::{Batch, IGNORE, Inputs, Targets};
use model::device::DeviceChoice;
use model::error::Error;
use model::seed::Seed;
use model::session::{Session, TrainingConfig};
use model::train::optimizer::OptimizerConfig;
use serde_json::json;

const WIDTH: usize = 10;

fn arch() -> ArchConfig {
    ArchConfig::Encoder(EncoderConfig {
        hidden_size: 32,
        num_hidden_layers: 2,
        intermediate_size: 64,
        max_position_embeddings: 16,
        ..EncoderConfig::small(40)
    })
}

fn tagging() -> Head {
    Head::Tagging { labels: 3 }
}

fn session(seed: u64) -> Session {
    Session::new(&arch(), &tagging(), &DeviceChoice::Cpu, Seed::from_u64(seed)).unwrap()
}

/// Sequences whose tag of a token is its id's remainder plus that of the token before: needs attention to learn.
fn batch(salt: u64, rows: usize) -> Batch {
    let mut rng = Seed::from_u64(salt).fork("batch").rng();
    let (mut ids, mut lengths, mut tags) = (vec![], vec![], vec![]);
    for _ in 0..rows {
        let length = 3 + model::seed::index(&mut rng, WIDTH - 2);
        let row: Vec<u32> = (0..WIDTH)
            .map(|k| if k < length { model::seed::index(&mut rng, 40) as u32 } else { 0 })
            .collect();
        for k in 0..WIDTH {
            let sum = row[k] + if k > 0 { row[k - 1] } else { 0 };
            tags.push(if k < length { (sum % 2) as i32 } else { IGNORE });
        }
        ids.extend(row);
        lengths.push(length as u32);
    }
    Batch {
        rows,
        width: WIDTH,
        inputs: Inputs::Tokens { ids, lengths },
        targets: Targets::Tags(tags),
        samples: rows as u32,
    }
}

fn parameters(session: &Session) -> Vec<f32> {
    let mut flat = vec![0.0; session.parameter_count()];
    session.read(&mut flat).unwrap();
    flat
}

#[test]
fn training_learns_a_task_that_needs_attention() {
    let mut session = session(1);
    for step in 0..600 {
        let report = session.train_step(&batch(step, 32), 3e-3).unwrap();
        assert!(!report.dropped && report.samples == 32 && report.gradient_norm > 0.0);
    }
    let test = batch(1 << 40, 200);
    // Guessing gives ln 2 = 0.69; the task has no noise.
    let loss = session.evaluate_loss(&test).unwrap();
    assert!(loss.loss < 0.35, "{loss:?}");
    assert_eq!(loss.counted, test.counted());
}

#[test]
fn equal_seeds_train_to_equal_bits_and_threads_do_not_matter() {
    let run = |threads: usize| {
        let mut session = session(2);
        session.configure(TrainingConfig { threads, ..TrainingConfig::default() }).unwrap();
        for step in 0..5 {
            session.train_step(&batch(step, 40), 1e-3).unwrap();
        }
        parameters(&session)
    };
    assert_eq!(run(1), run(1));
    assert_eq!(run(1), run(3), "sums run in a fixed order");
}

#[test]
fn a_restored_session_goes_on_bit_for_bit() {
    let mut config = arch();
    if let ArchConfig::Encoder(config) = &mut config {
        config.dropout = 0.1;
    }
    let open = || Session::new(&config, &tagging(), &DeviceChoice::Cpu, Seed::from_u64(3)).unwrap();
    let mut whole = open();
    for step in 0..4 {
        whole.train_step(&batch(step, 8), 1e-3).unwrap();
    }
    let (flat, state, steps) = (parameters(&whole), whole.optimizer_state().unwrap(), whole.steps());
    let mut resumed = open();
    resumed.write(&flat).unwrap();
    resumed.restore_optimizer(&state).unwrap();
    resumed.resume_at(steps);
    for step in 4..8 {
        let reports = (
            whole.train_step(&batch(step, 8), 1e-3).unwrap(),
            resumed.train_step(&batch(step, 8), 1e-3).unwrap(),
        );
        assert_eq!(reports.0, reports.1);
    }
    assert_eq!(parameters(&whole), parameters(&resumed));
    resumed.reset_optimizer().unwrap();
    let state = resumed.optimizer_state().unwrap();
    assert!(state.step == 0 && state.first.iter().chain(&state.second).all(|value| *value == 0.0));
}

#[test]
fn a_step_that_cannot_count_is_dropped_and_changes_nothing() {
    let mut session = session(4);
    session.train_step(&batch(0, 8), 1e-3).unwrap();
    let before = (parameters(&session), session.optimizer_state().unwrap());
    let mut silent = batch(1, 4);
    silent.targets = Targets::Tags(vec![IGNORE; 4 * WIDTH]);
    let report = session.train_step(&silent, 1e-3).unwrap();
    assert!(report.dropped && report.samples == 0 && report.loss.is_nan());
    assert_eq!((parameters(&session), session.optimizer_state().unwrap()), before);
    assert_eq!(session.dropped_steps(), 1);
}

#[test]
fn a_loss_that_overflows_drops_the_step() {
    let mut session = session(5);
    let mut huge = parameters(&session);
    for value in &mut huge {
        *value *= 1e30;
    }
    session.write(&huge).unwrap();
    let report = session.train_step(&batch(0, 8), 1e-3).unwrap();
    assert!(report.dropped, "{report:?}");
    assert_eq!(parameters(&session), huge);
}

#[test]
fn what_is_written_must_fit_and_be_finite() {
    let mut session = session(6);
    let good = parameters(&session);
    let mut bad = good.clone();
    bad[17] = f32::INFINITY;
    assert!(matches!(session.write(&bad), Err(Error::NotFinite { .. })));
    assert!(matches!(session.write(&good[1..]), Err(Error::Shape { .. })));
    assert!(session.read(&mut [0.0; 3]).is_err());
    assert_eq!(parameters(&session), good);
    assert!(session.train_step(&batch(0, 2), f64::NAN).is_err());
    assert!(session.train_step(&batch(0, 2), -1.0).is_err());
}

#[test]
fn a_tensor_without_a_gradient_stops_the_first_step_by_name() {
    let arch = ArchConfig::Mlp(MlpConfig { layers: vec![3, 4, 2] });
    let head = Head::Classification { labels: 2 };
    let mut session = Session::new(&arch, &head, &DeviceChoice::Cpu, Seed::from_u64(7)).unwrap();
    // All hidden units off: nothing in front of them can learn.
    let mut flat = parameters(&session);
    flat[12..16].fill(-100.0);
    session.write(&flat).unwrap();
    let batch = Batch {
        rows: 1,
        width: 3,
        inputs: Inputs::Dense { values: vec![0.1, 0.2, 0.3] },
        targets: Targets::Classes(vec![1]),
        samples: 1,
    };
    match session.train_step(&batch, 0.1) {
        Err(Error::Gradient { names }) => {
            assert_eq!(names, ["layers.00.matrix", "layers.00.offset", "layers.01.matrix"]);
        }
        other => panic!("expected a refusal, found {other:?}"),
    }
    assert_eq!(parameters(&session), flat);
}

#[test]
fn batches_that_do_not_fit_the_model_are_refused_and_never_panic() {
    let mut session = session(8);
    let spoil: [fn(&mut Batch); 11] = [
        |b| b.rows = 0,
        |b| b.rows = usize::MAX,
        |b| b.width = 9,
        |b| b.width = 0,
        |b| {
            if let Inputs::Tokens { ids, .. } = &mut b.inputs {
                ids[0] = 40;
            }
        },
        |b| {
            if let Inputs::Tokens { lengths, .. } = &mut b.inputs {
                lengths[0] = 0;
            }
        },
        |b| {
            if let Inputs::Tokens { lengths, .. } = &mut b.inputs {
                lengths[0] = 11;
            }
        },
        |b| {
            if let Inputs::Tokens { lengths, .. } = &mut b.inputs {
                lengths.clear();
            }
        },
        |b| b.inputs = Inputs::Dense { values: vec![0.0; 40] },
        |b| {
            if let Targets::Tags(tags) = &mut b.targets {
                tags[0] = 3;
            }
        },
        |b| b.targets = Targets::Classes(vec![0; 4]),
    ];
    let before = parameters(&session);
    for (k, spoil) in spoil.iter().enumerate() {
        let mut bad = batch(9, 4);
        spoil(&mut bad);
        assert!(session.train_step(&bad, 1e-3).is_err(), "{k}");
        assert!(session.evaluate_loss(&bad).is_err(), "{k}");
    }
    assert_eq!(parameters(&session), before);
    assert!(session.train_step(&batch(9, 4), 1e-3).is_ok());
}

#[test]
fn logits_are_padded_with_zeros_and_do_not_depend_on_the_batch() {
    let mut session = session(10);
    let many = batch(3, 6);
    let all = session.logits(&many).unwrap();
    assert_eq!(all.len(), 6 * WIDTH * 3);
    let Inputs::Tokens { ids, lengths } = &many.inputs else { panic!() };
    for row in 0..6 {
        let length = lengths[row] as usize;
        let one = Batch {
            rows: 1,
            width: length,
            inputs: Inputs::Tokens {
                ids: ids[row * WIDTH..row * WIDTH + length].to_vec(),
                lengths: vec![length as u32],
            },
            targets: Targets::None,
            samples: 1,
        };
        let alone = session.logits(&one).unwrap();
        let here = &all[row * WIDTH * 3..(row + 1) * WIDTH * 3];
        for (a, b) in alone.iter().zip(here) {
            // Matrix products of other sizes round in another order.
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        assert!(here[length * 3..].iter().all(|value| *value == 0.0));
    }
}

#[test]
fn a_saved_folder_loads_to_the_same_model_and_names_its_labels() {
    let dir = tempfile::tempdir().unwrap();
    let saved = session(11);
    let extra = json!({ "id2label": { "0": "O", "1": "B-PER", "2": "I-PER" } });
    saved.save(dir.path(), &extra).unwrap();
    let loaded = Session::load(dir.path(), &DeviceChoice::Cpu, Seed::from_u64(99)).unwrap();
    assert_eq!(loaded.head(), saved.head());
    assert_eq!(parameters(&loaded), parameters(&saved));
    let config = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
    assert!(config.contains("B-PER") && config.contains("BertForTokenClassification"));

    let head = Head::Classification { labels: 5 };
    let other = Session::from_folder(dir.path(), &head, &DeviceChoice::Cpu, Seed::from_u64(99)).unwrap();
    let fresh = Session::new(&arch(), &head, &DeviceChoice::Cpu, Seed::from_u64(99)).unwrap();
    let tensor = |session: &Session, name: &str| {
        let mut start = 0;
        for (other, shape) in session.shapes() {
            let length: usize = shape.iter().product();
            if other == name {
                return parameters(session)[start..start + length].to_vec();
            }
            start += length;
        }
        panic!("no tensor {name}")
    };
    let words = "bert.embeddings.word_embeddings.weight";
    assert_eq!(tensor(&other, words), tensor(&saved, words), "the encoder is the saved one");
    assert_eq!(
        tensor(&other, "classifier.weight"),
        tensor(&fresh, "classifier.weight"),
        "the head starts fresh"
    );

    let mlp = ArchConfig::Mlp(MlpConfig { layers: vec![3, 4, 2] });
    let small =
        Session::new(&mlp, &Head::Classification { labels: 2 }, &DeviceChoice::Cpu, Seed::from_u64(1))
            .unwrap();
    let dir = tempfile::tempdir().unwrap();
    small.save(dir.path(), &json!(null)).unwrap();
    let loaded = Session::load(dir.path(), &DeviceChoice::Cpu, Seed::from_u64(2)).unwrap();
    assert_eq!(parameters(&loaded), parameters(&small));
}

#[test]
fn folders_that_cannot_be_a_model_are_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    session(12).save(dir.path(), &json!(null)).unwrap();
    let config = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
    let refused = |config: &str, reason: &str| {
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        let error = load(dir.path()).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}");
    };
    refused("", "malformed");
    refused("[]", "malformed");
    refused(&config.replace("\"bert\"", "\"gpt2\""), "found `gpt2`");
    refused(&config.replace("\"bert\"", "\"llama\""), "hidden_act `silu`");
    refused(&config.replace("\"hidden_size\": 32", "\"hidden_size\": 64"), "shape");
    refused(&config.replace("\"hidden_size\": 32", "\"hidden_size\": -1"), "invalid value");
    refused(&config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"), "layer.2.");
    refused(&config.replace("\"gelu\"", "\"swish\""), "unknown variant");
    std::fs::write(dir.path().join("config.json"), &config).unwrap();
    assert!(load(dir.path()).is_ok());
    std::fs::rename(dir.path().join("model.safetensors"), dir.path().join("pytorch_model.bin")).unwrap();
    let error = load(dir.path()).unwrap_err().to_string();
    assert!(error.contains("can run code"), "{error}");
}

fn load(dir: &Path) -> Result<(), Error> {
    Session::load(dir, &DeviceChoice::Cpu, Seed::from_u64(0)).map(drop)
}

#[test]
fn settings_can_change_between_steps() {
    let mut session = session(13);
    session.train_step(&batch(0, 4), 1e-3).unwrap();
    let nesterov = TrainingConfig { optimizer: OptimizerConfig::nesterov(0.9), clip_norm: 0.5, threads: 2 };
    session.configure(nesterov).unwrap();
    let before = session.evaluate_loss(&batch(0, 16)).unwrap().loss;
    for _ in 0..10 {
        session.train_step(&batch(0, 16), 0.05).unwrap();
    }
    assert!(session.evaluate_loss(&batch(0, 16)).unwrap().loss < before);
    for bad in [
        TrainingConfig { clip_norm: -1.0, ..nesterov },
        TrainingConfig { threads: 1 << 20, ..nesterov },
        TrainingConfig { optimizer: OptimizerConfig::nesterov(1.5), ..nesterov },
    ] {
        assert!(session.configure(bad).is_err());
    }
    assert_eq!(*session.config(), nesterov);
}

#[test]
fn a_sentence_encoder_without_the_bert_prefix_and_with_old_names_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let saved = session(14);
    saved.save(dir.path(), &json!(null)).unwrap();
    let path = dir.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    // As sentence encoders are packed: bare names, a table of places as integers, a pooler, no classifier.
    let places: Vec<u8> = (0..16_i64).flat_map(i64::to_le_bytes).collect();
    let pooler = vec![0_u8; 4 * 32 * 32];
    let mut tensors: Vec<(String, safetensors::tensor::TensorView<'_>)> = file
        .tensors()
        .into_iter()
        .filter(|(name, _)| !name.starts_with("classifier"))
        .map(|(name, view)| {
            let bare = name.replace("bert.", "");
            let old = bare
                .replace("LayerNorm.weight", "LayerNorm.gamma")
                .replace("LayerNorm.bias", "LayerNorm.beta");
            (old, view)
        })
        .collect();
    let view =
        |shape: Vec<usize>, dtype, bytes| safetensors::tensor::TensorView::new(dtype, shape, bytes).unwrap();
    tensors.push(("embeddings.position_ids".into(), view(vec![1, 16], safetensors::Dtype::I64, &places)));
    tensors.push(("pooler.dense.weight".into(), view(vec![32, 32], safetensors::Dtype::F32, &pooler)));
    std::fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();

    let seed = Seed::from_u64(15);
    let mut loaded = Session::from_folder(dir.path(), &tagging(), &DeviceChoice::Cpu, seed).unwrap();
    let fresh = Session::new(&arch(), &tagging(), &DeviceChoice::Cpu, seed).unwrap();
    let (old, new, head) = (parameters(&saved), parameters(&loaded), parameters(&fresh));
    let body = old.len() - 3 * 32 - 3;
    assert_eq!(old[..body], new[..body], "all tensors of the encoder sort before the classifier");
    assert_eq!(head[body..], new[body..]);

    // The same folder into a session with a dropout of its own.
    let mut config = arch();
    if let ArchConfig::Encoder(config) = &mut config {
        config.dropout = 0.1;
    }
    let mut own = Session::new(&config, &tagging(), &DeviceChoice::Cpu, seed).unwrap();
    own.load_parameters(dir.path()).unwrap();
    assert_eq!(parameters(&own), new);
    let losses =
        (own.train_step(&batch(1, 8), 0.0).unwrap().loss, loaded.train_step(&batch(1, 8), 0.0).unwrap().loss);
    assert!(losses.0 != losses.1, "dropout acts while training");
    let losses = (own.evaluate_loss(&batch(1, 8)).unwrap(), loaded.evaluate_loss(&batch(1, 8)).unwrap());
    assert_eq!(losses.0, losses.1, "and not while predicting");
}
