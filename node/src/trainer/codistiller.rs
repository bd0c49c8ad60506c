//! A member's model in a run where predictions travel in place of parameters.
//!
//! What the trainer takes for parameters is here the matrix of probabilities over the probe set: it reads what the
//! model says and writes what the members say together. The model itself stays at home and learns from both its own
//! labels and that mix: the mean over all outputs of CE on own rows and α T² KL(mix ‖ model) on rows of the probe set,
//! one gradient for both.

use std::path::Path;

use model::ops::soft_loss::{SoftRule, soft_loss};
use model::seed::{Seed, shuffle};
use model::task::unlabelled::Unlabelled;
use protocol::id::OuterStep;
use protocol::wire::codistillation::CodistillationTerms;

use crate::trainer::learner::{Judged, Learned, Learner, LearnerError, Lesson, wrong};
use crate::trainer::model_learner::ModelLearner;

/// Name of the model's parameters among the learner's own state.
const PARAMETERS: &str = "parameters";

/// A model, the probe set, what it says of it and what all say.
pub struct Codistiller {
    own: ModelLearner,
    probe: Unlabelled,
    terms: CodistillationTerms,
    labels: usize,
    /// Decides the order of the probe rows.
    order: Seed,
    /// What the model said after its last lesson, (outputs, labels); uniform before.
    said: Vec<f32>,
    /// What the members said together, (outputs, labels); empty before the first mix.
    mix: Vec<f32>,
}

impl Codistiller {
    /// Puts a learner together; `order` seeds the order of the probe rows.
    ///
    /// # Errors
    /// The probe set has another number of outputs than the charter says.
    pub fn new(
        own: ModelLearner,
        probe: Unlabelled,
        terms: CodistillationTerms,
        order: Seed,
    ) -> Result<Self, LearnerError> {
        if probe.outputs() != terms.outputs as usize {
            let why = format!(
                "expected {} outputs as the charter says, found {}; its founders made it with another tokenizer of words",
                terms.outputs,
                probe.outputs()
            );
            return Err(LearnerError { what: "read the probe set", why });
        }
        let labels = own.labels();
        let said = vec![1.0 / labels as f32; probe.outputs() * labels];
        Ok(Self { own, probe, terms, labels, order, said, mix: Vec::new() })
    }

    fn predict(&mut self) -> Result<(), LearnerError> {
        self.said =
            self.probe.probabilities(self.own.session()).map_err(wrong("predict on the probe set"))?;
        Ok(())
    }
}

/// Makes a distribution of what codec, trimming or a liar left of one: values below 0 count as 0, and a row without any
/// other is uniform.
fn make_distribution(row: &mut [f32]) {
    row.iter_mut().for_each(|value| *value = value.max(0.0));
    let sum: f32 = row.iter().sum();
    let is_one = sum > 0.0 && sum.is_finite();
    let uniform = 1.0 / row.len() as f32;
    row.iter_mut().for_each(|value| *value = if is_one { *value / sum } else { uniform });
}

/// The order of one pass through the probe set.
#[derive(Default)]
struct Pass {
    number: Option<u64>,
    rows: Vec<usize>,
}

impl Pass {
    /// Rows of the probe set for an inner step of the run: each pass goes through all `rows` in an order of its own, so
    /// the choice follows from the step alone and nothing of it needs to be saved.
    fn choose(&mut self, step: u64, count: u64, rows: u64, order: &Seed) -> Vec<usize> {
        let count = count.min(rows);
        let row = |place: u64| {
            let number = place / rows;
            if self.number != Some(number) {
                self.rows = (0..rows as usize).collect();
                shuffle(&mut order.fork_index(number).rng(), &mut self.rows);
                self.number = Some(number);
            }
            self.rows[(place % rows) as usize]
        };
        (step * count..(step + 1) * count).map(row).collect()
    }
}

impl Learner for Codistiller {
    fn parameters(&self) -> usize {
        self.said.len()
    }

    fn read(&self, out: &mut [f32]) {
        out.copy_from_slice(&self.said);
    }

    fn model(&self) -> Option<Vec<f32>> {
        self.own.model()
    }

    /// Takes what the members said together. A row that is no distribution after rounding and trimming is made one.
    fn write(&mut self, flat: &[f32]) -> Result<(), LearnerError> {
        self.mix.clear();
        self.mix.extend_from_slice(flat);
        self.mix.chunks_exact_mut(self.labels).for_each(make_distribution);
        Ok(())
    }

    fn train(&mut self, lesson: Lesson, is_stopped: &dyn Fn() -> bool) -> Result<Learned, LearnerError> {
        let Self { own, probe, terms, labels, order, mix, .. } = self;
        let mut pass = Pass::default();
        let rule =
            SoftRule::Divergence { alpha: f64::from(terms.alpha), temperature: f64::from(terms.temperature) };
        let learned = own.lesson(lesson, is_stopped, |session, batch, rate, step| {
            if mix.is_empty() {
                return session.train_step(batch, rate);
            }
            let chosen = pass.choose(step, terms.batch.into(), probe.rows() as u64, order);
            let joined = probe.join(batch, &chosen)?;
            // A row of zeros has no teacher: the own rows learn from their labels alone.
            let mut teacher = vec![0.0; joined.targets.len() * *labels];
            for (output, probe) in &joined.taught {
                let row = &mix[probe * *labels..(probe + 1) * *labels];
                teacher[output * *labels..(output + 1) * *labels].copy_from_slice(row);
            }
            let targets = &joined.targets;
            session.step_on(&joined.batch, rate, &mut |logits| {
                soft_loss(logits, *labels, targets, &teacher, rule)
            })
        })?;
        self.predict()?;
        Ok(learned)
    }

    fn evaluate(&mut self) -> Result<Judged, LearnerError> {
        self.own.evaluate()
    }

    fn export(&self, dir: &Path, step: OuterStep) -> Result<(), LearnerError> {
        self.own.export(dir, step)
    }

    fn state(&self) -> Vec<(String, Vec<u8>)> {
        let mut flat = vec![0.0; self.own.parameters()];
        self.own.read(&mut flat);
        let mut blobs = self.own.state();
        blobs.push((PARAMETERS.to_owned(), flat.iter().flat_map(|x| x.to_le_bytes()).collect()));
        blobs
    }

    fn restore(&mut self, state: &[(String, Vec<u8>)]) -> Result<(), LearnerError> {
        let parameters = state.iter().find(|(name, _)| name == PARAMETERS);
        let bytes = parameters.map(|(_, bytes)| bytes.as_slice()).unwrap_or_default();
        let flat: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if flat.len() != self.own.parameters() {
            let why = format!(
                "expected {} parameters, found {}; the architecture this node chose has changed: set train.variant to the one it had, or move its state away to begin anew",
                self.own.parameters(),
                flat.len()
            );
            return Err(LearnerError { what: "resume from the checkpoint", why });
        }
        self.own.write(&flat)?;
        self.own.restore(state)?;
        self.predict()
    }
}

#[cfg(test)]
mod tests {
    use model::arch::config::{ArchConfig, EncoderConfig, Head};
    use model::data::batcher::{Batcher, Order};
    use model::data::example::LabelledText;
    use model::data::labels::LabelSet;
    use model::data::tokenize::tokenizer::Tokenizer;
    use model::device::DeviceChoice;
    use model::session::Session;
    use model::task::classify;
    use protocol::wire::charter::TrainTerms;

    use super::*;
    use crate::trainer::model_card::{Card, Facts};
    use crate::trainer::score::Scored;

    /// Words of three subjects, two each; a text's class is its subject.
    const WORDS: [[&str; 2]; 3] = [["river", "lake"], ["club", "goal"], ["vote", "law"]];

    fn tokenizer() -> Tokenizer {
        let words = WORDS.concat().join("\n");
        let vocabulary = format!("[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\n{words}\n");
        Tokenizer::from_vocabulary(vocabulary.as_bytes(), None, "v").unwrap()
    }

    fn texts(subjects: &[usize]) -> Vec<LabelledText> {
        let text = |subject: usize, word: &str| LabelledText {
            text: format!("the {word}"),
            label: subject as u32,
            group: None,
        };
        subjects.iter().flat_map(|s| WORDS[*s].map(|word| text(*s, word))).collect()
    }

    fn terms() -> TrainTerms {
        TrainTerms {
            optimizer: "adamw".into(),
            rate: 5e-3,
            batch: 4,
            weight_decay: 0.0,
            clip: 1.0,
            warmup_share: 0.0,
            decay_share: 0.0,
            in_order: false,
        }
    }

    /// A model of `layers` layers that knows two subjects and is scored on the third.
    fn member(subjects: [usize; 2], unknown: usize, layers: usize) -> Codistiller {
        let (tokenizer, seed) = (tokenizer(), Seed::from_u64(5));
        let arch = ArchConfig::Encoder(EncoderConfig {
            hidden_size: 16,
            num_hidden_layers: layers,
            num_attention_heads: 2,
            intermediate_size: 32,
            max_position_embeddings: 8,
            ..EncoderConfig::small(tokenizer.vocabulary())
        });
        let head = Head::Classification { labels: 3 };
        let session = Session::new(&arch, &head, &DeviceChoice::Cpu, seed).unwrap();
        let rows = classify::encode(&texts(&subjects), &tokenizer, 8).unwrap();
        let batches = Batcher::new(rows, 4, Order::Shuffled, seed.fork("batches")).unwrap();
        let unknown = texts(&[unknown]);
        let scored = Scored::Classes {
            rows: classify::encode(&unknown, &tokenizer, 8).unwrap(),
            truth: unknown.iter().map(|text| text.label).collect(),
            labels: LabelSet::classes(["a", "b", "c"].map(str::to_owned)).unwrap(),
        };
        let facts = Facts {
            run_name: String::new(),
            run: String::new(),
            purpose: String::new(),
            outer_step: 0,
            task: "classify".into(),
            labels: vec!["a".into(), "b".into(), "c".into()],
            tokens_max: 8,
            peer_id: String::new(),
            privacy: None,
        };
        let card = Card { facts, metric: "accuracy".into(), tokenizer: None };
        let own = ModelLearner::new(session, batches, scored, terms(), card);
        let all: Vec<String> = texts(&[0, 1, 2]).into_iter().map(|text| text.text).collect();
        let probe = Unlabelled::classify(&all, &tokenizer, 8).unwrap();
        let terms =
            CodistillationTerms { outputs: 6, batch: 6, alpha: 1.0, temperature: 1.0, variants: vec![] };
        Codistiller::new(own, probe, terms, seed.fork("probe")).unwrap()
    }

    /// Three members of two sizes go through outer steps, with or without what the others say.
    fn run(trades: bool) -> Vec<Codistiller> {
        let mut members = vec![member([0, 1], 2, 2), member([1, 2], 0, 1), member([2, 0], 1, 1)];
        for step in 0..8 {
            for member in &mut members {
                let lesson = Lesson { steps: 20, start: step * 20, total: 160, seconds_max: 0 };
                member.train(lesson, &|| false).unwrap();
            }
            let said: Vec<Vec<f32>> = members
                .iter()
                .map(|member| {
                    let mut said = vec![0.0; member.parameters()];
                    member.read(&mut said);
                    said
                })
                .collect();
            let mean: Vec<f32> =
                (0..said[0].len()).map(|i| said.iter().map(|s| s[i]).sum::<f32>() / 3.0).collect();
            if trades {
                members.iter_mut().for_each(|member| member.write(&mean).unwrap());
            }
        }
        members
    }

    #[test]
    fn members_of_two_sizes_learn_from_each_other_what_their_own_labels_do_not_tell() {
        for mut member in run(false) {
            assert_eq!(member.evaluate().unwrap().score, 0.0, "no label of its own tells of that subject");
        }
        for mut member in run(true) {
            assert_eq!(member.evaluate().unwrap().score, 1.0);
        }
    }

    #[test]
    fn a_member_starts_uniform_and_goes_on_where_its_checkpoint_was() {
        let fresh = member([0, 1], 2, 1);
        let mut said = vec![0.0; 18];
        fresh.read(&mut said);
        assert_eq!(said, [1.0 / 3.0; 18]);
        let mut trained = run(true).remove(1);
        let mut again = member([1, 2], 0, 1);
        again.restore(&trained.state()).unwrap();
        let (mut one, mut other) = (vec![0.0; 18], vec![0.0; 18]);
        trained.read(&mut one);
        again.read(&mut other);
        assert_eq!(one, other);
        again.write(&one).unwrap();
        trained.write(&one).unwrap();
        let lesson = Lesson { steps: 3, start: 120, total: 200, seconds_max: 0 };
        assert_eq!(trained.train(lesson, &|| false).unwrap(), again.train(lesson, &|| false).unwrap());
        assert_eq!(trained.model(), again.model());
        let mut larger = member([0, 1], 2, 2);
        assert!(larger.restore(&trained.state()).unwrap_err().to_string().contains("train.variant"));
    }

    #[test]
    fn a_row_that_is_no_distribution_is_made_one() {
        let made = |row: [f32; 3]| {
            let mut row = row;
            make_distribution(&mut row);
            row
        };
        assert_eq!(made([0.5, 0.25, 0.25]), [0.5, 0.25, 0.25]);
        assert_eq!(made([-0.1, 1.0, 1.0]), [0.0, 0.5, 0.5]);
        for none in [[0.0; 3], [-1.0, -2.0, -3.0], [f32::MAX, f32::MAX, 0.0]] {
            assert_eq!(made(none), [1.0 / 3.0; 3]);
        }
    }

    #[test]
    fn every_pass_goes_through_all_probe_rows_once_and_a_restart_finds_the_same_rows() {
        let order = Seed::from_u64(3);
        let mut pass = Pass::default();
        let chosen: Vec<Vec<usize>> = (0..10).map(|step| pass.choose(step, 4, 10, &order)).collect();
        let all: Vec<usize> = chosen.concat();
        for pass in all.chunks(10) {
            let mut sorted = pass.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(all[..10], all[10..20]);
        assert_eq!(Pass::default().choose(7, 4, 10, &order), chosen[7]);
        assert_eq!(Pass::default().choose(0, 99, 10, &order).len(), 10);
    }
}
