//! Towers joined by cross-attention, explicitly: one query of a row attends to every token of every modality it has.
//!
//! ```text
//! tᵢ = norm(towerₘ(x)ᵢ + eₘ)                        over the tokens of the modalities a row has
//! q = q₀ + mean over these modalities of the mean of their tᵢ
//! a = norm(q + attention(q Wq, t Wk, t Wv) Wo + bo)   z = norm(a + f(a W₁ + b₁) W₂ + b₂)
//! ```
//!
//! The query holds the means because a query that were learned alone would score each token by itself: a sentence could
//! not say at which patch of an image to look. They are means over all tokens and not the first ones, so that every
//! token is heard before attention has learned anything, and modalities of one token are no case of their own.
//! The tokens of a row lie one behind the other; what it lacks is not among them. One block, as BERT's without dropout:
//! the towers have done the reading.

use std::ops::Range;

use rayon::prelude::*;

use crate::arch::config::MultimodalConfig;
use crate::arch::member::Member;
use crate::arch::slot::{Init, Slots};
use crate::ops::activation::{self, Activation};
use crate::ops::cross::{self, Layout};
use crate::ops::gemm::Into;
use crate::ops::linear::Linear;
use crate::ops::norm::{Norm, NormGradient};
use crate::ops::vector::{add_scaled, add_slice, column_sums, scratch};

/// ε of the layer normalisations.
pub(super) const EPSILON: f32 = 1e-6;

/// A layer's weight and bias, or a normalisation's gain and shift.
type Pair = (Range<usize>, Range<usize>);

/// The block and its buffers.
#[derive(Debug)]
pub struct CrossAttention {
    width: usize,
    hidden: usize,
    heads: usize,
    first: Range<usize>,      // q₀
    kinds: Vec<Range<usize>>, // e of each tower
    norm: Pair,
    query: Pair,
    packed: Pair, // keys and values
    out: Pair,
    norm1: Pair,
    up: Pair,
    down: Pair,
    norm2: Pair,
    places: Vec<usize>, // the first token of each of the towers' sequences, tower by tower
    starts: Vec<usize>, // the first token of each row, and the end
    parts: Vec<f32>,    // (tokens): what of a token is in its row's query
    saved: Saved,
    back: Back,
}

/// What is kept from forward to backward; buffers only grow.
#[derive(Debug, Default)]
struct Saved {
    normalized: Vec<f32>, // (tokens, width): before gain and shift
    deviations: Vec<f32>, // (tokens)
    tokens: Vec<f32>,     // (tokens, width)
    query: Vec<f32>,      // (rows, width)
    asked: Vec<f32>,      // (rows, width): q Wq
    packed: Vec<f32>,     // (tokens, 2 width)
    probabilities: Vec<f32>,
    context: Vec<f32>,     // (rows, width)
    normalized1: Vec<f32>, // (rows, width)
    deviations1: Vec<f32>, // (rows)
    attended: Vec<f32>,    // (rows, width)
    derivative: Vec<f32>,  // (rows, hidden)
    activated: Vec<f32>,   // (rows, hidden)
    normalized2: Vec<f32>, // (rows, width)
    deviations2: Vec<f32>, // (rows)
}

/// Buffers of the backward pass.
#[derive(Debug, Default)]
struct Back {
    dz: Vec<f32>,
    dwide: Vec<f32>,
    dcontext: Vec<f32>,
    dasked: Vec<f32>,
    dpacked: Vec<f32>,
    dtokens: Vec<f32>,
    probabilities: Vec<f32>,
    partial: Vec<f32>,
}

impl CrossAttention {
    /// Adds the tensors of the block to the slots; `config` was checked and is of this way to join.
    pub fn new(config: &MultimodalConfig, slots: &mut Slots) -> Self {
        let (width, hidden) = (config.width, config.hidden_size);
        // No checkpoint from elsewhere has these matrices, and BERT's small start would leave one block flat for long.
        let even = |inputs: usize, outputs: usize| Init::Uniform((6.0 / (inputs + outputs) as f64).sqrt());
        let mut add = |part: &str, shape: &[usize], init| slots.add(format!("join.{part}"), shape, init);
        let first = add("query", &[width], Init::Normal(0.02));
        let norm = (add("norm.weight", &[width], Init::Ones), add("norm.bias", &[width], Init::Zeros));
        let square = even(width, width);
        let query = (
            add("attention.query.weight", &[width, width], square),
            add("attention.query.bias", &[width], Init::Zeros),
        );
        let key = add("attention.key.weight", &[width, width], square);
        let value = add("attention.value.weight", &[width, width], square);
        let key_bias = add("attention.key.bias", &[width], Init::Zeros);
        let value_bias = add("attention.value.bias", &[width], Init::Zeros);
        Self {
            width,
            hidden,
            heads: config.num_attention_heads.expect("cross-attention was checked to have heads"),
            first,
            kinds: Vec::new(),
            norm,
            query,
            // Two matrices side by side are one matrix (2 width, width).
            packed: (key.start..value.end, key_bias.start..value_bias.end),
            out: (
                add("attention.output.weight", &[width, width], square),
                add("attention.output.bias", &[width], Init::Zeros),
            ),
            norm1: (
                add("attention.norm.weight", &[width], Init::Ones),
                add("attention.norm.bias", &[width], Init::Zeros),
            ),
            up: (
                add("feed.up.weight", &[hidden, width], even(width, hidden)),
                add("feed.up.bias", &[hidden], Init::Zeros),
            ),
            down: (
                add("feed.down.weight", &[width, hidden], even(hidden, width)),
                add("feed.down.bias", &[width], Init::Zeros),
            ),
            norm2: (
                add("feed.norm.weight", &[width], Init::Ones),
                add("feed.norm.bias", &[width], Init::Zeros),
            ),
            places: Vec::new(),
            starts: Vec::new(),
            parts: Vec::new(),
            saved: Saved::default(),
            back: Back::default(),
        }
    }

    /// Adds the vector that says of a token that it is the next tower's.
    pub fn add_tower(&mut self, name: &str, slots: &mut Slots) {
        self.kinds.push(slots.add(format!("join.{name}.embedding"), &[self.width], Init::Normal(0.02)));
    }

    fn square(&self) -> Linear {
        Linear { inputs: self.width, outputs: self.width }
    }

    fn pair(&self) -> Linear {
        Linear { inputs: self.width, outputs: 2 * self.width }
    }

    fn widen(&self) -> Linear {
        Linear { inputs: self.width, outputs: self.hidden }
    }

    fn narrow(&self) -> Linear {
        Linear { inputs: self.hidden, outputs: self.width }
    }

    /// Gives every token of every row its place, and its part in the row's query.
    fn lay_out(&mut self, towers: &[Member], rows: usize) {
        let Self { places, starts, parts, .. } = self;
        let mut given = vec![0_usize; rows];
        starts.clear();
        starts.resize(rows + 1, 0);
        for (row, length) in sequences(towers) {
            starts[row + 1] += length;
            given[row] += 1;
        }
        for row in 0..rows {
            starts[row + 1] += starts[row];
        }
        let mut next = starts.clone();
        places.clear();
        parts.resize(starts[rows], 0.0);
        for (row, length) in sequences(towers) {
            let place = next[row];
            next[row] += length;
            places.push(place);
            parts[place..place + length].fill(1.0 / (given[row] * length) as f32);
        }
    }

    /// Writes `joined (rows, width)`.
    pub fn forward(&mut self, weights: &[f32], towers: &[Member], rows: usize, joined: &mut [f32]) {
        self.lay_out(towers, rows);
        let (square, pair, widen, narrow) = (self.square(), self.pair(), self.widen(), self.narrow());
        let (width, tokens) = (self.width, self.starts[rows]);
        let weight = |range: &Range<usize>| &weights[range.clone()];
        let norm = |of: &Pair| Norm { gain: weight(&of.0), shift: weight(&of.1), epsilon: EPSILON };
        let (saved, starts, parts) = (&mut self.saved, &self.starts, &self.parts);

        let normalized = scratch(&mut saved.normalized, tokens * width);
        let mut places = self.places.iter();
        for (tower, kind) in towers.iter().zip(&self.kinds) {
            let mut states = tower.states().chunks_exact(width);
            for (length, place) in tower.lengths().iter().zip(&mut places) {
                let to = normalized[place * width..].chunks_exact_mut(width);
                for (to, state) in to.zip(states.by_ref().take(*length as usize)) {
                    to.copy_from_slice(state);
                    add_slice(to, weight(kind));
                }
            }
        }
        let said = scratch(&mut saved.tokens, tokens * width);
        norm(&self.norm).forward(normalized, &[], &[], said, scratch(&mut saved.deviations, tokens));
        let said = &*said;
        let query = scratch(&mut saved.query, rows * width);
        query.par_chunks_exact_mut(width).enumerate().for_each(|(row, query)| {
            query.copy_from_slice(weight(&self.first));
            for token in starts[row]..starts[row + 1] {
                add_scaled(query, &said[token * width..(token + 1) * width], parts[token]);
            }
        });

        let asked = scratch(&mut saved.asked, rows * width);
        square.forward_bias(weight(&self.query.0), weight(&self.query.1), query, asked);
        let packed = scratch(&mut saved.packed, 2 * tokens * width);
        pair.forward_bias(weight(&self.packed.0), weight(&self.packed.1), said, packed);
        let probabilities = scratch(&mut saved.probabilities, tokens * self.heads);
        let context = scratch(&mut saved.context, rows * width);
        cross::forward(Layout { starts, heads: self.heads }, asked, packed, probabilities, context);
        let normalized = scratch(&mut saved.normalized1, rows * width);
        square.forward(weight(&self.out.0), context, normalized);
        let attended = scratch(&mut saved.attended, rows * width);
        let deviations = scratch(&mut saved.deviations1, rows);
        norm(&self.norm1).forward(normalized, weight(&self.out.1), query, attended, deviations);

        let derivative = scratch(&mut saved.derivative, rows * self.hidden);
        widen.forward(weight(&self.up.0), attended, derivative);
        let activated = scratch(&mut saved.activated, rows * self.hidden);
        Activation::Gelu.forward(derivative, weight(&self.up.1), activated);
        let normalized = scratch(&mut saved.normalized2, rows * width);
        narrow.forward(weight(&self.down.0), activated, normalized);
        let deviations = scratch(&mut saved.deviations2, rows);
        norm(&self.norm2).forward(normalized, weight(&self.down.1), attended, joined, deviations);
    }

    /// Writes the gradient of the block and of the vectors of the towers that said something, and leaves that of what
    /// they said with them, from `djoined (rows, width)`.
    pub fn backward(
        &mut self,
        weights: &[f32],
        gradient: &mut [f32],
        towers: &mut [Member],
        djoined: &[f32],
    ) {
        let (square, pair, widen, narrow) = (self.square(), self.pair(), self.widen(), self.narrow());
        let (width, length) = (self.width, djoined.len());
        let rows = length / width;
        let tokens = self.starts[rows];
        let weight = |range: &Range<usize>| &weights[range.clone()];
        let norm = |of: &Pair| Norm { gain: weight(&of.0), shift: weight(&of.1), epsilon: EPSILON };
        let (saved, starts, parts) = (&self.saved, &self.starts, &self.parts);
        let Back { dz, dwide, dcontext, dasked, dpacked, dtokens, probabilities, partial } = &mut self.back;

        // z = norm2(a + f W2 + b2): dz becomes the gradient of the sum, for both of its terms.
        let dz = scratch(dz, length);
        dz.copy_from_slice(djoined);
        let to = gradients(gradient, [&self.norm2.0, &self.norm2.1, &self.down.1]);
        norm(&self.norm2).backward(dz, &saved.normalized2[..length], &saved.deviations2[..rows], to, partial);
        let wide = rows * self.hidden;
        narrow.backward_weight(&saved.activated[..wide], dz, &mut gradient[self.down.0.clone()]);
        let dwide = scratch(dwide, wide);
        narrow.backward_input(weight(&self.down.0), dz, dwide, Into::Replace);
        let bias = &mut gradient[self.up.1.clone()];
        activation::backward(dwide, &saved.derivative[..wide], self.hidden, bias, partial);
        widen.backward_weight(&saved.attended[..length], dwide, &mut gradient[self.up.0.clone()]);
        widen.backward_input(weight(&self.up.0), dwide, dz, Into::Add);

        // a = norm1(q + context Wo + bo).
        let to = gradients(gradient, [&self.norm1.0, &self.norm1.1, &self.out.1]);
        norm(&self.norm1).backward(dz, &saved.normalized1[..length], &saved.deviations1[..rows], to, partial);
        square.backward_weight(&saved.context[..length], dz, &mut gradient[self.out.0.clone()]);
        let dcontext = scratch(dcontext, length);
        square.backward_input(weight(&self.out.0), dz, dcontext, Into::Replace);
        let (dasked, dpacked) = (scratch(dasked, length), scratch(dpacked, 2 * tokens * width));
        cross::backward(
            Layout { starts, heads: self.heads },
            &saved.asked[..length],
            &saved.packed[..2 * tokens * width],
            &saved.probabilities[..tokens * self.heads],
            dcontext,
            dasked,
            dpacked,
            scratch(probabilities, tokens * self.heads),
        );
        column_sums(dasked, width, &mut gradient[self.query.1.clone()], partial);
        square.backward_weight(&saved.query[..length], dasked, &mut gradient[self.query.0.clone()]);
        square.backward_input(weight(&self.query.0), dasked, dz, Into::Add);
        column_sums(dz, width, &mut gradient[self.first.clone()], partial);
        column_sums(dpacked, 2 * width, &mut gradient[self.packed.1.clone()], partial);
        pair.backward_weight(&saved.tokens[..tokens * width], dpacked, &mut gradient[self.packed.0.clone()]);
        let dtokens = scratch(dtokens, tokens * width);
        pair.backward_input(weight(&self.packed.0), dpacked, dtokens, Into::Replace);
        for (row, dquery) in dz.chunks_exact(width).enumerate() {
            for token in starts[row]..starts[row + 1] {
                add_scaled(&mut dtokens[token * width..(token + 1) * width], dquery, parts[token]);
            }
        }

        let to = gradients(gradient, [&self.norm.0, &self.norm.1, &(0..0)]);
        let normalized = &saved.normalized[..tokens * width];
        norm(&self.norm).backward(dtokens, normalized, &saved.deviations[..tokens], to, partial);
        let mut places = self.places.iter();
        for (tower, kind) in towers.iter_mut().zip(&self.kinds) {
            let (lengths, dstates) = tower.gradient();
            let mut to = dstates.chunks_exact_mut(width);
            for (length, place) in lengths.iter().zip(&mut places) {
                let from = dtokens[place * width..].chunks_exact(width);
                for (dstate, from) in to.by_ref().take(*length as usize).zip(from) {
                    dstate.copy_from_slice(from);
                }
            }
            column_sums(dstates, width, &mut gradient[kind.clone()], partial);
        }
    }
}

/// Row and tokens of each of the towers' sequences, tower by tower.
fn sequences(towers: &[Member]) -> impl Iterator<Item = (usize, usize)> {
    towers.iter().flat_map(|tower| {
        tower.rows().iter().zip(tower.lengths()).map(|(row, length)| (*row as usize, *length as usize))
    })
}

/// Where a normalisation writes the gradients of gain, shift and the bias in front of it, which may be empty.
fn gradients<'a>(gradient: &'a mut [f32], parts: [&Range<usize>; 3]) -> NormGradient<'a> {
    let [gain, shift, bias] =
        gradient.get_disjoint_mut(parts.map(Clone::clone)).expect("slots do not overlap");
    NormGradient { gain, shift, bias }
}
