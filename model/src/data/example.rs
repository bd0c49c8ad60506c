//! Examples as they leave a loader or a generator, before any tokenizer.
//!
//! Labels are already numbers of a [`LabelSet`](crate::data::labels::LabelSet); text is as in the file.

/// One sentence with a tag per word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedSentence {
    /// Words as in the file.
    pub tokens: Vec<String>,
    /// One label per word, IOB2.
    pub tags: Vec<u32>,
    /// The document the sentence is from, counted from 0 within the file.
    pub document: u32,
    /// The subject, where the file or the generator states one.
    pub topic: Option<String>,
}

/// One text with one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledText {
    /// The text as in the file.
    pub text: String,
    /// Its class.
    pub label: u32,
    /// The value of the group column, where one is named (for splits and fairness).
    pub group: Option<String>,
}

/// One text with a number for every label.
#[derive(Debug, Clone, PartialEq)]
pub struct ValuedText {
    /// The text as in the file.
    pub text: String,
    /// 1 or 0 for every label, or the one quantity in its own unit.
    pub values: Vec<f32>,
    /// The value of the group column, where one is named.
    pub group: Option<String>,
}

/// A piece of plain text for a language model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// The text, with its line breaks.
    pub text: String,
    /// The subject, where the generator states one.
    pub topic: Option<String>,
}
