//! Whatever decides: one model, or several fused.
//!
//! Commands that use a model need not know which it is; who wants to see the members' part can.

use std::path::Path;

use model::arch::config::ArchConfig;
use model::data::labels::LabelSet;
use model::data::schema::TaskKind;
use model::eval::classify;
use model::eval::report::Report;
use model::eval::tagging::{Matching, Scorer};
use model::params::folder;
use model::task::answers::Answers;
use model::task::decode::{decode, likeliest};
use model::task::logits::Choice;

use crate::fuse::fused::Fused;
use crate::fuse::members::MembersError;
use crate::trainer::answerer::Answerer;
use crate::trainer::examples::{Examples, Inputs, Modality, load};
use crate::trainer::model_card::is_for;
use crate::trainer::translate::TranslateError;

type Result<T> = std::result::Result<T, MembersError>;

/// One model or several.
pub enum Decider {
    /// One.
    One(Box<Answerer>),
    /// Several, fused.
    Fused(Box<Fused>),
}

/// What was decided, and by whom.
pub struct Decided {
    /// Probabilities of the decision.
    pub answers: Answers,
    /// What every member of a fusion says.
    pub members: Vec<MemberSays>,
}

/// One member's part.
pub struct MemberSays {
    /// Its name.
    pub name: String,
    /// Its key; nothing for a model here.
    pub peer: Option<String>,
    /// `answered`, or why not.
    pub outcome: String,
    /// Its weight in this decision; nothing where it did not answer.
    pub weight: Option<f64>,
    /// Its own probabilities, where it answered.
    pub answers: Option<Answers>,
}

impl Decider {
    /// Whether a folder holds what only a decider can use: a fusion, or a model of images that reads no records.
    pub fn is_needed(dir: &Path) -> bool {
        let of_records = [TaskKind::Records, TaskKind::Multilabel, TaskKind::Regression];
        let is_of_records = || of_records.iter().any(|task| is_for(dir, task.name()));
        Fused::is_at(dir)
            || matches!(folder::read_arch(dir), Ok(ArchConfig::Mlp(_) | ArchConfig::Patch(_)))
                && !is_of_records()
    }

    /// Opens a model folder of any kind.
    pub fn open(dir: &Path, device: &str, threads: usize) -> Result<Self> {
        Ok(if Fused::is_at(dir) {
            Self::Fused(Box::new(Fused::open(dir, device, threads)?))
        } else {
            Self::One(Box::new(Answerer::open(dir, device, threads)?))
        })
    }

    /// The task.
    pub fn kind(&self) -> TaskKind {
        match self {
            Self::One(answerer) => answerer.kind,
            Self::Fused(fused) => fused.kind(),
        }
    }

    /// The labels.
    pub fn labels(&self) -> &LabelSet {
        match self {
            Self::One(answerer) => &answerer.labels,
            Self::Fused(fused) => fused.labels(),
        }
    }

    /// What it reads.
    pub fn modality(&self) -> Modality {
        match self {
            Self::One(answerer) => answerer.modality(),
            Self::Fused(fused) => fused.modality(),
        }
    }

    /// Decides.
    pub fn decide(&mut self, inputs: &Inputs) -> Result<Decided> {
        match self {
            Self::One(answerer) => Ok(Decided { answers: answerer.answer(inputs)?, members: Vec::new() }),
            Self::Fused(fused) => {
                let said = fused.answer(inputs)?;
                let members = said.members.into_iter().zip(said.weights);
                let members = members
                    .map(|(heard, weight)| MemberSays {
                        name: heard.name,
                        peer: heard.peer,
                        outcome: heard.outcome,
                        weight,
                        answers: heard.answers,
                    })
                    .collect();
                Ok(Decided { answers: said.fused, members })
            }
        }
    }

    /// The labels of one example. A fusion is decoded as a whole, because members can disagree from word to word; one
    /// model says the likeliest label of every word, as everywhere else.
    pub fn labels_of(&self, answers: &Answers, example: usize) -> Vec<Choice> {
        match self {
            Self::Fused(_) if self.kind() == TaskKind::Tagging => {
                decode(answers.example(example), self.labels())
            }
            _ => answers.units_of(example).map(|unit| likeliest(answers.unit(unit))).collect(),
        }
    }

    /// The examples of a file or folder that a score is computed on: its test part, else what there is.
    pub fn scored(&self, data: &Path) -> std::result::Result<Examples, TranslateError> {
        let parts = load(data, self.kind(), self.modality(), self.labels())?;
        let found = [parts.test, parts.dev, parts.train].into_iter().find(|part| !part.is_empty());
        found.ok_or_else(|| TranslateError::NoData(data.display().to_string()))
    }

    /// Scores by label and their averages.
    pub fn report(&mut self, examples: &Examples) -> Result<Report> {
        let answers = self.decide(&examples.inputs)?.answers;
        let said: Vec<Vec<u32>> = (0..answers.examples())
            .map(|example| self.labels_of(&answers, example).iter().map(|choice| choice.label).collect())
            .collect();
        if self.kind() == TaskKind::Tagging {
            let mut scorer = Scorer::new(self.labels(), Matching::Default);
            for (example, said) in said.iter().enumerate() {
                scorer.add(&examples.truth[answers.units_of(example)], said)?;
            }
            return Ok(scorer.report());
        }
        Ok(classify::score(self.labels(), &examples.truth, &said.concat())?)
    }
}
