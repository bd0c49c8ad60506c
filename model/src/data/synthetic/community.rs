//! A made-up social network: people in regions, what they post about, who knows whom, and what they are interested in.
//!
//! Words alone tell an interest only partly; friends mostly share it, colleagues do not. So a model gains from relations,
//! and from the right kind of them. Regions have words of their own and different shares of each interest.

use std::collections::BTreeSet;

use crate::data::graph::Graph;
use crate::data::labels::LabelSet;
use crate::error::{Error, Result};
use crate::seed::{Seed, dirichlet, index, uniform};

/// Most people made at once.
pub const PEOPLE_MAX: usize = 1_000_000;

const INTERESTS: [&str; 4] = ["cooking", "gaming", "music", "sport"];
const REGIONS: [&str; 5] = ["east", "middle", "north", "south", "west"];
/// Words of an interest that every region uses, and words that one region uses for it.
const SHARED_WORDS: usize = 30;
const LOCAL_WORDS: usize = 10;
/// Words that say nothing.
const COMMON_WORDS: usize = 120;
/// Words a person posts.
const WORDS: usize = 9;
/// Relations a person begins.
const FRIENDS: usize = 3;
const COLLEAGUES: usize = 2;

/// Features of a person: one per word.
pub const WIDTH: usize = INTERESTS.len() * (SHARED_WORDS + REGIONS.len() * LOCAL_WORDS) + COMMON_WORDS;

/// The interests, sorted.
pub fn labels() -> LabelSet {
    LabelSet::classes(INTERESTS).expect("four short, different names form a set")
}

/// Makes a network of so many people.
///
/// # Errors
/// More than [`PEOPLE_MAX`] are asked for.
pub fn generate(seed: &Seed, people: usize) -> Result<Graph> {
    if people > PEOPLE_MAX {
        return Err(Error::config("people", format!("expected at most {PEOPLE_MAX}, found {people}")));
    }
    let mut rng = seed.fork("community").rng();
    let shares: Vec<Vec<f64>> = REGIONS.iter().map(|_| dirichlet(&mut rng, 1.0, INTERESTS.len())).collect();
    let region: Vec<usize> = (0..people).map(|_| index(&mut rng, REGIONS.len())).collect();
    let interest: Vec<usize> = region
        .iter()
        .map(|region| {
            let mut left = uniform(&mut rng);
            shares[*region]
                .iter()
                .position(|share| {
                    left -= share;
                    left < 0.0
                })
                .unwrap_or(0)
        })
        .collect();
    let features: Vec<Vec<u32>> = (0..people)
        .map(|person| {
            let words: BTreeSet<u32> = (0..WORDS)
                .map(|_| {
                    let (common, chance) =
                        (INTERESTS.len() * (SHARED_WORDS + REGIONS.len() * LOCAL_WORDS), uniform(&mut rng));
                    // People also post about what is not their interest.
                    let about =
                        if chance < 0.25 { interest[person] } else { index(&mut rng, INTERESTS.len()) };
                    let word = if chance > 0.6 {
                        common + index(&mut rng, COMMON_WORDS)
                    } else if uniform(&mut rng) < 0.5 {
                        about * SHARED_WORDS + index(&mut rng, SHARED_WORDS)
                    } else {
                        let block = about * REGIONS.len() + region[person];
                        INTERESTS.len() * SHARED_WORDS + block * LOCAL_WORDS + index(&mut rng, LOCAL_WORDS)
                    };
                    word as u32
                })
                .collect();
            words.into_iter().collect()
        })
        .collect();
    let (mut alike, mut near) =
        (vec![Vec::new(); INTERESTS.len() * REGIONS.len()], vec![Vec::new(); REGIONS.len()]);
    for person in 0..people {
        alike[interest[person] * REGIONS.len() + region[person]].push(person);
        near[region[person]].push(person);
    }
    let mut edges = Vec::new();
    for person in 0..people {
        let (alike, near) =
            (&alike[interest[person] * REGIONS.len() + region[person]], &near[region[person]]);
        for relation in 0..FRIENDS + COLLEAGUES {
            let is_friend = relation < FRIENDS;
            let from = if is_friend && uniform(&mut rng) < 0.8 { alike } else { near };
            let other = from[index(&mut rng, from.len())];
            edges.push((person as u32, other as u32, u16::from(is_friend)));
        }
    }
    let kinds = vec!["colleague".to_owned(), "friend".to_owned()];
    let classes = interest.iter().map(|interest| *interest as i32).collect();
    let names: Vec<String> = region.iter().map(|region| REGIONS[*region].to_owned()).collect();
    Graph::new(WIDTH, &features, classes, kinds, edges)?.in_groups(&names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn friends_share_interests_and_colleagues_do_not() {
        let graph = generate(&Seed::from_u64(1), 1000).unwrap();
        assert_eq!(graph, generate(&Seed::from_u64(1), 1000).unwrap());
        let same = |kind: u16| {
            let of_kind: Vec<_> = graph.edges.iter().filter(|edge| edge.kind == kind).collect();
            let same = of_kind
                .iter()
                .filter(|e| graph.labels[e.from as usize] == graph.labels[e.to as usize])
                .count();
            same as f64 / of_kind.len() as f64
        };
        assert!(same(1) > 0.8 && same(0) < 0.65, "{} {}", same(1), same(0));
        assert!(graph.edges.iter().all(|e| graph.group[e.from as usize] == graph.group[e.to as usize]));
        assert_eq!(graph.groups.len(), 5);
    }
}
