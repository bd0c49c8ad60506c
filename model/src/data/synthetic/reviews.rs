//! Reviews with sentiment: two classes, with negations and mixed remarks so that single words do not settle it.
//!
//! The kind of thing reviewed is the group.

use crate::data::example::LabelledText;
use crate::data::labels::LabelSet;
use crate::data::synthetic::names::draw;
use crate::error::{Error, Result};
use crate::seed::{Seed, index, uniform};

/// Most reviews made at once.
pub const REVIEWS_MAX: usize = 1_000_000;

const THINGS: [(&str, &[&str]); 4] = [
    ("hotel", &["room", "breakfast", "bed", "view", "staff"]),
    ("phone", &["screen", "battery", "camera", "speaker", "case"]),
    ("meal", &["soup", "fish", "bread", "dessert", "waiter"]),
    ("book", &["plot", "ending", "hero", "style", "first chapter"]),
];
const GOOD: [&str; 10] = [
    "great",
    "lovely",
    "excellent",
    "perfect",
    "pleasant",
    "wonderful",
    "fine",
    "superb",
    "delightful",
    "solid",
];
const BAD: [&str; 10] =
    ["awful", "poor", "terrible", "boring", "broken", "dull", "weak", "disappointing", "dreadful", "shabby"];
const OPENINGS: [&str; 5] = ["honestly ,", "all in all ,", "to be fair ,", "we thought", "i must say"];

/// `negative` and `positive`.
pub fn labels() -> LabelSet {
    LabelSet::classes(["negative", "positive"]).expect("two short, different names form a set")
}

/// Makes reviews; `part` names an independent stream (`train`, `test`).
///
/// # Errors
/// More than [`REVIEWS_MAX`] are asked for.
pub fn generate(seed: &Seed, part: &str, count: usize) -> Result<Vec<LabelledText>> {
    if count > REVIEWS_MAX {
        return Err(Error::config("reviews", format!("expected at most {REVIEWS_MAX}, found {count}")));
    }
    let mut rng = seed.fork("reviews").fork(part).rng();
    let reviews = (0..count).map(|_| {
        let positive = uniform(&mut rng) < 0.5;
        let (group, parts) = THINGS[index(&mut rng, THINGS.len())];
        let mut remark = |agrees: bool| {
            let good = positive == agrees;
            let part = draw(&mut rng, parts);
            // `not awful` is praise: one word alone does not tell.
            if uniform(&mut rng) < 0.3 {
                format!("the {part} was not {}", draw(&mut rng, if good { &BAD } else { &GOOD }))
            } else {
                format!("the {part} was {}", draw(&mut rng, if good { &GOOD } else { &BAD }))
            }
        };
        let (first, second, third) = (remark(false), remark(true), remark(true));
        let opening =
            if uniform(&mut rng) < 0.4 { format!("{} ", draw(&mut rng, &OPENINGS)) } else { String::new() };
        let text = match index(&mut rng, 3) {
            0 => format!("{opening}{second} and {third} ."),
            // What comes after `but` decides.
            1 => format!("{opening}{first} but {second} ."),
            _ => format!("{opening}{second} , although {first} ."),
        };
        LabelledText { text, label: u32::from(positive), group: Some(group.to_owned()) }
    });
    Ok(reviews.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sentiments_and_all_groups_are_common() {
        let reviews = generate(&Seed::from_u64(1), "train", 400).unwrap();
        let positive = reviews.iter().filter(|review| review.label == 1).count();
        assert!((150..250).contains(&positive));
        for (group, _) in THINGS {
            assert!(reviews.iter().filter(|review| review.group.as_deref() == Some(group)).count() > 60);
        }
    }
}
