//! One batch: what a training or evaluation step reads.
//!
//! Plain numbers in row-major order, so that any backend can take them without a copy through a tensor library.
//! A batch does not know where its rows came from: the batcher keeps that.

/// The target of a position that does not count: padding, special tokens, continuation pieces of a word.
pub const IGNORE: i32 = -100;

/// What the model reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Inputs {
    /// Token ids, padded on the right.
    Tokens {
        /// Ids, `(rows, width)`.
        ids: Vec<u32>,
        /// Tokens before padding, `(rows)`, each at least 1 and at most the width.
        lengths: Vec<u32>,
    },
    /// Numbers as they are.
    Dense {
        /// Features, `(rows, width)`.
        values: Vec<f32>,
    },
    /// Nodes of a graph with their surroundings; the nodes asked for come first.
    Nodes(NodeBatch),
    /// Pairs of nodes with their surroundings: the first sides come first, then the second sides, then others.
    Pairs(NodeBatch),
    /// Rows of several modalities.
    Records(Box<RecordBatch>),
}

/// The part of a graph that a batch of nodes depends on, with its own numbering.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeBatch {
    /// Nodes within 0, 1, 2, ... hops, rising; the last is the number of all.
    pub hops: Vec<u32>,
    /// Where the neighbours of each node but those of the last hop begin, one more than such nodes.
    pub neighbour_starts: Vec<u32>,
    /// Neighbours, in the batch's numbers.
    pub neighbours: Vec<u32>,
    /// Where the features of each node begin, one more than nodes.
    pub feature_starts: Vec<u32>,
    /// Features.
    pub features: Vec<u32>,
}

/// Rows of several modalities: for each the rows that have it, and what they have.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecordBatch {
    /// Rows with a text, rising.
    pub text_rows: Vec<u32>,
    /// Token ids of the texts, `(texts, text_width)`, padded on the right.
    pub ids: Vec<u32>,
    /// Tokens of each text before padding.
    pub lengths: Vec<u32>,
    /// Tokens of each text after padding.
    pub text_width: usize,
    /// Images.
    pub image: NumberBatch,
    /// Columns of tables.
    pub table: NumberBatch,
    /// Rows that are nodes, rising.
    pub graph_rows: Vec<u32>,
    /// The nodes they are, with their surroundings.
    pub nodes: NodeBatch,
    /// Modalities the data set has: text, image, table, graph.
    pub kinds: [bool; 4],
}

/// Numbers of some rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NumberBatch {
    /// The rows, rising.
    pub rows: Vec<u32>,
    /// Values, `(rows, width)`.
    pub values: Vec<f32>,
    /// Values of each.
    pub width: usize,
}

impl RecordBatch {
    /// Whether every modality of the data set is here in a way that teaches all of its tower, and some row has two.
    pub fn shows_all(&self) -> bool {
        let is_shown = [
            self.lengths.iter().any(|length| *length > 1),
            !self.image.rows.is_empty(),
            !self.table.rows.is_empty(),
            !self.nodes.features.is_empty() && !self.nodes.neighbours.is_empty(),
        ];
        let rows = [&self.text_rows, &self.image.rows, &self.table.rows, &self.graph_rows];
        let mut all: Vec<u32> = rows.into_iter().flatten().copied().collect();
        all.sort_unstable();
        self.kinds.iter().zip(is_shown).all(|(has, is_shown)| !has || is_shown)
            && all.windows(2).any(|pair| pair[0] == pair[1])
    }
}

/// What the model should say.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// One label per token, `(rows, width)`; [`IGNORE`] where none counts.
    Tags(Vec<i32>),
    /// One label per row, `(rows)`.
    Classes(Vec<i32>),
    /// 1 or 0 for every label of every row, `(rows, labels)`: any number of labels holds.
    Marks(Vec<f32>),
    /// A number for every label of every row, `(rows, labels)`.
    Numbers(Vec<f32>),
    /// No labels: the batch is only for prediction.
    None,
}

/// A rectangle of examples.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Examples in the batch.
    pub rows: usize,
    /// Tokens, or features, per example after padding.
    pub width: usize,
    /// What the model reads.
    pub inputs: Inputs,
    /// What it should say.
    pub targets: Targets,
    /// Examples that count as training data (equal to `rows` unless some rows are filler).
    pub samples: u32,
}

impl Batch {
    /// Targets that count: those that are not [`IGNORE`].
    pub fn counted(&self) -> usize {
        match &self.targets {
            Targets::Tags(tags) => tags.iter().filter(|tag| **tag != IGNORE).count(),
            Targets::Classes(classes) => classes.iter().filter(|class| **class != IGNORE).count(),
            Targets::Marks(_) | Targets::Numbers(_) => self.rows,
            Targets::None => 0,
        }
    }
}
