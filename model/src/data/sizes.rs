//! What a model must fit of the data it is for.

use crate::data::graph::Graph;
use crate::data::records::Form;

/// Sizes that follow from data; a vocabulary follows from its tokenizer instead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Whether there are texts.
    pub has_text: bool,
    /// Channels, height and width of images.
    pub image: Option<[usize; 3]>,
    /// Columns of tables; 0 for none.
    pub columns: usize,
    /// Features a node may have; 0 where there are no nodes.
    pub features: usize,
}

impl Sizes {
    /// Those of a graph.
    pub fn of_graph(graph: &Graph) -> Self {
        Self { features: graph.width, ..Self::default() }
    }

    /// Whether texts are all there is to read.
    pub fn is_text_alone(&self) -> bool {
        *self == Self { has_text: true, ..Self::default() }
    }

    /// Those of records.
    pub fn of_form(form: &Form) -> Self {
        let (columns, features) = (form.columns.len(), form.features);
        Self { has_text: form.has_text, image: form.image, columns, features }
    }
}
