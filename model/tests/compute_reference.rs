//! The explicit engine against candle's automatic differentiation: same weights, same batch, same loss and gradients.

use candle_core::Device;
use model::arch::config::{ArchConfig, EncoderConfig, Head, MlpConfig, MultimodalConfig, TableConfig};
use model::arch::decoder_config::DecoderConfig;
use model::arch::graph_config::GraphConfig;
use model::arch::input::Input;
use model::arch::join::Join;
use model::arch::neighbourhood::Neighbourhood;
use model::arch::patch_config::PatchConfig;
use model::arch::records::{Nodes, Numbers, Records, Texts};
use model::arch::slot::Slot;
use model::data::batch::NodeBatch;
use model::data::graph::Graph;
use model::data::neighbourhoods::Surroundings;
use model::ops::activation::Activation;
use model::ops::bag::Lists;
use model::ops::wanted::Wanted;
use model::seed::Seed;
use model::train::composed::ComposedEngine;
use model::train::engine::Engine;
use model::train::explicit::ExplicitEngine;
use model::train::optimizer::OptimizerConfig;

fn encoder(dropout: f64, hidden_act: Activation) -> ArchConfig {
    ArchConfig::Encoder(EncoderConfig {
        vocab_size: 50,
        hidden_size: 24,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        intermediate_size: 40,
        max_position_embeddings: 16,
        type_vocab_size: 2,
        layer_norm_eps: 1e-12,
        hidden_act,
        dropout,
    })
}

/// Weights away from their start, so that no bias is zero and attention is not flat, but nothing saturates.
fn weights(engine: &dyn Engine, seed: &Seed) -> Vec<f32> {
    let mut flat = engine.slots().initial(seed);
    let mut rng = seed.fork("noise").rng();
    for value in &mut flat {
        *value += 0.1 * model::seed::normal(&mut rng) as f32;
    }
    flat
}

/// Largest difference relative to the root mean square of the reference.
fn distance(ours: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(ours.len(), reference.len());
    let square: f64 = reference.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / reference.len() as f64;
    let largest = ours.iter().zip(reference).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
    largest / square.sqrt().max(1e-8)
}

fn compare(arch: &ArchConfig, head: Head, input: Input<'_>, targets: &[i32]) {
    compare_on(arch, head, input, Wanted::Classes(targets), targets.len());
}

fn compare_on(arch: &ArchConfig, head: Head, input: Input<'_>, wanted: Wanted<'_>, expected: usize) {
    let seed = Seed::from_u64(11);
    let mut explicit = ExplicitEngine::new(arch, &head).unwrap();
    let mut composed = ComposedEngine::new(arch, &head, Device::Cpu).unwrap();
    let flat = weights(&explicit, &seed);
    let total = flat.len();
    explicit.write(&flat).unwrap();
    composed.write(&flat).unwrap();

    let (mut ours, mut reference) = (Vec::new(), Vec::new());
    let outputs = explicit.logits(input, &mut ours).unwrap();
    assert_eq!(outputs, composed.logits(input, &mut reference).unwrap());
    assert_eq!(outputs, expected);
    let error = distance(&ours[..outputs * head.labels()], &reference);
    assert!(error < 1e-4, "logits differ by {error}");

    for step in 0..3 {
        let step_seed = seed.fork_index(step);
        let loss = explicit.gradient(input, wanted, &step_seed).unwrap();
        let expected = composed.gradient(input, wanted, &step_seed).unwrap();
        assert_eq!(loss.counted, expected.counted);
        assert!((loss.loss - expected.loss).abs() < 1e-5 * expected.loss.abs(), "{loss:?} {expected:?}");
        let norms = (explicit.gradient_norm().unwrap(), composed.gradient_norm().unwrap());
        assert!((norms.0 - norms.1).abs() < 1e-4 * norms.1, "{norms:?}");
        let (mut ours, mut reference) = (vec![0.0; total], vec![0.0; total]);
        explicit.read_gradient(&mut ours).unwrap();
        composed.read_gradient(&mut reference).unwrap();
        for slot in explicit.slots().by_name() {
            if slot.name.ends_with("key.bias") {
                // The true gradient is 0 and both hold rounding only.
                continue;
            }
            let range = slot.flat..slot.flat + slot.range.len();
            let error = distance(&ours[range.clone()], &reference[range]);
            // candle's GELU derivative has six-digit constants; sums here are single precision over at most 40 tokens.
            assert!(error < 5e-4, "step {step}: gradient of {} differs by {error}", slot.name);
        }
        let optimizer = OptimizerConfig::default();
        explicit.apply(&optimizer, 1e-3, 0.7).unwrap();
        composed.apply(&optimizer, 1e-3, 0.7).unwrap();
        // AdamW's first steps are the sign of the gradient, which rounding may flip where it is nearly 0: go on from
        // the same weights.
        explicit.read(&mut ours).unwrap();
        composed.read(&mut reference).unwrap();
        let close = ours.iter().zip(&reference).filter(|(a, b)| (*a - *b).abs() < 1e-5).count();
        assert!(
            close as f64 > 0.97 * total as f64,
            "only {close} of {total} parameters agree after step {step}"
        );
        composed.write(&ours).unwrap();
    }
}

const LENGTHS: [u32; 5] = [7, 1, 16, 4, 9];

fn tokens() -> Vec<u32> {
    (0..5 * 16).map(|k| (k * 29 + 3) % 50).collect()
}

fn tags() -> Vec<i32> {
    (0..37).map(|k| if k % 5 == 2 { -100 } else { k * 7 % 6 }).collect()
}

#[test]
fn tagging_gradients_agree_with_automatic_differentiation() {
    let ids = tokens();
    let input = Input::Tokens { ids: &ids, lengths: &LENGTHS, width: 16 };
    for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
        compare(&encoder(0.0, activation), Head::Tagging { labels: 6 }, input, &tags());
    }
}

#[test]
fn tagging_gradients_agree_with_dropout_at_every_place() {
    let ids = tokens();
    let input = Input::Tokens { ids: &ids, lengths: &LENGTHS, width: 16 };
    compare(&encoder(0.2, Activation::Gelu), Head::Tagging { labels: 6 }, input, &tags());
}

#[test]
fn classification_gradients_agree_through_the_pooler() {
    let ids = tokens();
    let input = Input::Tokens { ids: &ids, lengths: &LENGTHS, width: 16 };
    for dropout in [0.0, 0.2] {
        compare(
            &encoder(dropout, Activation::Gelu),
            Head::Classification { labels: 3 },
            input,
            &[0, 2, -100, 1, 1],
        );
    }
}

#[test]
fn perceptron_gradients_agree() {
    let values: Vec<f32> = (0..50 * 12).map(|k| ((k * 37) % 101) as f32 / 50.0 - 1.0).collect();
    let input = Input::Dense { values: &values, width: 12 };
    let targets: Vec<i32> = (0..50).map(|k| k * 3 % 5).collect();
    let arch = ArchConfig::Mlp(MlpConfig { layers: vec![12, 40, 33, 5] });
    compare(&arch, Head::Classification { labels: 5 }, input, &targets);
}

#[test]
fn both_engines_follow_every_optimizer_alike() {
    let values: Vec<f32> = (0..20 * 4).map(|k| ((k * 37) % 101) as f32 / 50.0 - 1.0).collect();
    let input = Input::Dense { values: &values, width: 4 };
    let targets: Vec<i32> = (0..20).map(|k| k * 3 % 5).collect();
    let arch = ArchConfig::Mlp(MlpConfig { layers: vec![4, 8, 5] });
    let head = Head::Classification { labels: 5 };
    for optimizer in [
        OptimizerConfig::Adamw { beta1: 0.8, beta2: 0.95, epsilon: 1e-3, weight_decay: 0.1 },
        OptimizerConfig::plain(),
        OptimizerConfig::nesterov(0.9),
        OptimizerConfig::Sgd { momentum: 0.5, nesterov: false, weight_decay: 0.1 },
    ] {
        let mut explicit = ExplicitEngine::new(&arch, &head).unwrap();
        let mut composed = ComposedEngine::new(&arch, &head, Device::Cpu).unwrap();
        let flat = weights(&explicit, &Seed::from_u64(2));
        explicit.write(&flat).unwrap();
        composed.write(&flat).unwrap();
        for step in 0..5 {
            let seed = Seed::from_u64(step);
            explicit.gradient(input, Wanted::Classes(&targets), &seed).unwrap();
            composed.gradient(input, Wanted::Classes(&targets), &seed).unwrap();
            explicit.apply(&optimizer, 0.05, 0.9).unwrap();
            composed.apply(&optimizer, 0.05, 0.9).unwrap();
        }
        let (mut ours, mut reference) = (flat.clone(), flat.clone());
        explicit.read(&mut ours).unwrap();
        composed.read(&mut reference).unwrap();
        assert!(distance(&ours, &reference) < 1e-4, "{optimizer:?}");
        assert!(distance(&ours, &flat) > 1e-2, "{optimizer:?} moved nothing");
        let (a, b) = (explicit.optimizer_state().unwrap(), composed.optimizer_state().unwrap());
        assert_eq!((a.step, a.first.len(), a.second.len()), (b.step, b.first.len(), b.second.len()));
        if !a.first.is_empty() {
            assert!(distance(&a.first, &b.first) < 1e-4);
        }
    }
}

fn decoder(tied: bool) -> ArchConfig {
    ArchConfig::Decoder(DecoderConfig {
        vocab_size: 50,
        hidden_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        intermediate_size: 40,
        max_position_embeddings: 16,
        rms_norm_eps: 1e-6,
        rope_theta: 100.0,
        tie_word_embeddings: tied,
    })
}

/// The next token behind each of the batch's tokens.
fn next_tokens() -> Vec<i32> {
    (0..37).map(|k| if k % 5 == 2 { -100 } else { k * 7 % 50 }).collect()
}

#[test]
fn language_gradients_agree_with_automatic_differentiation() {
    let ids = tokens();
    let input = Input::Tokens { ids: &ids, lengths: &LENGTHS, width: 16 };
    for tied in [false, true] {
        compare(&decoder(tied), Head::Language { labels: 50 }, input, &next_tokens());
    }
}

const FEATURES: usize = 30;

fn graph(dropout: f64, num_layers: usize) -> ArchConfig {
    ArchConfig::Graph(GraphConfig { features: FEATURES, hidden_size: 12, num_layers, fan_out: 3, dropout })
}

/// Ten nodes of a made-up graph with what lies around them.
fn nodes(num_layers: usize) -> NodeBatch {
    let features: Vec<Vec<u32>> = (0..40_u32)
        .map(|node| (0..node % 4).map(|k| (node * 7 + k * 11) % FEATURES as u32).collect())
        .collect();
    let edges: Vec<(u32, u32, u16)> = (0..90_u32).map(|k| ((k * 13) % 38, (k * 29 + 5) % 38, 0)).collect(); // nodes 38 and 39 know nobody
    let made = Graph::new(FEATURES, &features, vec![0; 40], vec!["edge".into()], edges).unwrap();
    let chosen: Vec<u32> = (30..40).collect();
    Surroundings::new(made, num_layers, 3).of(&chosen, Some(&Seed::from_u64(3)))
}

fn of_nodes(nodes: &NodeBatch) -> Input<'_> {
    Input::Nodes(Neighbourhood {
        hops: &nodes.hops,
        neighbours: Lists { starts: &nodes.neighbour_starts, entries: &nodes.neighbours },
        features: Lists { starts: &nodes.feature_starts, entries: &nodes.features },
    })
}

const NODE_CLASSES: [i32; 10] = [0, 3, 1, -100, 2, 0, 1, 3, 2, 1];

#[test]
fn gradients_of_graph_networks_agree_with_automatic_differentiation() {
    for num_layers in 1..=3 {
        for dropout in [0.0, 0.4] {
            let batch = nodes(num_layers);
            let head = Head::Classification { labels: 4 };
            compare(&graph(dropout, num_layers), head, of_nodes(&batch), &NODE_CLASSES);
        }
    }
}

fn patches() -> ArchConfig {
    ArchConfig::Patch(PatchConfig {
        image_size: 6,
        patch_size: 2,
        num_channels: 2,
        hidden_size: 12,
        num_hidden_layers: 2,
        num_attention_heads: 3,
        intermediate_size: 20,
        layer_norm_eps: 1e-6,
        hidden_act: Activation::Gelu,
    })
}

fn images() -> Vec<f32> {
    (0..10 * 72).map(|k| ((k * 37) % 101) as f32 / 50.0 - 1.0).collect()
}

#[test]
fn gradients_of_patch_encoders_agree_with_automatic_differentiation() {
    let images = images();
    let input = Input::Dense { values: &images, width: 72 };
    compare(&patches(), Head::Classification { labels: 4 }, input, &NODE_CLASSES);
}

/// Five pairs of the ten nodes.
const PAIR_CLASSES: [i32; 5] = [0, 1, -100, 1, 0];

#[test]
fn gradients_of_pairs_agree_with_automatic_differentiation() {
    for num_layers in 1..=2 {
        let batch = nodes(num_layers);
        compare(&graph(0.3, num_layers), Head::Pair { labels: 2 }, of_nodes(&batch), &PAIR_CLASSES);
    }
}

const JOINS: [Join; 2] = [Join::GatedSum, Join::CrossAttention];

fn multimodal(join: Join) -> ArchConfig {
    let ArchConfig::Encoder(text) = encoder(0.1, Activation::Gelu) else { unreachable!() };
    let (ArchConfig::Patch(image), ArchConfig::Graph(graph)) = (patches(), graph(0.2, 2)) else {
        unreachable!()
    };
    ArchConfig::Multimodal(Box::new(MultimodalConfig {
        width: 10,
        hidden_size: 14,
        join,
        num_attention_heads: (join == Join::CrossAttention).then_some(2),
        text: Some(text),
        image: Some(image),
        table: Some(TableConfig { columns: 3, hidden_size: 9 }),
        graph: Some(graph),
    }))
}

const RECORD_CLASSES: [i32; 12] = [0, 3, 1, -100, 2, 0, 1, 3, 2, 1, 0, 2];

/// Twelve records: texts for the first five, images for ten, columns for six, relations for ten.
fn records<'a>(ids: &'a [u32], images: &'a [f32], table: &'a [f32], nodes: &'a NodeBatch) -> Input<'a> {
    let Input::Nodes(nodes) = of_nodes(nodes) else { unreachable!() };
    Input::Records(Records {
        rows: 12,
        text: Some(Texts { rows: &[0, 1, 2, 3, 4], ids, lengths: &LENGTHS, width: 16 }),
        image: Some(Numbers { rows: &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], values: images, width: 72 }),
        table: Some(Numbers { rows: &[0, 2, 4, 6, 8, 11], values: table, width: 6 }),
        graph: Some(Nodes { rows: &[0, 1, 2, 3, 4, 5, 8, 9, 10, 11], nodes }),
    })
}

fn columns() -> Vec<f32> {
    (0..6 * 6)
        .map(|k| if k % 2 == 1 { (k % 3) as f32 / 2.0 } else { ((k * 37) % 101) as f32 / 50.0 - 1.0 })
        .collect()
}

#[test]
fn gradients_of_joined_towers_agree_with_automatic_differentiation() {
    let (ids, images, table, nodes) = (tokens(), images(), columns(), nodes(2));
    let input = records(&ids, &images, &table, &nodes);
    for join in JOINS {
        compare(&multimodal(join), Head::Classification { labels: 4 }, input, &RECORD_CLASSES);
    }
}

/// Marks and numbers for `outputs` rows of `labels`.
fn marks_and_numbers(outputs: usize, labels: usize) -> (Vec<f32>, Vec<f32>) {
    let count = outputs * labels;
    let marks = (0..count).map(|k| f32::from(u8::from(k * 5 % 7 < 3))).collect();
    (marks, (0..count).map(|k| ((k * 11) % 13) as f32 / 6.0 - 1.0).collect())
}

#[test]
fn several_labels_and_quantities_are_learned_alike_by_both_engines_and_reach_every_tensor() {
    let ids = tokens();
    let text = Input::Tokens { ids: &ids, lengths: &LENGTHS, width: 16 };
    let (images, table, nodes) = (images(), columns(), nodes(2));
    let all = records(&ids, &images, &table, &nodes);
    let [gated, cross] = JOINS.map(multimodal);
    let outputs = RECORD_CLASSES.len();
    let cases = [(encoder(0.1, Activation::Gelu), text, 5), (gated, all, outputs), (cross, all, outputs)];
    for (arch, input, outputs) in cases {
        for labels in [1, 4] {
            let head = Head::Classification { labels };
            let (marks, numbers) = marks_and_numbers(outputs, labels);
            for wanted in [Wanted::Marks(&marks), Wanted::Numbers(&numbers)] {
                compare_on(&arch, head, input, wanted, outputs);
                every_tensor_gets_one_from(&arch, head, input, wanted);
                check_slope_on(&arch, head, input, wanted);
            }
        }
    }
}

#[test]
fn a_modality_that_is_absent_changes_nothing_of_the_others() {
    JOINS.into_iter().for_each(absence);
}

fn absence(join: Join) {
    let (ids, images, table, nodes) = (tokens(), images(), columns(), nodes(2));
    let arch = multimodal(join);
    let mut engine = ExplicitEngine::new(&arch, &Head::Classification { labels: 4 }).unwrap();
    let flat = weights(&engine, &Seed::from_u64(5));
    engine.write(&flat).unwrap();
    let Input::Records(whole) = records(&ids, &images, &table, &nodes) else { unreachable!() };
    let (mut with, mut without) = (Vec::new(), Vec::new());
    engine.logits(Input::Records(whole), &mut with).unwrap();
    let bare = Records { text: None, graph: None, table: None, ..whole };
    engine.logits(Input::Records(bare), &mut without).unwrap_err();
    // Rows 6 and 7 have no text and no relations: they answer the same without either.
    let rows: Vec<u32> = (0..12).collect();
    let full: Vec<f32> = (0..12 * 72).map(|k| images[k % images.len()]).collect();
    let image = Some(Numbers { rows: &rows, values: &full, width: 72 });
    engine.logits(Input::Records(Records { image, ..whole }), &mut with).unwrap();
    engine.logits(Input::Records(Records { image, text: None, graph: None, ..whole }), &mut without).unwrap();
    assert_eq!(with[6 * 4..8 * 4], without[6 * 4..8 * 4]);
    assert_ne!(with[..4], without[..4]);
    // Nor does it matter what stands in the texts of other rows.
    let others: Vec<u32> = ids.iter().map(|id| (id + 1) % 50).collect();
    let text = whole.text.map(|text| Texts { ids: &others, ..text });
    engine.logits(Input::Records(Records { image, text, ..whole }), &mut without).unwrap();
    assert_eq!(with[5 * 4..], without[5 * 4..]);
    assert_ne!(with[..4], without[..4]);
    // Training without a modality leaves its tower's gradient at 0.
    engine
        .gradient(
            Input::Records(Records { image, text: None, graph: None, ..whole }),
            Wanted::Classes(&RECORD_CLASSES),
            &Seed::from_u64(1),
        )
        .unwrap();
    let mut gradient = vec![1.0; flat.len()];
    engine.read_gradient(&mut gradient).unwrap();
    let is_of_text = |slot: &&Slot| slot.name.starts_with("text.") || slot.name.starts_with("join.text.");
    for slot in engine.slots().by_name().filter(is_of_text) {
        assert!(
            gradient[slot.flat..slot.flat + slot.range.len()].iter().all(|value| *value == 0.0),
            "{}",
            slot.name
        );
    }
}

/// Whether an architecture trains as a whole: a tensor without a gradient would silently stay as it is.
fn every_tensor_gets_a_gradient(arch: &ArchConfig, head: Head, input: Input<'_>, targets: &[i32]) {
    every_tensor_gets_one_from(arch, head, input, Wanted::Classes(targets));
}

fn every_tensor_gets_one_from(arch: &ArchConfig, head: Head, input: Input<'_>, wanted: Wanted<'_>) {
    let mut engine = ExplicitEngine::new(arch, &head).unwrap();
    let flat = weights(&engine, &Seed::from_u64(5));
    engine.write(&flat).unwrap();
    engine.gradient(input, wanted, &Seed::from_u64(6)).unwrap();
    let mut gradient = vec![0.0; flat.len()];
    engine.read_gradient(&mut gradient).unwrap();
    for slot in engine.slots().by_name() {
        let own = &gradient[slot.flat..slot.flat + slot.range.len()];
        assert!(own.iter().all(|value| value.is_finite()), "{}", slot.name);
        // The true gradient of attention keys' bias is 0: it adds the same to all scores of a query.
        let is_zero = own.iter().all(|value| *value == 0.0) && !slot.name.ends_with("key.bias");
        assert!(!is_zero, "no gradient reached {}", slot.name);
    }
}

#[test]
fn every_tensor_of_every_architecture_gets_a_gradient() {
    let ids = tokens();
    let text = Input::Tokens { ids: &ids, lengths: &LENGTHS, width: 16 };
    let bert = encoder(0.1, Activation::Gelu);
    every_tensor_gets_a_gradient(&bert, Head::Tagging { labels: 6 }, text, &tags());
    every_tensor_gets_a_gradient(&bert, Head::Classification { labels: 3 }, text, &[0, 2, -100, 1, 1]);
    for tied in [false, true] {
        every_tensor_gets_a_gradient(&decoder(tied), Head::Language { labels: 50 }, text, &next_tokens());
    }
    let batch = nodes(3);
    let classes = Head::Classification { labels: 4 };
    every_tensor_gets_a_gradient(&graph(0.2, 3), classes, of_nodes(&batch), &NODE_CLASSES);
    let values: Vec<f32> = (0..120).map(|k| ((k * 37) % 101) as f32 / 50.0 - 1.0).collect();
    let images = images();
    let input = Input::Dense { values: &images, width: 72 };
    every_tensor_gets_a_gradient(&patches(), classes, input, &NODE_CLASSES);
    let batch = self::nodes(2);
    every_tensor_gets_a_gradient(&graph(0.2, 2), Head::Pair { labels: 2 }, of_nodes(&batch), &PAIR_CLASSES);
    let (table, batch) = (columns(), self::nodes(2));
    let all = records(&ids, &images, &table, &batch);
    for join in JOINS {
        every_tensor_gets_a_gradient(&multimodal(join), classes, all, &RECORD_CLASSES);
    }
    let mlp = ArchConfig::Mlp(MlpConfig { layers: vec![12, 8, 4] });
    every_tensor_gets_a_gradient(&mlp, classes, Input::Dense { values: &values, width: 12 }, &NODE_CLASSES);
}

/// The slope of the loss along a direction, by central differences, against the gradient of the explicit engine.
fn check_slope(arch: &ArchConfig, head: Head, input: Input<'_>, targets: &[i32]) {
    check_slope_on(arch, head, input, Wanted::Classes(targets));
}

fn check_slope_on(arch: &ArchConfig, head: Head, input: Input<'_>, wanted: Wanted<'_>) {
    let seed = Seed::from_u64(21);
    let mut engine = ExplicitEngine::new(arch, &head).unwrap();
    let flat = weights(&engine, &seed);
    let total = flat.len();
    engine.write(&flat).unwrap();
    let step_seed = seed.fork("step");
    engine.gradient(input, wanted, &step_seed).unwrap();
    let mut gradient = vec![0.0; total];
    engine.read_gradient(&mut gradient).unwrap();
    let slots: Vec<_> = engine.slots().by_name().cloned().collect();
    for slot in slots {
        let range = slot.flat..slot.flat + slot.range.len();
        let norm: f64 = gradient[range.clone()].iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        // Along a tensor's own gradient the slope is its norm. The step moves the loss by 0.02 at most, far above the
        // rounding of single precision (1e-6) and, squared, below the tolerance; it is short, so that few rectified units
        // change sides on the way.
        if norm < 1e-4 {
            continue;
        }
        let mut at = |step: f64| {
            let mut moved = flat.clone();
            for k in range.clone() {
                moved[k] += (step * f64::from(gradient[k]) / norm) as f32;
            }
            engine.write(&moved).unwrap();
            engine.gradient(input, wanted, &step_seed).unwrap().loss
        };
        let mut slope = |step: f64| (at(step) - at(-step)) / (2.0 * step);
        let step = (0.01 / norm).min(0.004);
        let found = slope(step);
        if (found - norm).abs() < 0.02 * norm + 2e-4 {
            continue;
        }
        // Where rectified units change sides the loss has kinks: what they add goes with the step, a wrong gradient stays.
        let nearer = slope(step / 4.0);
        assert!(
            (nearer - norm).abs() < 0.5 * (found - norm).abs() && (nearer - norm).abs() < 0.02 * norm + 1e-3,
            "{}: slopes {found}, {nearer}, gradient {norm}",
            slot.name
        );
    }
}

#[test]
fn gradients_of_whole_networks_agree_with_differences_of_the_loss() {
    let ids = tokens();
    let input = Input::Tokens { ids: &ids, lengths: &LENGTHS, width: 16 };
    for dropout in [0.0, 0.2] {
        let arch = encoder(dropout, Activation::Gelu);
        check_slope(&arch, Head::Tagging { labels: 6 }, input, &tags());
        check_slope(&arch, Head::Classification { labels: 3 }, input, &[0, 2, -100, 1, 1]);
    }
    let images = images();
    let of_images = Input::Dense { values: &images, width: 72 };
    check_slope(&patches(), Head::Classification { labels: 4 }, of_images, &NODE_CLASSES);
    for num_layers in 1..=3 {
        let batch = nodes(num_layers);
        let head = Head::Classification { labels: 4 };
        check_slope(&graph(0.3, num_layers), head, of_nodes(&batch), &NODE_CLASSES);
    }
    let batch = nodes(1);
    check_slope(&graph(0.3, 1), Head::Pair { labels: 2 }, of_nodes(&batch), &PAIR_CLASSES);
    let batch = nodes(2);
    let table = columns();
    let all = records(&ids, &images, &table, &batch);
    for join in JOINS {
        check_slope(&multimodal(join), Head::Classification { labels: 4 }, all, &RECORD_CLASSES);
    }
    for tied in [false, true] {
        check_slope(&decoder(tied), Head::Language { labels: 50 }, input, &next_tokens());
    }
    let values: Vec<f32> = (0..50 * 12).map(|k| ((k * 37) % 101) as f32 / 50.0 - 1.0).collect();
    let targets: Vec<i32> = (0..50).map(|k| k * 3 % 5).collect();
    let arch = ArchConfig::Mlp(MlpConfig { layers: vec![12, 40, 33, 5] });
    check_slope(
        &arch,
        Head::Classification { labels: 5 },
        Input::Dense { values: &values, width: 12 },
        &targets,
    );
}
