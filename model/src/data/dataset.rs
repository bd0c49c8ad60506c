//! Encoded examples, ready to be put into batches.
//!
//! All rows lie in one vector, because a training set of many small vectors wastes memory and cache. The dataset knows
//! no tokenizer and no task: whoever encodes has already turned words into ids and labels into targets.

use std::sync::Arc;

use crate::data::batch::{Batch, IGNORE, Inputs, Targets};
use crate::data::neighbourhoods::Surroundings;
use crate::data::pairs::Pair;
use crate::data::record_rows::RecordRows;
use crate::error::{Error, Result};
use crate::seed::Seed;

/// What rows are made of.
#[derive(Debug, Clone, PartialEq)]
enum Rows {
    /// Token ids, one after the other; row `r` is `starts[r]..starts[r + 1]`.
    Tokens { ids: Vec<u32>, starts: Vec<usize>, pad: u32 },
    /// Features, `(rows, width)`.
    Dense { values: Vec<f32>, width: usize },
    /// Nodes of a graph, each with what lies around it.
    Nodes { surroundings: Arc<Surroundings>, nodes: Vec<u32> },
    /// Pairs of nodes of a graph, each with what lies around it.
    Pairs { surroundings: Arc<Surroundings>, pairs: Vec<[u32; 2]> },
    /// Rows of several modalities.
    Records(Arc<RecordRows>),
}

/// What rows are labelled with.
#[derive(Debug, Clone, PartialEq)]
enum Labels {
    /// One per token, laid out like the ids.
    Tags(Vec<i32>),
    /// One per row.
    Classes(Vec<i32>),
    /// 1 or 0 for every label of every row, `(rows, labels)`.
    Marks(Vec<f32>),
    /// A number for every label of every row, `(rows, labels)`.
    Numbers(Vec<f32>),
    /// None.
    None,
}

/// Encoded examples.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    rows: Rows,
    labels: Labels,
}

impl Dataset {
    /// An empty dataset of token rows with a tag per token; `pad` fills short rows.
    pub fn tagged(pad: u32) -> Self {
        Self {
            rows: Rows::Tokens { ids: Vec::new(), starts: vec![0], pad },
            labels: Labels::Tags(Vec::new()),
        }
    }

    /// An empty dataset of token rows with a class per row.
    pub fn classified(pad: u32) -> Self {
        Self {
            rows: Rows::Tokens { ids: Vec::new(), starts: vec![0], pad },
            labels: Labels::Classes(Vec::new()),
        }
    }

    /// An empty dataset of token rows without labels.
    pub fn unlabelled(pad: u32) -> Self {
        Self { rows: Rows::Tokens { ids: Vec::new(), starts: vec![0], pad }, labels: Labels::None }
    }

    /// Rows of `width` numbers with a class per row; `values` is `(rows, width)`.
    ///
    /// # Errors
    /// The sizes do not fit, or a value is not finite.
    pub fn dense(values: Vec<f32>, width: usize, classes: Vec<i32>) -> Result<Self> {
        if width == 0 || values.len() != width * classes.len() {
            return Err(Error::shape(
                "dense features",
                format!("{} rows of {width}", classes.len()),
                format!("{} numbers", values.len()),
            ));
        }
        if let Some(place) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite {
                what: format!("feature {} of row {}", place % width, place / width),
                remedy: "remove or repair the row".into(),
            });
        }
        Ok(Self { rows: Rows::Dense { values, width }, labels: Labels::Classes(classes) })
    }

    /// Nodes of a graph with a class each, which the graph knows.
    ///
    /// # Errors
    /// A node is not in the graph.
    pub fn nodes(surroundings: Arc<Surroundings>, nodes: Vec<u32>) -> Result<Self> {
        let all = surroundings.graph().len();
        if let Some(wrong) = nodes.iter().find(|node| **node as usize >= all) {
            return Err(Error::shape("node", format!("below {all}"), wrong));
        }
        let classes = nodes.iter().map(|node| surroundings.graph().labels[*node as usize]).collect();
        Ok(Self { rows: Rows::Nodes { surroundings, nodes }, labels: Labels::Classes(classes) })
    }

    /// Pairs of nodes of a graph with a class each.
    ///
    /// # Errors
    /// A node is not in the graph.
    pub fn pairs(surroundings: Arc<Surroundings>, pairs: &[Pair]) -> Result<Self> {
        let all = surroundings.graph().len();
        let sides: Vec<[u32; 2]> = pairs.iter().map(|pair| [pair.from, pair.to]).collect();
        if let Some(wrong) = sides.iter().flatten().find(|node| **node as usize >= all) {
            return Err(Error::shape("node of a pair", format!("below {all}"), wrong));
        }
        let classes = pairs.iter().map(|pair| pair.class).collect();
        Ok(Self { rows: Rows::Pairs { surroundings, pairs: sides }, labels: Labels::Classes(classes) })
    }

    /// Rows of several modalities with a class each.
    ///
    /// # Errors
    /// There is not one class per row.
    pub fn records(rows: RecordRows, classes: Vec<i32>) -> Result<Self> {
        if rows.len() != classes.len() {
            return Err(Error::shape("classes of records", rows.len(), classes.len()));
        }
        Ok(Self { rows: Rows::Records(Arc::new(rows)), labels: Labels::Classes(classes) })
    }

    /// Adds a token row with one tag per token ([`IGNORE`] where none counts).
    ///
    /// # Errors
    /// The row is empty, has another number of tags than tokens, or the dataset is not one of tagged rows.
    pub fn push_tagged(&mut self, row: &[u32], tags: &[i32]) -> Result<()> {
        let (Rows::Tokens { ids, starts, .. }, Labels::Tags(all)) = (&mut self.rows, &mut self.labels) else {
            return Err(Error::shape("dataset", "tagged token rows", "another kind"));
        };
        if row.is_empty() || row.len() != tags.len() {
            return Err(Error::shape("tags of a row", row.len().max(1), tags.len()));
        }
        ids.extend_from_slice(row);
        starts.push(ids.len());
        all.extend_from_slice(tags);
        Ok(())
    }

    /// Adds a token row with its class, or, to a dataset without labels, a row alone.
    ///
    /// # Errors
    /// The row is empty, or the dataset holds another kind of row.
    pub fn push_classified(&mut self, row: &[u32], class: Option<i32>) -> Result<()> {
        let Rows::Tokens { ids, starts, .. } = &mut self.rows else {
            return Err(Error::shape("dataset", "token rows", "dense rows"));
        };
        if row.is_empty() {
            return Err(Error::shape("tokens of a row", "at least 1", 0));
        }
        match (&mut self.labels, class) {
            (Labels::Classes(all), Some(class)) => all.push(class),
            (Labels::None, None) => {}
            _ => return Err(Error::shape("dataset", "rows that all have or all lack a class", "a mixture")),
        }
        ids.extend_from_slice(row);
        starts.push(ids.len());
        Ok(())
    }

    /// The same rows with 1 or 0 for every label as targets; `marks` is `(rows, labels)`.
    ///
    /// # Errors
    /// The sizes do not fit.
    pub fn with_marks(self, marks: Vec<f32>) -> Result<Self> {
        self.check_targets(marks.len())?;
        Ok(Self { labels: Labels::Marks(marks), ..self })
    }

    /// The same rows with numbers as targets; `numbers` is `(rows, labels)`.
    ///
    /// # Errors
    /// The sizes do not fit.
    pub fn with_numbers(self, numbers: Vec<f32>) -> Result<Self> {
        self.check_targets(numbers.len())?;
        Ok(Self { labels: Labels::Numbers(numbers), ..self })
    }

    fn check_targets(&self, found: usize) -> Result<()> {
        let rows = self.len();
        if found.is_multiple_of(rows.max(1)) && (found > 0) == (rows > 0) {
            return Ok(());
        }
        Err(Error::shape("targets of rows", format!("as many for each of {rows}"), found))
    }

    /// Rows in the dataset.
    pub fn len(&self) -> usize {
        match &self.rows {
            Rows::Tokens { starts, .. } => starts.len() - 1,
            Rows::Dense { values, width } => values.len() / width,
            Rows::Nodes { nodes, .. } => nodes.len(),
            Rows::Pairs { pairs, .. } => pairs.len(),
            Rows::Records(rows) => rows.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens, or features, of a row before padding.
    pub fn width(&self, row: usize) -> usize {
        match &self.rows {
            Rows::Tokens { starts, .. } => starts[row + 1] - starts[row],
            Rows::Dense { width, .. } => *width,
            Rows::Nodes { .. } | Rows::Pairs { .. } => 1,
            Rows::Records(rows) => rows.width(row),
        }
    }

    /// The largest class or tag that occurs, for a check against the number of outputs.
    pub fn largest_label(&self) -> Option<i32> {
        match &self.labels {
            Labels::Tags(all) | Labels::Classes(all) => all.iter().copied().max().filter(|label| *label >= 0),
            Labels::Marks(_) | Labels::Numbers(_) | Labels::None => None,
        }
    }

    /// Puts rows together, in the given order, padded on the right to the longest.
    ///
    /// Nodes come with all their neighbours. Panics when a row number is not below [`Dataset::len`]: the caller made it
    /// up.
    pub fn batch(&self, chosen: &[usize]) -> Batch {
        self.draw(chosen, None)
    }

    /// The same to train on: nodes come with some of their neighbours, drawn by the seed.
    pub fn sampled(&self, chosen: &[usize], seed: &Seed) -> Batch {
        self.draw(chosen, Some(seed))
    }

    fn draw(&self, chosen: &[usize], seed: Option<&Seed>) -> Batch {
        let rows = chosen.len();
        let width = chosen.iter().map(|row| self.width(*row)).max().unwrap_or(0);
        let inputs = match &self.rows {
            Rows::Tokens { ids, starts, pad } => {
                let mut out = vec![*pad; rows * width];
                let mut lengths = Vec::with_capacity(rows);
                for (place, row) in chosen.iter().enumerate() {
                    let span = starts[*row]..starts[row + 1];
                    lengths.push(span.len() as u32);
                    out[place * width..place * width + span.len()].copy_from_slice(&ids[span]);
                }
                Inputs::Tokens { ids: out, lengths }
            }
            Rows::Dense { values, width } => {
                let mut out = Vec::with_capacity(rows * width);
                for row in chosen {
                    out.extend_from_slice(&values[row * width..(row + 1) * width]);
                }
                Inputs::Dense { values: out }
            }
            Rows::Nodes { surroundings, nodes } => {
                let chosen: Vec<u32> = chosen.iter().map(|row| nodes[*row]).collect();
                Inputs::Nodes(surroundings.of(&chosen, seed))
            }
            Rows::Pairs { surroundings, pairs } => {
                let chosen: Vec<[u32; 2]> = chosen.iter().map(|row| pairs[*row]).collect();
                Inputs::Pairs(surroundings.of_pairs(&chosen, seed))
            }
            Rows::Records(rows) => Inputs::Records(Box::new(rows.draw(chosen, seed))),
        };
        let targets = match (&self.labels, &self.rows) {
            (Labels::Tags(all), Rows::Tokens { starts, .. }) => {
                let mut out = vec![IGNORE; rows * width];
                for (place, row) in chosen.iter().enumerate() {
                    let span = starts[*row]..starts[row + 1];
                    out[place * width..place * width + span.len()].copy_from_slice(&all[span]);
                }
                Targets::Tags(out)
            }
            (Labels::Marks(all), _) => Targets::Marks(self.chosen(all, chosen)),
            (Labels::Numbers(all), _) => Targets::Numbers(self.chosen(all, chosen)),
            (Labels::Classes(all), _) => Targets::Classes(chosen.iter().map(|row| all[*row]).collect()),
            _ => Targets::None,
        };
        Batch { rows, width, inputs, targets, samples: rows as u32 }
    }

    /// The numbers of some rows.
    fn chosen(&self, all: &[f32], rows: &[usize]) -> Vec<f32> {
        let width = all.len() / self.len().max(1);
        rows.iter().flat_map(|row| &all[row * width..(row + 1) * width]).copied().collect()
    }

    /// The rows in batches for evaluation, sorted by length so that padding is small; each batch comes with the row
    /// numbers it holds, in order.
    pub fn evaluation_batches(&self, rows_max: usize) -> impl Iterator<Item = (Vec<usize>, Batch)> + '_ {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_key(|row| self.width(*row)); // stable: equal lengths stay in file order
        let rows_max = rows_max.max(1);
        let count = order.len().div_ceil(rows_max);
        (0..count).map(move |number| {
            let end = ((number + 1) * rows_max).min(order.len());
            let rows = order[number * rows_max..end].to_vec();
            let batch = self.batch(&rows);
            (rows, batch)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged() -> Dataset {
        let mut data = Dataset::tagged(9);
        data.push_tagged(&[1, 2, 3], &[IGNORE, 1, IGNORE]).unwrap();
        data.push_tagged(&[4], &[0]).unwrap();
        data.push_tagged(&[5, 6], &[1, 2]).unwrap();
        data
    }

    #[test]
    fn short_rows_are_padded_and_their_padding_is_ignored() {
        let batch = tagged().batch(&[2, 0]);
        assert_eq!((batch.rows, batch.width, batch.samples, batch.counted()), (2, 3, 2, 3));
        assert_eq!(batch.inputs, Inputs::Tokens { ids: vec![5, 6, 9, 1, 2, 3], lengths: vec![2, 3] });
        assert_eq!(batch.targets, Targets::Tags(vec![1, 2, IGNORE, IGNORE, 1, IGNORE]));
    }

    #[test]
    fn evaluation_meets_every_row_once_from_short_to_long() {
        let data = tagged();
        let batches: Vec<_> = data.evaluation_batches(2).collect();
        assert_eq!(batches.iter().map(|(rows, _)| rows.clone()).collect::<Vec<_>>(), [vec![1, 2], vec![0]]);
        assert_eq!(batches[0].1.width, 2);
        assert_eq!(Dataset::tagged(0).evaluation_batches(2).count(), 0);
    }

    #[test]
    fn numbers_stay_with_their_rows_and_must_be_as_many_for_each() {
        let rows = || {
            let mut rows = Dataset::unlabelled(0);
            for row in [&[1][..], &[2, 3], &[4]] {
                rows.push_classified(row, None).unwrap();
            }
            rows
        };
        let marked = rows().with_marks(vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0]).unwrap();
        assert_eq!(marked.batch(&[2, 0]).targets, Targets::Marks(vec![1.0, 1.0, 1.0, 0.0]));
        assert_eq!((marked.batch(&[2, 0]).counted(), marked.largest_label()), (2, None));
        let numbered = rows().with_numbers(vec![0.5, -0.5, 2.0]).unwrap();
        assert_eq!(numbered.batch(&[1]).targets, Targets::Numbers(vec![-0.5]));
        assert!(rows().with_marks(vec![1.0; 4]).is_err() && rows().with_numbers(Vec::new()).is_err());
    }

    #[test]
    fn rows_of_the_wrong_kind_or_size_are_refused() {
        let mut data = tagged();
        assert!(data.push_tagged(&[1], &[]).is_err());
        assert!(data.push_tagged(&[], &[]).is_err());
        assert!(data.push_classified(&[1], Some(0)).is_err());
        assert!(Dataset::dense(vec![0.0; 5], 2, vec![0, 1]).is_err());
        assert!(Dataset::dense(vec![0.0, f32::NAN], 2, vec![0]).is_err());
        let dense = Dataset::dense(vec![0.0, 1.0, 2.0, 3.0], 2, vec![0, 1]).unwrap();
        assert_eq!(dense.batch(&[1]).inputs, Inputs::Dense { values: vec![2.0, 3.0] });
        assert_eq!(dense.largest_label(), Some(1));
    }
}
