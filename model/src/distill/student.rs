//! Making a student: its parameters, cut out of its teacher's.
//!
//! What is kept whole is copied; where there is a choice, the parts with the largest importance are taken, in the order
//! they have in the teacher.

use std::collections::BTreeMap;

use crate::arch::config::{ArchConfig, Head};
use crate::arch::network::Network;
use crate::arch::slot::{Slot, Slots};
use crate::distill::anatomy::{Anatomy, Group};
use crate::error::{Error, Result};

/// A teacher's architecture and parameters.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its architecture.
    pub arch: &'a ArchConfig,
    /// Its head, which the student keeps.
    pub head: &'a Head,
    /// Its parameters in flat order.
    pub parameters: &'a [f32],
    /// How much every parameter matters, in flat order, from 0; the squares of the parameters where nothing is known.
    pub importance: Option<&'a [f32]>,
}

/// The student's parameters in the flat order of its own architecture.
///
/// # Errors
/// The teacher's vectors do not have the length of its architecture.
pub fn parameters(source: Source<'_>, anatomy: &Anatomy) -> Result<Vec<f32>> {
    let (_, slots) = Network::new(source.arch, source.head)?;
    for length in [Some(source.parameters.len()), source.importance.map(<[f32]>::len)].into_iter().flatten() {
        if length != slots.total() {
            return Err(Error::shape("a teacher's parameters", slots.total(), length));
        }
    }
    let by_name: BTreeMap<&str, &Slot> = slots.by_name().map(|slot| (slot.name.as_str(), slot)).collect();
    let kept = choose(source, anatomy, &by_name);
    let (_, own) = Network::new(&anatomy.arch, source.head)?;
    let mut flat = Vec::with_capacity(own.total());
    // The anatomy lists the student's tensors by name, which is the flat order.
    for tensor in &anatomy.tensors {
        let from = by_name[tensor.from.as_str()];
        let places: Vec<Vec<usize>> = tensor
            .axes
            .iter()
            .zip(&from.shape)
            .map(|(axis, size)| match axis {
                None => (0..*size).collect(),
                Some(axis) => spread_out(&kept[axis.group], axis.span),
            })
            .collect();
        gather(&source.parameters[from.flat..from.flat + from.range.len()], &from.shape, &places, &mut flat);
    }
    check_total(&own, flat.len());
    Ok(flat)
}

/// An anatomy that does not give its own architecture's tensors is a mistake of this crate.
fn check_total(own: &Slots, found: usize) {
    assert_eq!(found, own.total(), "an anatomy describes every tensor of the student");
}

/// Appends the elements at the given places of every axis, row-major.
fn gather(values: &[f32], shape: &[usize], places: &[Vec<usize>], out: &mut Vec<f32>) {
    let ([_, rest @ ..], [own, behind @ ..]) = (shape, places) else {
        out.extend_from_slice(values);
        return;
    };
    let size: usize = rest.iter().product();
    own.iter().for_each(|place| gather(&values[place * size..(place + 1) * size], rest, behind, out));
}

/// For every group the units that are kept, in order.
fn choose(source: Source<'_>, anatomy: &Anatomy, by_name: &BTreeMap<&str, &Slot>) -> Vec<Vec<usize>> {
    let mut sums: Vec<Vec<f64>> = anatomy.groups.iter().map(|group| vec![0.0; group.units]).collect();
    for tensor in &anatomy.tensors {
        let slot = by_name[tensor.from.as_str()];
        for element in 0..slot.range.len() {
            let matters = match source.importance {
                Some(importance) => f64::from(importance[slot.flat + element]),
                None => f64::from(source.parameters[slot.flat + element]).powi(2),
            };
            // From the last axis to the first, which is how a place in a row-major tensor comes apart.
            let mut rest = element;
            for (axis, size) in tensor.axes.iter().zip(&slot.shape).rev() {
                let place = rest % size;
                rest /= size;
                if let Some(axis) = axis {
                    sums[axis.group][place / axis.span] += matters;
                }
            }
        }
    }
    anatomy.groups.iter().zip(&sums).map(|(group, sums)| best(group, sums)).collect()
}

/// The units with the largest sums; equal ones are taken in order.
fn best(group: &Group, sums: &[f64]) -> Vec<usize> {
    let mut units: Vec<usize> = (0..group.units).collect();
    units.sort_by(|a, b| sums[*b].total_cmp(&sums[*a]));
    units.truncate(group.keep);
    units.sort_unstable();
    units
}

/// The places of units that take `span` places each.
fn spread_out(units: &[usize], span: usize) -> Vec<usize> {
    units.iter().flat_map(|unit| unit * span..(unit + 1) * span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::config::{EncoderConfig, MlpConfig};
    use crate::arch::decoder_config::DecoderConfig;
    use crate::arch::graph_config::GraphConfig;
    use crate::arch::input::Input;
    use crate::arch::patch_config::PatchConfig;
    use crate::distill::plan::Depth;
    use crate::seed::Seed;

    fn encoder() -> ArchConfig {
        ArchConfig::Encoder(EncoderConfig {
            hidden_size: 12,
            num_attention_heads: 3,
            num_hidden_layers: 4,
            intermediate_size: 10,
            max_position_embeddings: 8,
            ..EncoderConfig::small(20)
        })
    }

    /// Two query heads share each of two heads of keys and values.
    fn decoder() -> ArchConfig {
        ArchConfig::Decoder(DecoderConfig {
            vocab_size: 20,
            hidden_size: 8,
            num_hidden_layers: 4,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            intermediate_size: 6,
            max_position_embeddings: 8,
            rms_norm_eps: 1e-6,
            rope_theta: 1e4,
            tie_word_embeddings: false,
        })
    }

    fn patch() -> ArchConfig {
        ArchConfig::Patch(PatchConfig {
            image_size: 4,
            patch_size: 2,
            num_channels: 1,
            hidden_size: 6,
            num_hidden_layers: 4,
            num_attention_heads: 2,
            intermediate_size: 8,
            layer_norm_eps: 1e-12,
            hidden_act: crate::ops::activation::Activation::Gelu,
        })
    }

    fn graph() -> ArchConfig {
        let (features, hidden_size) = (5, 4);
        ArchConfig::Graph(GraphConfig { features, hidden_size, num_layers: 4, fan_out: 3, dropout: 0.0 })
    }

    fn flat(arch: &ArchConfig, head: &Head) -> (Slots, Vec<f32>) {
        let (_, slots) = Network::new(arch, head).unwrap();
        let values = slots.initial(&Seed::from_u64(1));
        (slots, values)
    }

    fn logits(arch: &ArchConfig, head: &Head, flat: &[f32], input: Input<'_>) -> Vec<f32> {
        let (mut network, slots) = Network::new(arch, head).unwrap();
        let mut storage = vec![0.0; flat.len()];
        slots.from_flat(flat, &mut storage);
        let mut out = Vec::new();
        let outputs = network.forward(&storage, input, None, &mut out).unwrap();
        out.truncate(outputs * head.labels());
        out
    }

    fn cut(arch: &ArchConfig, head: &Head, flat: &[f32], depth: Depth, width: f64) -> (ArchConfig, Vec<f32>) {
        let anatomy = Anatomy::new(arch, head, depth, width).unwrap();
        let source = Source { arch, head, parameters: flat, importance: None };
        let student = parameters(source, &anatomy).unwrap();
        (anatomy.arch, student)
    }

    #[test]
    fn a_student_that_keeps_everything_is_its_teacher() {
        let mlp = ArchConfig::Mlp(MlpConfig { layers: vec![3, 5, 5, 2] });
        for (arch, head) in [
            (encoder(), Head::Tagging { labels: 3 }),
            (encoder(), Head::Classification { labels: 2 }),
            (mlp, Head::Classification { labels: 2 }),
            (decoder(), Head::Language { labels: 20 }),
            (patch(), Head::Classification { labels: 3 }),
            (graph(), Head::Classification { labels: 3 }),
        ] {
            let (_, teacher) = flat(&arch, &head);
            assert_eq!(cut(&arch, &head, &teacher, Depth::Whole, 1.0), (arch, teacher));
        }
    }

    #[test]
    fn blocks_that_do_nothing_can_be_left_out_without_a_trace() {
        // In an mlp of positive values a unit matrix without offset changes nothing.
        let (arch, head) = (
            ArchConfig::Mlp(MlpConfig { layers: vec![2, 4, 4, 4, 4, 3] }),
            Head::Classification { labels: 3 },
        );
        let (slots, mut teacher) = flat(&arch, &head);
        for slot in slots.by_name().filter(|slot| slot.name.contains("02") || slot.name.contains("03")) {
            let identity = |k: usize| f32::from(u8::from(slot.shape.len() == 2 && k / 4 == k % 4));
            (0..slot.range.len()).for_each(|k| teacher[slot.flat + k] = identity(k));
        }
        let (small, student) = cut(&arch, &head, &teacher, Depth::Blocks(1), 1.0);
        assert_eq!(small, ArchConfig::Mlp(MlpConfig { layers: vec![2, 4, 4, 3] }));
        let input = Input::Dense { values: &[0.3, 0.9, -0.5, 0.2], width: 2 };
        assert_eq!(logits(&small, &head, &student, input), logits(&arch, &head, &teacher, input));
    }

    #[test]
    fn blocks_that_add_nothing_to_what_passes_by_can_be_left_out_too() {
        let tokens = Input::Tokens { ids: &[1, 7, 3], lengths: &[3], width: 3 };
        let pixels: Vec<f32> = (0..16).map(|k| k as f32 / 16.0).collect();
        let image = Input::Dense { values: &pixels, width: 16 };
        for (arch, head, input) in [
            (decoder(), Head::Language { labels: 20 }, tokens),
            (patch(), Head::Classification { labels: 3 }, image),
        ] {
            let (slots, mut teacher) = flat(&arch, &head);
            let (mut silenced, silent) = (0, ["o_proj", "down_proj", ".output.dense"]);
            for slot in slots.by_name().filter(|slot| silent.iter().any(|part| slot.name.contains(part))) {
                if slot.name.contains(".1.") || slot.name.contains(".2.") {
                    teacher[slot.flat..slot.flat + slot.range.len()].fill(0.0);
                    silenced += 1;
                }
            }
            assert!(silenced >= 4, "{silenced}");
            let (small, student) = cut(&arch, &head, &teacher, Depth::Share(0.5), 1.0);
            assert!(student.len() < teacher.len());
            assert_eq!(logits(&small, &head, &student, input), logits(&arch, &head, &teacher, input));
        }
    }

    #[test]
    fn query_heads_stay_with_their_keys_and_kernels_keep_their_pixels() {
        let (arch, head) = (decoder(), Head::Language { labels: 20 });
        let (slots, teacher) = flat(&arch, &head);
        let mut importance = vec![0.0; teacher.len()];
        for slot in slots.by_name() {
            for k in 0..slot.range.len() {
                match slot.name.as_str() {
                    "model.layers.1.self_attn.v_proj.weight" if k >= 2 * 8 => importance[slot.flat + k] = 1.0,
                    "model.embed_tokens.weight" if k % 8 >= 4 => importance[slot.flat + k] = 100.0,
                    _ => {}
                }
            }
        }
        let anatomy = Anatomy::new(&arch, &head, Depth::Whole, 0.5).unwrap();
        let ArchConfig::Decoder(small) = &anatomy.arch else { panic!("a decoder expected") };
        assert_eq!((small.num_attention_heads, small.num_key_value_heads, small.hidden_size), (2, 1, 4));
        let source = Source { arch: &arch, head: &head, parameters: &teacher, importance: Some(&importance) };
        let student = parameters(source, &anatomy).unwrap();
        let (own, _) = flat(&anatomy.arch, &head);
        let at = |slots: &Slots, name: &str| slots.by_name().find(|slot| slot.name == name).unwrap().flat;
        let queries = "model.layers.1.self_attn.q_proj.weight";
        let (new, old) = (at(&own, queries), at(&slots, queries));
        // Row 0 of the student is row 4 of the teacher: the first of the two queries of the second head.
        assert_eq!(student[new..new + 4], teacher[old + 4 * 8 + 4..old + 5 * 8]);
        let input = Input::Tokens { ids: &[1, 2, 3], lengths: &[3], width: 3 };
        assert!(logits(&anatomy.arch, &head, &student, input).iter().all(|z| z.is_finite()));

        let (arch, head) = (patch(), Head::Classification { labels: 3 });
        let (slots, mut teacher) = flat(&arch, &head);
        let kernel = "vit.embeddings.patch_embeddings.projection.weight";
        // Features 3 to 5 are loud wherever they occur, so they are the ones to keep.
        let first = at(&slots, kernel);
        teacher[first + 3 * 4..first + 6 * 4].iter_mut().for_each(|w| *w += 1e3);
        let (small, student) = cut(&arch, &head, &teacher, Depth::Blocks(1), 0.5);
        let (own, _) = flat(&small, &head);
        let new = at(&own, kernel);
        assert_eq!(student[new..new + 12], teacher[first + 12..first + 24]);
        let pixels = [0.5; 16];
        let input = Input::Dense { values: &pixels, width: 16 };
        assert!(logits(&small, &head, &student, input).iter().all(|z| z.is_finite()));
    }

    #[test]
    fn a_graph_network_keeps_its_first_and_last_hop() {
        let (arch, head) = (graph(), Head::Classification { labels: 3 });
        let (slots, teacher) = flat(&arch, &head);
        let (small, student) = cut(&arch, &head, &teacher, Depth::Blocks(1), 0.5);
        let ArchConfig::Graph(config) = &small else { panic!("a graph network expected") };
        assert_eq!((config.num_layers, config.hidden_size, config.features), (3, 2, 5));
        let (own, _) = flat(&small, &head);
        let of = |slots: &Slots, flat: &[f32], name: &str| {
            let slot = slots.by_name().find(|slot| slot.name == name).unwrap();
            flat[slot.flat..slot.flat + slot.range.len()].to_vec()
        };
        // The last layer was the fourth and is the third; its outputs are kept whole.
        assert_eq!(of(&own, &student, "layers.02.bias"), of(&slots, &teacher, "layers.03.bias"));
        let (new, old) =
            (of(&own, &student, "layers.00.own.weight"), of(&slots, &teacher, "layers.00.own.weight"));
        assert_eq!((new.len(), old.len()), (10, 20));
        assert!(new.iter().all(|value| old.contains(value)));
    }

    #[test]
    fn kept_blocks_keep_their_parameters_under_their_new_numbers() {
        let (arch, head) = (encoder(), Head::Tagging { labels: 3 });
        let (slots, teacher) = flat(&arch, &head);
        let (small, student) = cut(&arch, &head, &teacher, Depth::Share(0.5), 1.0);
        let (own, _) = flat(&small, &head);
        let tensor = |slots: &Slots, flat: &[f32], name: &str| {
            let slot = slots.by_name().find(|slot| slot.name == name).unwrap();
            flat[slot.flat..slot.flat + slot.range.len()].to_vec()
        };
        for (new, old) in [(0, 0), (1, 3)] {
            let name = |k| format!("bert.encoder.layer.{k}.intermediate.dense.weight");
            assert_eq!(tensor(&own, &student, &name(new)), tensor(&slots, &teacher, &name(old)));
        }
        let words = "bert.embeddings.word_embeddings.weight";
        assert_eq!(tensor(&own, &student, words), tensor(&slots, &teacher, words));
    }

    #[test]
    fn width_keeps_what_matters_and_the_rest_of_a_sparse_teacher_was_not_needed() {
        // Only two of the four features of each hidden layer are connected at all.
        let (arch, head) =
            (ArchConfig::Mlp(MlpConfig { layers: vec![3, 4, 4, 2] }), Head::Classification { labels: 2 });
        let (slots, mut teacher) = flat(&arch, &head);
        let is_live = |layer: usize, feature: usize| if layer == 1 { feature % 2 == 1 } else { feature < 2 };
        for (number, layer_in, layer_out) in [(0, 0, 1), (1, 1, 2), (2, 2, 3)] {
            let name = format!("layers.{number:02}.matrix");
            let slot = slots.by_name().find(|slot| slot.name == name).unwrap();
            for k in 0..slot.range.len() {
                let (out, from) = (k / slot.shape[1], k % slot.shape[1]);
                let lives =
                    (layer_in == 0 || is_live(layer_in, from)) && (layer_out == 3 || is_live(layer_out, out));
                if !lives {
                    teacher[slot.flat + k] = 0.0;
                }
            }
        }
        let (small, student) = cut(&arch, &head, &teacher, Depth::Whole, 0.5);
        assert_eq!(small, ArchConfig::Mlp(MlpConfig { layers: vec![3, 2, 2, 2] }));
        let input = Input::Dense { values: &[0.3, 0.9, -0.5], width: 3 };
        let (a, b) = (logits(&small, &head, &student, input), logits(&arch, &head, &teacher, input));
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6), "{a:?} {b:?}");
    }

    #[test]
    fn heads_and_features_of_an_encoder_are_kept_by_importance() {
        let (arch, head) = (encoder(), Head::Classification { labels: 2 });
        let (slots, teacher) = flat(&arch, &head);
        // What matters: head 2 of block 1 by its queries, features 4 to 11 by the word table.
        let mut importance = vec![0.0; teacher.len()];
        for slot in slots.by_name() {
            for k in 0..slot.range.len() {
                let at = &mut importance[slot.flat + k];
                match slot.name.as_str() {
                    "bert.encoder.layer.1.attention.self.query.bias" if k >= 8 => *at = 9.0,
                    "bert.embeddings.word_embeddings.weight" if k % 12 >= 4 => *at = 1.0,
                    _ => {}
                }
            }
        }
        let anatomy = Anatomy::new(&arch, &head, Depth::Whole, 0.6).unwrap();
        let ArchConfig::Encoder(small) = &anatomy.arch else { panic!("an encoder expected") };
        assert_eq!((small.num_attention_heads, small.hidden_size, small.intermediate_size), (2, 8, 6));
        let source = Source { arch: &arch, head: &head, parameters: &teacher, importance: Some(&importance) };
        let student = parameters(source, &anatomy).unwrap();
        let (own, _) = flat(&anatomy.arch, &head);
        let tensor = |name: &str| {
            let slot = own.by_name().find(|slot| slot.name == name).unwrap();
            student[slot.flat..slot.flat + slot.range.len()].to_vec()
        };
        let old = |name: &str| slots.by_name().find(|slot| slot.name == name).unwrap().flat;
        let words = old("bert.embeddings.word_embeddings.weight");
        assert_eq!(tensor("bert.embeddings.word_embeddings.weight")[..8], teacher[words + 4..words + 12]);
        let query = old("bert.encoder.layer.1.attention.self.query.weight");
        // Heads 0 and 2 of three, four rows each: row 4 of the student is row 8 of the teacher.
        let width = 8;
        assert_eq!(
            tensor("bert.encoder.layer.1.attention.self.query.weight")[4 * width..5 * width],
            teacher[query + 8 * 12 + 4..query + 8 * 12 + 12]
        );
        let input = Input::Tokens { ids: &[1, 2, 3], lengths: &[3], width: 3 };
        assert!(logits(&anatomy.arch, &head, &student, input).iter().all(|z| z.is_finite()));
    }

    #[test]
    fn what_cannot_be_cut_is_refused_with_a_way_out() {
        let head = Head::Classification { labels: 2 };
        let arch = ArchConfig::Mlp(MlpConfig { layers: vec![3, 5, 4, 2] });
        let error = Anatomy::new(&arch, &head, Depth::Share(0.5), 1.0).unwrap_err().to_string();
        assert!(error.contains("width0.5"), "{error}");
        assert!(Anatomy::new(&encoder(), &head, Depth::Blocks(5), 1.0).is_err());
        let anatomy = Anatomy::new(&arch, &head, Depth::Whole, 0.5).unwrap();
        let source = Source { arch: &arch, head: &head, parameters: &[0.0; 3], importance: None };
        assert!(parameters(source, &anatomy).is_err());
    }
}
