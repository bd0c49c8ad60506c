//! Sharing examples among nodes.
//!
//! A split is a list of row numbers per node: together every row once. Four ways: equal random shares, contiguous runs
//! of documents, by the value of a column, and Dirichlet shares per value (the usual way to make nodes unlike each
//! other). The same seed gives the same split everywhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::seed::{Seed, dirichlet, shuffle};

/// Most nodes a split is made for.
pub const NODES_MAX: usize = 10_000;

/// How rows are shared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Split {
    /// Equal random shares.
    Even,
    /// Equal contiguous runs in file order; a group of equal keys that touch (a document) is not cut when a boundary
    /// near the even one exists.
    Contiguous,
    /// Whole keys to nodes, the largest key first to the smallest node.
    ByKey,
    /// Of every key, Dirichlet shares to the nodes.
    Dirichlet {
        /// Small is uneven: 0.3 is strong skew, 100 nearly even.
        alpha: f64,
    },
}

/// Shares rows, given the key of each (topic, label, document), among nodes; each gets at least `rows_min`.
///
/// Row numbers of a node are in file order.
///
/// # Errors
/// No nodes or too many, fewer rows than the nodes need together, or a Dirichlet parameter that is not positive.
pub fn split<K: Ord>(
    keys: &[K],
    nodes: usize,
    rows_min: usize,
    how: Split,
    seed: &Seed,
) -> Result<Vec<Vec<usize>>> {
    if nodes == 0 || nodes > NODES_MAX {
        return Err(Error::config("nodes", format!("expected 1 to {NODES_MAX}, found {nodes}")));
    }
    if nodes.saturating_mul(rows_min) > keys.len() {
        return Err(Error::config(
            "data",
            format!(
                "expected at least {rows_min} rows for each of {nodes} nodes, found {} rows in all",
                keys.len()
            ),
        ));
    }
    let seed = seed.fork("split");
    let mut shares = match how {
        Split::Even => even(keys.len(), nodes, &seed),
        Split::Contiguous => contiguous(keys, nodes),
        Split::ByKey => by_key(keys, nodes),
        Split::Dirichlet { alpha } if alpha.is_finite() && alpha > 0.0 => {
            by_dirichlet(keys, nodes, alpha, &seed)
        }
        Split::Dirichlet { alpha } => {
            return Err(Error::config("alpha", format!("expected a positive number, found {alpha}")));
        }
    };
    top_up(&mut shares, rows_min, &seed);
    for share in &mut shares {
        share.sort_unstable();
    }
    Ok(shares)
}

fn even(rows: usize, nodes: usize, seed: &Seed) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..rows).collect();
    shuffle(&mut seed.rng(), &mut order);
    let mut shares = vec![Vec::new(); nodes];
    for (place, row) in order.into_iter().enumerate() {
        shares[place % nodes].push(row);
    }
    shares
}

fn contiguous<K: Ord>(keys: &[K], nodes: usize) -> Vec<Vec<usize>> {
    let rows = keys.len();
    let mut shares = Vec::with_capacity(nodes);
    let mut start = 0;
    for node in 1..=nodes {
        let even = rows * node / nodes;
        // A boundary between two keys, at most a quarter share away from the even one.
        let reach = rows / nodes / 4;
        let is_boundary = |row: usize| row == 0 || row >= rows || keys[row - 1] != keys[row];
        let end = (0..=reach)
            .flat_map(|distance| [even.saturating_sub(distance), (even + distance).min(rows)])
            .find(|row| *row >= start && is_boundary(*row))
            .unwrap_or(even);
        let end = if node == nodes { rows } else { end };
        shares.push((start..end).collect());
        start = end;
    }
    shares
}

/// Rows by key, in key order.
fn rows_by_key<K: Ord>(keys: &[K]) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<&K, Vec<usize>> = BTreeMap::new();
    for (row, key) in keys.iter().enumerate() {
        groups.entry(key).or_default().push(row);
    }
    groups.into_values().collect()
}

fn by_key<K: Ord>(keys: &[K], nodes: usize) -> Vec<Vec<usize>> {
    let mut groups = rows_by_key(keys);
    groups.sort_by_key(|group| std::cmp::Reverse(group.len())); // stable: equal sizes stay in key order
    let mut shares: Vec<Vec<usize>> = vec![Vec::new(); nodes];
    for group in groups {
        if let Some(smallest) = shares.iter_mut().min_by_key(|share| share.len()) {
            smallest.extend(group);
        }
    }
    shares
}

fn by_dirichlet<K: Ord>(keys: &[K], nodes: usize, alpha: f64, seed: &Seed) -> Vec<Vec<usize>> {
    let mut shares: Vec<Vec<usize>> = vec![Vec::new(); nodes];
    for (number, mut group) in rows_by_key(keys).into_iter().enumerate() {
        let mut rng = seed.fork("key").fork_index(number as u64).rng();
        shuffle(&mut rng, &mut group);
        let parts = dirichlet(&mut rng, alpha, nodes);
        let mut start = 0;
        let mut sum = 0.0;
        for (node, part) in parts.iter().enumerate() {
            sum += part;
            let end = if node + 1 == nodes {
                group.len()
            } else {
                ((sum * group.len() as f64).round() as usize).clamp(start, group.len())
            };
            shares[node].extend_from_slice(&group[start..end]);
            start = end;
        }
    }
    shares
}

/// Moves rows from the largest share to those below the minimum, a random row at a time.
fn top_up(shares: &mut [Vec<usize>], rows_min: usize, seed: &Seed) {
    let mut rng = seed.fork("top up").rng();
    while let Some(poor) = shares.iter().position(|share| share.len() < rows_min) {
        let Some(rich) = (0..shares.len()).max_by_key(|node| (shares[*node].len(), usize::MAX - node)) else {
            return;
        };
        if shares[rich].len() <= rows_min {
            return; // excluded by the count of rows; an end in any case
        }
        let place = crate::seed::index(&mut rng, shares[rich].len());
        let row = shares[rich].swap_remove(place);
        shares[poor].push(row);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ways() -> impl Strategy<Value = Split> {
        prop_oneof![
            Just(Split::Even),
            Just(Split::Contiguous),
            Just(Split::ByKey),
            (0.01_f64..100.0).prop_map(|alpha| Split::Dirichlet { alpha }),
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_doubled_and_every_node_gets_its_minimum(
            keys in prop::collection::vec(0_u8..6, 20..200),
            nodes in 1_usize..8,
            rows_min in 0_usize..3,
            how in ways(),
        ) {
            let shares = split(&keys, nodes, rows_min, how, &Seed::from_u64(1)).unwrap();
            prop_assert_eq!(shares.len(), nodes);
            prop_assert!(shares.iter().all(|share| share.len() >= rows_min && share.is_sorted()));
            let mut rows: Vec<usize> = shares.concat();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..keys.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_small_alpha_makes_nodes_unlike_and_a_large_one_alike() {
        let keys: Vec<u32> = (0..2000).map(|row| row % 5).collect();
        let largest_share = |alpha| {
            let shares = split(&keys, 5, 1, Split::Dirichlet { alpha }, &Seed::from_u64(3)).unwrap();
            let mut sum = 0.0;
            for share in &shares {
                let most = (0..5).map(|key| share.iter().filter(|row| keys[**row] == key).count()).max();
                sum += most.unwrap_or(0) as f64 / share.len() as f64;
            }
            sum / shares.len() as f64
        };
        assert!(largest_share(0.1) > 0.55);
        assert!(largest_share(1000.0) < 0.25);
    }

    #[test]
    fn contiguous_shares_keep_documents_whole_where_they_can() {
        let keys = [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2];
        let shares = split(&keys, 3, 0, Split::Contiguous, &Seed::from_u64(0)).unwrap();
        assert_eq!(shares[0], [0, 1, 2]);
        assert_eq!(shares[1], [3, 4, 5, 6]);
    }

    #[test]
    fn whole_keys_stay_together() {
        let keys = ["b", "a", "c", "a", "b", "a"];
        let shares = split(&keys, 2, 0, Split::ByKey, &Seed::from_u64(0)).unwrap();
        assert_eq!(shares, [vec![1, 3, 5], vec![0, 2, 4]]);
    }

    #[test]
    fn too_few_rows_no_nodes_and_a_wrong_alpha_are_refused() {
        let seed = Seed::from_u64(0);
        assert!(split(&[1, 2], 3, 1, Split::Even, &seed).is_err());
        assert!(split(&[1, 2], 0, 0, Split::Even, &seed).is_err());
        for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(split(&[1, 2], 1, 0, Split::Dirichlet { alpha }, &seed).is_err());
        }
    }
}
