//! Scaled dot-product attention of one query for a row to the tokens of that row, `softmax(q Kᵀ / √d) V` (Vaswani and
//! others 2017).
//!
//! Keys and values of a token lie side by side, `(tokens, 2 * heads * d)`, and the tokens of a row one behind the other.
//! A row has as many tokens as it has: what is missing is not among them, so there is no mask that could let a little of
//! it through. One task per row; sums run in the order of the tokens.

use rayon::prelude::*;

use crate::ops::loss::softmax_row;
use crate::ops::vector::{add_scaled, dot};

/// Where the tokens of each row lie, and how many heads there are.
#[derive(Debug, Clone, Copy)]
pub struct Layout<'a> {
    /// The first token of each row, and the end of the last, `(rows + 1)`.
    pub starts: &'a [usize],
    /// Attention heads; divides the width.
    pub heads: usize,
}

impl Layout<'_> {
    fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    fn tokens(&self) -> usize {
        self.starts[self.rows()]
    }

    /// The width, once it is sure that the buffers are as long as the layout says.
    fn width(&self, queries: usize, packed: usize, probabilities: usize) -> usize {
        let width = queries / self.rows();
        assert!(width.is_multiple_of(self.heads), "attention heads do not divide the width");
        assert!(
            self.starts.windows(2).all(|pair| pair[0] < pair[1]),
            "a row without tokens has no attention"
        );
        assert!(packed >= self.tokens() * 2 * width, "attention reads beyond the packed keys");
        assert!(probabilities >= self.tokens() * self.heads, "attention writes beyond its probabilities");
        width
    }

    /// The part of each row of a buffer with `size` elements for a token.
    fn split<'b>(&self, mut buffer: &'b mut [f32], size: usize) -> Vec<&'b mut [f32]> {
        let mut parts = Vec::with_capacity(self.rows());
        for pair in self.starts.windows(2) {
            let (part, rest) = buffer.split_at_mut((pair[1] - pair[0]) * size);
            parts.push(part);
            buffer = rest;
        }
        parts
    }
}

/// `context (rows, width)` from `queries (rows, width)` and `packed (tokens, 2 * width)`; keeps the softmax in
/// `probabilities`, `(head, token)` row by row.
pub fn forward(
    layout: Layout<'_>,
    queries: &[f32],
    packed: &[f32],
    probabilities: &mut [f32],
    context: &mut [f32],
) {
    let width = layout.width(queries.len(), packed.len(), probabilities.len());
    let size = width / layout.heads;
    let scale = 1.0 / (size as f32).sqrt();
    let probabilities = layout.split(probabilities, layout.heads);
    let rows = queries.par_chunks_exact(width).zip(context.par_chunks_exact_mut(width));
    probabilities.into_par_iter().zip(rows).enumerate().for_each(
        |(row, (probabilities, (query, context)))| {
            let (start, end) = (layout.starts[row], layout.starts[row + 1]);
            let tokens = || packed[start * 2 * width..end * 2 * width].chunks_exact(2 * width);
            context.fill(0.0);
            for (head, p) in probabilities.chunks_exact_mut(end - start).enumerate() {
                let own = head * size..(head + 1) * size;
                for (p, token) in p.iter_mut().zip(tokens()) {
                    *p = scale * dot(&query[own.clone()], &token[own.clone()]);
                }
                let largest = p.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                softmax_row(p, largest, 1.0);
                for (p, token) in p.iter().zip(tokens()) {
                    add_scaled(&mut context[own.clone()], &token[width..][own.clone()], *p);
                }
            }
        },
    );
}

/// The gradients of `queries` and `packed` from that of the context; `scratch` is as long as `probabilities`.
#[allow(clippy::too_many_arguments)]
pub fn backward(
    layout: Layout<'_>,
    queries: &[f32],
    packed: &[f32],
    probabilities: &[f32],
    context_gradient: &[f32],
    query_gradient: &mut [f32],
    packed_gradient: &mut [f32],
    scratch: &mut [f32],
) {
    let shortest = probabilities.len().min(scratch.len());
    let width = layout.width(queries.len(), packed.len().min(packed_gradient.len()), shortest);
    let size = width / layout.heads;
    let scale = 1.0 / (size as f32).sqrt();
    let (scratch, packed_gradient) =
        (layout.split(scratch, layout.heads), layout.split(packed_gradient, 2 * width));
    let given = queries.par_chunks_exact(width).zip(context_gradient.par_chunks_exact(width));
    let written = query_gradient.par_chunks_exact_mut(width).zip(packed_gradient).zip(scratch);
    given.zip(written).enumerate().for_each(|(row, ((query, dcontext), ((dquery, dpacked), scratch)))| {
        let (start, end) = (layout.starts[row], layout.starts[row + 1]);
        let tokens = || packed[start * 2 * width..end * 2 * width].chunks_exact(2 * width);
        let probabilities = &probabilities[start * layout.heads..end * layout.heads];
        dquery.fill(0.0);
        dpacked.fill(0.0);
        let heads = probabilities.chunks_exact(end - start).zip(scratch.chunks_exact_mut(end - start));
        for (head, (p, ds)) in heads.enumerate() {
            let own = head * size..(head + 1) * size;
            let dcontext = &dcontext[own.clone()];
            for (ds, token) in ds.iter_mut().zip(tokens()) {
                *ds = dot(dcontext, &token[width..][own.clone()]);
            }
            // Through the softmax: dS = P (dP - Σ P dP).
            let mean = dot(ds, p);
            for (((ds, p), token), dtoken) in
                ds.iter().zip(p).zip(tokens()).zip(dpacked.chunks_exact_mut(2 * width))
            {
                let dscore = scale * p * (ds - mean);
                add_scaled(&mut dquery[own.clone()], &token[own.clone()], dscore);
                add_scaled(&mut dtoken[own.clone()], &query[own.clone()], dscore);
                add_scaled(&mut dtoken[width..][own.clone()], dcontext, *p);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTS: [usize; 4] = [0, 3, 4, 9];
    const HEADS: usize = 2;
    const WIDTH: usize = 6;

    fn numbers(count: usize, salt: usize) -> Vec<f64> {
        (0..count).map(|k| (((k + salt) * 7919 + 3) % 997) as f64 / 498.0 - 1.0).collect()
    }

    fn single(values: &[f64]) -> Vec<f32> {
        values.iter().map(|value| *value as f32).collect()
    }

    /// sum(dcontext * attention) in double precision.
    fn loss(queries: &[f64], packed: &[f64], dcontext: &[f64]) -> f64 {
        let size = WIDTH / HEADS;
        let mut total = 0.0;
        for row in 0..3 {
            let tokens = STARTS[row]..STARTS[row + 1];
            for head in 0..HEADS {
                let at = |k: usize| row * WIDTH + head * size + k;
                let key = |token: usize, k: usize| packed[token * 2 * WIDTH + head * size + k];
                let scores: Vec<f64> = tokens
                    .clone()
                    .map(|token| (0..size).map(|k| queries[at(k)] * key(token, k)).sum::<f64>())
                    .map(|score| (score / (size as f64).sqrt()).exp())
                    .collect();
                let sum: f64 = scores.iter().sum();
                for k in 0..size {
                    let context: f64 = tokens
                        .clone()
                        .zip(&scores)
                        .map(|(token, score)| score / sum * packed[(token * 2 + 1) * WIDTH + head * size + k])
                        .sum();
                    total += context * dcontext[at(k)];
                }
            }
        }
        total
    }

    #[test]
    fn value_and_gradients_agree_with_central_differences_in_double_precision() {
        let layout = Layout { starts: &STARTS, heads: HEADS };
        let (queries, packed) = (numbers(3 * WIDTH, 5), numbers(9 * 2 * WIDTH, 17));
        let dcontext = numbers(3 * WIDTH, 400);
        let (q, kv, dc) = (single(&queries), single(&packed), single(&dcontext));
        let (mut p, mut context) = (vec![9.0; 9 * HEADS], vec![9.0; 3 * WIDTH]);
        forward(layout, &q, &kv, &mut p, &mut context);
        let ours: f64 = context.iter().zip(&dcontext).map(|(c, d)| f64::from(*c) * d).sum();
        assert!((ours - loss(&queries, &packed, &dcontext)).abs() < 1e-5);

        let (mut dq, mut dkv, mut scratch) = (vec![9.0; q.len()], vec![9.0; kv.len()], vec![9.0; p.len()]);
        backward(layout, &q, &kv, &p, &dc, &mut dq, &mut dkv, &mut scratch);
        let check = |values: &[f64], gradient: &[f32], loss: &dyn Fn(&[f64]) -> f64| {
            for k in 0..values.len() {
                let mut moved = values.to_vec();
                moved[k] += 1e-5;
                let above = loss(&moved);
                moved[k] -= 2e-5;
                let slope = (above - loss(&moved)) / 2e-5;
                assert!((slope - f64::from(gradient[k])).abs() < 2e-6, "{k}: {slope} {}", gradient[k]);
            }
        };
        check(&queries, &dq, &|queries| loss(queries, &packed, &dcontext));
        check(&packed, &dkv, &|packed| loss(&queries, packed, &dcontext));
    }

    #[test]
    fn a_row_does_not_depend_on_the_tokens_of_another_nor_on_the_number_of_threads() {
        let layout = Layout { starts: &STARTS, heads: HEADS };
        let (q, mut kv) = (single(&numbers(3 * WIDTH, 5)), single(&numbers(9 * 2 * WIDTH, 17)));
        let run = |kv: &[f32], threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (mut p, mut context) = (vec![0.0; 9 * HEADS], vec![0.0; 3 * WIDTH]);
            pool.install(|| forward(layout, &q, kv, &mut p, &mut context));
            context
        };
        let before = run(&kv, 1);
        assert_eq!(before, run(&kv, 3));
        kv[..3 * 2 * WIDTH].fill(f32::NAN);
        let after = run(&kv, 2);
        assert_eq!(before[WIDTH..], after[WIDTH..]);
        assert!(after[..WIDTH].iter().all(|value| value.is_nan()));
    }

    #[test]
    #[should_panic(expected = "a row without tokens")]
    fn a_row_without_tokens_is_refused() {
        let layout = Layout { starts: &[0, 1, 1], heads: 1 };
        forward(layout, &[1.0; 4], &[1.0; 4], &mut [0.0; 1], &mut [0.0; 4]);
    }
}
