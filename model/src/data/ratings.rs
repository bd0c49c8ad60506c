//! From ratings and trust to a graph of people and things, and pairs of both.
//!
//! A person is described by the things they rated, liked or not, and by whom they trust; a thing by itself. What each
//! person liked is set against things they never rated: half drawn as often as others like them, so that being popular
//! does not settle it, half drawn evenly, so that the rest of the catalogue counts too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::data::batch::IGNORE;
use crate::data::communities::communities;
use crate::data::graph::Graph;
use crate::data::labels::{LabelSet, shown};
use crate::data::pairs::Pair;
use crate::data::report::DataReport;
use crate::data::source;
use crate::error::{Error, Result};
use crate::seed::{Seed, index};

/// Things never rated that stand against each thing liked, to train on.
const AGAINST_LIKED: usize = 4;
/// Things never rated that stand against what a person liked, to score on.
const AGAINST_SCORED: usize = 99;
/// Tries for each thing drawn; somebody who rated everything has nothing to set against.
const TRIES: usize = 20;
/// The kind of the edges.
pub const TRUST: &str = "trust";

/// One rating.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rating {
    /// Who rates.
    pub person: usize,
    /// What is rated.
    pub thing: usize,
    /// How good it is; any scale.
    pub value: f64,
}

/// Ratings before they are pairs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ratings {
    /// People.
    pub people: usize,
    /// Things.
    pub things: usize,
    /// To train on, and what people are described by.
    pub train: Vec<Rating>,
    /// To score on.
    pub test: Vec<Rating>,
    /// Who trusts whom.
    pub trust: Vec<(usize, usize)>,
}

/// `liked`, by which things are ranked, and `passed`.
pub fn labels() -> LabelSet {
    LabelSet::classes(["liked", "passed"]).expect("two short, different names form a set")
}

/// The graph, the pairs to train on and the pairs to score on. People come first, then things; circles of people who
/// trust one another are the groups, things are in none.
///
/// # Errors
/// A number is out of range.
pub fn assemble(ratings: &Ratings, seed: &Seed) -> Result<(Graph, Vec<Pair>, Vec<Pair>)> {
    let (people, things) = (ratings.people, ratings.things);
    let least = liked_from(&ratings.train);
    let is_liked = |rating: &Rating| rating.value >= least;
    // Features: things liked, things rated but not liked, things themselves.
    let mut features = vec![BTreeSet::new(); people + things];
    for rating in &ratings.train {
        if rating.person >= people || rating.thing >= things {
            return Err(Error::shape("rating", format!("{people} people, {things} things"), "another"));
        }
        let feature = rating.thing + if is_liked(rating) { 0 } else { things };
        features[rating.person].insert(feature as u32);
    }
    for thing in 0..things {
        features[people + thing].insert((2 * things + thing) as u32);
    }
    let features: Vec<Vec<u32>> = features.into_iter().map(|list| list.into_iter().collect()).collect();
    let edges = ratings.trust.iter().map(|(a, b)| (*a as u32, *b as u32, 0));
    let graph =
        Graph::new(3 * things, &features, vec![IGNORE; people + things], vec![TRUST.to_owned()], edges)?;
    let trace = |thing: usize| vec![thing as u32, (things + thing) as u32];
    let traces = (0..people).map(|_| Vec::new()).chain((0..things).map(trace)).collect();
    let names = circles(&graph, people);
    let graph = graph.in_groups(&names)?.with_traces(traces)?;
    let drawn = Drawn::new(ratings, &is_liked);
    let mut train =
        drawn.pairs(&ratings.train, people, &is_liked, |liked| AGAINST_LIKED * liked, &seed.fork("train"));
    let mut test = drawn.pairs(&ratings.test, people, &is_liked, |_| AGAINST_SCORED, &seed.fork("test"));
    for pairs in [&mut train, &mut test] {
        pairs.sort_by_key(|pair| (pair.from, pair.to));
    }
    Ok((graph, train, test))
}

/// What counts as liked: at least the median rating.
fn liked_from(ratings: &[Rating]) -> f64 {
    let mut values: Vec<f64> = ratings.iter().map(|rating| rating.value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// A name for the circle of every person, and none for things.
fn circles(graph: &Graph, people: usize) -> Vec<String> {
    let neighbours = graph.neighbours();
    let degrees: Vec<usize> = (0..graph.len() as u32).map(|node| neighbours.of(node).len()).collect();
    let circle = communities(graph, &degrees);
    let name =
        |node: usize| if node < people { format!("circle {:06}", circle[node]) } else { String::new() };
    (0..graph.len()).map(name).collect()
}

/// What things can be drawn.
struct Drawn {
    things: usize,
    /// The thing of every like.
    liked: Vec<usize>,
    rated: BTreeMap<usize, BTreeSet<usize>>,
}

impl Drawn {
    fn new(ratings: &Ratings, is_liked: &impl Fn(&Rating) -> bool) -> Self {
        let mut rated: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for rating in ratings.train.iter().chain(&ratings.test) {
            rated.entry(rating.person).or_default().insert(rating.thing);
        }
        let liked =
            ratings.train.iter().filter(|rating| is_liked(rating)).map(|rating| rating.thing).collect();
        Self { things: ratings.things, liked, rated }
    }

    /// The rated pairs, and for everybody who likes something pairs with things they never rated.
    fn pairs(
        &self,
        ratings: &[Rating],
        people: usize,
        is_liked: &impl Fn(&Rating) -> bool,
        against: impl Fn(usize) -> usize,
        seed: &Seed,
    ) -> Vec<Pair> {
        let pair = |person: usize, thing: usize, is_liked: bool| Pair {
            from: person as u32,
            to: (people + thing) as u32,
            class: i32::from(!is_liked),
        };
        let mut likes: BTreeMap<usize, usize> = BTreeMap::new();
        let mut pairs = Vec::new();
        for rating in ratings {
            pairs.push(pair(rating.person, rating.thing, is_liked(rating)));
            *likes.entry(rating.person).or_default() += usize::from(is_liked(rating));
        }
        for (person, likes) in likes.into_iter().filter(|(_, likes)| *likes > 0) {
            let mut rng = seed.fork_index(person as u64).rng();
            let mut known = self.rated.get(&person).cloned().unwrap_or_default();
            let (wanted, before) = (against(likes), known.len());
            for number in 0..wanted * TRIES {
                if known.len() - before == wanted {
                    break;
                }
                let thing = if number % 2 == 0 && !self.liked.is_empty() {
                    self.liked[index(&mut rng, self.liked.len())]
                } else {
                    index(&mut rng, self.things)
                };
                if known.insert(thing) {
                    pairs.push(pair(person, thing, false));
                }
            }
        }
        pairs
    }
}

/// Whether a folder holds ratings and trust as `FilmTrust` keeps them.
pub fn is_folder(path: &Path) -> bool {
    path.join("trust.txt").is_file()
        && (path.join("trainset.txt").is_file() || path.join("ratings.txt").is_file())
}

/// Reads a folder with `trust.txt` (`who whom ...`) and `ratings.txt`, or `trainset.txt` and `testset.txt` (`who what
/// value`), columns apart by spaces. Of a single file of ratings a twentieth is kept to score on.
///
/// # Errors
/// A file cannot be read, or too many rows are bad.
pub fn read(folder: &Path, bad_share_max: f64, seed: &Seed) -> Result<(Ratings, DataReport)> {
    let mut report = DataReport::new(folder.display().to_string(), "ratings");
    let (mut people, mut things) = (BTreeMap::new(), BTreeMap::new());
    let number = |known: &mut BTreeMap<String, usize>, name: &str| {
        let next = known.len();
        *known.entry(name.to_owned()).or_insert(next)
    };
    let mut ratings = Ratings::default();
    let mut rated = |file: &Path, report: &mut DataReport| -> Result<Vec<Rating>> {
        let mut found = Vec::new();
        each_row(file, report, |columns| match columns {
            [person, thing, value, ..] => {
                let value: f64 = value
                    .parse()
                    .ok()
                    .filter(|value: &f64| value.is_finite())
                    .ok_or_else(|| format!("expected a rating, found `{}`", shown(value)))?;
                let (person, thing) = (number(&mut people, person), number(&mut things, thing));
                found.push(Rating { person, thing, value });
                Ok(())
            }
            _ => Err(format!("expected who, what and a rating, found {} columns", columns.len())),
        })?;
        Ok(found)
    };
    let (train, test) = (folder.join("trainset.txt"), folder.join("testset.txt"));
    if train.is_file() {
        ratings.train = rated(&train, &mut report)?;
        if test.is_file() {
            ratings.test = rated(&test, &mut report)?;
        }
    } else {
        ratings.train = rated(&folder.join("ratings.txt"), &mut report)?;
    }
    if ratings.test.is_empty() {
        let mut rng = seed.fork("ratings to score on").rng();
        let all = std::mem::take(&mut ratings.train);
        for rating in all {
            let to = if index(&mut rng, 20) == 0 { &mut ratings.test } else { &mut ratings.train };
            to.push(rating);
        }
    }
    each_row(&folder.join("trust.txt"), &mut report, |columns| match columns {
        // Who rated nothing is described by nothing; trust in them says nothing.
        [who, whom, ..] => {
            ratings.trust.extend(people.get(*who).copied().zip(people.get(*whom).copied()));
            Ok(())
        }
        _ => Err(format!("expected who and whom, found {} columns", columns.len())),
    })?;
    (ratings.people, ratings.things) = (people.len(), things.len());
    let least = liked_from(&ratings.train);
    for rating in ratings.train.iter().chain(&ratings.test) {
        let name = if rating.value >= least { "liked" } else { "passed" };
        *report.labels.entry(name.to_owned()).or_default() += 1;
    }
    report.settle(bad_share_max);
    if let Some(reason) = &report.refused {
        return Err(Error::file(folder, reason.clone()));
    }
    if ratings.train.is_empty() {
        return Err(Error::file(folder, "expected ratings to train on, found none"));
    }
    Ok((ratings, report))
}

fn each_row(
    path: &Path,
    report: &mut DataReport,
    mut take: impl FnMut(&[&str]) -> std::result::Result<(), String>,
) -> Result<()> {
    let mut lines = source::open(path)?;
    while let Some((number, text)) = lines.next_row(report)? {
        let columns: Vec<&str> = text.split_whitespace().collect();
        match take(&columns) {
            Ok(()) => {
                report.rows += 1;
                report.good += 1;
            }
            Err(reason) => report.skip(number, reason),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratings_become_people_things_and_pairs_with_something_against_each_like() {
        let folder = tempfile::tempdir().unwrap();
        let mut train = String::new();
        for person in 0..20 {
            for thing in 0..6 {
                train +=
                    &format!("{person} {} {}\n", (person + thing) % 30, if thing % 2 == 0 { 4 } else { 1 });
            }
        }
        std::fs::write(folder.path().join("trainset.txt"), train).unwrap();
        std::fs::write(folder.path().join("testset.txt"), "0 20 4.0\n1 21 0.5\n").unwrap();
        std::fs::write(folder.path().join("trust.txt"), "0 1 1\n2 3 1\n4 99 1\n").unwrap();
        assert!(is_folder(folder.path()));
        let seed = Seed::from_u64(1);
        let (ratings, report) = read(folder.path(), 0.05, &seed).unwrap();
        assert_eq!((report.good, ratings.people, ratings.trust.len()), (125, 20, 2));
        let (graph, train, test) = assemble(&ratings, &seed).unwrap();
        assert_eq!((graph, train.clone(), test.clone()), assemble(&ratings, &seed).unwrap());
        let likes = train.iter().filter(|pair| pair.class == 0).count();
        assert_eq!(likes, 60);
        assert_eq!(train.len(), 120 + 4 * 60);
        let rated: BTreeSet<(usize, usize)> =
            ratings.train.iter().map(|rating| (rating.person, rating.thing)).collect();
        let drawn = train.iter().filter(|p| !rated.contains(&(p.from as usize, p.to as usize - 20)));
        assert_eq!(drawn.filter(|pair| pair.class == 1).count(), 240);
        // One like to score on, against everything this person did not rate.
        assert_eq!(test.iter().filter(|pair| pair.class == 0).count(), 1);
        assert!(
            test.iter().filter(|pair| pair.from == 1).count() == 1,
            "who likes nothing is not ranked for"
        );
    }

    #[test]
    fn wrong_rows_are_counted_and_too_many_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ratings.txt"), "a b 1\na c x\na\n").unwrap();
        std::fs::write(folder.path().join("trust.txt"), "").unwrap();
        let error = read(folder.path(), 0.05, &Seed::from_u64(1)).unwrap_err().to_string();
        assert!(error.contains("2 of 3 rows are bad"), "{error}");
    }
}
