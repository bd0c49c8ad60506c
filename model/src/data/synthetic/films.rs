//! People who rate films and trust one another: what one likes follows from a taste that those they trust share.
//!
//! People rate few films, so that whom they trust says something that their own ratings do not.

use std::collections::BTreeSet;

use crate::data::ratings::{Rating, Ratings};
use crate::error::{Error, Result};
use crate::seed::{Seed, index, uniform};

/// Most ratings made at once.
pub const RATINGS_MAX: usize = 1_000_000;

/// Films there are.
const FILMS: usize = 200;
/// Tastes; a film is made for one.
const TASTES: usize = 4;
/// Circles of people who know one another.
const CIRCLES: usize = 10;
/// Ratings of one person.
const RATINGS: usize = 8;
/// Others a person trusts.
const TRUSTED: usize = 4;

/// Makes about `train` ratings to train on and `test` to score on.
///
/// # Errors
/// More than [`RATINGS_MAX`] are asked for.
pub fn generate(seed: &Seed, train: usize, test: usize) -> Result<Ratings> {
    let count = train.saturating_add(test);
    if count > RATINGS_MAX {
        return Err(Error::config("ratings", format!("expected at most {RATINGS_MAX}, found {count}")));
    }
    let mut rng = seed.fork("films").rng();
    let people = (count / RATINGS).max(2 * CIRCLES);
    let taste: Vec<usize> = (0..people).map(|_| index(&mut rng, TASTES)).collect();
    let mut ratings = Ratings { people, things: FILMS, ..Ratings::default() };
    for person in 0..people {
        let mut rated = BTreeSet::new();
        while rated.len() < RATINGS {
            // Everybody meets their own kind more often, and popular films, the first of each kind, most of all.
            let kind = if uniform(&mut rng) < 0.5 { taste[person] } else { index(&mut rng, TASTES) };
            let rank = (uniform(&mut rng) * uniform(&mut rng) * (FILMS / TASTES) as f64) as usize;
            let thing = rank * TASTES + kind;
            if !rated.insert(thing) {
                continue;
            }
            let is_liked = uniform(&mut rng) < if kind == taste[person] { 0.85 } else { 0.25 };
            let rating = Rating { person, thing, value: if is_liked { 4.0 } else { 2.0 } };
            let is_test = (uniform(&mut rng) * count as f64) < test as f64;
            if is_test { ratings.test.push(rating) } else { ratings.train.push(rating) }
        }
        for _ in 0..TRUSTED {
            // Drawn again until one fits: near always, alike mostly.
            let mut other = index(&mut rng, people);
            for _ in 0..400 {
                let is_near = other % CIRCLES == person % CIRCLES;
                if is_near && (taste[other] == taste[person] || uniform(&mut rng) < 0.1) {
                    break;
                }
                other = index(&mut rng, people);
            }
            ratings.trust.push((person, other));
        }
    }
    Ok(ratings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_ratings_about_as_many_as_were_asked_for() {
        let seed = Seed::from_u64(1);
        let made = generate(&seed, 1600, 400).unwrap();
        assert_eq!(made, generate(&seed, 1600, 400).unwrap());
        assert_eq!(made.train.len() + made.test.len(), 2000);
        assert!((300..500).contains(&made.test.len()), "{}", made.test.len());
        assert!(generate(&seed, usize::MAX, 1).is_err());
    }
}
