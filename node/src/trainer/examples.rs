//! Examples of any task in one shape: what is asked, and the right answer to every word, text or image.
//!
//! Distillation and fusion treat tasks alike; this is where their files become inputs and labels by unit. It holds no
//! rows and no tokens: those depend on who answers.

use std::path::Path;

use model::data::example::TaggedSentence;
use model::data::idx::{self, Images};
use model::data::labels::LabelSet;
use model::data::load::{load_tagging_parts, load_text_parts};
use model::data::schema::{Schema, TaskKind};
use model::data::source::{self, Line};
use model::data::words::words;
use model::seed::{Seed, shuffle};

use crate::trainer::translate::{TranslateError, unreadable};

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Inputs {
    /// Sentences of words.
    Sentences(Vec<Vec<String>>),
    /// Texts.
    Texts(Vec<String>),
    /// Images.
    Images(Images),
}

/// Inputs with the right answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Examples {
    /// What is asked.
    pub inputs: Inputs,
    /// A label for every word, text or image, in order; none where nothing is known.
    pub truth: Vec<u32>,
}

/// The parts of a data set.
#[derive(Clone, Debug)]
pub struct ExampleParts {
    /// To train on.
    pub train: Examples,
    /// To choose by.
    pub dev: Examples,
    /// To report a score on.
    pub test: Examples,
}

/// Which kind of input a model reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modality {
    /// Words or texts.
    Text,
    /// Images.
    Images,
}

impl Inputs {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Sentences(sentences) => sentences.len(),
            Self::Texts(texts) => texts.len(),
            Self::Images(images) => images.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The inputs at the given places.
    ///
    /// # Panics
    /// If a place is not below [`Inputs::len`]: the caller made it up.
    pub fn chosen(&self, places: &[usize]) -> Self {
        match self {
            Self::Sentences(all) => Self::Sentences(places.iter().map(|k| all[*k].clone()).collect()),
            Self::Texts(all) => Self::Texts(places.iter().map(|k| all[*k].clone()).collect()),
            Self::Images(all) => Self::Images(all.chosen(places)),
        }
    }

    /// Words of one input; 1 for a text or an image.
    fn units(&self, place: usize) -> usize {
        match self {
            Self::Sentences(sentences) => sentences[place].len(),
            Self::Texts(_) | Self::Images(_) => 1,
        }
    }
}

impl Examples {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// The examples at the given places, with their labels.
    ///
    /// # Panics
    /// If a place is not below [`Examples::len`]: the caller made it up.
    pub fn chosen(&self, places: &[usize]) -> Self {
        let mut first = Vec::with_capacity(self.len());
        let mut units = 0;
        for place in 0..self.len() {
            first.push(units);
            units += self.inputs.units(place);
        }
        let labels = |k: &usize| self.truth[first[*k]..first[*k] + self.inputs.units(*k)].to_vec();
        let truth = if self.truth.is_empty() { Vec::new() } else { places.iter().flat_map(labels).collect() };
        Self { inputs: self.inputs.chosen(places), truth }
    }

    /// Takes a share of the examples apart, drawn by seed: the rest, and those taken.
    pub fn split(&self, share: f64, seed: &Seed) -> (Self, Self) {
        let mut places: Vec<usize> = (0..self.len()).collect();
        shuffle(&mut seed.fork("held out").rng(), &mut places);
        let taken = ((self.len() as f64 * share).round() as usize).min(self.len());
        let (mut taken, mut rest) = (places[..taken].to_vec(), places[taken..].to_vec());
        taken.sort_unstable();
        rest.sort_unstable();
        (self.chosen(&rest), self.chosen(&taken))
    }

    /// Sentences with their tags; nothing for other inputs.
    pub fn sentences(&self) -> Option<Vec<TaggedSentence>> {
        let Inputs::Sentences(sentences) = &self.inputs else { return None };
        let mut tags = self.truth.iter().copied();
        let sentence = |tokens: &Vec<String>| TaggedSentence {
            tokens: tokens.clone(),
            tags: tags.by_ref().take(tokens.len()).collect(),
            document: 0,
            topic: None,
        };
        Some(sentences.iter().map(sentence).collect())
    }
}

/// Reads the parts of a file or folder; `labels` are those of the model that will see them.
pub fn load(
    data: &Path,
    kind: TaskKind,
    modality: Modality,
    labels: &LabelSet,
) -> Result<ExampleParts, TranslateError> {
    if modality == Modality::Images {
        let parts = idx::load_parts(data).map_err(unreadable)?;
        let part = |images: Images| -> Result<Examples, TranslateError> {
            let truth = images.class_labels(labels)?;
            Ok(Examples { inputs: Inputs::Images(images), truth })
        };
        return Ok(ExampleParts {
            train: part(parts.train)?,
            dev: part(parts.dev)?,
            test: part(parts.test)?,
        });
    }
    let schema = Schema::new(kind).with_labels(labels);
    if kind == TaskKind::Tagging {
        let parts = load_tagging_parts(data, &schema).map_err(unreadable)?;
        return Ok(ExampleParts {
            train: tagged(parts.train),
            dev: tagged(parts.dev),
            test: tagged(parts.test),
        });
    }
    let parts = load_text_parts(data, &schema).map_err(unreadable)?;
    let part = |texts: Vec<model::data::example::LabelledText>| Examples {
        truth: texts.iter().map(|text| text.label).collect(),
        inputs: Inputs::Texts(texts.into_iter().map(|text| text.text).collect()),
    };
    Ok(ExampleParts { train: part(parts.train), dev: part(parts.dev), test: part(parts.test) })
}

fn tagged(sentences: Vec<TaggedSentence>) -> Examples {
    let truth = sentences.iter().flat_map(|sentence| &sentence.tags).copied().collect();
    Examples { truth, inputs: Inputs::Sentences(sentences.into_iter().map(|s| s.tokens).collect()) }
}

/// Reads unlabelled inputs, one a line.
pub fn load_lines(file: &Path, kind: TaskKind) -> Result<Inputs, TranslateError> {
    let mut lines = source::open(file).map_err(unreadable)?;
    let mut texts = Vec::new();
    while let Some(line) = lines.next_line()? {
        match line {
            Line::Text(_, text) if text.trim().is_empty() => {}
            Line::Text(_, text) => texts.push(text),
            Line::Bad(number, reason) => return Err(model::error::Error::line(file, number, reason).into()),
        }
    }
    Ok(asked(texts, kind))
}

/// Texts as a task asks them: cut into words when tagging.
pub fn asked(texts: Vec<String>, kind: TaskKind) -> Inputs {
    if kind != TaskKind::Tagging {
        return Inputs::Texts(texts);
    }
    let cut = |text: &String| words(text).into_iter().map(|range| text[range].to_owned()).collect();
    Inputs::Sentences(texts.iter().map(cut).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentences() -> Examples {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect();
        Examples {
            inputs: Inputs::Sentences(vec![words("a b"), words("c"), words("d e f")]),
            truth: vec![0, 1, 2, 3, 4, 5],
        }
    }

    #[test]
    fn labels_stay_with_their_examples() {
        let chosen = sentences().chosen(&[2, 0]);
        assert_eq!(chosen.truth, [3, 4, 5, 0, 1]);
        assert_eq!(chosen.sentences().unwrap()[0].tags, [3, 4, 5]);
        let (rest, taken) = sentences().split(0.34, &Seed::from_u64(1));
        assert_eq!((rest.len(), taken.len()), (2, 1));
        let mut all = [rest.truth, taken.truth].concat();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4, 5]);
        let unlabelled = Examples { truth: Vec::new(), ..sentences() };
        assert!(unlabelled.chosen(&[1]).truth.is_empty());
    }
}
