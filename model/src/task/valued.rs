//! Several labels or a quantity: texts to rows with numbers as targets, logits to probabilities or quantities.

use crate::data::dataset::Dataset;
use crate::data::example::ValuedText;
use crate::data::scale::Scale;
use crate::data::tokenize::tokenizer::Tokenizer;
use crate::data::valued::Values;
use crate::error::{Error, Result};
use crate::task::classify::encode_texts;
use crate::task::logits::{Logits, check};

/// Rows in one batch while predicting.
const ROWS: usize = 64;

/// Encodes texts with their numbers into rows of at most `tokens_max` tokens.
///
/// # Errors
/// The tokenizer fails, `tokens_max` has no room, or the texts have unequal counts of numbers.
pub fn encode(
    texts: &[ValuedText],
    values: &Values,
    tokenizer: &Tokenizer,
    tokens_max: usize,
) -> Result<Dataset> {
    let plain: Vec<&str> = texts.iter().map(|text| text.text.as_str()).collect();
    let rows = encode_texts(&plain, tokenizer, tokens_max)?;
    aimed(rows, values, texts.iter().map(|text| text.values.as_slice()))
}

/// The same rows with their numbers as targets: marks as they are, quantities on the scale of the network.
///
/// # Errors
/// The rows have unequal counts of numbers.
pub fn aimed<'a>(
    rows: Dataset,
    values: &Values,
    numbers: impl Iterator<Item = &'a [f32]>,
) -> Result<Dataset> {
    match values {
        Values::Marks(_) => rows.with_marks(numbers.flatten().copied().collect()),
        Values::Quantity(scale) => {
            rows.with_numbers(numbers.flatten().map(|value| scale.inward(*value)).collect())
        }
    }
}

/// The probability of every label for every row, `(rows, labels)`; each for itself.
///
/// # Errors
/// The model fails, or the logits have another size or are not finite.
pub fn probabilities(model: &mut impl Logits, rows: &Dataset) -> Result<Vec<f32>> {
    outputs(model, rows, |logit| 1.0 / (1.0 + (-logit).exp()))
}

/// The quantity of every row, in the unit of the scale.
///
/// # Errors
/// As [`probabilities`], and when the model has more than one output.
pub fn quantities(model: &mut impl Logits, rows: &Dataset, scale: &Scale) -> Result<Vec<f32>> {
    if model.labels() != 1 {
        return Err(Error::shape("outputs of a model of one quantity", 1, model.labels()));
    }
    outputs(model, rows, |said| scale.outward(said))
}

fn outputs(model: &mut impl Logits, rows: &Dataset, meaning: impl Fn(f32) -> f32) -> Result<Vec<f32>> {
    let labels = model.labels();
    let mut said = vec![0.0; rows.len() * labels];
    for (chosen, batch) in rows.evaluation_batches(ROWS) {
        let logits = model.logits(&batch)?; // (rows, labels)
        check(&logits, batch.rows, labels)?;
        for (row, logits) in chosen.into_iter().zip(logits.chunks_exact(labels.max(1))) {
            let own = &mut said[row * labels..(row + 1) * labels];
            own.iter_mut().zip(logits).for_each(|(said, logit)| *said = meaning(*logit));
        }
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::config::{ArchConfig, EncoderConfig, Head};
    use crate::data::labels::LabelSet;
    use crate::device::DeviceChoice;
    use crate::eval::{marks, quantity};
    use crate::seed::Seed;
    use crate::session::Session;

    fn tokenizer() -> Tokenizer {
        Tokenizer::from_vocabulary(b"[PAD]\n[UNK]\n[CLS]\n[SEP]\nred\nblue\nold\nnew\n", None, "v").unwrap()
    }

    fn session(labels: usize) -> Session {
        let arch = ArchConfig::Encoder(EncoderConfig {
            hidden_size: 16,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            intermediate_size: 16,
            ..EncoderConfig::small(tokenizer().vocabulary())
        });
        let head = Head::Classification { labels };
        Session::new(&arch, &head, &DeviceChoice::Cpu, Seed::from_u64(1)).unwrap()
    }

    /// Every choice of the four words.
    fn texts(values: fn([bool; 4]) -> Vec<f32>) -> Vec<ValuedText> {
        let words = ["red", "blue", "old", "new"];
        (0..16_usize)
            .map(|k| {
                let has = [0, 1, 2, 3].map(|word| k >> word & 1 == 1);
                let chosen: Vec<&str> =
                    words.iter().zip(has).filter(|(_, has)| *has).map(|(w, _)| *w).collect();
                ValuedText { text: chosen.join(" "), values: values(has), group: None }
            })
            .collect()
    }

    #[test]
    fn several_labels_are_learned_each_for_itself() {
        let texts = texts(|has| has[..3].iter().map(|has| f32::from(u8::from(*has))).collect());
        let labels = LabelSet::classes(["red", "blue", "old"]).unwrap();
        let values = Values::meant(&labels);
        let rows = encode(&texts, &values, &tokenizer(), 16).unwrap();
        let truth: Vec<f32> = texts.iter().flat_map(|text| text.values.clone()).collect();
        let mut session = session(3);
        let all: Vec<usize> = (0..rows.len()).collect();
        let before = session.evaluate_loss(&rows.batch(&all)).unwrap().loss;
        for _ in 0..500 {
            session.train_step(&rows.batch(&all), 0.003).unwrap();
        }
        let report = marks::evaluate(&mut session, &rows, &truth, &labels).unwrap();
        assert!(report.score > 0.95, "{report}");
        assert!(session.evaluate_loss(&rows.batch(&all)).unwrap().loss < 0.3 * before);
    }

    #[test]
    fn a_quantity_is_learned_in_its_own_unit() {
        // 980 to 1040: without a scale the first steps would only look for the middle.
        let texts = texts(|has| {
            let number = |has: bool| f32::from(u8::from(has));
            vec![1000.0 + 40.0 * number(has[0]) - 20.0 * number(has[1])]
        });
        let scale = Scale::spanning("pressure", texts.iter().map(|text| f64::from(text.values[0])));
        assert_eq!(scale.to_string(), "pressure 980..1040");
        let rows = encode(&texts, &Values::Quantity(scale.clone()), &tokenizer(), 16).unwrap();
        let truth: Vec<f32> = texts.iter().map(|text| text.values[0]).collect();
        let mut session = session(1);
        let all: Vec<usize> = (0..rows.len()).collect();
        for _ in 0..150 {
            session.train_step(&rows.batch(&all), 0.01).unwrap();
        }
        let report = quantity::evaluate(&mut session, &rows, &truth, &scale).unwrap();
        let found = report.quantity.as_ref().unwrap();
        assert!(found.r2 > 0.95 && found.mean_absolute_error < 5.0, "{report}");
    }
}
