//! What nodes with different subjects reach alone, and what all their data together reach, on the built-in newswire.
//!
//! ```text
//! apart_or_together [STEPS] [SENTENCES] [ALPHA] [SEED] [FROM NODE] [TO NODE]
//! ```
//!
//! Shares SENTENCES training sentences among five nodes by subject with Dirichlet(ALPHA) shares, trains a small encoder
//! from scratch on each share and one on all, STEPS steps each, and scores each on the same 1,000 test sentences of all
//! subjects. Node 5 is all together.
//!
//! Expect, with the defaults (1600 steps, 6500 sentences, alpha 0.3, seed 1; commit 8ff7448, two cores of an AMD EPYC,
//! dev profile, one thread, 2 to 7 minutes a node on a busy machine): F1 alone .5579, .6197, .4939, .7021, .4032 (1343,
//! 1695, 762, 2100 and 600 sentences), together .9155.

use std::time::Instant;

use model::arch::config::{ArchConfig, EncoderConfig, Head};
use model::data::batcher::{Batcher, Order};
use model::data::example::TaggedSentence;
use model::data::split::{Split, split};
use model::data::synthetic::newswire;
use model::data::tokenize::tokenizer::Tokenizer;
use model::data::tokenize::train::{TrainOptions, train_wordpiece};
use model::device::DeviceChoice;
use model::eval::report::Report;
use model::eval::tagging::{Matching, evaluate};
use model::seed::Seed;
use model::session::{Session, TrainingConfig};
use model::task::tagging::encode;

const NODES: usize = 5;
const TEST: usize = 1_000;
const TOKENS_MAX: usize = 64;
const BATCH: usize = 16;
const RATE: f64 = 1e-3;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, usual: f64| -> Outcome<f64> {
        Ok(arguments.get(place).map_or(Ok(usual), |text| text.parse())?)
    };
    let steps = number(0, 1_600.0)? as u64;
    let seed = Seed::from_u64(number(3, 1.0)? as u64);
    let train = newswire::generate(&seed, "train", number(1, 6_500.0)? as usize)?;
    let test = newswire::generate(&seed, "test", TEST)?;
    // The vocabulary is part of the charter: made from public sentences of the same generator.
    let public = newswire::generate(&seed, "public", 3_000)?;
    let texts: Vec<String> = public.iter().map(|sentence| sentence.tokens.join(" ")).collect();
    let tokenizer = train_wordpiece(texts.iter().map(String::as_str), &TrainOptions::default())?;

    let topics: Vec<&str> = train.iter().map(|sentence| sentence.topic.as_deref().unwrap_or("")).collect();
    let how = Split::Dirichlet { alpha: number(2, 0.3)? };
    let shares = split(&topics, NODES, 600, how, &seed)?;
    let (first, last) = (number(4, 0.0)? as usize, number(5, NODES as f64)? as usize);
    for node in first..=last.min(NODES) {
        let own: Vec<TaggedSentence> = match shares.get(node) {
            Some(share) => share.iter().map(|row| train[*row].clone()).collect(),
            None => train.clone(),
        };
        let start = Instant::now();
        let report = learn(&own, &test, &tokenizer, steps, &seed)?;
        println!(
            "node {node}: {} sentences, F1 {:.4}, {:.0} s",
            own.len(),
            report.score,
            start.elapsed().as_secs_f64()
        );
        if node == NODES {
            print!("{report}");
        }
    }
    Ok(())
}

fn learn(
    train: &[TaggedSentence],
    test: &[TaggedSentence],
    tokenizer: &Tokenizer,
    steps: u64,
    seed: &Seed,
) -> Outcome<Report> {
    let labels = newswire::labels();
    let arch = ArchConfig::Encoder(EncoderConfig::small(tokenizer.vocabulary()));
    let head = Head::Tagging { labels: labels.len() };
    let mut session = Session::new(&arch, &head, &DeviceChoice::Cpu, seed.fork("parameters"))?;
    session.configure(TrainingConfig::default())?;
    let rows = encode(train, tokenizer, TOKENS_MAX)?;
    let mut batcher = Batcher::new(rows, BATCH, Order::Shuffled, seed.fork("batches"))?;
    for step in 0..steps {
        let done = step as f64 / steps as f64;
        let rate = RATE * (step as f64 / 50.0).min(1.0) * (1.0 - done);
        session.train_step(&batcher.next_batch(), rate.max(1e-6))?;
    }
    Ok(evaluate(&mut session, test, &labels, tokenizer, TOKENS_MAX, Matching::Default)?)
}
