//! A batch of records, borrowed: for every modality the rows that have it, and what they have.
//!
//! A row without a modality is simply not among that modality's rows, so nothing stands in for what is missing.

use crate::arch::modality::Modality;
use crate::arch::neighbourhood::Neighbourhood;
use crate::error::{Error, Result};

/// Records.
#[derive(Debug, Clone, Copy, Default)]
pub struct Records<'a> {
    /// Rows of the batch.
    pub rows: usize,
    /// Rows with a text, and the texts.
    pub text: Option<Texts<'a>>,
    /// Rows with an image, and the images.
    pub image: Option<Numbers<'a>>,
    /// Rows with columns, and the columns.
    pub table: Option<Numbers<'a>>,
    /// Rows with relations, and the nodes they are.
    pub graph: Option<Nodes<'a>>,
}

/// Texts of some rows.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'a> {
    /// The rows that have one, rising.
    pub rows: &'a [u32],
    /// Token ids, `(texts, width)`, padded on the right.
    pub ids: &'a [u32],
    /// Tokens of each before padding.
    pub lengths: &'a [u32],
    /// Tokens of each after padding.
    pub width: usize,
}

/// Numbers of some rows.
#[derive(Debug, Clone, Copy)]
pub struct Numbers<'a> {
    /// The rows that have them, rising.
    pub rows: &'a [u32],
    /// Values, `(rows that have them, width)`.
    pub values: &'a [f32],
    /// Values of each.
    pub width: usize,
}

/// Nodes that some rows are.
#[derive(Debug, Clone, Copy)]
pub struct Nodes<'a> {
    /// The rows that are one, rising.
    pub rows: &'a [u32],
    /// The nodes, in that order, with what lies around them.
    pub nodes: Neighbourhood<'a>,
}

impl<'a> Records<'a> {
    /// The rows with a modality.
    pub fn rows_with(&self, modality: Modality) -> &'a [u32] {
        match modality {
            Modality::Text => self.text.map_or(&[], |of| of.rows),
            Modality::Image => self.image.map_or(&[], |of| of.rows),
            Modality::Table => self.table.map_or(&[], |of| of.rows),
            Modality::Graph => self.graph.map_or(&[], |of| of.rows),
        }
    }

    /// Refuses rows out of range, rows with nothing that a tower reads, and batches without rows.
    ///
    /// # Errors
    /// The error says which.
    pub fn check(&self, towers: &[Modality]) -> Result<()> {
        let mut given = vec![0_u8; self.rows];
        for modality in towers {
            let rows = self.rows_with(*modality);
            if let Some(row) = rows.iter().find(|row| **row as usize >= self.rows) {
                return Err(Error::shape("row of a record", format!("below {}", self.rows), row));
            }
            rows.iter().for_each(|row| given[*row as usize] += 1);
        }
        if self.rows == 0 {
            return Err(Error::shape("records in a batch", "at least 1", 0));
        }
        match given.iter().position(|count| *count == 0) {
            Some(row) => {
                Err(Error::shape(format!("record {row}"), "something that the model reads", "nothing"))
            }
            None => Ok(()),
        }
    }
}
