//! The labelled streams of every place where an encoder drops values.
//!
//! Both engines draw from these, which is why a step with dropout gives the same loss on either.

use crate::ops::dropout::Dropout;
use crate::seed::Seed;

/// Where in the network values are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// Behind the embedding's normalisation.
    Embedding,
    /// Attention probabilities of a block.
    Probabilities(usize),
    /// Output of a block's attention, before the residual sum.
    Attention(usize),
    /// Output of a block's feed-forward part, before the residual sum.
    Output(usize),
    /// In front of the classifier.
    Classifier,
}

impl Site {
    /// The stream of this place in one step.
    pub fn seed(self, step: &Seed) -> Seed {
        match self {
            Self::Embedding => step.fork("embedding"),
            Self::Probabilities(layer) => step.fork("probabilities").fork_index(layer as u64),
            Self::Attention(layer) => step.fork("attention").fork_index(layer as u64),
            Self::Output(layer) => step.fork("output").fork_index(layer as u64),
            Self::Classifier => step.fork("classifier"),
        }
    }
}

/// Dropout of one training step.
#[derive(Debug, Clone, Copy)]
pub struct StepDropout {
    /// The probability.
    pub dropout: Dropout,
    /// The step's seed.
    pub seed: Seed,
}

impl StepDropout {
    /// Fills `keep` (made `length` long) with the mask of a place.
    pub fn fill(&self, site: Site, length: usize, keep: &mut Vec<u8>) {
        keep.resize(length, 0);
        self.dropout.fill(&site.seed(&self.seed), keep);
    }
}
