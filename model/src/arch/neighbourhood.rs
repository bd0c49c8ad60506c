//! The part of a graph that a batch of nodes depends on.
//!
//! Nodes are numbered anew: first those whose class is asked for, then what they need, hop by hop. So a layer computes a
//! prefix of the nodes from a longer prefix.

use crate::error::{Error, Result};
use crate::ops::bag::Lists;

/// A batch of nodes with their surroundings, borrowed.
#[derive(Debug, Clone, Copy)]
pub struct Neighbourhood<'a> {
    /// Nodes within 0, 1, 2, ... hops, rising; the last is the number of all.
    pub hops: &'a [u32],
    /// Neighbours of every node but those of the last hop, in the new numbers.
    pub neighbours: Lists<'a>,
    /// Features of every node.
    pub features: Lists<'a>,
}

impl Neighbourhood<'_> {
    /// Refuses what would make a layer read beyond its nodes.
    ///
    /// # Errors
    /// Another number of hops than layers, a hop smaller than the one before, a neighbour further away than one hop, or a
    /// feature that the model does not have.
    pub fn check(&self, layers: usize, features: usize) -> Result<()> {
        let hops = self.hops;
        if hops.len() != layers + 1 || hops[0] == 0 || !hops.is_sorted() {
            return Err(Error::shape(
                "hops of a batch of nodes",
                format!("{layers} rising ones"),
                hops.len(),
            ));
        }
        let (inner, all) = (hops[layers - 1] as usize, hops[layers] as usize);
        for (lists, rows) in [(&self.neighbours, inner), (&self.features, all)] {
            let ends = lists.starts.last().copied().unwrap_or(0) as usize;
            if lists.rows() != rows || ends != lists.entries.len() || !lists.starts.is_sorted() {
                return Err(Error::shape("lists of a batch of nodes", rows, lists.rows()));
            }
        }
        for pair in hops.windows(2) {
            let reach = self.neighbours.starts[(pair[0] as usize).min(inner)] as usize;
            if let Some(node) = self.neighbours.entries[..reach].iter().find(|node| **node >= pair[1]) {
                return Err(Error::shape(
                    "neighbour in a batch of nodes",
                    format!("below {}", pair[1]),
                    node,
                ));
            }
        }
        match self.features.entries.iter().find(|feature| **feature as usize >= features) {
            Some(feature) => Err(Error::shape(
                "feature (does the graph belong to this model?)",
                format!("below {features}"),
                feature,
            )),
            None => Ok(()),
        }
    }

    /// Nodes whose class is asked for.
    pub fn targets(&self) -> usize {
        self.hops[0] as usize
    }

    /// Nodes that layer `layer` of `layers` computes.
    pub fn computed(&self, layer: usize) -> usize {
        self.hops[self.hops.len() - 2 - layer] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_reach_too_far_are_refused() {
        let hops = [1, 2, 3];
        let good = Neighbourhood {
            hops: &hops,
            neighbours: Lists { starts: &[0, 1, 3], entries: &[1, 0, 2] },
            features: Lists { starts: &[0, 1, 1, 2], entries: &[4, 0] },
        };
        good.check(2, 5).unwrap();
        assert_eq!((good.targets(), good.computed(0), good.computed(1)), (1, 2, 1));
        assert!(good.check(1, 5).is_err());
        assert!(good.check(2, 4).is_err());
        let far = Lists { starts: &[0, 1, 3], entries: &[2, 0, 2] };
        assert!(Neighbourhood { neighbours: far, ..good }.check(2, 5).is_err(), "two hops in one");
        let short = Lists { starts: &[0, 1], entries: &[1] };
        assert!(Neighbourhood { neighbours: short, ..good }.check(2, 5).is_err());
        let open = Lists { starts: &[0, 1, 1, 3], entries: &[4, 0] };
        assert!(Neighbourhood { features: open, ..good }.check(2, 5).is_err());
    }
}
