//! Pictures of a few coloured shapes, each with a sentence that is true of it or not.
//!
//! Neither the picture nor the sentence tells alone: both classes have the same pictures and the same sentences.

use crate::data::labels::LabelSet;
use crate::data::records::{Form, Record, Records};
use crate::error::{Error, Result};
use crate::seed::{Seed, index, uniform};

/// Most scenes made at once.
pub const SCENES_MAX: usize = 200_000;

const COLOURS: [(&str, [u8; 3]); 3] =
    [("black", [0, 0, 0]), ("blue", [30, 90, 230]), ("yellow", [235, 215, 40])];
const SHAPES: [&str; 3] = ["circle", "square", "triangle"];
/// Pixels on a side; a scene is a grid of places.
const SIDE: usize = 24;
const PLACE: usize = 8;
const GREY: u8 = 210;

/// `false` and `true`.
pub fn labels() -> LabelSet {
    LabelSet::classes(["false", "true"]).expect("two short, different names form a set")
}

/// Makes scenes; `part` names an independent stream (`train`, `test`). The colour the sentence is about is the group.
///
/// # Errors
/// More than [`SCENES_MAX`] are asked for.
pub fn generate(seed: &Seed, part: &str, count: usize) -> Result<Records> {
    if count > SCENES_MAX {
        return Err(Error::config("scenes", format!("expected at most {SCENES_MAX}, found {count}")));
    }
    let mut rng = seed.fork("scenes").fork(part).rng();
    let places = (SIDE / PLACE).pow(2);
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let mut shown: Vec<Option<(usize, usize)>> = vec![None; places];
        for _ in 0..=index(&mut rng, 4) {
            shown[index(&mut rng, places)] =
                Some((index(&mut rng, COLOURS.len()), index(&mut rng, SHAPES.len())));
        }
        let is_true = uniform(&mut rng) < 0.5;
        // Something that is there is asked for as often as something that is not.
        let wants_present = uniform(&mut rng) < 0.5;
        let is_shown = |colour: usize, shape: usize| shown.contains(&Some((colour, shape)));
        let (colour, shape) = loop {
            let asked = (index(&mut rng, COLOURS.len()), index(&mut rng, SHAPES.len()));
            if is_shown(asked.0, asked.1) == wants_present {
                break asked;
            }
        };
        let (colour_name, shape_name) = (COLOURS[colour].0, SHAPES[shape]);
        let text = if wants_present == is_true {
            format!("there is a {colour_name} {shape_name}")
        } else {
            format!("there is no {colour_name} {shape_name}")
        };
        all.push(Record {
            text: Some(text),
            image: Some(picture(&shown)),
            label: Some(u32::from(is_true)),
            group: Some(colour_name.to_owned()),
            ..Record::default()
        });
    }
    let form = Form { has_text: true, image: Some([3, SIDE, SIDE]), ..Form::default() };
    Ok(Records { form, all, ..Records::default() })
}

/// Channel by channel, row by row.
fn picture(shown: &[Option<(usize, usize)>]) -> Vec<u8> {
    let mut pixels = vec![GREY; 3 * SIDE * SIDE];
    for (place, object) in shown.iter().enumerate() {
        let Some((colour, shape)) = object else { continue };
        let (left, top) = (place % (SIDE / PLACE) * PLACE, place / (SIDE / PLACE) * PLACE);
        for y in 0..PLACE {
            for x in 0..PLACE {
                let (dx, dy) = (2 * x as i32 + 1 - PLACE as i32, 2 * y as i32 + 1 - PLACE as i32);
                let is_inside = match SHAPES[*shape] {
                    "circle" => dx * dx + dy * dy <= 36,
                    "square" => dx.abs() <= 5 && dy.abs() <= 5,
                    _ => dy <= 5 && 2 * dx.abs() <= dy + 7,
                };
                if is_inside {
                    for (channel, value) in COLOURS[*colour].1.iter().enumerate() {
                        pixels[channel * SIDE * SIDE + (top + y) * SIDE + left + x] = *value;
                    }
                }
            }
        }
    }
    pixels
}
