//! What the weight rules need of a calibration set, example by example.
//!
//! Every rule that gives weights depends on the answers through a few sums over examples. They are taken once; fitting
//! on other examples (for intervals and for cross-validation) then only adds them up again with other multiplicities.

use crate::error::{Error, Result};
use crate::fuse::pool::{check_members, median};
use crate::task::answers::Answers;

/// Members a fusion may have: every pair of them is compared on every example.
pub const MEMBERS_MAX: usize = 32;

/// Sums by example.
#[derive(Debug, Clone)]
pub struct Evidence {
    members: usize,
    units: Vec<usize>,   // by example
    to_median: Vec<f64>, // (examples, members): Σ over units of ‖ŷ_j − median‖²
    to_mean: Vec<f64>,   // (examples, members): Σ over units of ‖ŷ_j − mean‖²
    labelled: Option<Labelled>,
}

#[derive(Debug, Clone)]
struct Labelled {
    products: Vec<f64>,      // (examples, members, members): Σ over units of ŷ_i · ŷ_j
    hits: Vec<f64>,          // (examples, members): Σ over units of ŷ_j(y)
    probabilities: Vec<f32>, // (units, members): ŷ_j(y)
}

impl Evidence {
    /// Gathers the sums; `truth` has a label for every unit.
    ///
    /// # Errors
    /// The members do not fit each other or are too many, or the labels do not fit the answers.
    pub fn gather(members: &[&Answers], truth: Option<&[u32]>) -> Result<Self> {
        check_members(members)?;
        if members.len() > MEMBERS_MAX {
            return Err(Error::shape("members of a fusion", format!("at most {MEMBERS_MAX}"), members.len()));
        }
        if let Some(truth) = truth {
            check_truth(members[0], truth)?;
        }
        let (count, labels) = (members.len(), members[0].labels());
        let examples = members[0].examples();
        let mut evidence = Self {
            members: count,
            units: members[0].lengths(),
            to_median: vec![0.0; examples * count],
            to_mean: vec![0.0; examples * count],
            labelled: truth.map(|truth| Labelled {
                products: vec![0.0; examples * count * count],
                hits: vec![0.0; examples * count],
                probabilities: Vec::with_capacity(truth.len() * count),
            }),
        };
        let mut column = vec![0.0_f32; count];
        for example in 0..examples {
            for unit in members[0].units_of(example) {
                let rows: Vec<&[f32]> = members.iter().map(|member| member.unit(unit)).collect();
                let (mut medians, mut means) = (vec![0.0; labels], vec![0.0; labels]);
                for label in 0..labels {
                    column.iter_mut().zip(&rows).for_each(|(place, row)| *place = row[label]);
                    means[label] = column.iter().map(|p| f64::from(*p)).sum::<f64>() / count as f64;
                    medians[label] = median(&mut column);
                }
                for (member, row) in rows.iter().enumerate() {
                    let distance = |to: &[f64]| -> f64 {
                        row.iter().zip(to).map(|(p, q)| (f64::from(*p) - q) * (f64::from(*p) - q)).sum()
                    };
                    evidence.to_median[example * count + member] += distance(&medians);
                    evidence.to_mean[example * count + member] += distance(&means);
                }
                if let (Some(labelled), Some(truth)) = (&mut evidence.labelled, truth) {
                    labelled.add(example, &rows, truth[unit] as usize);
                }
            }
        }
        Ok(evidence)
    }

    /// Members.
    pub fn members(&self) -> usize {
        self.members
    }

    /// Examples.
    pub fn examples(&self) -> usize {
        self.units.len()
    }

    /// Whether every unit has a label.
    pub fn has_labels(&self) -> bool {
        self.labelled.is_some()
    }

    /// Mean distances of each member from the median, or from the mean, of all; `times` says how often each example
    /// counts.
    pub fn distances(&self, from_median: bool, times: &[f64]) -> Vec<f64> {
        let all = if from_median { &self.to_median } else { &self.to_mean };
        let units = self.counted(times);
        (0..self.members)
            .map(|member| {
                let each = times.iter().enumerate().map(|(e, times)| times * all[e * self.members + member]);
                each.sum::<f64>() / units
            })
            .collect()
    }

    /// Means over units of `ŷ_i · ŷ_j`, `(members, members)`, and of `ŷ_j(y)`; nothing without labels.
    pub fn quadratic(&self, times: &[f64]) -> Option<(Vec<f64>, Vec<f64>)> {
        let labelled = self.labelled.as_ref()?;
        let units = self.counted(times);
        let sum = |values: &[f64], width: usize| {
            let mut sum = vec![0.0; width];
            for (row, times) in values.chunks_exact(width).zip(times) {
                sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += times * value / units);
            }
            sum
        };
        Some((sum(&labelled.products, self.members * self.members), sum(&labelled.hits, self.members)))
    }

    /// What every member gives the true label, `(members)`, unit by unit with how often it counts; nothing without
    /// labels.
    pub fn likelihoods<'a>(
        &'a self,
        times: &'a [f64],
    ) -> Option<impl Iterator<Item = (f64, &'a [f32])> + Clone> {
        let labelled = self.labelled.as_ref()?;
        let each =
            self.units.iter().zip(times).flat_map(|(units, times)| std::iter::repeat_n(*times, *units));
        Some(each.zip(labelled.probabilities.chunks_exact(self.members)).filter(|(times, _)| *times > 0.0))
    }

    /// Units that count.
    pub fn counted(&self, times: &[f64]) -> f64 {
        self.units.iter().zip(times).map(|(units, times)| *units as f64 * times).sum::<f64>().max(1.0)
    }
}

impl Labelled {
    fn add(&mut self, example: usize, rows: &[&[f32]], truth: usize) {
        let count = rows.len();
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate().skip(i) {
                let product: f64 = a.iter().zip(*b).map(|(p, q)| f64::from(*p) * f64::from(*q)).sum();
                self.products[(example * count + i) * count + j] += product;
                if i != j {
                    self.products[(example * count + j) * count + i] += product;
                }
            }
            self.hits[example * count + i] += f64::from(a[truth]);
            self.probabilities.push(a[truth]);
        }
    }
}

/// Refuses labels that are not one per unit, or not among those of the answers.
pub fn check_truth(answers: &Answers, truth: &[u32]) -> Result<()> {
    if truth.len() != answers.units() {
        return Err(Error::shape("labels of a calibration set", answers.units(), truth.len()));
    }
    match truth.iter().find(|label| **label as usize >= answers.labels()) {
        None => Ok(()),
        Some(label) => Err(Error::shape("label", format!("below {}", answers.labels()), label)),
    }
}
