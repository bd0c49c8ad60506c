//! Time of one training step, and of one prediction, on all cores (`RAYON_NUM_THREADS` sets another number).

use criterion::{Criterion, criterion_group, criterion_main};
use model::arch::config::{ArchConfig, EncoderConfig, Head};
use model::data::batch::{Batch, Inputs, Targets};
use model::device::DeviceChoice;
use model::seed::Seed;
use model::session::Session;
use model::train::benchmark_b::{self, splitmix64};

const ROWS: usize = 16;
const WIDTH: usize = 64;
const LABELS: usize = 9;

fn batch(vocabulary: usize) -> Batch {
    let count = ROWS * WIDTH;
    Batch {
        rows: ROWS,
        width: WIDTH,
        inputs: Inputs::Tokens {
            ids: (0..count).map(|k| (splitmix64(k as u64) % vocabulary as u64) as u32).collect(),
            lengths: vec![WIDTH as u32; ROWS],
        },
        targets: Targets::Tags((0..count).map(|k| (k % LABELS) as i32).collect()),
        samples: ROWS as u32,
    }
}

fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step");
    group.sample_size(10);
    for (name, config) in [("minilm", EncoderConfig::minilm(30_522)), ("small", EncoderConfig::small(2_000))]
    {
        let batch = batch(config.vocab_size);
        let head = Head::Tagging { labels: LABELS };
        let arch = ArchConfig::Encoder(config);
        let mut session =
            Session::new(&arch, &head, &DeviceChoice::Cpu, Seed::from_u64(1)).expect("sizes are sound");
        group.bench_function(format!("{name} train"), |bencher| {
            bencher.iter(|| session.train_step(&batch, 1e-4).expect("the batch fits"));
        });
        group.bench_function(format!("{name} predict"), |bencher| {
            bencher.iter(|| session.logits(&batch).expect("the batch fits"));
        });
    }
    let (arch, head) = (benchmark_b::arch(), benchmark_b::head());
    let mut session =
        Session::new(&arch, &head, &DeviceChoice::Cpu, Seed::from_u64(1)).expect("sizes are sound");
    let batches = benchmark_b::participant(0).batches(benchmark_b::BATCH);
    group.bench_function("mlp train", |bencher| {
        bencher.iter(|| session.train_step(&batches[0], 1e-4).expect("the batch fits"));
    });
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
