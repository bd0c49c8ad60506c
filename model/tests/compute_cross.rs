//! Cross-attention between towers: what it can learn that a gated sum cannot, and that the rest of the crate takes it.

use model::arch::config::{ArchConfig, EncoderConfig, Head, MultimodalConfig, TableConfig};
use model::arch::join::Join;
use model::arch::patch_config::PatchConfig;
use model::data::batch::{Batch, Inputs, NumberBatch, RecordBatch, Targets};
use model::device::DeviceChoice;
use model::distill::anatomy::Anatomy;
use model::distill::plan::Depth;
use model::ops::activation::Activation;
use model::seed::{Seed, index};
use model::session::{Session, TrainingConfig};
use model::train::adapter::AdapterConfig;
use serde_json::Value;

/// Patches on a side of an image, and pixels on a side of a patch.
const PATCHES: usize = 2;
const PIXELS: usize = 4;
const SIDE: usize = PATCHES * PIXELS;
/// Patches of an image, each with a motif of its own.
const PLACES: usize = PATCHES * PATCHES;
/// Training steps.
const STEPS: u64 = 350;
/// The token of the first motif; before it stand `[PAD]`, `[CLS]`, `[SEP]` and `where`.
const FIRST: u32 = 4;
/// `[CLS] where MOTIF [SEP]`.
const TOKENS: usize = 4;

fn arch(join: Join) -> ArchConfig {
    ArchConfig::Multimodal(Box::new(MultimodalConfig {
        width: 32,
        hidden_size: 64,
        join,
        num_attention_heads: (join == Join::CrossAttention).then_some(4),
        text: Some(EncoderConfig {
            hidden_size: 32,
            num_hidden_layers: 1,
            intermediate_size: 64,
            max_position_embeddings: 8,
            ..EncoderConfig::small(FIRST as usize + PLACES)
        }),
        image: Some(PatchConfig {
            image_size: SIDE,
            patch_size: PIXELS,
            num_channels: 1,
            hidden_size: 32,
            num_hidden_layers: 1,
            num_attention_heads: 4,
            intermediate_size: 64,
            layer_norm_eps: 1e-6,
            hidden_act: Activation::Gelu,
        }),
        table: Some(TableConfig { columns: 1, hidden_size: 4 }),
        graph: None,
    }))
}

fn head() -> Head {
    Head::Classification { labels: PLACES }
}

fn session(join: Join) -> Session {
    let mut session = Session::new(&arch(join), &head(), &DeviceChoice::Cpu, Seed::from_u64(7)).unwrap();
    session.configure(TrainingConfig { threads: 1, ..TrainingConfig::default() }).unwrap();
    session
}

/// Images of four motifs in any order, each with a sentence that names one: the class is the patch it stands in.
///
/// Every sentence and every patch tells nothing alone, so only both together do.
fn batch(salt: u64, rows: usize) -> Batch {
    let mut rng = Seed::from_u64(salt).fork("named patches").rng();
    let (mut ids, mut classes) = (Vec::new(), Vec::new());
    let mut values = vec![0.0; rows * SIDE * SIDE];
    for image in values.chunks_exact_mut(SIDE * SIDE) {
        let mut motifs: Vec<usize> = (0..PLACES).collect();
        (1..PLACES).rev().for_each(|last| motifs.swap(last, index(&mut rng, last + 1)));
        let place = index(&mut rng, PLACES);
        ids.extend([1, 3, FIRST + motifs[place] as u32, 2]);
        classes.push(place as i32);
        for (place, motif) in motifs.iter().enumerate() {
            for pixel in 0..PIXELS * PIXELS {
                let (x, y) =
                    (place % PATCHES * PIXELS + pixel % PIXELS, place / PATCHES * PIXELS + pixel / PIXELS);
                image[y * SIDE + x] = pixel_of(*motif, pixel);
            }
        }
    }
    let all: Vec<u32> = (0..rows as u32).collect();
    let records = RecordBatch {
        text_rows: all.clone(),
        ids,
        lengths: vec![TOKENS as u32; rows],
        text_width: TOKENS,
        image: NumberBatch { rows: all, values, width: SIDE * SIDE },
        kinds: [true, true, true, false],
        ..RecordBatch::default()
    };
    let inputs = Inputs::Records(Box::new(records));
    Batch { rows, width: 0, inputs, targets: Targets::Classes(classes), samples: rows as u32 }
}

/// A motif is sixteen pixels, black or white, by its number: no two are alike.
fn pixel_of(motif: usize, pixel: usize) -> f32 {
    let bits = (motif as u32 + 1).wrapping_mul(0x9e37_79b9) >> 16;
    (bits >> pixel & 1) as f32
}

/// The share of right answers.
fn accuracy(session: &mut Session, batch: &Batch) -> f64 {
    let logits = session.logits(batch).unwrap();
    let Targets::Classes(classes) = &batch.targets else { unreachable!() };
    let right = logits.chunks_exact(PLACES).zip(classes).filter(|(row, class)| {
        let best = (0..PLACES).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
        best as i32 == **class
    });
    right.count() as f64 / classes.len() as f64
}

/// Starts the transformers of a session whose towers a gated sum joins as wide as those behind cross-attention.
fn widened(mut session: Session) -> Session {
    let mut flat = parameters(&session);
    let (mut start, factor) = (0, 1.0 / (0.02 * 32.0_f32.sqrt()));
    for (name, shape) in session.shapes() {
        let own = start..start + shape.iter().product::<usize>();
        start = own.end;
        if shape.len() > 1 && (name.starts_with("text.") || name.starts_with("image.")) {
            flat[own].iter_mut().for_each(|value| *value *= factor);
        }
    }
    session.write(&flat).unwrap();
    session
}

#[test]
fn a_sentence_that_names_a_patch_finds_it_sooner_by_cross_attention_than_by_a_gated_sum() {
    let learned = |mut session: Session| {
        for step in 0..STEPS {
            session.train_step(&batch(step, 64), 5e-4).unwrap();
        }
        accuracy(&mut session, &batch(1 << 40, 500))
    };
    let cross = learned(session(Join::CrossAttention));
    let gated = learned(widened(session(Join::GatedSum)));
    // A guess is right once in four times.
    assert!(cross > 0.95 && gated < 0.6, "cross-attention {cross}, gated sum {gated}");
}

fn parameters(session: &Session) -> Vec<f32> {
    let mut flat = vec![0.0; session.parameter_count()];
    session.read(&mut flat).unwrap();
    flat
}

#[test]
fn a_saved_model_answers_as_before_and_keeps_its_way_to_join() {
    let dir = tempfile::tempdir().unwrap();
    let mut before = session(Join::CrossAttention);
    before.train_step(&batch(1, 8), 1e-3).unwrap();
    before.save(dir.path(), &Value::Null).unwrap();
    let mut after = Session::load(dir.path(), &DeviceChoice::Cpu, Seed::from_u64(8)).unwrap();
    assert_eq!((after.arch(), after.head()), (before.arch(), before.head()));
    assert_eq!(before.logits(&batch(2, 5)).unwrap(), after.logits(&batch(2, 5)).unwrap());
    let names: Vec<String> = after.shapes().into_iter().map(|(name, _)| name).collect();
    for expected in
        ["join.attention.key.weight", "join.query", "join.table.embedding", "text.classifier.weight"]
    {
        assert!(names.iter().any(|name| name == expected), "{expected} is not among {names:?}");
    }
}

#[test]
fn the_gated_sum_keeps_the_names_and_shapes_it_had() {
    let shapes = session(Join::GatedSum).shapes();
    let of_join: Vec<_> = shapes.iter().filter(|(name, _)| name.starts_with("join.")).collect();
    let expected: [(&str, &[usize]); 10] = [
        ("join.image.bias", &[1]),
        ("join.image.weight", &[1, 32]),
        ("join.inner.bias", &[64]),
        ("join.inner.weight", &[64, 32]),
        ("join.outer.bias", &[PLACES]),
        ("join.outer.weight", &[PLACES, 64]),
        ("join.table.bias", &[1]),
        ("join.table.weight", &[1, 32]),
        ("join.text.bias", &[1]),
        ("join.text.weight", &[1, 32]),
    ];
    assert_eq!(of_join.len(), expected.len());
    for (found, (name, shape)) in of_join.into_iter().zip(expected) {
        assert_eq!((found.0.as_str(), found.1.as_slice()), (name, shape));
    }
    assert!(shapes.iter().any(|(name, _)| name == "text.bert.pooler.dense.weight"));
}

#[test]
fn equal_seeds_train_to_equal_bits_and_threads_do_not_matter() {
    let run = |threads| {
        let mut session = session(Join::CrossAttention);
        session.configure(TrainingConfig { threads, ..TrainingConfig::default() }).unwrap();
        (0..3).for_each(|step| assert!(!session.train_step(&batch(step, 40), 1e-3).unwrap().dropped));
        parameters(&session)
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn adapters_train_the_block_whole_and_correct_the_towers() {
    let adapter = AdapterConfig { rank: 2, alpha: 4.0 };
    let mut base = session(Join::CrossAttention);
    let before = base.logits(&batch(2, 5)).unwrap();
    let mut adapted = base.adapted(&adapter, &Seed::from_u64(2)).unwrap();
    assert_eq!(before, adapted.logits(&batch(2, 5)).unwrap());
    let names: Vec<String> = adapted.shapes().into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&"join.attention.query.weight".to_owned()), "{names:?}");
    assert!(names.iter().any(|name| name.starts_with("text.bert") && name.ends_with(".lora_B.weight")));
    let start = parameters(&adapted);
    adapted.train_step(&batch(1, 8), 1e-3).unwrap();
    assert_ne!(start, parameters(&adapted));
}

#[test]
fn students_are_cut_out_of_one_tower_only() {
    for join in [Join::CrossAttention, Join::GatedSum] {
        let error = Anatomy::new(&arch(join), &head(), Depth::Blocks(1), 1.0).unwrap_err().to_string();
        assert!(error.contains("found several towers"), "{error}");
    }
}
