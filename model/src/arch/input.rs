//! What a network reads, checked.

use crate::arch::modality::Modality;
use crate::arch::neighbourhood::Neighbourhood;
use crate::arch::records::{Numbers, Records};
use crate::error::{Error, Result};

/// A batch's inputs, borrowed.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// Token ids `(rows, width)`, padded on the right, and the tokens of each row before padding.
    Tokens {
        /// Ids, `(rows, width)`.
        ids: &'a [u32],
        /// Tokens before padding, `(rows)`.
        lengths: &'a [u32],
        /// Tokens per row after padding.
        width: usize,
    },
    /// Features `(rows, width)`.
    Dense {
        /// Values, `(rows, width)`.
        values: &'a [f32],
        /// Features per row.
        width: usize,
    },
    /// Nodes of a graph with their surroundings.
    Nodes(Neighbourhood<'a>),
    /// Rows of several modalities.
    Records(Records<'a>),
}

impl Input<'_> {
    /// What it is, for a message.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tokens { .. } => "tokens",
            Self::Dense { .. } => "features",
            Self::Nodes(_) => "nodes of a graph",
            Self::Records(_) => "records",
        }
    }
}

impl<'a> Records<'a> {
    /// The rows with a modality and what a tower reads for them; nothing where no row has it.
    pub fn part(&self, modality: Modality) -> Option<(&'a [u32], Input<'a>)> {
        let dense = |of: Numbers<'a>| Input::Dense { values: of.values, width: of.width };
        let input = match modality {
            Modality::Text => {
                self.text.map(|of| Input::Tokens { ids: of.ids, lengths: of.lengths, width: of.width })
            }
            Modality::Image => self.image.map(dense),
            Modality::Table => self.table.map(dense),
            Modality::Graph => self.graph.map(|of| Input::Nodes(of.nodes)),
        };
        let rows = self.rows_with(modality);
        input.filter(|_| !rows.is_empty()).map(|input| (rows, input))
    }
}

/// The tokens of a batch without padding, one behind the other; buffers are kept between steps.
#[derive(Debug, Clone, Default)]
pub struct Packed {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Place of each token in its sequence.
    pub places: Vec<u32>,
    /// Tokens of each sequence.
    pub lengths: Vec<u32>,
}

impl Packed {
    /// Checks and packs a batch of sequences; refuses empty batches, lengths and ids out of range.
    pub fn set(
        &mut self,
        ids: &[u32],
        lengths: &[u32],
        width: usize,
        vocabulary: usize,
        positions: usize,
    ) -> Result<()> {
        if lengths.is_empty() {
            return Err(Error::shape("sequences in a batch", "at least 1", 0));
        }
        if ids.len() != lengths.len() * width {
            return Err(Error::shape("token ids in a batch", lengths.len() * width, ids.len()));
        }
        let longest = width.min(positions);
        for length in lengths {
            if *length == 0 || *length as usize > longest {
                return Err(Error::shape("tokens in a sequence", format!("1 to {longest}"), length));
            }
        }
        self.ids.clear();
        self.places.clear();
        for (row, length) in ids.chunks_exact(width).zip(lengths) {
            self.ids.extend_from_slice(&row[..*length as usize]);
            self.places.extend(0..*length);
        }
        if let Some(id) = self.ids.iter().find(|id| **id as usize >= vocabulary) {
            return Err(Error::shape(
                "token id (does the tokenizer belong to this model?)",
                format!("below {vocabulary}"),
                id,
            ));
        }
        self.lengths.clear();
        self.lengths.extend_from_slice(lengths);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_left_out() {
        let mut packed = Packed::default();
        packed.set(&[5, 6, 0, 7, 8, 9], &[2, 3], 3, 10, 4).unwrap();
        assert_eq!(packed.ids, [5, 6, 7, 8, 9]);
        assert_eq!(packed.places, [0, 1, 0, 1, 2]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut packed = Packed::default();
        for (ids, lengths, width) in [
            (vec![], vec![], 0),
            (vec![1, 2, 3], vec![2, 1], 2),
            (vec![1, 2], vec![0, 1], 1),
            (vec![1, 2], vec![3], 2),
            (vec![1, 10], vec![2], 2),
            (vec![1; 5], vec![5], 5),
        ] {
            assert!(packed.set(&ids, &lengths, width, 10, 4).is_err(), "{ids:?} {lengths:?}");
        }
    }
}
