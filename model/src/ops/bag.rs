//! Sums over lists: a bag of table rows, and the mean over neighbours; each with its backward pass.
//!
//! Lists are given as starts and entries, as in a compressed sparse row matrix. Forward passes go row by row in
//! parallel; backward passes scatter, so they run on one thread in a fixed order.

use rayon::prelude::*;

use crate::ops::vector::{ROWS, add_slice};

/// Lists of numbers, one per row: row `r` has `entries[starts[r]..starts[r + 1]]`.
#[derive(Debug, Clone, Copy)]
pub struct Lists<'a> {
    /// Where each list begins, one more than there are rows.
    pub starts: &'a [u32],
    /// All entries.
    pub entries: &'a [u32],
}

impl<'a> Lists<'a> {
    /// Rows.
    pub fn rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The first `rows` lists.
    pub fn first(&self, rows: usize) -> Self {
        Self { starts: &self.starts[..=rows], entries: self.entries }
    }

    /// The places of a row's entries.
    pub fn range(&self, row: usize) -> std::ops::Range<usize> {
        self.starts[row] as usize..self.starts[row + 1] as usize
    }

    /// A row's entries.
    pub fn of(&self, row: usize) -> &'a [u32] {
        &self.entries[self.range(row)]
    }
}

/// `y[row] = Σ weights[k] table[entries[k]]` over the row's entries; rows of `width`.
pub fn bag(lists: Lists<'_>, weights: &[f32], table: &[f32], width: usize, y: &mut [f32]) {
    y.par_chunks_mut(ROWS * width).enumerate().for_each(|(block, y)| {
        for (place, y) in y.chunks_exact_mut(width).enumerate() {
            y.fill(0.0);
            for k in lists.range(block * ROWS + place) {
                let from = lists.entries[k] as usize * width;
                add_scaled(y, &table[from..from + width], weights[k]);
            }
        }
    });
}

/// Adds to the table's gradient what comes back through [`bag`].
pub fn bag_backward(lists: Lists<'_>, weights: &[f32], dy: &[f32], width: usize, gradient: &mut [f32]) {
    for (row, dy) in dy.chunks_exact(width).enumerate() {
        for k in lists.range(row) {
            let to = lists.entries[k] as usize * width;
            add_scaled(&mut gradient[to..to + width], dy, weights[k]);
        }
    }
}

/// `y[row] = mean over the row's entries of x[entry]`; zeros for an empty list.
pub fn mean(lists: Lists<'_>, x: &[f32], width: usize, y: &mut [f32]) {
    y.par_chunks_mut(ROWS * width).enumerate().for_each(|(block, y)| {
        for (place, y) in y.chunks_exact_mut(width).enumerate() {
            y.fill(0.0);
            let list = lists.of(block * ROWS + place);
            for entry in list {
                let from = *entry as usize * width;
                add_slice(y, &x[from..from + width]);
            }
            let scale = 1.0 / list.len().max(1) as f32;
            y.iter_mut().for_each(|value| *value *= scale);
        }
    });
}

/// Adds to `dx` what comes back through [`mean`].
pub fn mean_backward(lists: Lists<'_>, dy: &[f32], width: usize, dx: &mut [f32]) {
    for (row, dy) in dy.chunks_exact(width).enumerate() {
        let list = lists.of(row);
        let scale = 1.0 / list.len().max(1) as f32;
        for entry in list {
            let to = *entry as usize * width;
            add_scaled(&mut dx[to..to + width], dy, scale);
        }
    }
}

fn add_scaled(y: &mut [f32], x: &[f32], scale: f32) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += scale * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backward_passes_are_the_transposes_of_forward_passes() {
        // <dy, f(x)> = <f'(dy), x> for linear f.
        let lists = Lists { starts: &[0, 2, 2, 5], entries: &[1, 3, 0, 1, 1] };
        let weights = [0.5, -1.0, 2.0, 0.25, 3.0];
        let number = |k: usize| ((k * 7) % 11) as f32 - 5.0;
        let table: Vec<f32> = (0..8).map(number).collect();
        let dy: Vec<f32> = (0..6).map(|k| number(k + 3)).collect();
        let inner = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let (mut y, mut gradient) = (vec![9.0; 6], vec![0.0; 8]);
        bag(lists, &weights, &table, 2, &mut y);
        assert_eq!(y[2..4], [0.0; 2], "an empty bag is nothing");
        assert_eq!(y[0], 0.5 * table[2] - table[6]);
        bag_backward(lists, &weights, &dy, 2, &mut gradient);
        assert!((inner(&dy, &y) - inner(&gradient, &table)).abs() < 1e-4);
        let mut dx = vec![0.0; 8];
        mean(lists, &table, 2, &mut y);
        assert_eq!(y[1], 0.5 * (table[3] + table[7]));
        mean_backward(lists, &dy, 2, &mut dx);
        assert!((inner(&dy, &y) - inner(&dx, &table)).abs() < 1e-4);
    }
}
