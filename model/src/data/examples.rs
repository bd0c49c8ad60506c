//! Examples of any task, in file order: what they are about, some of them, a file of them.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use crate::data::example::{LabelledText, Passage, TaggedSentence, ValuedText};
use crate::data::graph::Graph;
use crate::data::labels::LabelSet;
use crate::data::pairs::PairPart;
use crate::data::records::{Record, RecordPart};
use crate::data::sizes::Sizes;
use crate::data::valued::Values;
use crate::data::{conll, graph_file, jsonl, plain, record_file};

/// Examples of one task, in file order.
#[derive(Debug, Clone, PartialEq)]
pub enum Examples {
    /// Sentences with a tag per word.
    Tagged(Vec<TaggedSentence>),
    /// Texts with a class each.
    Texts(Vec<LabelledText>),
    /// Texts with several labels or a quantity each.
    Valued(Vec<ValuedText>),
    /// Passages of plain text.
    Plain(Vec<Passage>),
    /// Nodes of a graph.
    Nodes(NodePart),
    /// Pairs of nodes of a graph.
    Pairs(PairPart),
    /// Records of several modalities.
    Records(RecordPart),
}

/// Some nodes of a graph, the examples, with the graph they are in.
#[derive(Debug, Clone, PartialEq)]
pub struct NodePart {
    /// The graph; it may know the classes of more nodes.
    pub graph: Arc<Graph>,
    /// The nodes, rising.
    pub nodes: Vec<u32>,
}

impl NodePart {
    /// Some of the nodes. Where nodes are in groups, only the groups of those that were picked come along, with the edges
    /// inside them: that is what one organization can hold.
    fn pick(&self, rows: &[usize]) -> Self {
        let mut nodes: Vec<u32> = rows.iter().map(|row| self.nodes[*row]).collect();
        nodes.sort_unstable();
        if self.graph.groups.is_empty() {
            return Self { graph: Arc::clone(&self.graph), nodes };
        }
        let groups: BTreeSet<u32> = nodes.iter().map(|node| self.graph.group[*node as usize]).collect();
        let (graph, kept) = self.graph.of_groups(&groups);
        let place = |node: &u32| kept.binary_search(node).expect("a picked node is in a picked group") as u32;
        Self { graph: Arc::new(graph), nodes: nodes.iter().map(place).collect() }
    }
}

impl Examples {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Tagged(all) => all.len(),
            Self::Texts(all) => all.len(),
            Self::Valued(all) => all.len(),
            Self::Plain(all) => all.len(),
            Self::Nodes(part) => part.nodes.len(),
            Self::Pairs(part) => part.pairs.len(),
            Self::Records(part) => part.chosen.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What each example is about, the key nodes differ by: its topic or group, else its class or its first label, or the
    /// fifth of the range its quantity lies in, else its document.
    pub fn subjects(&self, labels: &LabelSet) -> Vec<String> {
        match self {
            Self::Tagged(all) => all
                .iter()
                .map(|s| s.topic.clone().unwrap_or_else(|| format!("document {:08}", s.document)))
                .collect(),
            Self::Texts(all) => all
                .iter()
                .map(|t| t.group.clone().unwrap_or_else(|| labels.name(t.label).to_owned()))
                .collect(),
            Self::Valued(all) => {
                let values = Values::meant(labels);
                all.iter().map(|t| t.group.clone().unwrap_or_else(|| values.subject(&t.values))).collect()
            }
            Self::Plain(all) => {
                let numbered = |(number, p): (usize, &Passage)| {
                    p.topic.clone().unwrap_or_else(|| format!("passage {number:08}"))
                };
                all.iter().enumerate().map(numbered).collect()
            }
            Self::Nodes(NodePart { graph, nodes }) => {
                let subject = |node: &u32| match graph.group.get(*node as usize) {
                    Some(group) => graph.groups[*group as usize].clone(),
                    None => labels.name(graph.labels[*node as usize] as u32).to_owned(),
                };
                nodes.iter().map(subject).collect()
            }
            Self::Pairs(PairPart { graph, pairs }) => {
                let subject = |node: u32| match graph.group.get(node as usize) {
                    Some(group) => graph.groups[*group as usize].clone(),
                    None => format!("node {node:08}"),
                };
                pairs.iter().map(|pair| subject(pair.from)).collect()
            }
            Self::Records(part) => {
                let values = Values::meant(labels);
                let answer = |record: &Record| match record.label {
                    Some(label) => labels.name(label).to_owned(),
                    None => values.subject(&record.values),
                };
                part.iter().map(|record| record.group.clone().unwrap_or_else(|| answer(record))).collect()
            }
        }
    }

    /// Whether subjects recur, so that nodes can differ by them; documents follow one another and do not.
    pub fn has_subjects(&self) -> bool {
        match self {
            Self::Tagged(all) => all.iter().any(|s| s.topic.is_some()),
            Self::Plain(all) => all.iter().any(|p| p.topic.is_some()),
            Self::Texts(_) | Self::Valued(_) | Self::Nodes(_) | Self::Pairs(_) | Self::Records(_) => true,
        }
    }

    /// Copies of some examples, in the given order.
    pub fn pick(&self, rows: &[usize]) -> Self {
        match self {
            Self::Tagged(all) => Self::Tagged(rows.iter().map(|row| all[*row].clone()).collect()),
            Self::Texts(all) => Self::Texts(rows.iter().map(|row| all[*row].clone()).collect()),
            Self::Valued(all) => Self::Valued(rows.iter().map(|row| all[*row].clone()).collect()),
            Self::Plain(all) => Self::Plain(rows.iter().map(|row| all[*row].clone()).collect()),
            Self::Nodes(part) => Self::Nodes(part.pick(rows)),
            Self::Pairs(part) => Self::Pairs(part.pick(rows)),
            Self::Records(part) => Self::Records(part.pick(rows)),
        }
    }

    /// What a model for them must fit.
    pub fn sizes(&self) -> Sizes {
        match self {
            Self::Tagged(_) | Self::Texts(_) | Self::Valued(_) | Self::Plain(_) => {
                Sizes { has_text: true, ..Sizes::default() }
            }
            Self::Nodes(part) => Sizes::of_graph(&part.graph),
            Self::Pairs(part) => Sizes::of_graph(&part.graph),
            Self::Records(part) => Sizes::of_form(&part.records.form),
        }
    }

    /// The texts alone; nodes have none.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::Tagged(all) => all.iter().map(|s| s.tokens.join(" ")).collect(),
            Self::Texts(all) => all.iter().map(|t| t.text.clone()).collect(),
            Self::Valued(all) => all.iter().map(|t| t.text.clone()).collect(),
            Self::Plain(all) => all.iter().map(|p| p.text.clone()).collect(),
            Self::Records(part) => part.iter().filter_map(|record| record.text.clone()).collect(),
            Self::Nodes(_) | Self::Pairs(_) => Vec::new(),
        }
    }

    /// The extension of a file of these, by which it is read back.
    pub fn extension(&self) -> &'static str {
        match self {
            Self::Tagged(_) => "conll",
            Self::Texts(_) | Self::Valued(_) => "jsonl",
            Self::Plain(_) => "txt",
            Self::Nodes(_) | Self::Pairs(_) => "graph",
            Self::Records(_) => "records",
        }
    }

    /// Writes a file that the loaders read back equal.
    ///
    /// # Errors
    /// The writer fails.
    pub fn write(&self, out: &mut impl Write, labels: &LabelSet) -> std::io::Result<()> {
        match self {
            Self::Tagged(all) => conll::write(out, all, labels),
            Self::Texts(all) => jsonl::write_texts(out, all, labels),
            Self::Valued(all) => jsonl::write_valued(out, all, &Values::meant(labels)),
            Self::Plain(all) => plain::write(out, all),
            Self::Nodes(part) => graph_file::write(out, &part.graph.known_only(&part.nodes), &[], labels),
            Self::Pairs(part) => graph_file::write(out, &part.graph, &part.pairs, labels),
            Self::Records(part) => record_file::write(out, part, labels),
        }
    }
}
