//! Scaled dot-product attention of packed sequences, `softmax(Q Kᵀ / √d) V` (Vaswani and others 2017).
//!
//! Queries, keys and values of a token lie side by side in one row `(rows, 3 * heads * d)`. Sequences follow one
//! another without padding, and each attends only to itself, so there is no mask and no work for padding. One task
//! per sequence and head; the matrix products inside are single-threaded.
#![allow(unsafe_code)]

use rayon::prelude::*;

use crate::ops::dropout::Dropout;
use crate::ops::gemm::{Into, View, product_raw};
use crate::ops::loss::softmax_row;
use crate::ops::simd::vectorized;
use crate::ops::vector::dot;

/// Where each sequence of a batch lies in the packed rows and in the buffer of attention probabilities.
#[derive(Debug, Clone, Default)]
pub struct Spans {
    heads: usize,
    rows: Vec<usize>,
    probabilities: Vec<usize>,
}

impl Spans {
    /// Lays out sequences of the given lengths, all at least 1.
    pub fn set(&mut self, lengths: &[u32], heads: usize) {
        self.heads = heads;
        self.rows.clear();
        self.probabilities.clear();
        let (mut row, mut probability) = (0, 0);
        for length in lengths {
            self.rows.push(row);
            self.probabilities.push(probability);
            let length = *length as usize;
            row += length;
            probability += heads * length * length;
        }
        self.rows.push(row);
        self.probabilities.push(probability);
    }

    /// Sequences.
    pub fn sequences(&self) -> usize {
        self.rows.len().saturating_sub(1)
    }

    /// Packed rows of all sequences.
    pub fn total_rows(&self) -> usize {
        self.rows.last().copied().unwrap_or(0)
    }

    /// Attention probabilities of all sequences and heads.
    pub fn total_probabilities(&self) -> usize {
        self.probabilities.last().copied().unwrap_or(0)
    }

    /// The first packed row of each sequence.
    pub fn starts(&self) -> &[usize] {
        &self.rows[..self.sequences()]
    }

    /// Rows of each sequence.
    pub fn lengths(&self) -> impl Iterator<Item = usize> + '_ {
        self.rows.windows(2).map(|pair| pair[1] - pair[0])
    }

    /// The first probability of a sequence.
    pub fn first_probability(&self, sequence: usize) -> usize {
        self.probabilities[sequence]
    }

    /// First row, length and first probability of one sequence and head.
    fn span(&self, sequence: usize, head: usize) -> (usize, usize, usize) {
        let start = self.rows[sequence];
        let length = self.rows[sequence + 1] - start;
        (start, length, self.probabilities[sequence] + head * length * length)
    }

    /// Whether the buffers are as long as these spans say; everything below relies on it.
    fn check(&self, width: usize, packed: usize, context: usize, probabilities: usize) {
        assert!(
            self.heads > 0 && width.is_multiple_of(self.heads),
            "attention heads do not divide the width"
        );
        assert!(packed >= self.total_rows() * 3 * width, "attention reads beyond the packed queries");
        assert!(context >= self.total_rows() * width, "attention writes beyond its context");
        assert!(probabilities >= self.total_probabilities(), "attention writes beyond its probabilities");
    }
}

/// A pointer that tasks on disjoint parts of one buffer may share.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: each use below writes only the part of the buffer that belongs to its own (sequence, head).
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// The pointer `offset` elements on. A method, so that closures capture the wrapper and not the bare pointer.
    fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

/// A mask over all attention probabilities of a layer.
#[derive(Debug, Clone, Copy)]
pub struct ProbabilityDropout<'a> {
    /// The probability of dropping.
    pub dropout: Dropout,
    /// 1 where a probability is kept, in the layout of the probabilities.
    pub keep: &'a [u8],
}

/// `context (rows, width)` from `packed (rows, 3 * width)`; keeps the softmax in `probabilities`.
///
/// `scratch` is as long as `probabilities` if there is dropout, else it may be empty.
pub fn forward(
    spans: &Spans,
    width: usize,
    packed: &[f32],
    probabilities: &mut [f32],
    context: &mut [f32],
    dropout: Option<ProbabilityDropout<'_>>,
    scratch: &mut [f32],
) {
    spans.check(width, packed.len(), context.len(), probabilities.len());
    let total = spans.total_probabilities();
    if let Some(dropout) = dropout {
        assert!(
            scratch.len() >= total && dropout.keep.len() >= total,
            "attention dropout needs its scratch space"
        );
    }
    let size = width / spans.heads;
    let scale = 1.0 / (size as f32).sqrt();
    let (p_all, c_all, s_all) =
        (Shared(probabilities.as_mut_ptr()), Shared(context.as_mut_ptr()), Shared(scratch.as_mut_ptr()));
    (0..spans.sequences() * spans.heads).into_par_iter().for_each(|task| {
        let (sequence, head) = (task / spans.heads, task % spans.heads);
        let (start, length, offset) = spans.span(sequence, head);
        let part = |which: usize| part_of(packed, start, length, width, size, which, head);
        let square = length * length;
        // SAFETY: `check` holds, so these `square` elements exist; they belong to this (sequence, head) alone.
        let p = unsafe { std::slice::from_raw_parts_mut(p_all.at(offset), square) };
        // SAFETY: `p` is this task's own and has `length` rows of `length`.
        unsafe { product_raw(p.as_mut_ptr(), length, Into::Replace, scale, part(0), part(1).transposed()) };
        for row in p.chunks_exact_mut(length) {
            let largest = largest(row);
            softmax_row(row, largest, 1.0);
        }
        let mut applied: &[f32] = p;
        if let Some(dropout) = dropout {
            // SAFETY: as for `p`, in the scratch buffer of the same layout.
            let s = unsafe { std::slice::from_raw_parts_mut(s_all.at(offset), square) };
            drop_into(s, p, &dropout.keep[offset..offset + square], dropout.dropout.scale());
            applied = s;
        }
        let applied = View::new(applied, length, length);
        // SAFETY: rows `start..start + length` and this head's columns of the context are this task's own.
        unsafe {
            product_raw(c_all.at(start * width + head * size), width, Into::Replace, 1.0, applied, part(2));
        };
    });
}

/// The gradient of `packed` from the gradient of the context.
///
/// `scratch` is as long as `probabilities`, twice that with dropout.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    spans: &Spans,
    width: usize,
    packed: &[f32],
    probabilities: &[f32],
    context_gradient: &[f32],
    packed_gradient: &mut [f32],
    dropout: Option<ProbabilityDropout<'_>>,
    scratch: &mut [f32],
) {
    spans.check(width, packed.len().min(packed_gradient.len()), context_gradient.len(), probabilities.len());
    let total = spans.total_probabilities();
    let needed = if dropout.is_some() { 2 * total } else { total };
    assert!(scratch.len() >= needed, "attention needs its scratch space");
    let size = width / spans.heads;
    let scale = 1.0 / (size as f32).sqrt();
    let (d_all, s_all) = (Shared(packed_gradient.as_mut_ptr()), Shared(scratch.as_mut_ptr()));
    (0..spans.sequences() * spans.heads).into_par_iter().for_each(|task| {
        let (sequence, head) = (task / spans.heads, task % spans.heads);
        let (start, length, offset) = spans.span(sequence, head);
        let part = |which: usize| part_of(packed, start, length, width, size, which, head);
        let square = length * length;
        let p = &probabilities[offset..offset + square];
        let dc = View::strided(&context_gradient[start * width + head * size..], length, size, width);
        let destination = |which: usize| d_all.at(start * 3 * width + which * width + head * size);
        // SAFETY: `check` and the assertion above hold; this part of the scratch belongs to this (sequence, head).
        let ds = unsafe { std::slice::from_raw_parts_mut(s_all.at(offset), square) };
        // SAFETY: `ds` is this task's own.
        unsafe { product_raw(ds.as_mut_ptr(), length, Into::Replace, 1.0, dc, part(2).transposed()) };
        let mut applied = p;
        if let Some(dropout) = dropout {
            let keep = &dropout.keep[offset..offset + square];
            // SAFETY: the second half of the scratch, with the same layout as the first.
            let dropped = unsafe { std::slice::from_raw_parts_mut(s_all.at(total + offset), square) };
            drop_into(dropped, p, keep, dropout.dropout.scale());
            applied = dropped;
            for (ds, keep) in ds.iter_mut().zip(keep) {
                *ds *= dropout.dropout.scale() * f32::from(*keep);
            }
        }
        // SAFETY: rows `start..start + length` and this head's columns of each third of the packed gradient are this
        // task's own; the same holds for the two products below.
        unsafe {
            let applied = View::new(applied, length, length).transposed();
            product_raw(destination(2), 3 * width, Into::Replace, 1.0, applied, dc);
        }
        for (ds, p) in ds.chunks_exact_mut(length).zip(p.chunks_exact(length)) {
            softmax_backward_row(ds, p);
        }
        let ds = View::new(ds, length, length);
        // SAFETY: as above.
        unsafe {
            product_raw(destination(0), 3 * width, Into::Replace, scale, ds, part(1));
            product_raw(destination(1), 3 * width, Into::Replace, scale, ds.transposed(), part(0));
        }
    });
}

/// Queries (0), keys (1) or values (2) of one sequence and head, `(length, size)`.
fn part_of(
    packed: &[f32],
    start: usize,
    length: usize,
    width: usize,
    size: usize,
    which: usize,
    head: usize,
) -> View<'_> {
    View::strided(&packed[start * 3 * width + which * width + head * size..], length, size, 3 * width)
}

fn drop_into(to: &mut [f32], from: &[f32], keep: &[u8], scale: f32) {
    for ((to, from), keep) in to.iter_mut().zip(from).zip(keep) {
        *to = from * scale * f32::from(*keep);
    }
}

#[inline(always)]
fn largest_body<const FMA: bool>(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (chunks, rest) = row.as_chunks::<16>();
    for chunk in chunks {
        for k in 0..16 {
            lanes[k] = if chunk[k] > lanes[k] { chunk[k] } else { lanes[k] };
        }
    }
    rest.iter().chain(&lanes).copied().fold(f32::NEG_INFINITY, f32::max)
}

vectorized! { fn largest(row: &[f32]) -> f32 = largest_body }

/// `dS = P (dP - sum(dP P))` for one row.
fn softmax_backward_row(ds: &mut [f32], p: &[f32]) {
    let inner = dot(ds, p);
    softmax_backward_scaled(ds, p, inner);
}

#[inline(always)]
fn softmax_backward_body<const FMA: bool>(ds: &mut [f32], p: &[f32], inner: f32) {
    for (ds, p) in ds.iter_mut().zip(p) {
        *ds = (*ds - inner) * p;
    }
}

vectorized! { fn softmax_backward_scaled(ds: &mut [f32], p: &[f32], inner: f32) = softmax_backward_body }

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    /// sum(dc * attention(packed)) in double precision, with the mask applied to the probabilities.
    fn loss(packed: &[f64], lengths: &[u32], heads: usize, width: usize, factor: &[f64], dc: &[f64]) -> f64 {
        let size = width / heads;
        let (mut start, mut offset, mut total) = (0, 0, 0.0);
        for length in lengths.iter().map(|l| *l as usize) {
            for head in 0..heads {
                let at = |row: usize, which: usize, k: usize| {
                    packed[(start + row) * 3 * width + which * width + head * size + k]
                };
                for i in 0..length {
                    let scores: Vec<f64> = (0..length)
                        .map(|j| {
                            (0..size).map(|k| at(i, 0, k) * at(j, 1, k)).sum::<f64>() / (size as f64).sqrt()
                        })
                        .collect();
                    let sum: f64 = scores.iter().map(|s| s.exp()).sum();
                    for k in 0..size {
                        let c: f64 = (0..length)
                            .map(|j| {
                                scores[j].exp() / sum
                                    * factor[offset + (head * length + i) * length + j]
                                    * at(j, 2, k)
                            })
                            .sum();
                        total += c * dc[(start + i) * width + head * size + k];
                    }
                }
            }
            start += length;
            offset += heads * length * length;
        }
        total
    }

    fn check(drop: Option<f64>) {
        let (lengths, heads, width) = ([3_u32, 1, 5], 2, 8);
        let mut spans = Spans::default();
        spans.set(&lengths, heads);
        let (rows, squares) = (spans.total_rows(), spans.total_probabilities());
        let number = |k: usize| ((k * 7919 + 3) % 997) as f64 / 498.0 - 1.0;
        let mut packed: Vec<f64> = (0..rows * 3 * width).map(number).collect();
        let dc: Vec<f64> = (0..rows * width).map(|k| number(k + 31)).collect();
        let mut keep = vec![1; squares];
        let dropout = drop.and_then(Dropout::new);
        if let Some(dropout) = dropout {
            dropout.fill(&Seed::from_u64(3), &mut keep);
            assert!(keep.contains(&0));
        }
        let scale = dropout.map_or(1.0, |d| f64::from(d.scale()));
        let factor: Vec<f64> = keep.iter().map(|k| f64::from(*k) * scale).collect();
        let mask = dropout.map(|dropout| ProbabilityDropout { dropout, keep: &keep });

        let single: Vec<f32> = packed.iter().map(|x| *x as f32).collect();
        let dc_single: Vec<f32> = dc.iter().map(|x| *x as f32).collect();
        let (mut p, mut context) = (vec![0.0; squares], vec![0.0; rows * width]);
        let mut scratch = vec![0.0; 2 * squares];
        forward(&spans, width, &single, &mut p, &mut context, mask, &mut scratch);
        let ours: f64 = context.iter().zip(&dc).map(|(c, d)| f64::from(*c) * d).sum();
        assert!((ours - loss(&packed, &lengths, heads, width, &factor, &dc)).abs() < 1e-5);

        let mut gradient = vec![9.0; packed.len()];
        backward(&spans, width, &single, &p, &dc_single, &mut gradient, mask, &mut scratch);
        for k in 0..packed.len() {
            let kept = packed[k];
            packed[k] = kept + 1e-5;
            let above = loss(&packed, &lengths, heads, width, &factor, &dc);
            packed[k] = kept - 1e-5;
            let slope = (above - loss(&packed, &lengths, heads, width, &factor, &dc)) / 2e-5;
            packed[k] = kept;
            assert!((slope - f64::from(gradient[k])).abs() < 2e-6, "{k}: {slope} {}", gradient[k]);
        }
    }

    #[test]
    fn value_and_gradient_agree_with_central_differences() {
        check(None);
    }

    #[test]
    fn the_same_holds_with_dropped_probabilities() {
        check(Some(0.4));
    }

    #[test]
    #[should_panic(expected = "beyond its probabilities")]
    fn a_buffer_that_is_too_short_is_refused() {
        let mut spans = Spans::default();
        spans.set(&[4], 1);
        forward(&spans, 2, &[0.0; 24], &mut [0.0; 15], &mut [0.0; 8], None, &mut []);
    }
}
