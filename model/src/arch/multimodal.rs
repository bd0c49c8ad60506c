//! Several towers joined: text, image, table, graph.
//!
//! ```text
//! z = join of what the towers say     logits = W₂ relu(W₁ z + b₁) + b₂
//! ```
//!
//! Each tower is an architecture of its own with its own tensor names behind a prefix. How they are joined is one of two
//! ways, in a file of its own each; here are the towers, the choice and the head.

use std::ops::Range;

use crate::arch::config::{ArchConfig, MultimodalConfig};
use crate::arch::cross::CrossAttention;
use crate::arch::gated_sum::GatedSum;
use crate::arch::join::Join;
use crate::arch::member::Member;
use crate::arch::modality::Modality;
use crate::arch::records::Records;
use crate::arch::slot::{Init, Slots};
use crate::error::Result;
use crate::ops::activation::{self, Activation};
use crate::ops::gemm::Into;
use crate::ops::linear::Linear;
use crate::ops::vector::{column_sums, scratch};
use crate::seed::Seed;

/// The network and its buffers.
#[derive(Debug)]
pub struct Multimodal {
    width: usize,
    hidden: usize,
    labels: usize,
    towers: Vec<Member>,
    joint: Joint,
    inner: (Range<usize>, Range<usize>),
    outer: (Range<usize>, Range<usize>),
    rows: usize,
    joined: Vec<f32>, // (rows, width)
    derivative: Vec<f32>,
    read: Vec<f32>, // (rows, hidden)
    dread: Vec<f32>,
    djoined: Vec<f32>,
    partial: Vec<f32>,
}

/// A way to join.
#[derive(Debug)]
enum Joint {
    Gated(GatedSum),
    Cross(Box<CrossAttention>),
}

impl Joint {
    fn new(config: &MultimodalConfig, slots: &mut Slots) -> Self {
        match config.join {
            Join::GatedSum => Self::Gated(GatedSum::new(config.width)),
            Join::CrossAttention => Self::Cross(Box::new(CrossAttention::new(config, slots))),
        }
    }

    /// How much wider than BERT's a fresh tower starts.
    ///
    /// BERT's deviation of 0.02 is made for hundreds of features. With tens of them, tokens differ by some hundredths of
    /// their size, and where only text and image together tell, training stays at guesses: the slope of the loss is a
    /// product of such differences. So transformers behind cross-attention start at `1 / √hidden`; those behind the gated
    /// sum stay as they always were.
    fn spread(&self, tower: &ArchConfig) -> f64 {
        let hidden = match (self, tower) {
            (Self::Cross(_), ArchConfig::Encoder(config)) => config.hidden_size,
            (Self::Cross(_), ArchConfig::Patch(config)) => config.hidden_size,
            _ => return 1.0,
        };
        (1.0 / (0.02 * (hidden as f64).sqrt())).max(1.0)
    }

    fn add_tower(&mut self, name: &str, slots: &mut Slots) {
        match self {
            Self::Gated(join) => join.add_tower(name, slots),
            Self::Cross(join) => join.add_tower(name, slots),
        }
    }
}

impl Multimodal {
    /// Builds the network and adds its tensors to the slots.
    pub fn new(config: &MultimodalConfig, labels: usize, slots: &mut Slots) -> Self {
        let (width, hidden) = (config.width, config.hidden_size);
        let mut joint = Joint::new(config, slots);
        let towers = config
            .towers()
            .into_iter()
            .map(|tower| {
                let (head, start) = (config.tower_head(tower.0), slots.total());
                let spread = joint.spread(&tower.1);
                let member = Member::new(tower, &head, slots, |name, slots| joint.add_tower(name, slots));
                slots.spread(start..slots.total(), spread);
                member
            })
            .collect();
        let inner = Init::Uniform((6.0 / width as f64).sqrt());
        let outer = Init::Uniform((6.0 / (hidden + labels) as f64).sqrt());
        Self {
            width,
            hidden,
            labels,
            towers,
            joint,
            inner: (
                slots.add("join.inner.weight", &[hidden, width], inner),
                slots.add("join.inner.bias", &[hidden], Init::Zeros),
            ),
            outer: (
                slots.add("join.outer.weight", &[labels, hidden], outer),
                slots.add("join.outer.bias", &[labels], Init::Zeros),
            ),
            rows: 0,
            joined: Vec::new(),
            derivative: Vec::new(),
            read: Vec::new(),
            dread: Vec::new(),
            djoined: Vec::new(),
            partial: Vec::new(),
        }
    }

    /// Rows of the last forward pass.
    pub fn outputs(&self) -> usize {
        self.rows
    }

    /// Computes `logits (rows, labels)`.
    ///
    /// # Errors
    /// A row has nothing that a tower reads, or something in another size.
    pub fn forward(
        &mut self,
        weights: &[f32],
        records: Records<'_>,
        training: Option<&Seed>,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        let modalities: Vec<Modality> = self.towers.iter().map(Member::modality).collect();
        records.check(&modalities)?;
        self.rows = records.rows;
        for tower in &mut self.towers {
            tower.forward(weights, records, training)?;
        }
        let (rows, inner, outer) = (self.rows, self.inner_layer(), self.outer_layer());
        let joined = scratch(&mut self.joined, rows * self.width);
        match &mut self.joint {
            Joint::Gated(join) => join.forward(weights, &mut self.towers, rows, joined),
            Joint::Cross(join) => join.forward(weights, &self.towers, rows, joined),
        }
        let derivative = scratch(&mut self.derivative, rows * self.hidden);
        inner.forward(&weights[self.inner.0.clone()], joined, derivative);
        let read = scratch(&mut self.read, rows * self.hidden);
        Activation::Relu.forward(derivative, &weights[self.inner.1.clone()], read);
        let (weight, bias) = (&weights[self.outer.0.clone()], &weights[self.outer.1.clone()]);
        outer.forward_bias(weight, bias, read, scratch(logits, rows * self.labels));
        Ok(())
    }

    fn inner_layer(&self) -> Linear {
        Linear { inputs: self.width, outputs: self.hidden }
    }

    fn outer_layer(&self) -> Linear {
        Linear { inputs: self.hidden, outputs: self.labels }
    }

    /// Writes the gradient of every parameter from the gradient of the logits of the last training forward pass.
    pub fn backward(&mut self, weights: &[f32], gradient: &mut [f32], dlogits: &[f32]) {
        let (inner, outer) = (self.inner_layer(), self.outer_layer());
        let (rows, width) = (self.rows, self.width);
        let read = &self.read[..rows * self.hidden];
        outer.backward_weight(read, dlogits, &mut gradient[self.outer.0.clone()]);
        column_sums(dlogits, self.labels, &mut gradient[self.outer.1.clone()], &mut self.partial);
        let dread = scratch(&mut self.dread, rows * self.hidden);
        outer.backward_input(&weights[self.outer.0.clone()], dlogits, dread, Into::Replace);
        let derivative = &self.derivative[..rows * self.hidden];
        let bias = &mut gradient[self.inner.1.clone()];
        activation::backward(dread, derivative, self.hidden, bias, &mut self.partial);
        inner.backward_weight(&self.joined[..rows * width], dread, &mut gradient[self.inner.0.clone()]);
        let djoined = scratch(&mut self.djoined, rows * width);
        inner.backward_input(&weights[self.inner.0.clone()], dread, djoined, Into::Replace);

        self.towers.iter().for_each(|tower| tower.clear(gradient));
        match &mut self.joint {
            Joint::Gated(join) => join.backward(weights, gradient, &mut self.towers, djoined),
            Joint::Cross(join) => join.backward(weights, gradient, &mut self.towers, djoined),
        }
        for tower in &mut self.towers {
            tower.backward(weights, gradient);
        }
    }
}
