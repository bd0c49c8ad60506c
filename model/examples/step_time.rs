//! Takes training steps on command, for comparisons with other programs in short alternating bursts.
//!
//! ```text
//! step_time FOLDER [minilm|small] [THREADS]
//! ```
//!
//! Loads the model in FOLDER, or makes one there. Then every line on standard input is a number of steps to take; the
//! answer is one line of JSON with seconds and loss of each. Batch k of the run holds 16 sequences of 64 tokens whose
//! ids and tags are `splitmix64` of a counter, so that the other program can make the same.

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use model::arch::config::{ArchConfig, EncoderConfig, Head};
use model::data::batch::{Batch, Inputs, Targets};
use model::device::DeviceChoice;
use model::seed::Seed;
use model::session::{Session, TrainingConfig};
use model::train::benchmark_b::splitmix64;

const ROWS: usize = 16;
const WIDTH: usize = 64;
const LABELS: usize = 9;

fn batch(number: u64, vocabulary: usize) -> Batch {
    let draw = |k: usize| splitmix64((number << 32) + k as u64);
    let count = ROWS * WIDTH;
    Batch {
        rows: ROWS,
        width: WIDTH,
        inputs: Inputs::Tokens {
            ids: (0..count).map(|k| (draw(k) % vocabulary as u64) as u32).collect(),
            lengths: vec![WIDTH as u32; ROWS],
        },
        targets: Targets::Tags((0..count).map(|k| ((draw(k) >> 32) % LABELS as u64) as i32).collect()),
        samples: ROWS as u32,
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.first().ok_or("expected a folder")?;
    let config = match arguments.get(1).map(String::as_str) {
        None | Some("minilm") => EncoderConfig::minilm(30_522),
        Some("small") => EncoderConfig::small(2_000),
        Some(other) => return Err(format!("expected minilm or small, found {other}").into()),
    };
    let threads = arguments.get(2).map_or(Ok(2), |text| text.parse())?;
    let (dir, cpu, seed) = (Path::new(folder), DeviceChoice::Cpu, Seed::from_u64(1));
    let head = Head::Tagging { labels: LABELS };
    let vocabulary = config.vocab_size;
    if !dir.join("config.json").exists() {
        Session::new(&ArchConfig::Encoder(config), &head, &cpu, seed)?.save(dir, &serde_json::Value::Null)?;
    }
    let mut session = Session::load(dir, &cpu, seed)?;
    session.configure(TrainingConfig { threads, clip_norm: 0.0, ..TrainingConfig::default() })?;
    let mut number = 0;
    let mut out = std::io::stdout();
    writeln!(out, "ready")?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let mut steps = Vec::new();
        for _ in 0..line?.trim().parse::<u64>()? {
            let batch = batch(number, vocabulary);
            number += 1;
            let start = Instant::now();
            let report = session.train_step(&batch, 1e-4)?;
            steps.push((start.elapsed().as_secs_f64(), report.loss));
        }
        writeln!(out, "{}", serde_json::to_string(&steps)?)?;
        out.flush()?;
    }
    Ok(())
}
