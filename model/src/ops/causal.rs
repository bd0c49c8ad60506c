//! Causal attention with grouped heads: a token attends to itself and to what came before it, and several query heads
//! share one head of keys and values (Ainslie and others 2023).
//!
//! A row holds `heads` query heads, then `groups` key heads, then `groups` value heads, `size` features each. Scores are
//! made in tiles of rows, so that work above the diagonal is skipped. One task per sequence; the products inside are
//! single-threaded.

use rayon::prelude::*;

use crate::ops::attention::Spans;
use crate::ops::gemm::{Into, View, product_strided};
use crate::ops::loss::softmax_row;
use crate::ops::vector::dot;

/// Rows of a tile.
const TILE: usize = 64;

/// Sizes of the heads.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// Query heads.
    pub heads: usize,
    /// Heads of keys and values; divides `heads`.
    pub groups: usize,
    /// Features of a head.
    pub size: usize,
}

impl Heads {
    /// Features of a packed row.
    pub fn stride(&self) -> usize {
        (self.heads + 2 * self.groups) * self.size
    }

    /// Features of a context row.
    pub fn width(&self) -> usize {
        self.heads * self.size
    }

    fn key(&self, head: usize) -> usize {
        (self.heads + head / (self.heads / self.groups)) * self.size
    }

    fn value(&self, head: usize) -> usize {
        self.key(head) + self.groups * self.size
    }

    fn scale(&self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }

    /// `rows` rows from `first` on of the head whose features begin at `column`.
    fn view<'a>(&self, packed: &'a [f32], first: usize, rows: usize, column: usize) -> View<'a> {
        View::strided(&packed[first * self.stride() + column..], rows, self.size, self.stride())
    }
}

/// Cuts a buffer into one part per sequence.
fn by_sequence(mut buffer: &mut [f32], lengths: impl Iterator<Item = usize>) -> Vec<&mut [f32]> {
    let mut parts = Vec::new();
    for length in lengths {
        let (part, rest) = std::mem::take(&mut buffer).split_at_mut(length);
        parts.push(part);
        buffer = rest;
    }
    parts
}

/// `context (rows, width)` from `packed (rows, stride)`; keeps the softmax in `probabilities`, laid out by `spans` (made
/// for as many heads as there are query heads). Above the diagonal they are 0.
pub fn forward(spans: &Spans, heads: Heads, packed: &[f32], probabilities: &mut [f32], context: &mut [f32]) {
    let contexts = by_sequence(context, spans.lengths().map(|length| length * heads.width()));
    let squares = by_sequence(probabilities, spans.lengths().map(|length| heads.heads * length * length));
    contexts.into_par_iter().zip(squares).enumerate().for_each(|(sequence, (context, probabilities))| {
        let packed = &packed[spans.starts()[sequence] * heads.stride()..];
        let length = context.len() / heads.width();
        for (head, p) in probabilities.chunks_exact_mut(length * length).enumerate() {
            for first in (0..length).step_by(TILE) {
                let rows = TILE.min(length - first);
                let seen = first + rows;
                let tile = &mut p[first * length..seen * length];
                let queries = heads.view(packed, first, rows, head * heads.size);
                let keys = heads.view(packed, 0, seen, heads.key(head));
                product_strided(tile, length, Into::Replace, heads.scale(), queries, keys.transposed());
                for (row, scores) in tile.chunks_exact_mut(length).enumerate() {
                    let (before, after) = scores.split_at_mut(first + row + 1);
                    let largest = before.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    softmax_row(before, largest, 1.0);
                    after.fill(0.0);
                }
                let weights = View::strided(tile, rows, seen, length);
                let values = heads.view(packed, 0, seen, heads.value(head));
                let to = &mut context[first * heads.width() + head * heads.size..];
                product_strided(to, heads.width(), Into::Replace, 1.0, weights, values);
            }
        }
    });
}

/// Writes the gradient of `packed` from the gradient of the context; `scratch` is as long as `probabilities`.
pub fn backward(
    spans: &Spans,
    heads: Heads,
    packed: &[f32],
    probabilities: &[f32],
    context_gradient: &[f32],
    packed_gradient: &mut [f32],
    scratch: &mut [f32],
) {
    let gradients = by_sequence(packed_gradient, spans.lengths().map(|length| length * heads.stride()));
    let scratches = by_sequence(scratch, spans.lengths().map(|length| heads.heads * length * length));
    gradients.into_par_iter().zip(scratches).enumerate().for_each(|(sequence, (gradient, scratch))| {
        let start = spans.starts()[sequence];
        let packed = &packed[start * heads.stride()..];
        let length = gradient.len() / heads.stride();
        let probabilities = &probabilities[spans.first_probability(sequence)..][..scratch.len()];
        let dcontext = &context_gradient[start * heads.width()..];
        gradient.fill(0.0);
        let square = length * length;
        for (head, ds) in scratch.chunks_exact_mut(square).enumerate() {
            let p = &probabilities[head * square..][..square];
            for first in (0..length).step_by(TILE) {
                let rows = TILE.min(length - first);
                let seen = first + rows;
                let p = &p[first * length..seen * length];
                let ds = &mut ds[first * length..seen * length];
                let dc = &dcontext[first * heads.width() + head * heads.size..];
                let dc = View::strided(dc, rows, heads.size, heads.width());
                let values = heads.view(packed, 0, seen, heads.value(head));
                product_strided(ds, length, Into::Replace, 1.0, dc, values.transposed());
                let weights = View::strided(p, rows, seen, length).transposed();
                let dvalues = &mut gradient[heads.value(head)..];
                product_strided(dvalues, heads.stride(), Into::Add, 1.0, weights, dc);
                for (ds, p) in ds.chunks_exact_mut(length).zip(p.chunks_exact(length)) {
                    // dS = P (dP - sum(dP P)); above the diagonal P is 0, so dS is.
                    let inner = dot(&ds[..seen], &p[..seen]);
                    for (ds, p) in ds[..seen].iter_mut().zip(p) {
                        *ds = (*ds - inner) * p;
                    }
                }
                let ds = View::strided(ds, rows, seen, length);
                let keys = heads.view(packed, 0, seen, heads.key(head));
                let dqueries = &mut gradient[first * heads.stride() + head * heads.size..];
                product_strided(dqueries, heads.stride(), Into::Replace, heads.scale(), ds, keys);
                let queries = heads.view(packed, first, rows, head * heads.size);
                let dkeys = &mut gradient[heads.key(head)..];
                product_strided(dkeys, heads.stride(), Into::Add, heads.scale(), ds.transposed(), queries);
            }
        }
    });
}

/// The context `(width)` of one new token whose row stands last in `packed`, the rows of the whole sequence so far.
pub fn last_row(heads: Heads, packed: &[f32], scores: &mut Vec<f32>, context: &mut [f32]) {
    let length = packed.len() / heads.stride();
    let query = &packed[(length - 1) * heads.stride()..];
    scores.resize(length, 0.0);
    context.fill(0.0);
    for (head, context) in context.chunks_exact_mut(heads.size).enumerate() {
        let query = &query[head * heads.size..][..heads.size];
        for (score, row) in scores.iter_mut().zip(packed.chunks_exact(heads.stride())) {
            *score = dot(query, &row[heads.key(head)..][..heads.size]) * heads.scale();
        }
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        softmax_row(scores, largest, 1.0);
        for (weight, row) in scores.iter().zip(packed.chunks_exact(heads.stride())) {
            for (sum, value) in context.iter_mut().zip(&row[heads.value(head)..]) {
                *sum += weight * value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: Heads = Heads { heads: 4, groups: 2, size: 3 };

    fn context_of(packed: &[f64], lengths: &[u32]) -> Vec<f64> {
        let mut context = Vec::new();
        let mut start = 0;
        for length in lengths.iter().map(|l| *l as usize) {
            let at =
                |row: usize, column: usize, k: usize| packed[(start + row) * HEADS.stride() + column + k];
            for i in 0..length {
                for head in 0..HEADS.heads {
                    let scores: Vec<f64> = (0..=i)
                        .map(|j| {
                            let inner: f64 = (0..HEADS.size)
                                .map(|k| at(i, head * HEADS.size, k) * at(j, HEADS.key(head), k))
                                .sum();
                            (inner / (HEADS.size as f64).sqrt()).exp()
                        })
                        .collect();
                    let sum: f64 = scores.iter().sum();
                    for k in 0..HEADS.size {
                        context.push((0..=i).map(|j| scores[j] / sum * at(j, HEADS.value(head), k)).sum());
                    }
                }
            }
            start += length;
        }
        context
    }

    fn loss(packed: &[f64], lengths: &[u32], dc: &[f64]) -> f64 {
        context_of(packed, lengths).iter().zip(dc).map(|(c, d)| c * d).sum()
    }

    #[test]
    fn value_and_gradient_agree_with_central_differences_across_tiles() {
        let lengths = [3_u32, 1, TILE as u32 + 2];
        let mut spans = Spans::default();
        spans.set(&lengths, HEADS.heads);
        let rows = spans.total_rows();
        let number = |k: usize| ((k * 7919 + 3) % 997) as f64 / 498.0 - 1.0;
        let mut packed: Vec<f64> = (0..rows * HEADS.stride()).map(number).collect();
        let dc: Vec<f64> = (0..rows * HEADS.width()).map(|k| number(k + 31)).collect();
        let single: Vec<f32> = packed.iter().map(|x| *x as f32).collect();
        let dc_single: Vec<f32> = dc.iter().map(|x| *x as f32).collect();
        let mut p = vec![7.0; spans.total_probabilities()];
        let mut context = vec![0.0; rows * HEADS.width()];
        forward(&spans, HEADS, &single, &mut p, &mut context);
        for (ours, exact) in context.iter().zip(context_of(&packed, &lengths)) {
            assert!((f64::from(*ours) - exact).abs() < 1e-5);
        }
        let mut gradient = vec![9.0; packed.len()];
        let mut scratch = vec![9.0; p.len()];
        backward(&spans, HEADS, &single, &p, &dc_single, &mut gradient, &mut scratch);
        for k in (0..packed.len()).step_by(7) {
            let kept = packed[k];
            packed[k] = kept + 1e-5;
            let above = loss(&packed, &lengths, &dc);
            packed[k] = kept - 1e-5;
            let slope = (above - loss(&packed, &lengths, &dc)) / 2e-5;
            packed[k] = kept;
            assert!((slope - f64::from(gradient[k])).abs() < 5e-6, "{k}: {slope} {}", gradient[k]);
        }
        // One token at a time gives what the whole sequence gave.
        let start = 4 * HEADS.stride();
        let (mut scores, mut last) = (Vec::new(), vec![0.0; HEADS.width()]);
        for length in [1, 5, TILE + 2] {
            last_row(HEADS, &single[start..start + length * HEADS.stride()], &mut scores, &mut last);
            let whole = &context[(4 + length - 1) * HEADS.width()..][..HEADS.width()];
            assert!(last.iter().zip(whole).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }
}
