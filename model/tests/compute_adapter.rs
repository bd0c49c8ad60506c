//! Low-rank adapters: small, right in their gradients, merged when saved.

use model::arch::config::{ArchConfig, EncoderConfig, Head};
use model::arch::decoder_config::DecoderConfig;
use model::arch::graph_config::GraphConfig;
use model::data::batch::{Batch, Inputs, Targets};
use model::device::DeviceChoice;
use model::error::Error;
use model::seed::Seed;
use model::session::Session;
use model::train::adapter::AdapterConfig;
use serde_json::Value;

const ADAPTER: AdapterConfig = AdapterConfig { rank: 2, alpha: 4.0 };

fn encoder() -> ArchConfig {
    ArchConfig::Encoder(EncoderConfig {
        hidden_size: 16,
        num_hidden_layers: 2,
        intermediate_size: 32,
        max_position_embeddings: 16,
        ..EncoderConfig::small(30)
    })
}

fn decoder() -> ArchConfig {
    ArchConfig::Decoder(DecoderConfig {
        vocab_size: 30,
        hidden_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        intermediate_size: 24,
        max_position_embeddings: 16,
        rms_norm_eps: 1e-6,
        rope_theta: 100.0,
        tie_word_embeddings: true,
    })
}

fn adapted(arch: &ArchConfig, head: Head) -> Session {
    let base = Session::new(arch, &head, &DeviceChoice::Cpu, Seed::from_u64(1)).unwrap();
    base.adapted(&ADAPTER, &Seed::from_u64(2)).unwrap()
}

fn batch(per_token: bool) -> Batch {
    let ids: Vec<u32> = (0..24).map(|k| (k * 7 + 3) % 30).collect();
    let targets = if per_token {
        Targets::Tags((0..24).map(|k| k * 5 % 3).collect())
    } else {
        Targets::Classes(vec![0, 2, 1])
    };
    Batch { rows: 3, width: 8, inputs: Inputs::Tokens { ids, lengths: vec![8; 3] }, targets, samples: 3 }
}

fn parameters(session: &Session) -> Vec<f32> {
    let mut flat = vec![0.0; session.parameter_count()];
    session.read(&mut flat).unwrap();
    flat
}

#[test]
fn fresh_adapters_change_nothing_and_are_small() {
    for (arch, head) in
        [(encoder(), Head::Classification { labels: 3 }), (decoder(), Head::Language { labels: 30 })]
    {
        let mut base = Session::new(&arch, &head, &DeviceChoice::Cpu, Seed::from_u64(1)).unwrap();
        let mut adapted = adapted(&arch, head);
        let batch = batch(head.is_per_token());
        assert_eq!(base.logits(&batch).unwrap(), adapted.logits(&batch).unwrap());
        assert!(2 * adapted.parameter_count() < base.parameter_count());
    }
}

#[test]
fn gradients_of_the_factors_agree_with_differences_of_the_loss() {
    for (arch, head) in [
        (encoder(), Head::Classification { labels: 3 }),
        (encoder(), Head::Tagging { labels: 3 }),
        (decoder(), Head::Language { labels: 30 }),
    ] {
        let mut session = adapted(&arch, head);
        let batch = batch(head.is_per_token());
        let mut rng = Seed::from_u64(3).rng();
        let mut flat = parameters(&session);
        for value in &mut flat {
            *value += 0.1 * model::seed::normal(&mut rng) as f32;
        }
        session.write(&flat).unwrap();
        // A step of rate 0 computes the gradient and leaves the parameters.
        session.train_step(&batch, 0.0).unwrap();
        assert_eq!(parameters(&session), flat);
        let mut gradient = vec![0.0; flat.len()];
        session.read_gradient(&mut gradient).unwrap();
        let mut start = 0;
        for (name, shape) in session.shapes() {
            let range = start..start + shape.iter().product::<usize>();
            start = range.end;
            let norm: f64 = gradient[range.clone()].iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            assert!(norm > 0.0, "no gradient reached {name}");
            if norm < 1e-3 {
                continue;
            }
            let mut at = |step: f64| {
                let mut moved = flat.clone();
                for k in range.clone() {
                    moved[k] += (step * f64::from(gradient[k]) / norm) as f32;
                }
                session.write(&moved).unwrap();
                session.evaluate_loss(&batch).unwrap().loss
            };
            let step = (0.01 / norm).min(0.02);
            let slope = (at(step) - at(-step)) / (2.0 * step);
            assert!((slope - norm).abs() < 0.02 * norm + 2e-4, "{name}: slope {slope}, gradient {norm}");
        }
    }
}

#[test]
fn training_moves_only_what_is_traded_and_a_saved_model_is_merged() {
    let head = Head::Classification { labels: 3 };
    let mut session = adapted(&encoder(), head);
    let batch = batch(false);
    let before = session.evaluate_loss(&batch).unwrap().loss;
    for _ in 0..60 {
        session.train_step(&batch, 1e-2).unwrap();
    }
    let trained = session.logits(&batch).unwrap();
    assert!(session.evaluate_loss(&batch).unwrap().loss < 0.5 * before);
    let dir = tempfile::tempdir().unwrap();
    session.save(dir.path(), &Value::Null).unwrap();
    let mut merged = Session::load(dir.path(), &DeviceChoice::Cpu, Seed::from_u64(9)).unwrap();
    assert_eq!(merged.logits(&batch).unwrap(), trained);
    assert!(merged.shapes().iter().all(|(name, _)| !name.contains("lora")));
    // What a peer sends is enough: the same base with these corrections answers alike.
    let mut other = adapted(&encoder(), head);
    other.write(&parameters(&session)).unwrap();
    assert_eq!(other.logits(&batch).unwrap(), trained);
}

#[test]
fn sizes_that_mean_nothing_are_refused_by_name() {
    let head = Head::Classification { labels: 3 };
    let base = || Session::new(&encoder(), &head, &DeviceChoice::Cpu, Seed::from_u64(1)).unwrap();
    for (adapter, name) in [
        (AdapterConfig { rank: 0, alpha: 1.0 }, "adapter.rank"),
        (AdapterConfig { rank: 1, alpha: f64::NAN }, "adapter.alpha"),
    ] {
        let error = base().adapted(&adapter, &Seed::from_u64(1)).err().unwrap();
        assert!(matches!(&error, Error::Config { name: found, .. } if found == name), "{error}");
    }
    let graph = ArchConfig::Graph(GraphConfig {
        features: 9,
        hidden_size: 4,
        num_layers: 2,
        fan_out: 2,
        dropout: 0.0,
    });
    let nodes = Session::new(&graph, &head, &DeviceChoice::Cpu, Seed::from_u64(1)).unwrap();
    assert!(nodes.adapted(&ADAPTER, &Seed::from_u64(1)).is_ok(), "graph networks have matrices too");
}
