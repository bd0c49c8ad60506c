//! Rows of several modalities, ready to be put into batches.

use std::sync::Arc;

use crate::data::batch::{NumberBatch, RecordBatch};
use crate::data::neighbourhoods::Surroundings;
use crate::seed::Seed;

/// Rows of several modalities; a row may lack any of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecordRows {
    ids: Vec<u32>,
    /// Where the tokens of each row begin, one more than rows; a row without any has no text.
    starts: Vec<usize>,
    /// The token that fills short rows.
    pad: u32,
    images: Images,
    /// `(rows, 2 columns)`: each value, 0 where it is missing, and 1 where it is missing.
    table: Vec<f32>,
    columns: usize,
    surroundings: Option<Arc<Surroundings>>,
    nodes: Vec<Option<u32>>,
    has_text: bool,
}

/// Images of rows, kept as bytes.
#[derive(Debug, Clone, PartialEq, Default)]
struct Images {
    /// Of the rows that have one, one after the other.
    pixels: Vec<u8>,
    /// The number of each row's image.
    places: Vec<Option<usize>>,
    /// Values of one; 0 where no row has any.
    size: usize,
}

/// One row to be added.
#[derive(Debug, Clone, Copy, Default)]
pub struct Row<'a> {
    /// Tokens; none for no text.
    pub ids: &'a [u32],
    /// Pixels, 0 to 255, as many as every other image has.
    pub image: Option<&'a [u8]>,
    /// A value for each column, where it is known.
    pub table: &'a [Option<f32>],
    /// The node it is.
    pub node: Option<u32>,
}

impl RecordRows {
    /// No rows yet, of images of `pixels` values (0: none) and tables of so many columns.
    pub fn new(
        has_text: bool,
        pad: u32,
        pixels: usize,
        columns: usize,
        surroundings: Option<Arc<Surroundings>>,
    ) -> Self {
        let images = Images { size: pixels, ..Images::default() };
        Self { starts: vec![0], pad, images, columns, surroundings, has_text, ..Self::default() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If an image or a table has another size than was said: who encodes has checked that.
    pub fn push(&mut self, row: Row<'_>) {
        self.ids.extend_from_slice(row.ids);
        self.starts.push(self.ids.len());
        let image = row.image.map(|pixels| {
            assert_eq!(pixels.len(), self.images.size, "images of one size");
            self.images.pixels.extend_from_slice(pixels);
            self.images.pixels.len() / self.images.size - 1
        });
        self.images.places.push(image);
        assert!(row.table.is_empty() || row.table.len() == self.columns, "tables of one width");
        for column in 0..self.columns {
            let value = row.table.get(column).copied().flatten();
            self.table.push(value.unwrap_or(0.0));
            self.table.push(if value.is_none() { 1.0 } else { 0.0 });
        }
        self.nodes.push(row.node);
    }

    /// Rows.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Tokens of a row, at least 1: rows of similar length make small batches.
    pub fn width(&self, row: usize) -> usize {
        (self.starts[row + 1] - self.starts[row]).max(1)
    }

    /// Puts rows together.
    pub fn draw(&self, chosen: &[usize], seed: Option<&Seed>) -> RecordBatch {
        let mut batch = RecordBatch {
            kinds: [self.has_text, self.images.size > 0, self.columns > 0, self.surroundings.is_some()],
            image: NumberBatch { width: self.images.size, ..NumberBatch::default() },
            table: NumberBatch { width: 2 * self.columns, ..NumberBatch::default() },
            ..RecordBatch::default()
        };
        let texts: Vec<(u32, &[u32])> = chosen
            .iter()
            .enumerate()
            .map(|(place, row)| (place as u32, &self.ids[self.starts[*row]..self.starts[row + 1]]))
            .filter(|(_, ids)| !ids.is_empty())
            .collect();
        batch.text_width = texts.iter().map(|(_, ids)| ids.len()).max().unwrap_or(0);
        batch.ids = vec![self.pad; texts.len() * batch.text_width];
        for ((place, ids), to) in texts.iter().zip(batch.ids.chunks_exact_mut(batch.text_width.max(1))) {
            batch.text_rows.push(*place);
            batch.lengths.push(ids.len() as u32);
            to[..ids.len()].copy_from_slice(ids);
        }
        let mut nodes = Vec::new();
        for (place, row) in chosen.iter().enumerate() {
            if let Some(image) = self.images.places[*row] {
                let size = self.images.size;
                batch.image.rows.push(place as u32);
                let pixels = &self.images.pixels[image * size..(image + 1) * size];
                batch.image.values.extend(pixels.iter().map(|pixel| f32::from(*pixel) / 255.0));
            }
            let table = &self.table[row * 2 * self.columns..(row + 1) * 2 * self.columns];
            if table.chunks_exact(2).any(|column| column[1] == 0.0) {
                batch.table.rows.push(place as u32);
                batch.table.values.extend_from_slice(table);
            }
            if let Some(node) = self.nodes[*row] {
                batch.graph_rows.push(place as u32);
                nodes.push(node);
            }
        }
        if let Some(surroundings) = self.surroundings.as_ref().filter(|_| !nodes.is_empty()) {
            batch.nodes = surroundings.of(&nodes, seed);
        } else {
            batch.graph_rows.clear();
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_names_for_every_modality_the_rows_that_have_it() {
        let mut rows = RecordRows::new(true, 0, 2, 2, None);
        rows.push(Row { ids: &[5, 6], image: Some(&[255, 0]), table: &[Some(0.5), None], node: None });
        rows.push(Row { ids: &[], image: None, table: &[None, None], node: Some(3) });
        rows.push(Row { ids: &[7], image: Some(&[0, 51]), table: &[], node: None });
        let batch = rows.draw(&[2, 1, 0], None);
        assert_eq!((&batch.text_rows[..], &batch.lengths[..]), (&[0, 2][..], &[1, 2][..]));
        assert_eq!(batch.ids, [7, 0, 5, 6]);
        assert_eq!(batch.image.values, [0.0, 0.2, 1.0, 0.0]);
        assert_eq!((&batch.table.rows[..], &batch.table.values[..]), (&[2][..], &[0.5, 0.0, 0.0, 1.0][..]));
        assert!(batch.graph_rows.is_empty(), "without a graph nobody is a node");
        assert!(batch.shows_all());
        assert!(!rows.draw(&[1], None).shows_all());
    }
}
