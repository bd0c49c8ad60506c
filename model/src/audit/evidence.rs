//! Why a model says what it says: words of a text, regions of an image and columns of a table with their shares.

use serde::Serialize;

use crate::arch::config::ArchConfig;
use crate::arch::input::Input;
use crate::arch::modality::Modality;
use crate::audit::explain::{Explanation, Meaning, Question, explain};
use crate::data::batch::{Batch, Inputs, RecordBatch};
use crate::data::records::Form;
use crate::data::scale::Scale;
use crate::data::tokenize::tokenizer::{Encoded, Tokenizer};
use crate::error::{Error, Result};
use crate::session::Session;
use crate::train::input::input_of;

/// Cells along a side of the grid an image is shown in, at most.
pub const GRID: usize = 8;

/// The answer that is to be explained.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The output it is read from.
    pub label: u32,
    /// What that is called.
    pub name: &'a str,
    /// What it means; a quantity comes with its scale.
    pub meaning: Meaning,
    /// Of a quantity.
    pub scale: Option<&'a Scale>,
}

impl<'a> Claim<'a> {
    /// One label of several.
    pub fn choice(label: u32, name: &'a str) -> Self {
        Self { label, name, meaning: Meaning::Choice, scale: None }
    }

    /// A label that holds or not.
    pub fn mark(label: u32, name: &'a str) -> Self {
        Self { label, name, meaning: Meaning::Marks, scale: None }
    }

    /// A quantity.
    pub fn quantity(scale: &'a Scale) -> Self {
        Self { label: 0, name: &scale.name, meaning: Meaning::Quantity, scale: Some(scale) }
    }
}

/// What was said, and what would be without anything of the input.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Said {
    /// A label; shares are of its log-probability.
    Label {
        /// Its probability.
        probability: f64,
        /// Its probability when all is blank.
        probability_blank: f64,
    },
    /// A quantity; shares are in its unit.
    Quantity {
        /// Its value.
        value: f64,
        /// Its value when all is blank.
        value_blank: f64,
    },
}

/// How much one word speaks for an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WordShare {
    /// The word as the tokenizer reads it.
    pub word: String,
    /// Its share; below 0 speaks against the answer, or for less.
    pub share: f64,
}

/// How much one column speaks for an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnShare {
    /// The column.
    pub column: String,
    /// Its value; none where it is missing.
    pub value: Option<f32>,
    /// Its share.
    pub share: f64,
}

/// An answer with what speaks for and against it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// The answer, or what the quantity is called.
    pub label: String,
    /// How sure or how much.
    #[serde(flatten)]
    pub said: Said,
    /// Words in order.
    pub words: Vec<WordShare>,
    /// Shares of the regions of an image, row by row; at most [`GRID`] of [`GRID`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image: Vec<Vec<f64>>,
    /// Columns in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnShare>,
    /// How far the shares miss the change they explain.
    pub gap: f64,
    /// Steps on the way from nothing to the input.
    pub steps: usize,
}

/// Explains the answer to a text.
///
/// # Errors
/// The model is no encoder that classifies, or the tokenizer fails.
pub fn of_text(
    session: &Session,
    tokenizer: &Tokenizer,
    text: &str,
    tokens_max: usize,
    claim: &Claim<'_>,
) -> Result<Evidence> {
    of_tokens(session, tokenizer, &tokenizer.encode_text(text, tokens_max)?, 0, claim)
}

/// Explains the tag of one word of a sentence; nothing where it has no piece or does not fit a row.
///
/// # Errors
/// As [`of_text`], of a model that tags.
pub fn of_word(
    session: &Session,
    tokenizer: &Tokenizer,
    words: &[String],
    word: usize,
    tokens_max: usize,
    claim: &Claim<'_>,
) -> Result<Option<Evidence>> {
    let encoded = tokenizer.encode_words(words, tokens_max)?;
    let Some(place) = encoded.word.iter().position(|own| *own == Some(word as u32)) else { return Ok(None) };
    of_tokens(session, tokenizer, &encoded, place, claim).map(Some)
}

/// Explains the answer to a record or an image, the only row of a batch. A text comes as it was encoded; the baseline has
/// blanks for words, black for pixels and nothing known for columns. Relations stay.
///
/// # Errors
/// The model reads no records, or the batch has another number of rows.
pub fn of_record(
    session: &Session,
    batch: &Batch,
    form: &Form,
    text: Option<(&Tokenizer, &Encoded)>,
    claim: &Claim<'_>,
) -> Result<Evidence> {
    if batch.rows != 1 {
        return Err(Error::shape("rows to explain at once", 1, batch.rows));
    }
    let blank = Batch { inputs: blanked(&batch.inputs, text)?, ..batch.clone() };
    let (input, baseline) = (input_of(batch)?, input_of(&blank)?);
    let found = explained(session, input, baseline, 0, claim)?;
    let mut evidence = put_together(&found, claim);
    for (modality, shares) in &found.shares {
        match (modality, session.arch()) {
            (Modality::Text, _) => {
                if let Some((tokenizer, encoded)) = text {
                    evidence.words = words_of(tokenizer, encoded, shares);
                }
            }
            (Modality::Table, ArchConfig::Multimodal(_)) => {
                evidence.columns = columns_of(form, &batch.inputs, shares);
            }
            // Of a perceptron of pixels the only numbers are those of the image.
            (Modality::Image | Modality::Table, _) => evidence.image = grid_of(form, shares),
            (Modality::Graph, _) => {}
        }
    }
    Ok(evidence)
}

/// The same inputs with nothing said.
fn blanked(inputs: &Inputs, text: Option<(&Tokenizer, &Encoded)>) -> Result<Inputs> {
    match inputs {
        Inputs::Dense { values } => Ok(Inputs::Dense { values: vec![0.0; values.len()] }),
        Inputs::Records(records) => {
            let mut blank = RecordBatch::clone(records);
            if let Some((tokenizer, encoded)) = text {
                blank.ids = blanks(tokenizer, encoded);
            }
            blank.image.values.fill(0.0);
            // A value of 0 that is marked as missing, for every column.
            blank.table.values.chunks_exact_mut(2).for_each(|column| column.copy_from_slice(&[0.0, 1.0]));
            Ok(Inputs::Records(Box::new(blank)))
        }
        _ => Err(Error::shape("input to explain", "a record or an image", "another")),
    }
}

/// The ids of a text without its words. What is not part of a word, such as the first token, is there whatever it says.
fn blanks(tokenizer: &Tokenizer, encoded: &Encoded) -> Vec<u32> {
    let tokens = encoded.ids.iter().zip(&encoded.word);
    tokens.map(|(id, word)| if word.is_some() { tokenizer.pad() } else { *id }).collect()
}

fn of_tokens(
    session: &Session,
    tokenizer: &Tokenizer,
    encoded: &Encoded,
    output: usize,
    claim: &Claim<'_>,
) -> Result<Evidence> {
    let blank = blanks(tokenizer, encoded);
    let lengths = [encoded.ids.len() as u32];
    let row = |ids| Input::Tokens { ids, lengths: &lengths, width: encoded.ids.len() };
    let found = explained(session, row(&encoded.ids), row(&blank), output, claim)?;
    let mut evidence = put_together(&found, claim);
    evidence.words = words_of(tokenizer, encoded, &found.shares[0].1);
    Ok(evidence)
}

fn explained(
    session: &Session,
    input: Input<'_>,
    baseline: Input<'_>,
    output: usize,
    claim: &Claim<'_>,
) -> Result<Explanation> {
    let question = Question { input, baseline, output, label: claim.label, meaning: claim.meaning };
    let mut found = explain(session.arch(), session.head(), &session.tensors()?, &question)?;
    if let Some(scale) = claim.scale {
        let unit = 0.5 * (scale.most - scale.least);
        found.shares.iter_mut().flat_map(|(_, shares)| shares).for_each(|share| *share *= unit);
        let middle = 0.5 * (scale.most + scale.least);
        (found.with, found.without) = (middle + unit * found.with, middle + unit * found.without);
    }
    Ok(found)
}

fn put_together(found: &Explanation, claim: &Claim<'_>) -> Evidence {
    let said = match claim.meaning {
        Meaning::Choice | Meaning::Marks => {
            Said::Label { probability: found.with.exp(), probability_blank: found.without.exp() }
        }
        Meaning::Quantity => Said::Quantity { value: found.with, value_blank: found.without },
    };
    Evidence {
        label: claim.name.to_owned(),
        said,
        words: Vec::new(),
        image: Vec::new(),
        columns: Vec::new(),
        gap: found.gap(),
        steps: found.steps,
    }
}

/// Pieces put together into words.
fn words_of(tokenizer: &Tokenizer, encoded: &Encoded, shares: &[f64]) -> Vec<WordShare> {
    let mut words: Vec<(u32, WordShare)> = Vec::new();
    for ((id, word), share) in encoded.ids.iter().zip(&encoded.word).zip(shares) {
        let Some(word) = *word else { continue };
        let piece = tokenizer.token(*id).unwrap_or_default();
        match words.last_mut() {
            Some((last, whole)) if *last == word => {
                whole.word.push_str(piece.strip_prefix("##").unwrap_or(&piece));
                whole.share += share;
            }
            _ => words.push((word, WordShare { word: piece, share: *share })),
        }
    }
    words.into_iter().map(|(_, share)| share).collect()
}

/// Shares of columns, each of its value and of its being known together.
fn columns_of(form: &Form, inputs: &Inputs, shares: &[f64]) -> Vec<ColumnShare> {
    let Inputs::Records(records) = inputs else { return Vec::new() };
    let cells = records.table.values.chunks_exact(2).zip(shares.chunks_exact(2));
    form.columns
        .iter()
        .zip(cells)
        .map(|(column, (cell, shares))| ColumnShare {
            column: column.clone(),
            value: (cell[1] == 0.0).then_some(cell[0]),
            share: shares.iter().sum(),
        })
        .collect()
}

/// Shares of pixels or of square patches, row by row, gathered in a grid; channels together.
fn grid_of(form: &Form, shares: &[f64]) -> Vec<Vec<f64>> {
    let [channels, height, width] = form.image.unwrap_or([1, 1, shares.len().max(1)]);
    // As many parts as pixels: a share each, channel by channel. Fewer: patches, the same number along both sides.
    let (rows, columns) = if shares.len() == channels * height * width {
        (height, width)
    } else {
        let side = shares.len().isqrt().max(1);
        (side, side)
    };
    let (down, across) = (rows.min(GRID), columns.min(GRID));
    let mut grid = vec![vec![0.0; across]; down];
    for (place, share) in shares.iter().enumerate() {
        let (row, column) = (place / columns % rows, place % columns);
        grid[row * down / rows][column * across / columns] += share;
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::config::{EncoderConfig, Head, MlpConfig, MultimodalConfig, TableConfig};
    use crate::arch::join::Join;
    use crate::audit::explain::STEPS_MAX;
    use crate::data::dataset::Dataset;
    use crate::data::example::LabelledText;
    use crate::data::record_rows::{RecordRows, Row};
    use crate::device::DeviceChoice;
    use crate::seed::Seed;
    use crate::task::classify::encode;

    #[test]
    fn the_word_a_class_hangs_on_has_the_largest_share() {
        let vocabulary = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\nfilm\nwas\ngo\n##od\nbad\n";
        let tokenizer = Tokenizer::from_vocabulary(vocabulary, None, "v").unwrap();
        let arch = ArchConfig::Encoder(EncoderConfig {
            hidden_size: 16,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            intermediate_size: 16,
            ..EncoderConfig::small(tokenizer.vocabulary())
        });
        let head = Head::Classification { labels: 2 };
        let mut session = Session::new(&arch, &head, &DeviceChoice::Cpu, Seed::from_u64(1)).unwrap();
        let text = |text: &str, label| LabelledText { text: text.into(), label, group: None };
        let texts = [text("the film was good", 1), text("the film was bad", 0)];
        let batch = encode(&texts, &tokenizer, 16).unwrap().batch(&[0, 1]);
        for _ in 0..60 {
            session.train_step(&batch, 0.01).unwrap();
        }
        // One of the two words can be the model's default, which blanks say too; the other one carries the difference.
        let asked = [("the film was good", 1, "praise"), ("the film was bad", 0, "blame")];
        let found = asked
            .map(|(text, label, name)| {
                of_text(&session, &tokenizer, text, 16, &Claim::choice(label, name)).unwrap()
            })
            .into_iter()
            .max_by(|a, b| odds(b).1.total_cmp(&odds(a).1))
            .unwrap();
        let (probability, probability_blank) = odds(&found);
        assert!(probability > 0.9 && probability_blank < 0.9, "{found:?}");
        let last = if found.label == "praise" { "good" } else { "bad" };
        let words: Vec<&str> = found.words.iter().map(|word| word.word.as_str()).collect();
        assert_eq!(words, ["the", "film", "was", last]);
        let best = found.words.iter().max_by(|a, b| a.share.total_cmp(&b.share)).unwrap();
        assert_eq!(best.word, last, "{found:?}");
        // This model turns from one class to the other on a short part of the way, for which steps are added.
        let shares: f64 = found.words.iter().map(|word| word.share).sum();
        let change = (probability / probability_blank).ln();
        assert!((shares - change - found.gap).abs() < 1e-6, "{found:?}");
        assert!(found.gap.abs() < 0.05 * change.abs() || found.steps == STEPS_MAX, "{found:?}");
    }

    fn odds(found: &Evidence) -> (f64, f64) {
        match found.said {
            Said::Label { probability, probability_blank } => (probability, probability_blank),
            Said::Quantity { .. } => panic!("a label expected"),
        }
    }

    #[test]
    fn regions_of_an_image_and_columns_of_a_table_get_what_hangs_on_them() {
        // The class is whether the lower right corner is bright; the quantity is the second column.
        let form = Form { image: Some([1, 8, 8]), ..Form::default() };
        let head = Head::Classification { labels: 2 };
        let arch = ArchConfig::Mlp(MlpConfig { layers: vec![64, 8, 2] });
        let mut session = Session::new(&arch, &head, &DeviceChoice::Cpu, Seed::from_u64(2)).unwrap();
        let pixel = |row: usize, k: usize| {
            let noise = ((row * 31 + k * 17) % 10) as f32 / 40.0;
            if k / 8 >= 6 && k % 8 >= 6 { noise + 0.7 * (row % 2) as f32 } else { noise }
        };
        let values: Vec<f32> = (0..20 * 64).map(|k| pixel(k / 64, k % 64)).collect();
        let rows = Dataset::dense(values, 64, (0..20).map(|row| row % 2).collect()).unwrap();
        let all: Vec<usize> = (0..20).collect();
        for _ in 0..60 {
            session.train_step(&rows.batch(&all), 0.01).unwrap();
        }
        let found = of_record(&session, &rows.batch(&[1]), &form, None, &Claim::choice(1, "bright")).unwrap();
        assert_eq!((found.image.len(), found.image[0].len()), (8, 8));
        let corner: f64 = found.image[6..].iter().flat_map(|row| &row[6..]).sum();
        let rest: f64 = found.image.iter().flatten().sum::<f64>() - corner;
        assert!(corner > 2.0 * rest.abs(), "{corner} {rest} {found:?}");

        let form = Form { columns: vec!["age".into(), "dose".into()], has_text: true, ..Form::default() };
        let arch = ArchConfig::Multimodal(Box::new(MultimodalConfig {
            width: 8,
            hidden_size: 8,
            join: Join::GatedSum,
            num_attention_heads: None,
            text: Some(EncoderConfig {
                hidden_size: 8,
                num_hidden_layers: 1,
                num_attention_heads: 2,
                intermediate_size: 8,
                ..EncoderConfig::small(10)
            }),
            image: None,
            table: Some(TableConfig { columns: 2, hidden_size: 8 }),
            graph: None,
        }));
        let head = Head::Classification { labels: 1 };
        let mut session = Session::new(&arch, &head, &DeviceChoice::Cpu, Seed::from_u64(3)).unwrap();
        let mut rows = RecordRows::new(true, 0, 0, 2, None);
        let dose = |k: usize| (k % 7) as f32 / 3.0 - 1.0;
        for k in 0..28 {
            rows.push(Row {
                ids: &[2, 5, 3],
                table: &[Some((k % 5) as f32 / 2.0 - 1.0), Some(dose(k))],
                ..Row::default()
            });
        }
        let rows = Dataset::records(rows, vec![0; 28]).unwrap();
        let rows = rows.with_numbers((0..28).map(dose).collect()).unwrap();
        let all: Vec<usize> = (0..28).collect();
        for _ in 0..200 {
            session.train_step(&rows.batch(&all), 0.01).unwrap();
        }
        let scale = Scale::stated("effect 0..10").unwrap();
        let claim = Claim::quantity(&scale);
        let found = of_record(&session, &rows.batch(&[6]), &form, None, &claim).unwrap();
        let Said::Quantity { value, value_blank } = found.said else { panic!("a quantity expected") };
        assert!((value - 10.0).abs() < 1.0, "{found:?}");
        assert_eq!((found.columns[1].column.as_str(), found.columns[1].value), ("dose", Some(1.0)));
        let shares: f64 = found.columns.iter().map(|column| column.share).sum();
        assert!((shares - (value - value_blank) - found.gap).abs() < 1e-3, "{found:?}");
        assert!(found.columns[1].share > found.columns[0].share.abs(), "{found:?}");
    }

    #[test]
    fn pixels_and_patches_are_gathered_in_a_coarse_grid() {
        let form = Form { image: Some([2, 16, 16]), ..Form::default() };
        let grid = grid_of(&form, &vec![1.0; 512]);
        assert_eq!(grid, vec![vec![8.0; 8]; 8], "two channels of two by two pixels in every cell");
        let patches = grid_of(&form, &(0..4).map(f64::from).collect::<Vec<_>>());
        assert_eq!(patches, [[0.0, 1.0], [2.0, 3.0]]);
    }
}
