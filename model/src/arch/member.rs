//! A tower as a part of a larger network: which rows it read, and what it said of each.
//!
//! What becomes of that is the business of the join; this is what every join reads and writes back.

use std::ops::Range;

use crate::arch::config::{ArchConfig, Head};
use crate::arch::input::Input;
use crate::arch::modality::Modality;
use crate::arch::records::Records;
use crate::arch::slot::Slots;
use crate::arch::tower::Tower;
use crate::error::{Error, Result};
use crate::ops::vector::scratch;
use crate::seed::Seed;

/// A tower and its buffers.
#[derive(Debug)]
pub struct Member {
    modality: Modality,
    arch: ArchConfig,
    head: Head,
    network: Tower,
    /// All its tensors, those that the join has for it alone included.
    range: Range<usize>,
    width: usize,
    rows: Vec<u32>,
    lengths: Vec<u32>,
    tokens: usize,
    states: Vec<f32>,
    dstates: Vec<f32>,
}

impl Member {
    /// Builds the tower and adds its tensors to the slots behind its prefix, then those that `join` adds for it.
    pub fn new(
        (modality, arch): (Modality, ArchConfig),
        head: &Head,
        slots: &mut Slots,
        join: impl FnOnce(&str, &mut Slots),
    ) -> Self {
        let start = slots.total();
        let name = modality.name();
        let network = slots
            .within(&format!("{name}."), |slots| Tower::new(&arch, head, slots))
            .expect("a configuration names towers only");
        join(name, slots);
        Self {
            modality,
            arch,
            head: *head,
            network,
            range: start..slots.total(),
            width: head.labels(),
            rows: Vec::new(),
            lengths: Vec::new(),
            tokens: 0,
            states: Vec::new(),
            dstates: Vec::new(),
        }
    }

    /// What it reads.
    pub fn modality(&self) -> Modality {
        self.modality
    }

    /// The rows it read in the last forward pass, rising; none where no row had anything for it.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// How many tokens it gave for each of those rows, all at least 1.
    pub fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    /// What it said, `(tokens, width)`, those of a row one behind the other.
    pub fn states(&self) -> &[f32] {
        &self.states[..self.tokens * self.width]
    }

    /// The same, for a join that changes it in place.
    pub fn states_mut(&mut self) -> &mut [f32] {
        &mut self.states[..self.tokens * self.width]
    }

    /// The rows it read, what it said of them, and room for the gradient of that, `(tokens, width)` both.
    pub fn with_gradient(&mut self) -> (&[u32], &[f32], &mut [f32]) {
        let length = self.tokens * self.width;
        (&self.rows, &self.states[..length], scratch(&mut self.dstates, length))
    }

    /// How many tokens it gave for each of its rows, and room for the gradient of them, `(tokens, width)`.
    pub fn gradient(&mut self) -> (&[u32], &mut [f32]) {
        (&self.lengths, scratch(&mut self.dstates, self.tokens * self.width))
    }

    /// Reads what the records have for it.
    ///
    /// # Errors
    /// They have it in another size.
    pub fn forward(&mut self, weights: &[f32], records: Records<'_>, training: Option<&Seed>) -> Result<()> {
        self.rows.clear();
        self.lengths.clear();
        self.tokens = 0;
        let Some((rows, input)) = records.part(self.modality) else { return Ok(()) };
        // A seed of its own: equal places of two towers do not drop alike.
        let seed = training.map(|seed| seed.fork(self.modality.name()));
        let tokens = self.network.forward(weights, input, seed.as_ref(), &mut self.states)?;
        self.lengths = lengths(&self.arch, &self.head, input, rows.len());
        let expected: usize = self.lengths.iter().map(|length| *length as usize).sum();
        if self.lengths.len() != rows.len() || expected != tokens {
            return Err(Error::shape(
                format!("answers of the tower for {}", self.modality.name()),
                expected,
                tokens,
            ));
        }
        self.tokens = tokens;
        self.rows.extend_from_slice(rows);
        Ok(())
    }

    /// Sets the gradient of all its tensors to 0, before the join and the tower write theirs.
    pub fn clear(&self, gradient: &mut [f32]) {
        gradient[self.range.clone()].fill(0.0);
    }

    /// Writes the gradient of the tower's parameters from the gradient that the join left with it.
    pub fn backward(&mut self, weights: &[f32], gradient: &mut [f32]) {
        if !self.rows.is_empty() {
            self.network.backward(weights, gradient, &self.dstates[..self.tokens * self.width]);
        }
    }
}

/// How many answers a tower with this head gives for each of the `rows` sequences, images, rows or nodes of its input:
/// one, or one for a token where the head is one for tokens (of an image: its patches behind the class token).
pub(super) fn lengths(arch: &ArchConfig, head: &Head, input: Input<'_>, rows: usize) -> Vec<u32> {
    match (arch, input) {
        (ArchConfig::Encoder(_), Input::Tokens { lengths, .. }) if head.is_per_token() => lengths.to_vec(),
        (ArchConfig::Patch(config), _) if head.is_per_token() => vec![config.patches() as u32 + 1; rows],
        _ => vec![1; rows],
    }
}
