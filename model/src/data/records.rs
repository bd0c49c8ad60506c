//! Records: a class for what a text, an image, columns of numbers and relations say together.
//!
//! Any of the four may be missing from the data as a whole or from a single record. Records that are related are nodes
//! of one graph, in their order.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::data::batch::IGNORE;
use crate::data::graph::{Edge, Graph};

/// What records of one data set can hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    /// Whether there are texts.
    #[serde(default)]
    pub has_text: bool,
    /// Channels, height and width of images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<[usize; 3]>,
    /// Names of columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Features a related record may have; 0 where records are not related.
    #[serde(default)]
    pub features: usize,
}

impl Form {
    /// Values of one image; 0 where there are none.
    pub fn pixels(&self) -> usize {
        self.image.map_or(0, |sizes| sizes.iter().product())
    }
}

/// One record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// Its text.
    pub text: Option<String>,
    /// Its pixels, channel by channel and row by row.
    pub image: Option<Vec<u8>>,
    /// A value for each column, where it is known; empty where it has no columns.
    pub table: Vec<Option<f32>>,
    /// Features that those related to it see.
    pub features: Vec<u32>,
    /// Its class, where it is known.
    pub label: Option<u32>,
    /// 1 or 0 for every label, or its one quantity, where the task is one of these; a record without class and numbers only
    /// stands beside others.
    pub values: Vec<f32>,
    /// Who holds it, or what it is about.
    pub group: Option<String>,
}

impl Record {
    /// Whether a class or numbers are known.
    pub fn is_answered(&self) -> bool {
        self.label.is_some() || !self.values.is_empty()
    }
}

/// A relation of two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation {
    /// One record.
    pub from: u32,
    /// The other.
    pub to: u32,
    /// What the relation is, a number of [`Records::kinds`].
    pub kind: u16,
}

/// Records of one form with their relations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Records {
    /// What they hold.
    pub form: Form,
    /// The records.
    pub all: Vec<Record>,
    /// Names of the kinds of relations, sorted.
    pub kinds: Vec<String>,
    /// Relations.
    pub relations: Vec<Relation>,
}

/// Some records, the examples, with those they are related to.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordPart {
    /// All that are known.
    pub records: Arc<Records>,
    /// Numbers of the examples, rising.
    pub chosen: Vec<u32>,
}

impl Records {
    /// All with an answer as examples.
    pub fn whole(self) -> RecordPart {
        let chosen = (0..self.all.len() as u32).filter(|k| self.all[*k as usize].is_answered()).collect();
        RecordPart { records: Arc::new(self), chosen }
    }

    /// The graph of the records, nodes in their order; nothing where they are not related.
    pub fn graph(&self) -> Option<Graph> {
        if self.form.features == 0 {
            return None;
        }
        let features: Vec<Vec<u32>> = self.all.iter().map(|record| record.features.clone()).collect();
        let labels =
            self.all.iter().map(|record| record.label.map_or(IGNORE, |label| label as i32)).collect();
        let edges = self.relations.iter().map(|relation| (relation.from, relation.to, relation.kind));
        let graph = Graph::new(self.form.features, &features, labels, self.kinds.clone(), edges);
        Some(graph.expect("a reader or a generator has checked features and relations"))
    }

    /// The same records with other relations.
    pub fn with_edges(&self, edges: &[Edge]) -> Self {
        let relation = |edge: &Edge| Relation { from: edge.from, to: edge.to, kind: edge.kind };
        Self { relations: edges.iter().map(relation).collect(), ..self.clone() }
    }
}

impl RecordPart {
    /// The examples.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.chosen.iter().map(|number| &self.records.all[*number as usize])
    }

    /// Some of the examples. Records of the same groups come along where records are related, and no others: that is
    /// what one organization can hold.
    pub fn pick(&self, rows: &[usize]) -> Self {
        let mut chosen: Vec<u32> = rows.iter().map(|row| self.chosen[*row]).collect();
        let records = &self.records;
        if records.form.features == 0 {
            let all: Vec<Record> = chosen.iter().map(|k| records.all[*k as usize].clone()).collect();
            let form = records.form.clone();
            return Records { form, all, ..Records::default() }.whole();
        }
        chosen.sort_unstable();
        let groups: BTreeSet<&Option<String>> =
            chosen.iter().map(|k| &records.all[*k as usize].group).collect();
        let kept: Vec<u32> = (0..records.all.len() as u32)
            .filter(|k| groups.contains(&records.all[*k as usize].group))
            .collect();
        let place = |number: u32| kept.binary_search(&number).ok().map(|place| place as u32);
        let relations = records.relations.iter().filter_map(|relation| {
            Some(Relation { from: place(relation.from)?, to: place(relation.to)?, kind: relation.kind })
        });
        let part = Records {
            form: records.form.clone(),
            all: kept.iter().map(|k| records.all[*k as usize].clone()).collect(),
            kinds: records.kinds.clone(),
            relations: relations.collect(),
        };
        let chosen = chosen.iter().filter_map(|number| place(*number)).collect();
        Self { records: Arc::new(part), chosen }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn related() -> Records {
        let record = |group: &str| Record {
            group: Some(group.into()),
            features: vec![1],
            label: Some(0),
            ..Record::default()
        };
        let relation = |from, to| Relation { from, to, kind: 0 };
        Records {
            form: Form { features: 2, ..Form::default() },
            all: ["a", "b", "a", "b"].map(record).to_vec(),
            kinds: vec!["contact".into()],
            relations: vec![relation(0, 2), relation(1, 2), relation(3, 1)],
        }
    }

    #[test]
    fn a_part_holds_its_groups_and_the_relations_inside() {
        let part = related().whole().pick(&[3]);
        assert_eq!((part.records.all.len(), &part.chosen[..]), (2, &[1][..]));
        assert_eq!(part.records.relations, [Relation { from: 1, to: 0, kind: 0 }]);
        assert_eq!(part.records.graph().unwrap().edges.len(), 1);
    }

    #[test]
    fn records_without_relations_are_picked_alone_and_in_order() {
        let mut plain = related();
        (plain.form.features, plain.relations) = (0, Vec::new());
        plain.all[2].label = Some(7);
        let part = plain.whole().pick(&[2, 0]);
        assert_eq!(part.iter().map(|record| record.label).collect::<Vec<_>>(), [Some(7), Some(0)]);
        assert_eq!(part.records.graph(), None);
    }
}
