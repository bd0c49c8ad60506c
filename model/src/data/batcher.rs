//! Endless batches over a dataset, in an order that depends on a seed and a position only.
//!
//! A node killed at any moment goes on from its saved position with the very batches it would have seen. In the
//! shuffled order, rows of similar length come together: an epoch's shuffle is cut into windows, each window is sorted
//! by length and cut into batches, and the batches are shuffled. Padding shrinks; every row is still met once an epoch.

use serde::{Deserialize, Serialize};

use crate::data::batch::Batch;
use crate::data::dataset::Dataset;
use crate::error::{Error, Result};
use crate::seed::{Seed, shuffle};

/// Batches in one window of similar length: more means less padding and less chance within an epoch.
const WINDOW_BATCHES: usize = 32;

/// The order rows are met in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// A new shuffle per epoch, similar lengths together.
    Shuffled,
    /// As in the file, every epoch.
    File,
}

/// How far a batcher has come: enough to go on exactly, given the same dataset, seed and batch size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// Epochs completed.
    pub epoch: u64,
    /// Batches drawn in this epoch.
    pub index: u64,
}

/// Draws batches without end.
#[derive(Debug, Clone)]
pub struct Batcher {
    dataset: Dataset,
    rows_max: usize,
    order: Order,
    seed: Seed,
    position: Position,
    /// The batches of the current epoch, as row numbers.
    plan: Vec<Vec<usize>>,
}

impl Batcher {
    /// Starts at the beginning.
    ///
    /// # Errors
    /// The dataset is empty or the batch size is 0.
    pub fn new(dataset: Dataset, rows_max: usize, order: Order, seed: Seed) -> Result<Self> {
        if rows_max == 0 {
            return Err(Error::config("batch", "expected at least 1 row in a batch, found 0"));
        }
        if dataset.is_empty() {
            return Err(Error::config("data", "expected at least one training example, found none"));
        }
        let mut batcher =
            Self { dataset, rows_max, order, seed, position: Position::default(), plan: Vec::new() };
        batcher.plan = batcher.plan_of(0);
        Ok(batcher)
    }

    /// Where it is: the position of the batch that [`Batcher::next_batch`] draws next.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Goes on from a saved position.
    ///
    /// # Errors
    /// The position cannot be one of this dataset and batch size.
    pub fn restore(&mut self, position: Position) -> Result<()> {
        if position.index >= self.batches_per_epoch() as u64 {
            return Err(Error::shape(
                "saved batch position",
                format!("below {} (same data and batch size as when it was saved)", self.batches_per_epoch()),
                position.index,
            ));
        }
        self.position = position;
        self.plan = self.plan_of(position.epoch);
        Ok(())
    }

    /// The next batch.
    pub fn next_batch(&mut self) -> Batch {
        self.next_with_rows().1
    }

    /// The next batch with the numbers of its rows, in order, for whoever knows more about them than the dataset.
    pub fn next_with_rows(&mut self) -> (Vec<usize>, Batch) {
        let Position { epoch, index } = self.position;
        let rows = self.plan[index as usize].clone();
        let seed = self.seed.fork("neighbours").fork_index(epoch).fork_index(index);
        let batch = self.dataset.sampled(&rows, &seed);
        self.position.index += 1;
        if self.position.index as usize == self.plan.len() {
            self.position = Position { epoch: self.position.epoch + 1, index: 0 };
            if self.order == Order::Shuffled {
                self.plan = self.plan_of(self.position.epoch);
            }
        }
        (rows, batch)
    }

    /// Batches in an epoch; the last one may be smaller.
    pub fn batches_per_epoch(&self) -> usize {
        self.dataset.len().div_ceil(self.rows_max)
    }

    /// Epochs drawn so far, with the part of the current one.
    pub fn epochs(&self) -> f64 {
        self.position.epoch as f64 + self.position.index as f64 / self.batches_per_epoch() as f64
    }

    /// The dataset.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    fn plan_of(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut rows: Vec<usize> = (0..self.dataset.len()).collect();
        if self.order == Order::File {
            return rows.chunks(self.rows_max).map(<[usize]>::to_vec).collect();
        }
        let mut rng = self.seed.fork("batch order").fork_index(epoch).rng();
        shuffle(&mut rng, &mut rows);
        for window in rows.chunks_mut(self.rows_max.saturating_mul(WINDOW_BATCHES)) {
            window.sort_by_key(|row| self.dataset.width(*row));
        }
        let mut plan: Vec<Vec<usize>> = rows.chunks(self.rows_max).map(<[usize]>::to_vec).collect();
        shuffle(&mut rng, &mut plan);
        plan
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::batch::Inputs;

    /// Rows whose only or first token is their number.
    fn numbered(widths: &[usize]) -> Dataset {
        let mut data = Dataset::classified(0);
        for (row, width) in widths.iter().enumerate() {
            let mut ids = vec![7; *width];
            ids[0] = row as u32;
            data.push_classified(&ids, Some(0)).unwrap();
        }
        data
    }

    fn rows_of(batch: &Batch) -> Vec<u32> {
        match &batch.inputs {
            Inputs::Tokens { ids, .. } => ids.chunks(batch.width).map(|row| row[0]).collect(),
            _ => Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn every_epoch_meets_every_row_once(
            widths in prop::collection::vec(1_usize..30, 1..200),
            rows_max in 1_usize..20,
            file_order: bool,
        ) {
            let order = if file_order { Order::File } else { Order::Shuffled };
            let mut batcher = Batcher::new(numbered(&widths), rows_max, order, Seed::from_u64(5)).unwrap();
            for epoch in 0..2 {
                let mut met = Vec::new();
                while batcher.position().epoch == epoch {
                    met.extend(rows_of(&batcher.next_batch()));
                }
                if file_order {
                    prop_assert!(met.is_sorted());
                }
                met.sort_unstable();
                prop_assert_eq!(met, (0..widths.len() as u32).collect::<Vec<_>>());
            }
        }

        #[test]
        fn a_restored_batcher_goes_on_with_the_same_batches(
            widths in prop::collection::vec(1_usize..30, 1..100),
            rows_max in 1_usize..20,
            drawn in 0_usize..60,
        ) {
            let start = Batcher::new(numbered(&widths), rows_max, Order::Shuffled, Seed::from_u64(6)).unwrap();
            let mut unbroken = start.clone();
            for _ in 0..drawn {
                unbroken.next_batch();
            }
            let saved = serde_json::to_string(&unbroken.position()).unwrap();
            let mut restored = start;
            restored.restore(serde_json::from_str(&saved).unwrap()).unwrap();
            for _ in 0..20 {
                prop_assert_eq!(restored.next_batch(), unbroken.next_batch());
            }
        }
    }

    #[test]
    fn epochs_and_seeds_differ_in_their_order() {
        let data = numbered(&[3; 64]);
        let epoch = |seed: u64, epoch: u64| {
            let mut batcher = Batcher::new(data.clone(), 64, Order::Shuffled, Seed::from_u64(seed)).unwrap();
            batcher.restore(Position { epoch, index: 0 }).unwrap();
            rows_of(&batcher.next_batch())
        };
        assert_ne!(epoch(1, 0), epoch(1, 1));
        assert_ne!(epoch(1, 0), epoch(2, 0));
        assert_eq!(epoch(1, 0), epoch(1, 0));
    }

    #[test]
    fn similar_lengths_together_waste_less_than_a_plain_shuffle() {
        let mut rng = Seed::from_u64(8).rng();
        let widths: Vec<usize> = (0..2000).map(|_| 1 + crate::seed::index(&mut rng, 40)).collect();
        let cells = |order| {
            let mut batcher = Batcher::new(numbered(&widths), 16, order, Seed::from_u64(9)).unwrap();
            (0..batcher.batches_per_epoch())
                .map(|_| batcher.next_batch())
                .map(|batch| batch.rows * batch.width)
                .sum::<usize>() as f64
        };
        let used = widths.iter().sum::<usize>() as f64;
        // Random rows in file order stand for a plain shuffle: the mean of 40 lengths against the largest of 16.
        assert!(cells(Order::File) / used > 1.7);
        assert!(cells(Order::Shuffled) / used < 1.1);
    }

    #[test]
    fn an_impossible_position_an_empty_dataset_and_a_batch_of_nothing_are_refused() {
        let mut batcher = Batcher::new(numbered(&[1; 10]), 4, Order::File, Seed::from_u64(0)).unwrap();
        assert!(batcher.restore(Position { epoch: 0, index: 3 }).is_err());
        batcher.restore(Position { epoch: 9, index: 2 }).unwrap();
        assert_eq!(rows_of(&batcher.next_batch()), [8, 9]);
        assert!(Batcher::new(Dataset::tagged(0), 4, Order::File, Seed::from_u64(0)).is_err());
        assert!(Batcher::new(numbered(&[1]), 0, Order::File, Seed::from_u64(0)).is_err());
    }
}
