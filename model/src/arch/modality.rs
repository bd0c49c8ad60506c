//! The kinds of things a record can hold.

/// One kind of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Modality {
    /// Tokens.
    Text,
    /// Pixels.
    Image,
    /// Columns of numbers.
    Table,
    /// Relations to others.
    Graph,
}

impl Modality {
    /// All of them, in the order towers stand in.
    pub const ALL: [Self; 4] = [Self::Text, Self::Image, Self::Table, Self::Graph];

    /// Its name, with which the tensors of its tower begin.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::Table => "table",
            Self::Graph => "graph",
        }
    }
}
