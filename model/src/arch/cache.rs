//! What a decoder keeps of the tokens it has read, so that the next one costs one row instead of the whole sequence.

/// The tokens read so far and, for an engine that keeps them, the packed query, key and value rows of every block.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    /// Tokens read so far.
    pub ids: Vec<u32>,
    /// `(tokens, stride)` for each block; queries turned, too: they are not read again but keep the rows in one piece.
    pub rows: Vec<Vec<f32>>,
}
