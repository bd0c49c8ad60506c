//! Table look-up and its backward pass, a scatter-add.

use rayon::prelude::*;

use crate::ops::vector::{ROWS, add_slice};

/// `y[row] = table[ids[row]] + positions[places[row]] + kind`, all rows of `kind.len()`.
///
/// Every id and place is below its table's row count; callers check what comes from outside.
pub fn gather(table: &[f32], ids: &[u32], positions: &[f32], places: &[u32], kind: &[f32], y: &mut [f32]) {
    let width = kind.len();
    y.par_chunks_mut(ROWS * width).zip(ids.par_chunks(ROWS)).zip(places.par_chunks(ROWS)).for_each(
        |((y, ids), places)| {
            for ((y, id), place) in y.chunks_exact_mut(width).zip(ids).zip(places) {
                let (id, place) = (*id as usize * width, *place as usize * width);
                y.copy_from_slice(&table[id..id + width]);
                add_slice(y, &positions[place..place + width]);
                add_slice(y, kind);
            }
        },
    );
}

/// The gradient of a table of which a step touches few rows.
///
/// Clearing the rows of the step before, not the whole table, saves a pass over the largest tensor of a small model.
#[derive(Debug, Default)]
pub struct Scatter {
    touched: Vec<u32>,
}

impl Scatter {
    /// Replaces the table's gradient by the sum of `dy` rows per id, in row order.
    ///
    /// The rest of `gradient` is zero because it was zero at the start and only this function writes to it.
    pub fn backward(&mut self, dy: &[f32], ids: &[u32], width: usize, gradient: &mut [f32]) {
        for id in self.touched.drain(..) {
            let id = id as usize * width;
            gradient[id..id + width].fill(0.0);
        }
        for (dy, id) in dy.chunks_exact(width).zip(ids) {
            let id = *id as usize * width;
            add_slice(&mut gradient[id..id + width], dy);
        }
        self.touched.extend_from_slice(ids);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_gathered_and_their_gradients_scattered_back() {
        let table = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let positions = [10.0, 20.0, 30.0, 40.0];
        let mut y = [0.0; 6];
        gather(&table, &[2, 0, 2], &positions, &[0, 1, 1], &[100.0, 200.0], &mut y);
        assert_eq!(y, [115.0, 226.0, 131.0, 242.0, 135.0, 246.0]);

        let mut scatter = Scatter::default();
        let mut gradient = [0.0; 6];
        scatter.backward(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 0, 2], 2, &mut gradient);
        assert_eq!(gradient, [3.0, 4.0, 0.0, 0.0, 6.0, 8.0]);
        scatter.backward(&[7.0, 8.0], &[1], 2, &mut gradient);
        assert_eq!(gradient, [0.0, 0.0, 7.0, 8.0, 0.0, 0.0], "rows of the step before are cleared");
    }
}
