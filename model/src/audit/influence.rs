//! How much a model's decisions depend on relations.
//!
//! The same trained model decides the same with all edges, with none, with edges rewired at random (every node
//! keeps its number of neighbours, so what is lost is who they are), and with edges of one kind only. What changes is the
//! influence: of the score, with an interval from a bootstrap over nodes, and of single decisions, which are listed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::data::dataset::Dataset;
use crate::data::graph::{Edge, Graph};
use crate::data::labels::LabelSet;
use crate::data::neighbourhoods::Surroundings;
use crate::data::pairs::Pair;
use crate::error::{Error, Result};
use crate::eval::ranking::{Ranked, rank, wanted};
use crate::seed::{Seed, index};
use crate::task::classify::predict;
use crate::task::logits::Logits;

/// Resamples of the bootstrap.
const RESAMPLES: usize = 1_000;
/// Swaps tried for each edge while rewiring.
const SWAPS: usize = 10;

/// The model with some edges.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Variation {
    /// Which edges: `all`, `none`, `rewired`, `only KIND`.
    pub name: String,
    /// How many.
    pub edges: usize,
    /// Share of nodes answered rightly.
    pub score: f64,
    /// 95 % interval of the score.
    pub interval: [f64; 2],
    /// Score minus the score with all edges.
    pub change: f64,
    /// 95 % interval of the change; the same nodes are compared.
    pub change_interval: [f64; 2],
    /// Nodes answered otherwise than with all edges.
    pub flips: usize,
    /// Of these, nodes answered rightly with all edges and wrongly now.
    pub lost: usize,
    /// Of these, nodes answered wrongly with all edges and rightly now.
    pub gained: usize,
}

/// A decision that changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flip {
    /// Which variation changed it.
    pub variation: String,
    /// The node.
    pub node: u32,
    /// Its class.
    pub truth: String,
    /// The answer with all edges.
    pub with_all: String,
    /// The answer now.
    pub now: String,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Influence {
    /// Nodes answered for.
    pub samples: usize,
    /// The variations, `all` first.
    pub variations: Vec<Variation>,
    /// Every decision that changed.
    pub flips: Vec<Flip>,
}

/// What a model says of one decision: a label or, for a list, what it puts first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What it says.
    pub said: String,
    /// Whether that counts as right.
    pub is_right: bool,
}

/// Measures a model on some nodes of a graph, whose classes are known.
///
/// # Errors
/// There is no node, or the model fails.
pub fn measure(
    model: &mut impl Logits,
    surroundings: &Surroundings,
    nodes: &[u32],
    labels: &LabelSet,
    seed: &Seed,
) -> Result<Influence> {
    let graph = surroundings.graph();
    let truth: Vec<(u32, String)> = nodes
        .iter()
        .map(|node| (*node, labels.name(graph.labels[*node as usize] as u32).to_owned()))
        .collect();
    compare(graph, &truth, seed, |graph| {
        let rows = Dataset::nodes(Arc::new(surroundings.with_graph(graph)), nodes.to_vec())?;
        let said = predict(model, &rows)?.into_iter().zip(&truth);
        Ok(said
            .map(|(choice, (_, truth))| {
                let said = labels.name(choice.label).to_owned();
                Decision { is_right: said == *truth, said }
            })
            .collect())
    })
}

/// Measures a model on lists of pairs: a decision is what a list puts first, and right when something to be found is
/// among the first places.
///
/// # Errors
/// As [`measure`].
pub fn measure_lists(
    model: &mut impl Logits,
    surroundings: &Surroundings,
    pairs: &[Pair],
    seed: &Seed,
) -> Result<Influence> {
    // Which lists count does not depend on scores.
    let lists: Vec<(u32, String)> = rank(pairs, &vec![0.0; pairs.len()])?
        .iter()
        .map(|list| (list.from, format!("one of {}", list.order.iter().filter(|(_, found)| *found).count())))
        .collect();
    compare(surroundings.graph(), &lists, seed, |graph| {
        let rows = Dataset::pairs(Arc::new(surroundings.with_graph(graph)), pairs)?;
        let ranked = rank(pairs, &wanted(model, &rows)?)?;
        let first = |list: &Ranked| list.order.first().map_or(String::new(), |(to, _)| format!("node {to}"));
        Ok(ranked.iter().map(|list| Decision { said: first(list), is_right: list.is_hit }).collect())
    })
}

/// Measures decisions with the edges of a graph and with others in their place.
///
/// `decided` names each decision and what is right; `decide` makes all of them, in that order, with a graph of the same
/// nodes.
///
/// # Errors
/// There is no decision, or `decide` fails.
pub fn compare(
    graph: &Graph,
    decided: &[(u32, String)],
    seed: &Seed,
    mut decide: impl FnMut(Graph) -> Result<Vec<Decision>>,
) -> Result<Influence> {
    if decided.is_empty() {
        return Err(Error::config("data", "expected examples with known answers, found none"));
    }
    let mut graphs = vec![
        ("all".to_owned(), graph.clone()),
        ("none".to_owned(), graph.with_edges(Vec::new())),
        ("rewired".to_owned(), rewired(graph, seed)),
    ];
    if graph.kinds.len() > 1 {
        for (kind, name) in graph.kinds.iter().enumerate() {
            let edges = graph.edges.iter().filter(|edge| edge.kind as usize == kind).copied().collect();
            graphs.push((format!("only {name}"), graph.with_edges(edges)));
        }
    }
    let mut variations = Vec::new();
    let mut flips = Vec::new();
    let mut with_all: Vec<Decision> = Vec::new();
    for (name, graph) in graphs {
        let edges = graph.edges.len();
        let said = decide(graph)?;
        if said.len() != decided.len() {
            return Err(Error::shape("decisions", decided.len(), said.len()));
        }
        if with_all.is_empty() {
            with_all.clone_from(&said);
        }
        let right: Vec<bool> = said.iter().map(|decision| decision.is_right).collect();
        let right_with_all: Vec<bool> = with_all.iter().map(|decision| decision.is_right).collect();
        let (mut lost, mut gained, mut changed) = (0, 0, 0);
        for (place, (node, truth)) in decided.iter().enumerate() {
            let (before, now) = (&with_all[place], &said[place]);
            if now.said == before.said {
                continue;
            }
            changed += 1;
            lost += usize::from(before.is_right && !now.is_right);
            gained += usize::from(now.is_right && !before.is_right);
            flips.push(Flip {
                variation: name.clone(),
                node: *node,
                truth: truth.clone(),
                with_all: before.said.clone(),
                now: now.said.clone(),
            });
        }
        let intervals = intervals(&right, &right_with_all, seed);
        let share = |right: &[bool]| right.iter().filter(|right| **right).count() as f64 / right.len() as f64;
        variations.push(Variation {
            name,
            edges,
            score: share(&right),
            interval: intervals.0,
            change: share(&right) - share(&right_with_all),
            change_interval: intervals.1,
            flips: changed,
            lost,
            gained,
        });
    }
    Ok(Influence { samples: decided.len(), variations, flips })
}

/// Percentile intervals of the score and of its change, nodes drawn with replacement.
fn intervals(right: &[bool], right_with_all: &[bool], seed: &Seed) -> ([f64; 2], [f64; 2]) {
    let mut rng = seed.fork("bootstrap").rng();
    let (mut scores, mut changes) = (Vec::new(), Vec::new());
    for _ in 0..RESAMPLES {
        let (mut now, mut before) = (0_u32, 0_u32);
        for _ in 0..right.len() {
            let node = index(&mut rng, right.len());
            now += u32::from(right[node]);
            before += u32::from(right_with_all[node]);
        }
        let n = right.len() as f64;
        scores.push(f64::from(now) / n);
        changes.push((f64::from(now) - f64::from(before)) / n);
    }
    let interval = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        [values[RESAMPLES * 25 / 1000], values[RESAMPLES * 975 / 1000]]
    };
    (interval(scores), interval(changes))
}

/// The same degrees, other neighbours: two edges of one kind exchange their ends, again and again, unless that made an edge
/// twice or one from a node to itself (Maslov and Sneppen 2002).
fn rewired(graph: &Graph, seed: &Seed) -> Graph {
    let mut rng = seed.fork("rewire").rng();
    let mut edges = graph.edges.clone();
    let mut known: BTreeSet<Edge> = edges.iter().copied().collect();
    let edge = |a: u32, b: u32, kind| Edge { from: a.min(b), to: a.max(b), kind };
    for _ in 0..SWAPS * edges.len() {
        let (first, second) = (index(&mut rng, edges.len()), index(&mut rng, edges.len()));
        let (one, two) = (edges[first], edges[second]);
        // Edges have no direction, so which ends are exchanged is drawn too.
        let (c, d) = if index(&mut rng, 2) == 0 { (two.from, two.to) } else { (two.to, two.from) };
        let (new_one, new_two) = (edge(one.from, d, one.kind), edge(c, one.to, one.kind));
        let is_possible = one.kind == two.kind
            && one.from != d
            && c != one.to
            && new_one != new_two
            && !known.contains(&new_one)
            && !known.contains(&new_two);
        if is_possible {
            known.remove(&one);
            known.remove(&two);
            known.insert(new_one);
            known.insert(new_two);
            (edges[first], edges[second]) = (new_one, new_two);
        }
    }
    graph.with_edges(edges)
}

impl fmt::Display for Influence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.variations.iter().map(|v| v.name.chars().count()).max().unwrap_or(0).max(5);
        writeln!(
            out,
            "{:<width$}  {:>7}  {:>5}  {:>15}  {:>7}  {:>17}  {:>5}  {:>5}  {:>6}",
            "edges", "count", "score", "95 %", "change", "95 %", "flips", "lost", "gained"
        )?;
        for v in &self.variations {
            writeln!(
                out,
                "{:<width$}  {:>7}  {:.3}  {:>15}  {:>+7.3}  {:>17}  {:>5}  {:>5}  {:>6}",
                v.name,
                v.edges,
                v.score,
                format!("{:.3} to {:.3}", v.interval[0], v.interval[1]),
                v.change,
                format!("{:+.3} to {:+.3}", v.change_interval[0], v.change_interval[1]),
                v.flips,
                v.lost,
                v.gained
            )?;
        }
        writeln!(out, "{} decisions; lost and gained: right answers among the flips", self.samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::batch::{Batch, Inputs};

    /// Says the class that most neighbours have as their feature; 0 without neighbours.
    struct Majority;

    impl Logits for Majority {
        fn labels(&self) -> usize {
            2
        }

        fn logits(&mut self, batch: &Batch) -> Result<Vec<f32>> {
            let Inputs::Nodes(nodes) = &batch.inputs else { panic!("nodes expected") };
            let mut logits = Vec::new();
            for row in 0..batch.rows {
                let list = nodes.neighbour_starts[row] as usize..nodes.neighbour_starts[row + 1] as usize;
                let mut counts = [0.5, 0.0];
                for neighbour in &nodes.neighbours[list] {
                    counts[nodes.features[*neighbour as usize] as usize] += 1.0;
                }
                logits.extend(counts);
            }
            Ok(logits)
        }
    }

    /// A ring of friends for each class, and one colleague of the other class.
    fn surroundings() -> Surroundings {
        let n = 20_u32;
        let features: Vec<Vec<u32>> = (0..2 * n).map(|node| vec![node / n]).collect();
        let classes: Vec<i32> = (0..2 * n).map(|node| (node / n) as i32).collect();
        let ring = |start: u32| (0..n).map(move |k| (start + k, start + (k + 1) % n, 1));
        let across = (0..n).map(|k| (k, n + k, 0));
        let kinds = vec!["colleague".to_owned(), "friend".to_owned()];
        let edges: Vec<_> = ring(0).chain(ring(n)).chain(across).collect();
        Surroundings::new(Graph::new(2, &features, classes, kinds, edges).unwrap(), 1, 5)
    }

    #[test]
    fn relations_that_carry_the_answer_are_told_from_those_that_do_not() {
        let labels = LabelSet::classes(["a", "b"]).unwrap();
        let nodes: Vec<u32> = (0..40).collect();
        let found = measure(&mut Majority, &surroundings(), &nodes, &labels, &Seed::from_u64(1)).unwrap();
        let of = |name: &str| found.variations.iter().find(|v| v.name == name).unwrap();
        assert_eq!((of("all").score, of("all").flips, of("all").change_interval), (1.0, 0, [0.0, 0.0]));
        assert_eq!((of("none").score, of("none").flips, of("none").lost), (0.5, 20, 20));
        assert_eq!(of("only friend").score, 1.0);
        assert_eq!(of("only colleague").score, 0.0);
        assert!(of("none").change_interval[1] < -0.2 && of("rewired").score < 0.95);
        assert_eq!(found.flips.iter().filter(|flip| flip.variation == "none").count(), 20);
        assert_eq!(found.to_string().lines().count(), 7);
        assert!(measure(&mut Majority, &surroundings(), &[], &labels, &Seed::from_u64(1)).is_err());
    }

    #[test]
    fn rewiring_keeps_every_degree_and_kind() {
        let binding = surroundings();
        let graph = binding.graph();
        let other = rewired(graph, &Seed::from_u64(2));
        assert_ne!(graph.edges, other.edges);
        assert_eq!(graph.edges.len(), other.edges.len());
        let (before, after) = (graph.neighbours(), other.neighbours());
        for node in 0..graph.len() as u32 {
            assert_eq!(before.of(node).len(), after.of(node).len());
        }
        let colleagues = |graph: &Graph| graph.edges.iter().filter(|edge| edge.kind == 0).count();
        assert_eq!(colleagues(graph), colleagues(&other));
    }
}
