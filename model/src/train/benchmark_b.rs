//! The common benchmark B: ten classes of 28x28 images, split so that each participant mostly holds two of them.
//!
//! Every system of this kind can run it, because the data comes from splitmix64 and integer arithmetic alone and is
//! equal in every bit in any language. Sample: one of two prototypes of its class (a 7x7 grid of bytes, each 4x4
//! pixels), moved cyclically by up to two pixels, mixed with byte noise. Participant i draws class 2i or 2i + 1
//! (mod 10) with probability 0.95, else any class. The model reads `pixel / 255 - 0.5`.

use crate::arch::config::{ArchConfig, Head, MlpConfig};
use crate::data::batch::{Batch, Inputs, Targets};

/// Pixels per side.
pub const SIDE: usize = 28;
/// Classes.
pub const CLASSES: usize = 10;
/// Training images per participant.
pub const IMAGES: usize = 2000;
/// Images in the common test set.
pub const TEST_IMAGES: usize = 2000;
/// Images per batch.
pub const BATCH: usize = 40;
/// Learning rate of plain gradient descent.
pub const RATE: f64 = 0.05;

const PIXELS: usize = SIDE * SIDE;
const VARIANTS: usize = 2;
const CELLS: usize = 49;
const LEAST_WEIGHT: u64 = 96;
const MOST_WEIGHT: u64 = 192;
const SKEW: u64 = 95;
const LAYERS: [usize; 4] = [PIXELS, 256, 128, CLASSES];

/// Images and their classes in training order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// Bytes, `(count, 784)`.
    pub pixels: Vec<u8>,
    /// Classes, `(count)`.
    pub labels: Vec<u8>,
}

/// One output of the splitmix64 generator for a counter (Steele, Lea and Flood 2014).
pub fn splitmix64(counter: u64) -> u64 {
    let mut z = counter.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn random(stream: u64, index: usize) -> u64 {
    splitmix64((stream << 40).wrapping_add(index as u64))
}

/// The training images of participant `participant`.
pub fn participant(participant: usize) -> Images {
    images(100 + 2 * participant as u64, IMAGES, Some(participant as u64))
}

/// The common test images, all classes evenly likely.
pub fn test() -> Images {
    images(90, TEST_IMAGES, None)
}

fn images(stream: u64, count: usize, home: Option<u64>) -> Images {
    let cells: Vec<u8> = (0..CLASSES * VARIANTS * CELLS).map(|k| (random(1, k) >> 56) as u8).collect();
    let mut pixels = Vec::with_capacity(count * PIXELS);
    let mut labels = Vec::with_capacity(count);
    for image in 0..count {
        let h = random(stream, image);
        let any = (h >> 8) % CLASSES as u64;
        let class = match home {
            Some(home) if h % 100 < SKEW => (2 * home + ((h >> 16) & 1)) % CLASSES as u64,
            _ => any,
        } as usize;
        let variant = ((h >> 24) % VARIANTS as u64) as usize;
        let shift = |bits: u64| ((h >> bits) % 5) as usize + SIDE - 2;
        let (dx, dy) = (shift(32), shift(40));
        let weight = LEAST_WEIGHT + (h >> 48) % (MOST_WEIGHT - LEAST_WEIGHT + 1);
        let prototype = &cells[(class * VARIANTS + variant) * CELLS..][..CELLS];
        for place in 0..PIXELS {
            // A pixel moved by d shows what was d before it; `shift` holds d + 28, so subtract from twice the side.
            let y = (place / SIDE + 2 * SIDE - dy) % SIDE;
            let x = (place % SIDE + 2 * SIDE - dx) % SIDE;
            let own = u64::from(prototype[y / 4 * 7 + x / 4]);
            let noise = random(stream + 1, image * PIXELS + place) >> 56;
            pixels.push(((own * weight + noise * (256 - weight)) >> 8) as u8);
        }
        labels.push(class as u8);
    }
    Images { pixels, labels }
}

/// The parameters all participants start from, in the flat order of the architecture: W1, b1, W2, b2, W3, b3.
pub fn initial() -> Vec<f32> {
    let mut flat = Vec::new();
    for (layer, pair) in LAYERS.windows(2).enumerate() {
        let bound = (6.0 / pair[0] as f64).sqrt();
        for k in 0..pair[0] * pair[1] {
            let unit = (random(500 + layer as u64, k) >> 40) as f64 / f64::from(1 << 23) - 1.0;
            flat.push((unit * bound) as f32);
        }
        flat.resize(flat.len() + pair[1], 0.0);
    }
    flat
}

/// The architecture, 784-256-128-10.
pub fn arch() -> ArchConfig {
    ArchConfig::Mlp(MlpConfig { layers: LAYERS.to_vec() })
}

/// The head that goes with it.
pub fn head() -> Head {
    Head::Classification { labels: CLASSES }
}

impl Images {
    /// Batches of at most `size` images in order.
    pub fn batches(&self, size: usize) -> Vec<Batch> {
        self.pixels
            .chunks(size * PIXELS)
            .zip(self.labels.chunks(size))
            .map(|(pixels, labels)| Batch {
                rows: labels.len(),
                width: PIXELS,
                inputs: Inputs::Dense {
                    values: pixels.iter().map(|pixel| f32::from(*pixel) / 255.0 - 0.5).collect(),
                },
                targets: Targets::Classes(labels.iter().map(|label| i32::from(*label)).collect()),
                samples: labels.len() as u32,
            })
            .collect()
    }

    /// Share of rows whose largest logit is their class; the first of equal ones counts.
    pub fn accuracy(&self, logits: &[f32]) -> f64 {
        let right = logits
            .chunks_exact(CLASSES)
            .zip(&self.labels)
            .filter(|(row, label)| {
                let best = (1..CLASSES).fold(0, |best, k| if row[k] > row[best] { k } else { best });
                best == usize::from(**label)
            })
            .count();
        right as f64 / self.labels.len().max(1) as f64
    }
}
