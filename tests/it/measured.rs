//! A measurement, not a test: what five nodes decide together over the network, with all of them, with one that lies and
//! with one of them killed.
//!
//! ```text
//! cargo test --release --workspace --test it -- --ignored --nocapture decisions_over_the_network
//! ```
//!
//! Every sentence is a query of its own, asked through the socket of the first node; its own model takes part. Prints a
//! table: who was asked, mean weight, F1 alone, middle and nineteen of twenty of the latencies in milliseconds.

use std::path::Path;
use std::time::{Duration, Instant};

use model::data::example::TaggedSentence;
use model::data::labels::LabelSet;
use model::data::load::load_tagging_parts;
use model::data::schema::{Schema, TaskKind};
use model::fuse::tally::tallies;
use model::task::answers::Answers;
use starling_node::fuse::asked::{Asked, percentiles};
use starling_node::fuse::decision::{Decision, decide};
use starling_node::fuse::members::{Members, Seat};
use starling_node::trainer::examples::Inputs;

use crate::liar::Liar;
use crate::network::Network;

/// Longest wait for the answers about one sentence.
const DEADLINE: Duration = Duration::from_secs(10);

/// Answers of one member, or of all together, sentence by sentence.
#[derive(Default)]
struct Column {
    outcome: String,
    weights: Vec<f64>,
    latencies: Vec<f64>,
    hits: (u32, u32),
}

impl Column {
    fn add(&mut self, answers: &Answers, sentence: &TaggedSentence, labels: &LabelSet) {
        for tally in tallies(answers, &sentence.tags, TaskKind::Tagging, labels) {
            self.hits = (self.hits.0 + 2 * tally.hits, self.hits.1 + tally.truth + tally.said);
        }
    }

    fn print(&mut self, name: &str) {
        let mean = self.weights.iter().sum::<f64>() / self.weights.len().max(1) as f64;
        let f1 = f64::from(self.hits.0) / f64::from(self.hits.1.max(1));
        let dash = || "-".to_owned();
        let latency = percentiles(&mut self.latencies);
        let at = |which: usize| latency.map_or_else(dash, |l| format!("{:.1}", l[which]));
        let number = |value: f64| if self.latencies.is_empty() { dash() } else { format!("{value:.3}") };
        println!(
            "| {name} | {} | {} | {} | {} | {} |",
            self.outcome,
            if self.weights.is_empty() { dash() } else { number(mean) },
            number(f1),
            at(0),
            at(1)
        );
    }
}

/// Asks about every sentence and prints a table.
fn table(title: &str, dir: &Path, sentences: &[TaggedSentence]) {
    let mut asked = Asked::at(dir).expect("the node runs");
    let labels = asked.labels.clone();
    let own = Seat::Folder(dir.join("model"));
    let mut own = Members::open(&[own], None, "cpu", 1).expect("the node has saved its model");
    let (mut columns, mut all): (Vec<(String, Column)>, Column) = Default::default();
    for sentence in sentences {
        let begun = Instant::now();
        let rows = [sentence.tokens.clone()];
        let mut members =
            own.answer(&Inputs::Sentences(rows.to_vec()), &mut |_| ()).expect("its own model answers");
        members.extend(asked.gather(&rows, None, DEADLINE).expect("the node asks"));
        let decision: Decision = decide(members, 2).unwrap_or_else(|e| panic!("{e}"));
        all.latencies.push(begun.elapsed().as_secs_f64() * 1e3);
        all.add(&decision.fused, sentence, &labels);
        for (place, member) in decision.members.iter().enumerate() {
            if columns.len() <= place {
                columns.push((member.name.clone(), Column::default()));
            }
            let column = &mut columns[place].1;
            column.outcome.clone_from(&member.outcome);
            column.weights.extend(decision.weights[place]);
            column.latencies.extend(member.latency_ms.map(|latency| latency[0]));
            if let Some(answers) = &member.answers {
                column.add(answers, sentence, &labels);
            }
        }
    }
    println!("\n{title}, {} sentences\n", sentences.len());
    println!("| member | outcome | weight | F1 | p50 ms | p95 ms |\n|---|---|---|---|---|---|");
    columns.iter_mut().for_each(|(name, column)| column.print(name));
    "decided".clone_into(&mut all.outcome);
    all.print("together");
}

#[test]
#[ignore = "a measurement"]
fn decisions_over_the_network() {
    let mut net = Network::found_unlike(5);
    let (ada, chidi, emre) = (0, 2, 4);
    let dir = net.nodes[ada].dir.clone();
    let wait = ["--wait-links", "3", "--wait-seconds", "60", "--answer-queries"];
    net.start(ada, &[&wait[..], &["--variant", "primary"]].concat());
    let first = net.nodes[ada].address();
    for node in 1..5 {
        net.start(node, &[&wait[..], &["--variant", "small", "--bootstrap", &first]].concat());
    }
    for node in 0..5 {
        let notes = net.nodes[node].dir.join("model").join("README.md");
        net.nodes[node].until("its model", |_| notes.is_file().then_some(()));
    }
    let labels = Asked::at(&dir).expect("the node runs").labels;
    let schema = Schema::new(TaskKind::Tagging).with_labels(&labels);
    let sentences = load_tagging_parts(&net.test, &schema).expect("the test file was just made");
    let sentences = [sentences.train, sentences.dev, sentences.test].concat();
    table("all five", &dir, &sentences);

    let linked = |net: &mut Network, peers: u64| {
        let is_so =
            move |node: &crate::node::Node| (node.status()?["peers"].as_u64()? == peers).then_some(());
        net.nodes[ada].until("links", is_so);
    };
    net.nodes[emre].kill();
    linked(&mut net, 3);
    let _liar = Liar::start(&net, emre, &first);
    linked(&mut net, 4);
    table("one lies", &dir, &sentences);

    net.nodes[chidi].kill();
    linked(&mut net, 3);
    table("one lies, one is killed", &dir, &sentences);
}
