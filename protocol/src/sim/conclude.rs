//! The end of a run: the figures are put together, and what must hold at the end is checked.

use std::collections::BTreeMap;

use crate::id::Hash;
use crate::sim::learner::number::{exp, ln};
use crate::sim::meter::Row;
use crate::sim::outcome::{Equivocations, Outcome, mean};
use crate::sim::world::World;
use crate::wire::offence::Offence;

/// Nodes scored at the end; in larger swarms every so-manieth is.
const SCORED_MAX: usize = 256;

impl World {
    /// Puts the outcome together and checks what must hold at the end.
    pub(super) fn conclude(mut self, trace: Hash) -> Outcome {
        self.measure();
        self.check_revocations();
        let consensus = self.consensus();
        let scores = self.scores();
        let score_mean = mean(scores.iter().map(|s| s.0));
        let most = self.scenario.check.consensus_max;
        if self.checks.holds() && consensus > most {
            let what = format!("consensus distance {consensus:.4}, expected at most {most}");
            self.violated("I8", None, what);
        }
        let least = self.scenario.check.score_min;
        if self.checks.holds() && score_mean < least {
            self.violated("score", None, format!("mean score {score_mean:.4}, expected at least {least}"));
        }
        let meter = &self.meter;
        let peers = f64::from(self.scenario.peers);
        let names = ["gossip", "requests", "news", "manifests", "shards"];
        let shards = meter.bytes[4] as f64;
        let parameters = self.genesis.len();
        let dense = parameters as f64 * 4.0 / self.scenario.run.codec.encoded_bytes(parameters) as f64;
        let (staleness_mean, staleness_p95) = of_classes(&meter.staleness);
        let named = |counts: &BTreeMap<Offence, u64>| {
            counts.iter().map(|(offence, count)| (offence.name().to_owned(), *count)).collect()
        };
        Outcome {
            parameters: parameters as u64,
            consensus_distance_relative: consensus,
            contraction: self.contraction(),
            spectral_gap: spectral_gap(&meter.weights[..meter.weights.len().min(self.honest as usize)]),
            bytes_per_peer: meter.bytes.iter().sum::<u64>() as f64 / peers,
            bytes_by_kind: names.into_iter().zip(meter.bytes).collect(),
            bytes_dense_per_peer: shards * dense / peers,
            staleness_mean,
            staleness_p95,
            coverage: meter.heard as f64 / meter.audience.max(1) as f64,
            gossip_p95_s: f64::from(of_classes(&meter.delays).1) / 100.0,
            gossip_duplicates: meter.duplicates as f64 / meter.heard.max(1) as f64,
            refused: named(&meter.refused),
            offences: named(&meter.offences),
            failed: meter.failed.clone(),
            joins: meter.joins,
            unreadable: meter.far as f64 / meter.values.max(1) as f64,
            events: self.events,
            virtual_s: self.seconds(),
            bans_of_honest_peers: self.checks.honest_bans,
            equivocations: Equivocations { made: self.checks.made(), proven: self.checks.proven.len() },
            trace,
            violations: std::mem::take(&mut self.checks.violations),
            rows: std::mem::take(&mut self.meter.rows),
            ..Outcome::blank(&self.scenario, self.seed_number, self.honest, &scores)
        }
    }

    /// Score and loss of the honest peers that are up, or of an even sample of them.
    fn scores(&mut self) -> Vec<(f64, f64)> {
        let up: Vec<&[f32]> = self.nodes.iter().filter(|n| n.counts()).map(|n| n.agreed.as_slice()).collect();
        let every = up.len().div_ceil(SCORED_MAX).max(1);
        let learner = &mut self.learner;
        let scores = up.iter().step_by(every).map(|agreed| learner.score(agreed)).collect::<Result<_, _>>();
        scores.unwrap_or_else(|error| {
            self.violated("learner", None, error.to_string());
            Vec::new()
        })
    }

    /// From the rows of the settle steps.
    fn contraction(&self) -> Option<f64> {
        let train = self.scenario.run.outer_steps;
        let settling: Vec<&Row> = self.meter.rows.iter().filter(|row| row.step_median > train).collect();
        let (first, last) = (settling.first()?, settling.last()?);
        let steps = last.step_median - first.step_median;
        let ratio = last.consensus_distance_relative / first.consensus_distance_relative;
        (steps > 0 && ratio > 0.0).then(|| {
            let log = ln(ratio);
            exp(log / f64::from(steps))
        })
    }
}

/// Mean and 95th percentile of counts by class.
fn of_classes(counts: &[u64]) -> (f64, u32) {
    let all: u64 = counts.iter().sum();
    let sum: f64 = counts.iter().enumerate().map(|(class, count)| class as f64 * *count as f64).sum();
    let mut left = all - all / 20;
    let mut p95 = 0;
    for (class, count) in counts.iter().enumerate() {
        p95 = class as u32;
        if left <= *count {
            break;
        }
        left -= count;
    }
    (sum / all.max(1) as f64, p95)
}

/// One minus the largest factor by which one mix with these weights shrinks differences between nodes, found by power
/// iteration; rows hold the weights of others, the rest is a node's own.
fn spectral_gap(rows: &[Vec<(u32, f32)>]) -> Option<f64> {
    let n = rows.len();
    if n < 2 {
        return None;
    }
    let centre = |values: &mut [f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter_mut().for_each(|v| *v -= mean);
    };
    let size = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
    // Any start that is not a right vector by accident will do.
    let mut vector: Vec<f64> = (0..n).map(|i| ((i * 37 + 11) % 101) as f64).collect();
    centre(&mut vector);
    let mut factor = 0.0;
    for _ in 0..200 {
        let mut mixed = vec![0.0; n];
        let mut back = vec![0.0; n];
        for (i, row) in rows.iter().enumerate() {
            let inside = || row.iter().filter(|(j, _)| (*j as usize) < n);
            let own = 1.0 - inside().map(|(_, w)| f64::from(*w)).sum::<f64>();
            mixed[i] =
                own * vector[i] + inside().map(|(j, w)| f64::from(*w) * vector[*j as usize]).sum::<f64>();
        }
        centre(&mut mixed);
        for (i, row) in rows.iter().enumerate() {
            let inside = || row.iter().filter(|(j, _)| (*j as usize) < n);
            let own = 1.0 - inside().map(|(_, w)| f64::from(*w)).sum::<f64>();
            back[i] += own * mixed[i];
            inside().for_each(|(j, w)| back[*j as usize] += f64::from(*w) * mixed[i]);
        }
        centre(&mut back);
        let (before, after) = (size(&vector), size(&back));
        if before == 0.0 || after == 0.0 {
            return Some(1.0);
        }
        factor = (after / before).sqrt();
        vector = back.iter().map(|v| v / after).collect();
    }
    Some((1.0 - factor).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_of_a_ring_and_of_the_exact_mean_are_those_of_the_books() {
        let ring = |n: u32| -> Vec<Vec<(u32, f32)>> {
            (0..n).map(|i| vec![((i + 1) % n, 1.0 / 3.0), ((i + n - 1) % n, 1.0 / 3.0)]).collect()
        };
        // 1/3 + 2/3 cos(2 pi / n)
        let expected = 1.0 - (1.0 / 3.0 + 2.0 / 3.0 * (std::f64::consts::TAU / 8.0).cos());
        assert!((spectral_gap(&ring(8)).unwrap() - expected).abs() < 1e-6);
        let all: Vec<Vec<(u32, f32)>> =
            (0..4u32).map(|i| (0..4).filter(|j| *j != i).map(|j| (j, 0.25)).collect()).collect();
        assert!(spectral_gap(&all).unwrap() > 0.999_999);
        assert!(spectral_gap(&[vec![], vec![]]).unwrap() < 1e-9);
    }

    #[test]
    fn a_percentile_is_read_from_classes() {
        assert_eq!(of_classes(&[90, 6, 4]).1, 1);
        assert_eq!(of_classes(&[]), (0.0, 0));
    }
}
