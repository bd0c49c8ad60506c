//! Reviews with sentiment: two classes, with negations and mixed remarks so that single words do not settle it.
//!
//! The kind of thing reviewed is the group. The same remarks with stars in place of a class make a quantity.

use rand_chacha::ChaCha8Rng;

use crate::data::example::{LabelledText, ValuedText};
use crate::data::labels::LabelSet;
use crate::data::scale::Scale;
use crate::data::synthetic::names::draw;
use crate::error::{Error, Result};
use crate::seed::{Seed, index, shuffle, uniform};

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
        let mut said = |agrees: bool| remark(&mut rng, parts, positive == agrees);
        let (first, second, third) = (said(false), said(true), said(true));
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

/// From one star to five.
pub fn scale() -> Scale {
    Scale { name: "stars".to_owned(), least: 1.0, most: 5.0 }
}

/// Makes reviews of four remarks, with a star for each that praises and one for coming; `part` names an independent stream.
///
/// # Errors
/// More than [`REVIEWS_MAX`] are asked for.
pub fn stars(seed: &Seed, part: &str, count: usize) -> Result<Vec<ValuedText>> {
    if count > REVIEWS_MAX {
        return Err(Error::config("reviews", format!("expected at most {REVIEWS_MAX}, found {count}")));
    }
    let mut rng = seed.fork("stars").fork(part).rng();
    let reviews = (0..count).map(|_| {
        let (group, parts) = THINGS[index(&mut rng, THINGS.len())];
        let stars = 1 + index(&mut rng, 5);
        let mut praises: Vec<bool> = (1..5).map(|remark| remark < stars).collect();
        shuffle(&mut rng, &mut praises);
        let remarks: Vec<String> = praises.into_iter().map(|good| remark(&mut rng, parts, good)).collect();
        ValuedText {
            text: format!("{} .", remarks.join(" , ")),
            values: vec![stars as f32],
            group: Some(group.to_owned()),
        }
    });
    Ok(reviews.collect())
}

/// What somebody says of a part of a thing. `not awful` is praise: one word alone does not tell.
fn remark(rng: &mut ChaCha8Rng, parts: &[&'static str], good: bool) -> String {
    let part = draw(rng, parts);
    if uniform(rng) < 0.3 {
        format!("the {part} was not {}", draw(rng, if good { &BAD } else { &GOOD }))
    } else {
        format!("the {part} was {}", draw(rng, if good { &GOOD } else { &BAD }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_count_what_is_praised() {
        let reviews = stars(&Seed::from_u64(1), "train", 200).unwrap();
        let praises = |text: &str| {
            text.split(',')
                .filter(|remark| {
                    let is_good = GOOD.iter().any(|word| remark.contains(word));
                    is_good != remark.contains("not")
                })
                .count()
        };
        assert!(reviews.iter().all(|review| review.values[0] as usize == 1 + praises(&review.text)));
        assert!((1..=5).all(|stars| reviews.iter().any(|review| review.values[0] == stars as f32)));
    }

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
