//! Images of digits, drawn by hands that differ in weight, slant and size.
//!
//! The hand is the group, so that every organization can have writers of its own.

use crate::data::labels::LabelSet;
use crate::data::records::{Form, Record, Records};
use crate::error::{Error, Result};
use crate::seed::{Seed, index, normal, uniform};

/// Most images made at once.
pub const IMAGES_MAX: usize = 200_000;

/// Pixels on a side.
const SIDE: usize = 16;
/// Hands.
const HANDS: usize = 5;

/// The strokes of each digit, as ends in a box of 2 by 4: the segments of a display, some cut short.
const STROKES: [&[[f64; 4]]; 10] = [
    &[[0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 4.0], [2.0, 0.0, 2.0, 4.0], [0.0, 4.0, 2.0, 4.0]],
    &[[1.0, 0.0, 1.0, 4.0], [0.2, 0.9, 1.0, 0.0]],
    &[[0.0, 0.0, 2.0, 0.0], [2.0, 0.0, 2.0, 2.0], [2.0, 2.0, 0.0, 4.0], [0.0, 4.0, 2.0, 4.0]],
    &[[0.0, 0.0, 2.0, 0.0], [2.0, 0.0, 2.0, 4.0], [0.6, 2.0, 2.0, 2.0], [0.0, 4.0, 2.0, 4.0]],
    &[[0.0, 0.0, 0.0, 2.0], [0.0, 2.0, 2.0, 2.0], [2.0, 0.0, 2.0, 4.0]],
    &[
        [0.0, 0.0, 2.0, 0.0],
        [0.0, 0.0, 0.0, 2.0],
        [0.0, 2.0, 2.0, 2.0],
        [2.0, 2.0, 2.0, 4.0],
        [0.0, 4.0, 2.0, 4.0],
    ],
    &[
        [1.6, 0.0, 0.0, 2.0],
        [0.0, 2.0, 0.0, 4.0],
        [0.0, 2.0, 2.0, 2.0],
        [2.0, 2.0, 2.0, 4.0],
        [0.0, 4.0, 2.0, 4.0],
    ],
    &[[0.0, 0.0, 2.0, 0.0], [2.0, 0.0, 0.6, 4.0]],
    &[
        [0.0, 0.0, 2.0, 0.0],
        [0.0, 0.0, 0.0, 4.0],
        [2.0, 0.0, 2.0, 4.0],
        [0.0, 2.0, 2.0, 2.0],
        [0.0, 4.0, 2.0, 4.0],
    ],
    &[[0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 2.0], [2.0, 0.0, 2.0, 4.0], [0.0, 2.0, 2.0, 2.0]],
];

/// The digits.
pub fn labels() -> LabelSet {
    LabelSet::classes((0..10).map(|digit| digit.to_string())).expect("ten different digits form a set")
}

/// Makes images; `part` names an independent stream (`train`, `test`).
///
/// # Errors
/// More than [`IMAGES_MAX`] are asked for.
pub fn generate(seed: &Seed, part: &str, count: usize) -> Result<Records> {
    if count > IMAGES_MAX {
        return Err(Error::config("images", format!("expected at most {IMAGES_MAX}, found {count}")));
    }
    let mut rng = seed.fork("digits").fork(part).rng();
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let (digit, hand) = (index(&mut rng, 10), index(&mut rng, HANDS));
        let style = hand as f64 / (HANDS - 1) as f64;
        let slant = 0.5 * style - 0.25 + 0.06 * normal(&mut rng);
        let weight = 0.55 + 0.35 * (1.0 - style) + 0.1 * normal(&mut rng).abs();
        let scale = 2.2 + 0.5 * uniform(&mut rng);
        let (left, top) = (4.2 + 2.5 * uniform(&mut rng), 2.2 + 2.5 * uniform(&mut rng));
        let at = |x: f64, y: f64| (left + scale * (x + slant * (2.0 - y)), top + scale * y);
        let mut ends = Vec::new();
        for [x1, y1, x2, y2] in STROKES[digit] {
            let mut shaken = |x: f64, y: f64| at(x + 0.1 * normal(&mut rng), y + 0.1 * normal(&mut rng));
            ends.push((shaken(*x1, *y1), shaken(*x2, *y2)));
        }
        let mut pixels = Vec::with_capacity(SIDE * SIDE);
        for y in 0..SIDE {
            for x in 0..SIDE {
                let near = ends
                    .iter()
                    .map(|(from, to)| distance((x as f64, y as f64), *from, *to))
                    .fold(f64::INFINITY, f64::min);
                let ink = (1.3 + weight - near).clamp(0.0, 1.0);
                pixels.push((255.0 * (ink + 0.12 * normal(&mut rng)).clamp(0.0, 1.0)) as u8);
            }
        }
        all.push(Record {
            image: Some(pixels),
            label: Some(digit as u32),
            group: Some(format!("hand {hand}")),
            ..Record::default()
        });
    }
    let form = Form { image: Some([1, SIDE, SIDE]), ..Form::default() };
    Ok(Records { form, all, ..Records::default() })
}

/// From a point to a stroke.
fn distance(point: (f64, f64), from: (f64, f64), to: (f64, f64)) -> f64 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let along = ((point.0 - from.0) * dx + (point.1 - from.1) * dy) / (dx * dx + dy * dy).max(1e-9);
    let along = along.clamp(0.0, 1.0);
    ((point.0 - from.0 - along * dx).powi(2) + (point.1 - from.1 - along * dy).powi(2)).sqrt()
}
